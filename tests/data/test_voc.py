from __future__ import annotations

import builtins
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bombo.data import voc
from bombo.data.annotation_io import clip_box
from bombo.data.data_file import label_space, load_data_file, read_split
from bombo.data.label_space import ANY_CLASS, LabelSpace
from bombo.data.sample import Problems, Record
from bombo.data.sources import VocSource
from bombo.errors import DataError

PETS = LabelSpace(("cat", "dog"))


def an_object(name: str = "cat", corners: str = "2 3 5 6", extra: str = "") -> str:
    tags = "".join(
        f"<{tag}>{value}</{tag}>\n"
        for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), corners.split(), strict=True)
    )
    return f"<object>\n<name>{name}</name>{extra}\n<bndbox>\n{tags}</bndbox>\n</object>\n"


def an_xml(*objects: str, size: str = "<size><width>10</width><height>8</height></size>") -> str:
    return f"<annotation>\n{size}\n{''.join(objects)}</annotation>\n"


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    for folder in ("JPEGImages", "Annotations", "SegmentationClass", "ImageSets/Main", "ImageSets/Segmentation"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "ImageSets/Main/train.txt").write_text("a\n")
    Image.new("RGB", (10, 8)).save(tmp_path / "JPEGImages/a.jpg")
    (tmp_path / "Annotations/a.xml").write_text(an_xml(an_object()))
    write_mask(tmp_path, np.zeros((8, 10), np.uint8))
    return tmp_path


def write_mask(root: Path, pixels: np.ndarray) -> None:
    image = Image.fromarray(pixels)
    if pixels.ndim == 2:
        image = image.convert("P")
        # a palette that says something else than the indices: it must not matter
        image.putpalette(bytes(range(255, -1, -1)) * 3)
        image.putdata(pixels.ravel().tolist())
    image.save(root / "SegmentationClass/a.png")


def read(root: Path, space: LabelSpace = PETS, problems: Problems | None = None, **options: object) -> list[Record]:
    source = VocSource.model_validate({"format": "voc", "root": root, "list": "train", **options})
    found = problems or Problems()
    records = voc.read(source, space, found)
    if problems is None and found.errors:
        raise found.errors[0]
    return records


@pytest.mark.parametrize(
    ("corners", "edges"),
    [
        pytest.param("1 1 10 8", (0, 0, 10, 8), id="the whole image"),
        pytest.param("3 4 3 4", (2, 3, 3, 4), id="one pixel"),
        pytest.param("2.5 3.25 5.5 6.75", (1.5, 2.25, 5.5, 6.75), id="fractions"),
        pytest.param("0 -2 12 9", (0, 0, 10, 8), id="clipped to the image"),
    ],
)
def test_edges_of_boxes(devkit: Path, corners: str, edges: tuple[float, ...]) -> None:
    (devkit / "Annotations/a.xml").write_text(an_xml(an_object(corners=corners)))
    (record,) = read(devkit, use="boxes")
    assert record.boxes is not None
    np.testing.assert_allclose(record.boxes.boxes, [edges])
    assert record.size == (8, 10)
    assert record.mask is None


def test_labels_and_flags(devkit: Path) -> None:
    hard = "<difficult>1</difficult>"
    parts = "<part><name>head</name><bndbox><xmin>NaN</xmin></bndbox></part>"
    objects = [an_object("dog", extra=hard), an_object("cow"), an_object("cat", extra=parts)]
    (devkit / "Annotations/a.xml").write_text(an_xml(*objects))
    rows = [
        (LabelSpace(("cat", "dog")), [1, 0], [True, False]),
        (LabelSpace(("dog",), others="void"), [0, ANY_CLASS, ANY_CLASS], [True, False, False]),
        (LabelSpace(("cow",), stuff=("dog",)), [0], [False]),
    ]
    for space, labels, difficult in rows:
        boxes = read(devkit, space, use="boxes")[0].boxes
        assert boxes is not None
        assert (boxes.labels.tolist(), boxes.difficult.tolist()) == (labels, difficult)


def test_no_object_is_annotated_and_empty(devkit: Path) -> None:
    (devkit / "Annotations/a.xml").write_text(an_xml())
    (record,) = read(devkit, use="boxes")
    assert record.boxes is not None
    assert record.boxes.boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("xml", "line", "message"),
    [
        pytest.param(an_xml(an_object(corners="NaN 3 5 6")), 6, "NaN", id="not a number"),
        pytest.param(an_xml(an_object(), an_object(corners="1 1 inf 4")), 17, "inf", id="infinite, second object"),
        pytest.param(an_xml(an_object(corners="5 3 2 6")), 5, "smaller", id="reversed"),
        pytest.param(an_xml(an_object(corners="12 3 15 6")), 5, "outside", id="outside"),
        pytest.param(an_xml(an_object("catt")), 3, "Did you mean `cat`", id="unknown class"),
        pytest.param(an_xml("<object><name>cat</name></object>"), 3, "no <bndbox>", id="no box"),
        pytest.param(an_xml("<object></object>"), 3, "no <name>", id="no name"),
        pytest.param(an_xml(size=""), 1, "<size> is missing", id="no size"),
        pytest.param(an_xml(size="<size><width>0</width><height>8</height></size>"), 2, "0 x 8", id="size of zero"),
        pytest.param("<annotation>\n<object>\n</annotation>", 3, "not valid XML", id="broken XML"),
        pytest.param("", 1, "not valid XML", id="empty file"),
    ],
)
def test_bad_xml_names_file_and_line(devkit: Path, xml: str, line: int, message: str) -> None:
    (devkit / "Annotations/a.xml").write_text(xml)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        read(devkit, use="boxes")
    assert caught.value.where == f"{devkit}/Annotations/a.xml, line {line}"
    assert caught.value.fix


