from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest

import bombo
from bombo.data.data_file import label_space, load_data_file, read_split
from bombo.data.sample import Sample
from bombo.engine.evaluate import Evaluation, measure
from bombo.engine.model import Model
from bombo.errors import BomboError, ConfigError, DataError

CPU = {"device": "cpu", "precision": "32", "workers": 0}
DETECTION = {"mAP50-95", "mAP50", "mAP75", "mAP_small", "mAP_medium", "mAP_large", "VOC_AP50", "VOC07_AP50"}
SEGMENTATION = {"mIoU", "IoU_background", "pixel_accuracy"}


def same_figures(one: dict[str, float], other: dict[str, float], names: set[str]) -> bool:
    return all(one[name] == other[name] or (math.isnan(one[name]) and math.isnan(other[name])) for name in names)


@pytest.fixture(scope="module")
def evaluation(trained: Path, world: Path) -> Evaluation:
    return bombo.evaluate(trained, data=world, **CPU)


def test_everything_is_measured(evaluation: Evaluation) -> None:
    assert evaluation.images == {"detection": 4, "segmentation": 4}
    assert evaluation.figures.keys() == DETECTION | SEGMENTATION
    assert list(evaluation.per_class) == ["starfish", "crab", "turtle", "ball", "fish", "shell", "water"]
    assert evaluation.per_class["crab"].keys() == {"AP50-95", "AP50", "VOC_AP50", "VOC07_AP50", "IoU"}
    assert evaluation.per_class["water"].keys() == {"IoU"}
    for value in evaluation.figures.values():
        assert math.isnan(value) or 0 <= value <= 1
    assert evaluation.figures["pixel_accuracy"] > 0


def test_it_is_what_training_measured_in_the_end(evaluation: Evaluation, trained: Path) -> None:
    logged = json.loads((trained / "metrics.jsonl").read_text().splitlines()[-1])["val"]
    assert logged == evaluation.to_json()


WAYS = {"one by one": {"batch_size": 1}, "all at once": {"batch_size": 99}, "with workers": {"workers": 2}}


@pytest.mark.parametrize("extra", WAYS.values(), ids=WAYS)
def test_the_figures_do_not_depend_on_how_the_images_come(
    extra: dict[str, int], trained: Path, world: Path, evaluation: Evaluation
) -> None:
    other = bombo.evaluate(trained, data=world, **CPU | extra)
    assert other.images == evaluation.images
    for name, value in evaluation.figures.items():
        assert other.figures[name] == pytest.approx(value, abs=1e-4, nan_ok=True), name


def test_a_folder_means_its_best_weights_and_a_file_itself(trained: Path, world: Path, evaluation: Evaluation) -> None:
    assert bombo.evaluate(trained / "best.safetensors", data=world, **CPU).to_json() == evaluation.to_json()


def test_images_count_only_for_the_task_they_are_annotated_for(trained: Path, devkit: Callable[..., Path]) -> None:
    train = [("train_boxes", "boxes")]
    boxes = bombo.evaluate(trained, data=devkit(train=train, val=[("train_boxes", "boxes")]), **CPU)
    masks = bombo.evaluate(trained, data=devkit(train=train, val=[("train_masks", "masks")]), **CPU)
    assert boxes.images == {"detection": 4, "segmentation": 0}
    assert masks.images == {"detection": 0, "segmentation": 4}
    assert all(math.isnan(boxes.figures[name]) for name in SEGMENTATION)
    assert all(math.isnan(masks.figures[name]) for name in DETECTION)
    assert boxes.score == boxes.figures["mAP50-95"]
    assert masks.score == masks.figures["mIoU"]

    val = [("train_boxes", "boxes"), ("train_masks", "masks")]
    mixed = bombo.evaluate(trained, data=devkit(train=train, val=val), **CPU)
    assert mixed.images == {"detection": 4, "segmentation": 4}
    assert same_figures(mixed.figures, boxes.figures, DETECTION)
    assert same_figures(mixed.figures, masks.figures, SEGMENTATION)
    assert mixed.score == pytest.approx((boxes.score + masks.score) / 2)


