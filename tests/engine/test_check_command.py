from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

import bombo
from bombo.checks import examine
from bombo.checks.source import read_part
from bombo.data.data_file import label_space, load_data_file
from bombo.errors import BomboError, ConfigError, DataError

Run = Callable[..., Any]


@pytest.fixture
def data(world: Path, tmp_path: Path) -> Path:
    """A copy of the world that may be damaged."""
    shutil.copytree(world.parent, tmp_path / "world")
    return tmp_path / "world" / world.name


@pytest.fixture
def clipped(data: Path) -> Path:
    """One warning: a box reaches over the edge."""
    xml = data.parent / "devkit/Annotations/train_boxes_00000.xml"
    box = "<bndbox><xmin>40</xmin><ymin>40</ymin><xmax>80</xmax><ymax>60</ymax></bndbox>"
    xml.write_text(
        xml.read_text().replace("</annotation>", f"<object><name>starfish</name>{box}</object></annotation>")
    )
    return data


@pytest.fixture
def damaged(clipped: Path) -> Path:
    """An error as well: a list names an image that is not there."""
    (clipped.parent / "devkit/JPEGImages/val_00000.jpg").unlink()
    return clipped


def test_a_sound_data_set(data: Path, bombo_command: Run) -> None:
    ended = bombo_command("check", data, "--strict")
    lines = ended.out.splitlines()
    assert ended.code == 0
    assert ended.err == ""
    assert lines[0].startswith(f"checked   {data}: 12 images in ")
    assert lines[0].endswith(" images/s)")
    assert "train     8 images: boxes only 4 · masks only 4 · both 0" in lines
    assert "val       4 images: boxes only 0 · masks only 0 · both 4" in lines
    assert lines[-1] == f"next      bombo train --data {data}"


def test_a_damaged_one_names_file_remedy_and_what_to_type(damaged: Path, bombo_command: Run) -> None:
    ended = bombo_command("check", damaged)
    assert ended.code == 1
    for said in (
        "val       3 images: boxes only 0 · masks only 0 · both 3",
        "ERROR     1 file is missing  [file-missing]",
        "JPEGImages/val_00000.jpg is missing",
        "WARNING   1 box reaches outside its image  [box-clipped]",
        "starfish (40, 40, 80, 60) reaches 16 px outside 64 × 64",
        "fix: restore it, or take it off the list",
        "result    1 error, 1 warning",
        f"next      bombo convert {damaged} data-fixed --to voc --repair",
    ):
        assert said in ended.out
    assert ended.out.index("ERROR") < ended.out.index("WARNING")


@pytest.mark.parametrize("strict", [[], ["--strict"]])
def test_strict_makes_warnings_errors(strict: list[str], clipped: Path, bombo_command: Run) -> None:
    ended = bombo_command("check", clipped, *strict)
    assert ended.code == len(strict)
    assert ("warnings count as errors" in ended.out) == bool(strict)


def test_python_says_what_the_command_line_says(damaged: Path, bombo_command: Run) -> None:
    report = bombo.check(damaged)
    printed = json.loads(bombo_command("check", damaged, "--json").out)
    spoken = report.to_json()
    for timed in ("seconds", "images_per_second"):
        assert printed.pop(timed) > 0
        spoken.pop(timed)
    assert printed == json.loads(json.dumps(spoken))
    assert report.exit_code == printed["exit_code"] == 1


def test_counts_are_those_of_the_records(data: Path) -> None:
    file = load_data_file(data)
    space = label_space(file)
    report = bombo.check(data)
    for split in ("train", "val"):
        records = bombo.data.data_file.read_split(file, split, space).records  # type: ignore[attr-defined]
        boxes = [label for record in records if record.boxes is not None for label in record.boxes.labels.tolist()]
        assert report.counts[split].boxes.tolist() == [boxes.count(label) for label in range(len(space.names))]
        masks = [record.mask.load((64, 64)) for record in records if record.mask is not None]
        with_pixels = [sum((mask == value).any() for mask in masks) for value in range(1, len(space.names) + 1)]
        assert report.counts[split].images_with_pixels.tolist() == with_pixels


