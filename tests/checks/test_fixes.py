from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from defects import DEFECTS, MASK, PLAIN, ROWS, Damage, both, coco, mask, put, replace
from PIL import Image

Findings = Callable[..., dict[str, Any]]
Command = Callable[..., Any]
Copy = Callable[[str], Path]


def written_again(root: Path) -> None:
    """The list without the line that is named; the JSON exported anew."""
    listed = root / "voc/ImageSets/Main/train.txt"
    if listed.exists():
        listed.write_text("".join(listed.read_text().splitlines(keepends=True)[:-1]))
    else:
        shutil.copy(root / "coco/train.json", root / "coco/val.json")


# nobody but a person can mend these: code → what the fix tells them to do, done
BY_HAND: dict[str, tuple[str, Damage]] = {
    "category-id-duplicate": ("give each its own id", coco(lambda c: c["categories"][-1].update(id=91))),
    "box-without-pixels": ("correct", replace("data.yaml", "train, use: both", "train, use: boxes")),
    "component-without-box": ("`use: masks`", replace("data.yaml", "root: yolo, use: both", "root: yolo, use: masks")),
    "mask-binary": ("give it its class's value", mask(PLAIN, lambda pixels: pixels // 255)),
    "class-spelling": ("give them one name", replace("data.yaml", "[Starfish", "[starfish")),
    "source-unreadable": ("remove this line|export the file again", written_again),
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def typed(bombo_command: Command) -> Callable[[str], Any]:
    """Types a command as it was printed."""

    def run(command: str) -> Any:
        name, *words = shlex.split(command)
        assert name == "bombo"
        return bombo_command(*words)

    return run


@pytest.mark.parametrize(("form", "damage", "code"), [row[:3] for row in DEFECTS.values()], ids=DEFECTS)
def test_the_printed_fix_mends(
    form: str, damage: Damage, code: str, copy: Copy, findings: Findings, typed: Callable[[str], Any]
) -> None:
    data = copy(form)
    damage(data.parent)
    found = findings(data)[code]
    if "--repair" in found["command"]:
        ended = typed(found["command"])
        assert ended.code == 0
        fixed = Path(re.search(r"bombo train --data (\S+)", ended.out)[1])  # type: ignore[index]
        after = findings(fixed)
        assert code not in after
        assert not [name for name, finding in after.items() if finding["severity"] == "error"]
        assert code in findings(data)  # the source is as it was
    elif "--out" in found["command"]:
        typed(found["command"])
        assert found["examples"][0] in Path("check.json").read_text()
    elif code in BY_HAND:
        says, mend = BY_HAND[code]
        assert re.search(says, found["fix"])
        mend(data.parent)
        assert code not in findings(data)
    else:
        assert found["severity"] == "note" or re.search("`classes: ", found["fix"])


def binary(pixels: np.ndarray) -> np.ndarray:
    return ((pixels > 0) * 255).astype(np.uint8)


def every_mask(change: Callable[[np.ndarray], np.ndarray]) -> Damage:
    return both(*(mask(f"folder/train/masks/{number}.png", change) for number in range(6)))


def one_class(data: Path) -> None:
    data.write_text(re.sub(r"names: \[.*?\]", "names: [starfish]", data.read_text(), count=1))


def coloured(pixels: np.ndarray) -> np.ndarray:
    return np.stack((pixels * 20, pixels, pixels), -1)


def named_by_colour(data: Path) -> None:
    """Training masks are said to hold colours, and hold values."""
    content = yaml.safe_load(data.read_text())
    source = content["train"][0]
    source["colours"] = {name: [value, 9, 9] for value, name in enumerate(source.pop("names"), start=1)}
    data.write_text(yaml.safe_dump(content))


# what the fix says to write: name: format, damage, code
LINES: dict[str, tuple[str, Damage, str]] = {
    "values without a name": ("folder", mask(PLAIN, lambda m: put(77, 3)(put(99, 1)(m)[::-1])), "mask-value"),
    "values outside the YOLO names": ("yolo", mask("yolo/masks/val/val_00001.png", put(60)), "mask-value"),
    "a colour outside the label map": (
        "voc", mask(MASK, lambda m: put(np.array((9, 8, 7)))(np.zeros((64, 64, 3), np.uint8))), "mask-value",
    ),
    "all masks are 0 and 255": (
        "folder", lambda r: both(every_mask(binary), lambda root: one_class(root / "data.yaml"))(r), "mask-255-unsaid",
    ),
    "all masks are 0 and 255, of several classes": ("folder", every_mask(binary), "mask-binary"),
    "all masks hold colours": ("folder", every_mask(coloured), "mask-colours"),
    "all masks hold values": ("folder", lambda r: named_by_colour(r / "data.yaml"), "mask-values"),
    "a class that nothing shows": (
        "coco", coco(lambda c: c["categories"].append({"id": 90, "name": "whale: blue"})), "class-without-annotation",
    ),
    "a class without boxes": (
        "coco", coco(lambda c: c.update(annotations=[a for a in c["annotations"] if a["category_id"] != 3])),
        "class-without-annotation",
    ),
    "stuff that nobody called so": ("folder", replace("data.yaml", "stuff: [water]\n", ""), "class-without-boxes"),
    "a category that is not named": (
        "coco", coco(lambda c: c["annotations"][0].update(category_id=77)), "annotation-without-category",
    ),
}  # fmt: skip


def write(fix: str, data: Path) -> None:
    """Writes the first line of a fix to where the fix says."""
    if entry := re.search(r"(\{.*\})  to `categories` in (\S+);", fix):
        path = Path(entry[2])
        content = json.loads(path.read_text())
        content["categories"].append(json.loads(entry[1]))
        path.write_text(json.dumps(content))
        return
    if row := re.search(r"the line `(.*?)` in (\S+) \(", fix):
        with Path(row[2]).open("a") as file:
            file.write(row[1] + "\n")
        return
    line = re.search(r"`(\w+: [\[{].*?)`", fix)
    assert line is not None, fix
    new = yaml.safe_load(line[1])
    path = Path(named[1]) if (named := re.search(r"` in (\S+\.yaml) \(", fix)) else data
    content = yaml.safe_load(path.read_text())
    target = content
    if place := re.search(r"(train|val|test)\[(\d+)\]", fix):
        target = content[place[1]][int(place[2])]
    if old := re.search("in place of `(\\w+)`", fix):
        del target[old[1]]
    target.update(new)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


@pytest.mark.parametrize(("form", "damage", "code"), LINES.values(), ids=LINES)
def test_the_printed_line_mends(form: str, damage: Damage, code: str, copy: Copy, findings: Findings) -> None:
    data = copy(form)
    damage(data.parent)
    fix = findings(data)[code]["fix"]
    write(fix, data)
    after = findings(data)
    assert code not in after
    assert not [name for name, finding in after.items() if finding["severity"] == "error"]


def boxes_of(data: Path, image: str) -> list[list[float]]:
    content = json.loads((data.parent / "annotations/instances_train.json").read_text())
    number = next(entry["id"] for entry in content["images"] if entry["file_name"].startswith(image))
    return [item["bbox"] for item in content["annotations"] if item["image_id"] == number]


# how the first box [x, y, width, height] is spoilt; the repair knows the true one by its outline, or by the numbers
SPOILT: dict[str, Callable[[list[float]], list[float]]] = {
    "swapped": lambda b: [b[0] + b[2], b[1] + b[3], -b[2], -b[3]],
    "in shares": lambda b: [value / 64 for value in b],
    "no area": lambda b: [b[0], b[1], 0, b[3]],
    "outside": lambda b: [b[0] + 100, *b[1:]],
    "not finite": lambda b: [float("nan"), *b[1:]],
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_the_repaired_box_is_the_true_one(
    spoil: Callable[[list[float]], list[float]], copy: Copy, bombo_command: Command
) -> None:
    data = copy("coco")
    bombo_command("convert", data, "before", "--to", "coco")
    coco(lambda c: c["annotations"][0].update(bbox=spoil(c["annotations"][0]["bbox"])))(data.parent)
    assert bombo_command("convert", data, "after", "--to", "coco", "--repair").code == 0
    true, made = (boxes_of(Path(folder) / "data.yaml", "train_00000") for folder in ("before", "after"))
    assert len(made) == len(true)
    np.testing.assert_allclose(made, true, atol=1.01)


def test_an_outline_that_may_not_be_read_gives_no_box(copy: Copy, bombo_command: Command) -> None:
    data = copy("coco")
    replace("data.yaml", "train.json, use: both", "train.json, use: boxes")(data.parent)
    bombo_command("convert", data, "before", "--to", "coco")
    coco(lambda c: c["annotations"][0]["bbox"].__setitem__(2, 0))(data.parent)
    assert bombo_command("convert", data, "after", "--to", "coco", "--repair").code == 0
    true, made = (boxes_of(Path(folder) / "data.yaml", "train_00000") for folder in ("before", "after"))
    assert made == true[1:]


def rows_of(root: Path, image: str = "train_00000") -> list[list[float]]:
    return [list(map(float, row.split())) for row in (root / f"labels/train/{image}.txt").read_text().splitlines()]


def test_rows_in_pixels_become_shares(copy: Copy, bombo_command: Command) -> None:
    data = copy("yolo")
    bombo_command("convert", data, "before", "--to", "yolo")
    file = data.parent / ROWS
    rows = [row.split() for row in file.read_text().splitlines()]
    file.write_text("\n".join(" ".join((name, *(str(64 * float(n)) for n in rest))) for name, *rest in rows))
    assert bombo_command("convert", data, "after", "--to", "yolo", "--repair").code == 0
    for one, other in zip(rows_of(Path("before")), rows_of(Path("after")), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6)


def test_masks_of_the_same_shape_are_resized_and_renumbered_ones_get_their_values_back(
    copy: Copy, bombo_command: Command
) -> None:
    data = copy("voc")
    masks = data.parent / "voc/SegmentationClass"
    with Image.open(masks / "train_00000.png") as image:
        true, colours = np.array(image), image.getpalette()
        image.resize((128, 128), Image.Resampling.NEAREST).save(masks / "train_00000.png")
    with Image.open(masks / "train_00001.png") as image:
        other = np.array(image)
    used = np.unique(other[(other > 0) & (other < 255)])
    assert colours is not None
    small = Image.fromarray(np.searchsorted(np.array([0, *used]), other).astype(np.uint8))
    small.putpalette(colours[:3] + [part for value in used for part in colours[3 * value : 3 * value + 3]])
    small.save(masks / "train_00001.png")
    assert bombo_command("convert", data, "fixed", "--to", "voc", "--repair").code == 0
    for name, expected in (("train_00000", true), ("train_00001", other)):
        with Image.open(f"fixed/SegmentationClass/{name}.png") as image:
            np.testing.assert_array_equal(np.array(image), expected)


def test_boxes_of_one_source_and_masks_of_another_become_one_image(copy: Copy, bombo_command: Command) -> None:
    data = copy("voc")
    halves = "use: boxes}, {format: voc, root: voc, list: train, use: masks}]"
    replace("data.yaml", "use: both}]", halves)(data.parent)
    assert bombo_command("convert", data, "fixed", "--to", "voc", "--repair").code == 0
    fixed = yaml.safe_load(Path("fixed/data.yaml").read_text())
    assert [source["use"] for source in fixed["train"]] == ["both"]
    assert len(Path("fixed/ImageSets/Main/train.txt").read_text().splitlines()) == 6


@pytest.mark.parametrize(("orientation", "size"), [(6, (48, 64)), (3, (64, 64))], ids=["as annotated", "as shown"])
def test_turned_images_are_saved_as_their_annotation_means_them(
    orientation: int, size: tuple[int, int], copy: Copy, bombo_command: Command
) -> None:
    data = copy("coco")
    path = data.parent / "coco/images/train_00000.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(path) as image:
        image.resize(size).save(path, exif=exif)

    def small(content: dict[str, Any]) -> None:
        content["images"][0].update(width=size[0], height=size[1])
        mine = [item for item in content["annotations"] if item["image_id"] == content["images"][0]["id"]]
        for item in mine:
            item.update(segmentation=[[1, 1, 9, 1, 9, 9]], bbox=[1, 1, 8, 8])

    coco(small)(data.parent)
    assert bombo_command("convert", data, "fixed", "--to", "coco", "--repair").code == 0
    with Image.open(path) as before, Image.open("fixed/images/train_00000.png") as after:
        stored = np.asarray(before.convert("RGB"))
        np.testing.assert_array_equal(np.asarray(after), stored if orientation == 6 else stored[::-1, ::-1])


def test_paths_with_spaces_can_be_pasted(copy: Copy, findings: Findings, typed: Callable[[str], Any]) -> None:
    data = copy("coco")
    coco(lambda c: c["annotations"][0].update(bbox=[30, 30, 0, 5]))(data.parent)
    odd = data.rename(data.with_name("my pets; $x.yaml"))
    command = findings(odd)["box-degenerate"]["command"]
    Path("my pets; $x-fixed").mkdir()
    second = findings(odd)["box-degenerate"]["command"]
    assert (typed(command).code, typed(second).code) == (0, 0)
    assert "box-degenerate" not in findings(Path("my pets; $x-fixed/data.yaml"))


def test_a_json_cannot_hold_a_repair(copy: Copy, bombo_command: Command) -> None:
    ended = bombo_command("convert", copy("coco"), "fixed.json", "--split", "val", "--repair")
    assert ended.code == 2
    assert "--to coco" in ended.err
