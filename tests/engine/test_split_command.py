from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import bombo
from bombo.data.data_file import DataSet, label_space, load_data_file, read_split
from bombo.data.scenes import make_scene
from bombo.data.writers import write_coco, write_voc, write_yolo
from bombo.engine.split import describe
from bombo.errors import BomboError, ConfigError, DataError

SCENES = {
    "train": [make_scene(seed, 48, objects=(1, 3)) for seed in range(12)],
    "val": [make_scene(seed, 48, objects=(1, 3)) for seed in range(20, 22)],
}
VOC = """\
stuff: [water]
train: [{format: voc, root: voc, list: train, use: both}]
val: [{format: voc, root: voc, list: val, use: both}]
"""
COCO = """\
train: [{format: coco, root: coco, annotations: train.json, use: both}]
val: [{format: coco, root: coco, annotations: val.json, use: both}]
"""
YOLO = """\
stuff: [water]
train: [{format: yolo, root: yolo, use: both}]
val: [{format: yolo, root: yolo, use: both}]
"""
FORMATS: dict[str, tuple[str, Callable[..., None]]] = {
    "voc": (VOC, write_voc),
    "coco": (COCO, write_coco),
    "yolo": (YOLO, write_yolo),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    for name, (_, write) in FORMATS.items():
        write(SCENES, root / name)
    return root


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    """The same scenes in three formats, and a data file for the devkit."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    path = str(tmp_path / "yolo")
    described = yaml.safe_load((tmp_path / "yolo/data.yaml").read_text())
    (tmp_path / "yolo/data.yaml").write_text(yaml.safe_dump({**described, "path": path}, sort_keys=False))
    (tmp_path / "all.yaml").write_text(VOC)
    return tmp_path


def read(path: Path, part: str = "train") -> DataSet:
    file = load_data_file(path)
    return read_split(file, part, label_space(file))  # type: ignore[arg-type]


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def stems(names: list[str]) -> list[str]:
    return [Path(name).stem for name in names]


@pytest.mark.parametrize("name", FORMATS)
def test_every_image_keeps_one_annotation(root: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (root / "all.yaml").write_text(FORMATS[name][0])
    facts = bombo.split(root / "all.yaml", root / "partial", seed=3)
    boxes, masks = lines(root / "partial/train_boxes.txt"), lines(root / "partial/train_masks.txt")
    assert len(boxes) == len(masks) == 6
    assert sorted(stems(boxes + masks)) == [f"train_{i:05d}" for i in range(12)]
    about = json.loads((root / "partial/split.json").read_text())
    assert about["seed"] == facts["seed"] == 3
    part = {"folder": str(root / "partial"), "digest": about["digest"], "images": {"boxes": 6, "masks": 6}}
    assert facts["parts"] == [{**part, "left_out": 0, "skipped": 0}]

    (root / "elsewhere").mkdir()
    monkeypatch.chdir(root / "elsewhere")
    data = Path("../partial/data.yaml")
    before, after = load_data_file(root / "all.yaml"), load_data_file(data)
    assert label_space(after) == label_space(before)
    records = read(data).records
    assert [(record.kind, record.name) for record in records] == [
        *(("boxes", stem) for stem in stems(boxes)),
        *(("masks", stem) for stem in stems(masks)),
    ]
    assert sorted(record.name for record in read(data, "val").records) == ["val_00000", "val_00001"]
    for record in records:
        if record.mask is not None:
            assert record.mask.load((48, 48)).max() > 0


def test_counts_of_every_class_are_stored(root: Path) -> None:
    bombo.split(root / "all.yaml", root / "partial")
    stored = json.loads((root / "partial/split.json").read_text())["images_per_class"]
    space, found = label_space(load_data_file(root / "all.yaml")), read(root / "all.yaml").records
    assert [*stored] == [*space.names]
    for kind in ("boxes", "masks"):
        names = {*lines(root / f"partial/train_{kind}.txt")}
        for label, name in enumerate(space.names):
            having = 0
            for record in found:
                assert record.boxes is not None
                assert record.mask is not None
                having += record.name in names and (record.mask.load((48, 48)) == label + 1).any()
            assert stored[name][kind] == having  # the scenes' boxes and masks agree, so masks are an oracle for both
    water = stored["water"]
    assert water["boxes"] + water["masks"] > 2
    assert abs(water["boxes"] - water["masks"]) <= 1  # stratified by stuff, too


def test_same_seed_same_split(root: Path) -> None:
    first, again, other = (
        bombo.split(root / "all.yaml", root / f"out{i}", seed=seed)["parts"][0]["digest"]
        for i, seed in enumerate((0, 0, 1))
    )
    assert first == again != other


def test_fraction(root: Path) -> None:
    facts = bombo.split(root / "all.yaml", root / "partial", fraction=0.25)
    assert facts["parts"][0]["images"] == {"boxes": 3, "masks": 9}
    for fraction, message in ((0.0, "between 0 and 1"), (1.5, "between 0 and 1"), (0.01, "leaves one part without")):
        with pytest.raises(ConfigError, match=message):
            bombo.split(root / "all.yaml", root / "other", fraction=fraction)
    assert not (root / "other").exists()


def test_lists_of_the_same_name_in_the_devkit_do_not_get_in_the_way(root: Path) -> None:
    (root / "voc/ImageSets/Main/train_boxes.txt").write_text("train_00000\n")
    bombo.split(root / "all.yaml", root / "partial")
    assert sum(record.kind == "boxes" for record in read(root / "partial/data.yaml").records) == 6


def test_settings_of_the_data_file_are_kept(root: Path) -> None:
    names = label_space(load_data_file(root / "all.yaml")).things
    text = f"classes: [{names[1]}, {names[0]}]\nothers: void\nstuff: [water]\n" + VOC.partition("\n")[2]
    (root / "all.yaml").write_text(text + "test: [{format: coco, root: coco, annotations: val.json, use: boxes}]\n")
    bombo.split(root / "all.yaml", root / "partial")
    before, after = load_data_file(root / "all.yaml"), load_data_file(root / "partial/data.yaml")
    assert label_space(after) == label_space(before)
    assert label_space(after).others == "void"
    assert [record.kind for record in read(root / "partial/data.yaml", "test").records] == ["boxes", "boxes"]


def test_several_sources(root: Path) -> None:
    sources = [
        "{format: voc, root: voc, list: train, use: both}",
        "{format: coco, root: coco, annotations: val.json, use: masks, list: }",
        "{format: coco, root: coco, annotations: train.json, use: both}",
        "{format: folder, root: ., images: voc/JPEGImages, masks: voc/SegmentationClass, use: masks, list: mine.txt, "
        "colours: {water: [1, 2, 3]}}",
    ]
    (root / "mine.txt").write_text("val_00001\n")
    (root / "all.yaml").write_text("train:\n" + "".join(f"  - {source}\n" for source in sources))
    facts = bombo.split(root / "all.yaml", root / "partial")
    assert [part["folder"] for part in facts["parts"]] == [str(root / "partial" / number) for number in ("0", "2")]
    records = read(root / "partial/data.yaml").records
    kinds = ["boxes"] * 6 + ["masks"] * 6 + ["masks"] * 2 + ["boxes"] * 6 + ["masks"] * 6 + ["masks"]
    assert [record.kind for record in records] == kinds
    for number, (first, last) in {"0": (0, 12), "2": (14, 26)}.items():
        listed = [name for kind in ("boxes", "masks") for name in lines(root / f"partial/{number}/train_{kind}.txt")]
        assert [record.image.stem for record in records[first:last]] == stems(listed)
    with pytest.raises(ConfigError, match="lists for one source at a time"):
        bombo.split(root / "all.yaml", root / "x", boxes_list=root / "mine.txt", masks_list=root / "mine.txt")


def test_existing_lists(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    Path("a.txt").write_text("train_00003\ntrain_00001\n\n")
    Path("b.txt").write_text("train_00007\n")
    facts = bombo.split("all.yaml", "partial", boxes_list="a.txt", masks_list="b.txt")
    assert facts["seed"] is None
    assert facts["parts"][0]["images"] == {"boxes": 2, "masks": 1}
    assert facts["parts"][0]["left_out"] == 9
    assert "2 images with boxes only, 1 with masks only, 9 in neither list" in describe(facts)
    assert [(record.kind, record.name) for record in read(Path("partial/data.yaml")).records] == [
        ("boxes", "train_00001"),
        ("boxes", "train_00003"),
        ("masks", "train_00007"),
    ]


@pytest.mark.parametrize(
    ("boxes", "masks", "message"),
    [
        ("train_00003\n", "train_00003\n", "in both lists"),
        ("train_00003\nnobody\n", "train_00001\n", "'nobody' cannot be found among the 12 images"),
        ("train_00003\n", "", r"b\.txt: the list is empty"),
        ("train_00003\ntrain_00003\n", "train_00001\n", r"a\.txt, line 2: 'train_00003' is listed twice"),
        ("train_00003\n", None, r"b\.txt: file is missing"),
    ],
    ids=["overlap", "unknown", "empty", "twice", "missing"],
)
def test_bad_existing_lists(root: Path, boxes: str, masks: str | None, message: str) -> None:
    (root / "a.txt").write_text(boxes)
    if masks is not None:
        (root / "b.txt").write_text(masks)
    with pytest.raises(DataError, match=message):
        bombo.split(root / "all.yaml", root / "partial", boxes_list=root / "a.txt", masks_list=root / "b.txt")
    assert not (root / "partial").exists()


def test_one_list_is_no_split(root: Path) -> None:
    with pytest.raises(ConfigError, match="one list alone is no split"):
        bombo.split(root / "all.yaml", root / "partial", boxes_list=root / "a.txt")


def test_nothing_to_cut(root: Path) -> None:
    (root / "all.yaml").write_text(VOC.replace("both", "boxes"))
    with pytest.raises(ConfigError, match="no training source has `use: both`"):
        bombo.split(root / "all.yaml", root / "partial")


@pytest.mark.parametrize("taken", ["data.yaml", "train_boxes.txt", "split.json"])
def test_never_overwrites(root: Path, taken: str) -> None:
    (root / "partial").mkdir()
    (root / "partial" / taken).write_text("precious")
    with pytest.raises(BomboError, match=f"{taken} exists already and is not overwritten"):
        bombo.split(root / "all.yaml", root / "partial")
    assert [path.name for path in (root / "partial").iterdir()] == [taken]
    assert (root / "partial" / taken).read_text() == "precious"


def test_a_data_file_is_not_overwritten_by_its_own_split(root: Path) -> None:
    (root / "all.yaml").rename(root / "data.yaml")
    with pytest.raises(BomboError, match=r"data\.yaml exists already"):
        bombo.split(root / "data.yaml", root)
    assert (root / "data.yaml").read_text() == VOC


def test_folders_behind_links(root: Path) -> None:
    (root / "disk/deep/down").mkdir(parents=True)
    (root / "disk/voc").symlink_to(root / "voc")
    (root / "work").mkdir()
    (root / "work/partial").symlink_to(root / "disk/deep/down")
    (root / "work/all.yaml").write_text(VOC.replace("root: voc", "root: ../disk/voc"))
    bombo.split(root / "work/all.yaml", root / "work/partial")
    for data in ("work/partial/data.yaml", "disk/deep/down/data.yaml"):
        assert len(read(root / data).records) == 12
        assert len(read(root / data, "val").records) == 2


def test_bad_files(root: Path) -> None:
    (root / "voc/Annotations/train_00002.xml").write_text("<annotation>")
    (root / "voc/SegmentationClass/train_00004.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"train_00002\.xml(.|\n)*--skip-bad"):
        bombo.split(root / "all.yaml", root / "partial")
    assert not (root / "partial").exists()
    facts = bombo.split(root / "all.yaml", root / "partial", skip_bad=True)
    assert facts["parts"][0]["images"] == {"boxes": 5, "masks": 5}
    assert facts["parts"][0]["skipped"] == 2
    assert "2 cannot be used (skipped.json)" in describe(facts)
    listed = [
        Path(entry["file"].partition(",")[0]).name for entry in json.loads((root / "partial/skipped.json").read_text())
    ]
    assert listed == ["train_00002.xml", "train_00004.png"]
    assert {record.name for record in read(root / "partial/data.yaml").records}.isdisjoint(
        {"train_00002", "train_00004"}
    )


def test_command_line(root: Path, monkeypatch: pytest.MonkeyPatch, bombo_command: Callable[..., Any]) -> None:
    (root / "elsewhere").mkdir()
    monkeypatch.chdir(root / "elsewhere")
    told = bombo_command("split", "../all.yaml", "--out", "../partial", "--seed", 3, "--fraction", 0.25)
    assert told.code == 0
    assert "../partial: 3 images with boxes only, 9 with masks only     split " in told.out
    assert told.out.endswith("bombo train --data ../partial/data.yaml\n")
    ended = bombo_command("split", "../all.yaml", "--out", "../again", "--seed", 3, "--fraction", 0.25, "--json")
    facts = bombo.split("../all.yaml", "../direct", seed=3, fraction=0.25)
    assert json.loads(ended.out)["parts"][0]["digest"] == facts["parts"][0]["digest"]
    refused = bombo_command("split", "../all.yaml", "--out", "../partial")
    assert refused.code == 1
    assert refused.err.startswith("bombo: ../partial: data.yaml exists already")