def test_the_table(trained: Path, world: Path, bombo_command: Any, evaluation: Evaluation) -> None:
    ended = bombo_command("evaluate", trained, data=world, **CPU)
    assert ended.code == 0
    lines = [line.split() for line in ended.out.splitlines()]
    assert lines[0] == ["class", "AP50", "AP50-95", "VOC", "AP50", "IoU"]
    (water,) = [line for line in lines if line[:1] == ["water"]]
    assert water == ["water", f"{100 * evaluation.per_class['water']['IoU']:.1f}"]
    (mean,) = [line for line in lines if line[:1] == ["mean"]]
    assert mean[1] == f"{100 * evaluation.figures['mAP50']:.1f}"
    assert "percent; measured on 4 images with boxes, 4 with masks" in ended.out


def test_json_for_machines(
    trained: Path, world: Path, tmp_path: Path, bombo_command: Any, evaluation: Evaluation
) -> None:
    ended = bombo_command("evaluate", trained, "--json", data=world, out=tmp_path / "new" / "figures.json", **CPU)
    assert json.loads(ended.out) == evaluation.to_json()
    assert json.loads((tmp_path / "new" / "figures.json").read_text()) == evaluation.to_json(details=True)
    assert "NaN" not in ended.out
    assert evaluation.to_json()["figures"]["mAP_large"] is None  # there is no large object at 64 pixels


def test_details_say_where_it_is_good_and_bad(evaluation: Evaluation) -> None:
    details = evaluation.to_json(details=True)
    things = ["starfish", "crab", "turtle", "ball", "fish", "shell"]
    assert details["confusion"]["boxes"]["names"] == [*things, "nothing"]
    assert details["confusion"]["masks"]["names"] == ["background", *things, "water"]
    assert list(details["curves"]) == things
    for name, curve in details["curves"].items():
        known = [value for value in curve if value is not None]
        assert len(curve) == 101
        assert known == sorted(known, reverse=True)
        if known:
            assert sum(known) / 101 == pytest.approx(evaluation.per_class[name]["AP50"], abs=1e-4)
    pixels = details["confusion"]["masks"]["counts"]
    assert sum(map(sum, pixels)) == 4 * 64 * 64
    assert sum(row[i] for i, row in enumerate(pixels)) / (4 * 64 * 64) == pytest.approx(
        evaluation.figures["pixel_accuracy"]
    )
    assert list(details["quality"]) == ["val_00000", "val_00001", "val_00002", "val_00003"]


WRONG_CLASSES = {
    "another order": "classes: [crab, starfish, turtle, ball, fish, shell, water]\nstuff: [water]",
    "fewer": "classes: [crab, water]\nstuff: [water]",
    "a thing that is stuff": "stuff: [shell, water]",  # the same names in the same order
    "stuff that is a thing": "",
}


@pytest.mark.parametrize("extra", WRONG_CLASSES.values(), ids=WRONG_CLASSES)
def test_other_classes_are_refused_with_the_lines_to_write(
    extra: str, trained: Path, devkit: Callable[..., Path]
) -> None:
    data = devkit(extra, train=[("train_boxes", "boxes")], val=[("val", "both")])
    with pytest.raises(ConfigError, match=r"the network knows starfish, .* the data file has") as caught:
        bombo.evaluate(trained, data=data, **CPU)
    classes, stuff = caught.value.fix.removeprefix("write").split("stuff:")
    fixed = devkit(f"{classes.strip()}\nstuff:{stuff}", train=[("train_boxes", "boxes")], val=[("val", "both")])
    bombo.evaluate(trained, data=fixed, **CPU)


ERRORS = {
    "no such model": ({"model": "nowhere"}, 1, "nowhere: there is no such file or folder"),
    "no such data": ({"data": "nowhere.yaml"}, 2, "nowhere.yaml: file is missing"),
    "a split without sources": ({"split": "test"}, 2, "there are no sources for `test`"),
    "no split at all": ({"split": "tset"}, 2, "--split"),
    "no images per batch": ({"batch_size": 0}, 2, "--batch-size"),
    "no such device": ({"device": "gpu"}, 2, "`gpu` is no device"),
}