def test_the_file_holds_every_example(data: Path, tmp_path: Path, bombo_command: Run) -> None:
    for mask in sorted((data.parent / "devkit/SegmentationClass").glob("train_masks_*.png")):
        mask.write_bytes(mask.read_bytes()[:100])
    out = tmp_path / "new/check.json"
    ended = bombo_command("check", data, out=out)
    (finding,) = [f for f in json.loads(out.read_text())["findings"] if f["code"] == "mask-unreadable"]
    assert finding["count"] == len(finding["examples"]) == 4
    assert "and 1 more (--out lists them)" in ended.out
    assert finding["examples"][3] not in ended.out
    assert f"bombo check {data} --out check.json     lists every file" in ended.out


def test_a_report_is_replaced_and_nothing_else(clipped: Path, tmp_path: Path, bombo_command: Run) -> None:
    out = tmp_path / "check.json"
    for _ in range(2):
        assert bombo_command("check", clipped, out=out).code == 0
    out.write_text('{"my": "notes"}')
    ended = bombo_command("check", clipped, out=out)
    assert ended.code == 2
    assert "is no report of a check" in ended.err
    assert out.read_text() == '{"my": "notes"}'


WRONG = {
    "no such file": (lambda data: data.with_name("pets.yaml"), "file is missing"),
    "unknown key": (lambda data: data.write_text("trian: []") and data, "Did you mean `train`?"),
}


@pytest.mark.parametrize(("spoil", "says"), WRONG.values(), ids=WRONG)
def test_wrong_use_ends_with_2(spoil: Callable[[Path], Path], says: str, data: Path, bombo_command: Run) -> None:
    ended = bombo_command("check", spoil(data))
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err
    with pytest.raises(ConfigError):
        bombo.check(spoil(data))


def test_without_any_class_the_first_unreadable_file_is_the_error(data: Path) -> None:
    (data.parent / "devkit/labelmap.txt").write_text("starfish is red")
    with pytest.raises(DataError, match=r"labelmap\.txt.*starfish is red"):
        bombo.check(data)


def test_annotation_that_may_not_be_used_is_not_opened(data: Path, bombo_command: Run) -> None:
    devkit = data.parent / "devkit"
    for number in range(4):
        (devkit / f"SegmentationClass/train_boxes_{number:05d}.png").unlink()
        (devkit / f"Annotations/train_masks_{number:05d}.xml").write_text("no XML")
    assert bombo_command("check", data, "--strict").code == 0


def test_tasks_can_be_sent_to_other_processes(data: Path) -> None:
    file = load_data_file(data)
    space = label_space(file)
    tasks = [task for source in file.train for task in read_part(source, "train", space).tasks]
    here = [examine.examine(task, space) for task in tasks]
    there = [pickle.loads(pickle.dumps(examine.examine(*pickle.loads(pickle.dumps((t, space)))))) for t in tasks]
    assert [found.values for found in here] == [found.values for found in there]
    assert [found.print.content for found in here] == [found.print.content for found in there]  # type: ignore[union-attr]


def test_a_process_that_dies_is_no_traceback(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pool:
        def __init__(self, *_: object, **__: object) -> None: ...

        def __enter__(self) -> Pool:
            return self

        def __exit__(self, *_: object) -> None: ...

        def map(self, *_: object, **__: object) -> object:
            raise BrokenProcessPool

        def shutdown(self, **_: object) -> None: ...

    monkeypatch.setattr(examine, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(examine, "_WORTH_PROCESSES", 1)
    monkeypatch.setattr(examine, "_processes", lambda: 2)
    with pytest.raises(BomboError, match="__main__"):
        bombo.check(data)


def test_real_images(shared_data: Path, tmp_path: Path, bombo_command: Run) -> None:
    source = f"{{format: voc, root: {shared_data}/voc20/VOC2012, list: smoke_val, use: both}}"
    (tmp_path / "data.yaml").write_text(f"train: [{source}]\n")
    ended = bombo_command("check", tmp_path / "data.yaml", "--json")
    report = json.loads(ended.out)
    assert ended.code == 0
    assert report["images"] == report["lists"]["train"]["images"]["both"] == 40
    assert {finding["code"] for finding in report["findings"]} >= {"image-unlisted"}
    assert report["images_per_second"] > 0