def test_entities_are_refused(devkit: Path) -> None:
    (devkit / "Annotations/a.xml").write_text('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>')
    with pytest.raises(DataError, match="attack"):
        read(devkit, use="boxes")


def test_declared_encoding_is_respected(devkit: Path) -> None:
    text = '<?xml version="1.0" encoding="ISO-8859-1"?><!-- Zürich -->' + an_xml(an_object())
    (devkit / "Annotations/a.xml").write_bytes(text.encode("latin-1"))
    assert len(read(devkit, use="boxes")) == 1


@pytest.mark.parametrize(
    ("missing", "use"),
    [("JPEGImages/a.jpg", "boxes"), ("Annotations/a.xml", "both"), ("SegmentationClass/a.png", "masks")],
)
def test_missing_files(devkit: Path, missing: str, use: str) -> None:
    (devkit / missing).unlink()
    with pytest.raises(DataError, match="missing") as caught:
        read(devkit, use=use)
    assert "a" in str(caught.value.where)


def test_what_is_not_used_is_not_touched(devkit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touched: list[str] = []
    for name in ("stat", "open", "is_file", "read_bytes", "exists"):
        real = getattr(Path, name)
        monkeypatch.setattr(
            Path, name, lambda self, *args, _real=real, **kw: touched.append(str(self)) or _real(self, *args, **kw)
        )
    real_open = builtins.open  # what Pillow opens files with
    monkeypatch.setattr(builtins, "open", lambda file, *args: touched.append(str(file)) or real_open(file, *args))
    read(devkit, use="boxes")
    assert any("Annotations" in path for path in touched)
    assert not any("SegmentationClass" in path for path in touched)
    touched.clear()
    (record,) = read(devkit, use="masks")
    assert record.mask is not None
    record.mask.load((8, 10))
    assert any("SegmentationClass" in path for path in touched)
    assert not any("Annotations" in path for path in touched)
    assert record.boxes is None


def test_mask_indices_map_by_name(devkit: Path) -> None:
    pixels = np.zeros((8, 10), np.uint8)
    pixels[0, :4] = 12, 8, 10, 255  # dog, cat, cow, void in the order of the development kit
    write_mask(devkit, pixels)
    (record,) = read(devkit, LabelSpace(("dog", "cat")), use="masks")
    assert record.mask is not None
    mask = record.mask.load((8, 10))
    assert mask.dtype == np.uint8
    assert mask[0, :5].tolist() == [1, 2, 0, 255, 0]
    (record,) = read(devkit, LabelSpace(("dog",), others="void"), use="masks")
    assert record.mask is not None
    assert record.mask.load((8, 10))[0, :5].tolist() == [1, 255, 255, 255, 0]


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        pytest.param(np.full((8, 10), 21, np.uint8), r"value 21 \(80 px\)", id="no class"),
        pytest.param(np.zeros((10, 8), np.uint8), "8 x 10 pixels, its image 10 x 8", id="another size"),
        pytest.param(np.zeros((8, 10, 3), np.uint8), "RGB colours, values were expected", id="colours"),
    ],
)
def test_bad_masks(devkit: Path, pixels: np.ndarray, message: str) -> None:
    write_mask(devkit, pixels)
    (record,) = read(devkit, use="masks")
    assert record.mask is not None
    with pytest.raises(DataError, match=message) as caught:
        record.mask.load((8, 10))
    assert caught.value.where.endswith("SegmentationClass/a.png")


def test_label_map_gives_names_indices_and_colours(devkit: Path) -> None:
    (devkit / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\ndog:0,64,0::\nbackground:0,0,0::\ncat:9,9,9::\n"
    )
    source = VocSource.model_validate({"format": "voc", "root": devkit, "use": "both"})
    assert voc.class_names(source) == ["dog", "cat"]
    colours = np.zeros((8, 10, 3), np.uint8)
    colours[0, :3] = (9, 9, 9), (0, 64, 0), (224, 224, 192)
    indices = np.zeros((8, 10), np.uint8)
    indices[0, :3] = 2, 1, 255
    for pixels in (colours, indices):
        write_mask(devkit, pixels)
        (record,) = read(devkit, use="masks")
        assert record.mask is not None
        assert record.mask.load((8, 10))[0, :4].tolist() == [1, 2, 255, 0]
    colours[1, 1] = (9, 9, 8)
    write_mask(devkit, colours)
    assert record.mask is not None
    with pytest.raises(DataError, match=r"colour \[9, 9, 8\] \(1 px\)"):
        record.mask.load((8, 10))
    (devkit / "labelmap.txt").write_text("dog=0,64,0\n")
    with pytest.raises(DataError, match=r"labelmap.txt, line 1"):
        read(devkit, use="masks")