@pytest.mark.parametrize(("changed", "code", "message"), ERRORS.values(), ids=ERRORS)
def test_mistakes_end_with_a_message(
    changed: dict[str, Any], code: int, message: str, trained: Path, world: Path, bombo_command: Any
) -> None:
    given = {"model": trained, "data": world, **CPU} | changed
    ended = bombo_command("evaluate", given.pop("model"), **given)
    assert ended.code == code
    assert message in ended.err


@pytest.mark.parametrize(
    "changed", [{"split": "tset"}, {"batch_size": 0}, {"workers": -1}, {"batch_size": "many"}, {"precision": "64"}]
)
def test_python_gets_the_same_checks(changed: dict[str, Any], trained: Path, world: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        bombo.evaluate(trained, **{"data": world} | CPU | changed)
    assert caught.value.where == next(iter(changed))


@pytest.mark.parametrize("workers", [0, 1])
def test_bad_images_stop_it_or_are_left_out_and_listed(
    workers: int, trained: Path, world: Path, tmp_path: Path, bombo_command: Any
) -> None:
    for file in world.parent.rglob("*"):
        if file.is_file():
            copy = tmp_path / file.relative_to(world.parent)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    broken = tmp_path / "devkit" / "JPEGImages" / "val_00001.jpg"
    broken.write_bytes(broken.read_bytes()[:500])
    given = {"data": tmp_path / "data.yaml"} | CPU | {"workers": workers, "batch_size": 1}
    with pytest.raises(DataError, match="cannot be read") as caught:
        bombo.evaluate(trained, **given)
    assert caught.value.where == str(broken)

    evaluation = bombo.evaluate(trained, skip_bad=True, **given)
    assert evaluation.images == {"detection": 3, "segmentation": 3}
    assert list(evaluation.skipped) == ["val_00001"]
    assert "left out: val_00001" in bombo_command("evaluate", trained, "--skip-bad", **given).out
    names = ("val_00000", "val_00002", "val_00003")
    (tmp_path / "devkit" / "ImageSets" / "Main" / "val.txt").write_text("".join(f"{name}\n" for name in names))
    rest = bombo.evaluate(trained, **given)
    assert rest.to_json() == evaluation.to_json() | {"skipped": {}}


def test_bad_images_are_errors_in_python_too(trained: Path, devkit: Callable[..., Path]) -> None:
    with pytest.raises(BomboError, match="nowhere"):
        bombo.evaluate(trained, data=devkit(train=[("train_boxes", "boxes")], val=[("nowhere", "both")]), **CPU)


def test_no_more_than_one_batch_is_in_memory(trained: Path, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: WeakSet[Any] = WeakSet()
    most: list[int] = []

    class Watched(Sample):
        def __post_init__(self) -> None:
            super().__post_init__()
            alive.add(self)
            most.append(len(alive))

        __hash__ = object.__hash__
        __eq__ = object.__eq__

    monkeypatch.setattr("bombo.data.dataset.Sample", Watched)
    file = load_data_file(world)
    records = read_split(file, "val", label_space(file)).records
    model: Model = bombo.load(trained, device="cpu", precision="32")
    peaks = []
    for times in (2, 8):
        most.clear()
        many = records * times
        measure(model, many, batch_size=2, workers=0)
        assert len(most) == len(many)
        peaks.append(max(most))
    assert peaks[0] == peaks[1] <= 4  # the batch in work and the one being read


def test_a_file_that_is_there_is_not_replaced_unasked(
    trained: Path, world: Path, tmp_path: Path, bombo_command: Callable[..., Any]
) -> None:
    (tmp_path / "mine.json").write_text("mine")
    ended = bombo_command("evaluate", trained, data=world, out=tmp_path / "mine.json", **CPU)
    assert ended.code != 0
    assert "is there already" in ended.err
    assert (tmp_path / "mine.json").read_text() == "mine"
    assert bombo_command("evaluate", trained, "--overwrite", data=world, out=tmp_path / "mine.json", **CPU).code == 0
    assert json.loads((tmp_path / "mine.json").read_text())["figures"]