def test_names_of_a_source(devkit: Path) -> None:
    (devkit / "Annotations/a.xml").write_text(an_xml(an_object("unicorn")))
    (record,) = read(devkit, LabelSpace(("unicorn",)), use="boxes", names=["dragon", "unicorn"])
    assert record.boxes is not None
    assert record.boxes.labels.tolist() == [0]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param("a\n\nb\n", ["a", "b"], id="plain"),
        pytest.param("a  1\nb -1\nc  0\n", ["a", "c"], id="list of one class"),
    ],
)
def test_lists(devkit: Path, text: str, names: list[str]) -> None:
    (devkit / "ImageSets/Main/cat_train.txt").write_text(text)
    for name in "abc":
        Image.new("RGB", (10, 8)).save(devkit / f"JPEGImages/{name}.png")
        (devkit / f"Annotations/{name}.xml").write_text(an_xml())
    assert [record.name for record in read(devkit, use="boxes", list="cat_train")] == names


@pytest.mark.parametrize(("text", "where"), [("", "x.txt"), ("a\na\n", "x.txt, line 2")])
def test_bad_lists(devkit: Path, text: str, where: str) -> None:
    (devkit / "ImageSets/Main/x.txt").write_text(text)
    with pytest.raises(DataError) as caught:
        read(devkit, use="boxes", list="x")
    assert caught.value.where.endswith(where)


def test_all_problems_are_collected(devkit: Path) -> None:
    (devkit / "ImageSets/Main/train.txt").write_text("a\nb\nc\n")
    problems = Problems()
    assert [record.name for record in read(devkit, problems=problems, use="boxes")] == ["a"]
    assert [
        error.where.endswith(f"train.txt, line {line}") for error, line in zip(problems.errors, (2, 3), strict=True)
    ]


numbers = st.floats(-50, 50, allow_nan=False)


@given(x1=numbers, y1=numbers, w=st.floats(0.01, 60), h=st.floats(0.01, 60))
def test_a_clipped_box_is_the_intersection_with_its_image(x1: float, y1: float, w: float, h: float) -> None:
    box, size = (x1, y1, x1 + w, y1 + h), (20, 30)
    overlap = max(0, min(box[2], 30) - max(x1, 0)) * max(0, min(box[3], 20) - max(y1, 0))
    try:
        left, top, right, bottom = clip_box(box, size, "here")
    except DataError:
        assert overlap == 0
        return
    assert 0 <= left < right <= 30
    assert 0 <= top < bottom <= 20
    assert (right - left) * (bottom - top) == pytest.approx(overlap)
    assert clip_box((left, top, right, bottom), size, "here") == (left, top, right, bottom)


def test_voc6(shared_data: Path) -> None:
    root = shared_data / "voc6" / "VOC2012"
    space = LabelSpace(("cat", "cow", "dog", "horse", "sheep", "person"))
    ids = (root / "ImageSets/Main/train_boxes.txt").read_text().split()
    text = "".join((root / f"Annotations/{name}.xml").read_text() for name in ids)
    expected = [len(re.findall(rf"<object>\s*<name>{name}</name>", text)) for name in space.names]
    records = read(root, space, use="boxes", list="train_boxes")
    assert [record.name for record in records] == ids
    labels = np.concatenate([record.boxes.labels for record in records if record.boxes is not None])
    assert np.bincount(labels).tolist() == expected
    # palette indices of the development kit, read without this package
    record = next(record for record in read(root, space, use="masks", list="val") if record.name.startswith("2007"))
    stored = np.asarray(Image.open(root / f"SegmentationClass/{record.name}.png"))
    assert record.mask is not None
    expected_mask = np.zeros_like(stored)
    for index, value in {8: 1, 10: 2, 12: 3, 13: 4, 17: 5, 15: 6, 255: 255}.items():
        expected_mask[stored == index] = value
    np.testing.assert_array_equal(record.mask.load(stored.shape), expected_mask)


def test_names_with_spaces_in_lists(tmp_path: Path) -> None:
    names = ["a cow", "cow 1", "plain"]
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Main"):
        (tmp_path / folder).mkdir(parents=True)
    for name in names:
        Image.new("RGB", (4, 4)).save(tmp_path / "JPEGImages" / f"{name}.jpg")
        Image.new("L", (4, 4)).save(tmp_path / "SegmentationClass" / f"{name}.png")
    for content, expected in {
        "a cow\ncow 1\nplain\n": names,
        "a cow  1\ncow 1 -1\nplain  0\n": ["a cow", "plain"],
    }.items():
        (tmp_path / "ImageSets/Main/some.txt").write_text(content)
        data = tmp_path / "data.yaml"
        data.write_text("classes: [cow]\ntrain: [{format: voc, root: ., list: some, use: masks}]\n")
        file = load_data_file(data)
        assert [record.name for record in read_split(file, "train", label_space(file)).records] == expected
