from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import torch

import bombo
from bombo.engine import loop
from bombo.engine.evaluate import Evaluation
from bombo.engine.train import TrainSettings, make_network

BOXES, MASKS, BOTH = ("train_boxes", "boxes"), ("train_masks", "masks"), ("train_boxes", "both")
HALF_BOTH, VAL = ("train_masks", "both"), ("val", "both")


def weights(folder: Path, name: str = "last.safetensors") -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / name)


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


DETECTION, SEGMENTATION = {"det_cls", "det_box"}, {"seg_ce", "seg_dice"}
DATA_SETS = {
    "boxes here, masks there": ([BOXES, MASKS], [VAL], DETECTION | SEGMENTATION),
    "only boxes": ([BOXES], [VAL], DETECTION | SEGMENTATION),
    "only masks": ([MASKS], [VAL], DETECTION | SEGMENTATION),
    "only both": ([BOTH], [VAL], DETECTION | SEGMENTATION),
    "boxes, masks, both": ([BOXES, MASKS, HALF_BOTH], [VAL], DETECTION | SEGMENTATION),
    "validation on boxes only": ([BOXES, MASKS], [("val", "boxes")], DETECTION | SEGMENTATION),
    "validation on masks only": ([BOXES, MASKS], [("val", "masks")], DETECTION | SEGMENTATION),
    "no validation": ([BOXES, MASKS], [], DETECTION | SEGMENTATION),
}


@pytest.mark.parametrize(("train", "val", "losses"), DATA_SETS.values(), ids=DATA_SETS)
def test_every_mixture_of_annotations_trains(
    train: list[Any], val: list[Any], losses: set[str], devkit: Any, small: dict[str, Any], tmp_path: Path
) -> None:
    splits = {"train": train} | ({"val": val} if val else {})
    run = bombo.train(**small | {"data": devkit(**splits), "out": tmp_path / "run", "steps": 2})
    assert run.stopped == "finished"
    lines = metrics(run.path)
    assert losses <= lines[0].keys()
    assert all(math.isfinite(lines[0][name]) for name in losses)
    assert (lines[0]["images_with_boxes"] > 0) == any(use in ("boxes", "both") for _, use in train)
    assert (lines[0]["images_with_masks"] > 0) == any(use in ("masks", "both") for _, use in train)
    if not val:
        assert run.evaluation is None
        assert not (run.path / "best.safetensors").exists()
        assert (run.path / "last.safetensors").exists()
        return
    assert run.evaluation is not None
    measured = {name: not math.isnan(run.evaluation.figures[name]) for name in ("mAP50", "mIoU")}
    uses = {use for _, use in val}
    assert measured == {"mAP50": bool(uses & {"boxes", "both"}), "mIoU": bool(uses & {"masks", "both"})}


CLASSES = {
    "no stuff": ("", 7),
    "only stuff": ("stuff: [starfish, crab, turtle, ball, fish, shell, water]", 0),
    "two of them, the rest void": ("classes: [crab, water]\nstuff: [water]\nothers: void", 1),
    "a class that no box shows": ("classes: [water]", 1),
}


@pytest.mark.parametrize(("extra", "things"), CLASSES.values(), ids=CLASSES)
def test_every_choice_of_classes_trains(
    extra: str, things: int, devkit: Any, small: dict[str, Any], tmp_path: Path
) -> None:
    data = devkit(extra, train=[BOXES, MASKS], val=[VAL])
    run = bombo.train(**small | {"data": data, "out": tmp_path / "run", "steps": 1})
    assert len(run.model.space.things) == things
    assert run.evaluation is not None


OPTIONS = {
    "letterbox": {"fit": "letterbox"},
    "several scales": {"multi_scale": True},
    "no colour": {"colour": 0},
    "SGD": {"optimiser": "sgd"},
    "bf16": {"precision": "bf16"},
    "channels last": {"channels_last": True},
    "frozen": {"freeze_stem": True, "freeze_norm": True},
    "no warm-up": {"warmup": 0},
    "only warm-up": {"warmup": 1},
    "no average": {"ema": 0},
    "only the average of the start": {"ema": 1},
    "accumulation": {"accumulate": 2},
    "no clipping": {"clip": float("inf")},
    "smooth L1": {"box_loss": "smooth_l1"},
    "balanced L1": {"box_loss": "balanced_l1"},
    "frozen weights decay nothing": {"weight_decay": 0, "backbone_lr": 0},
}


@pytest.mark.parametrize("extra", OPTIONS.values(), ids=OPTIONS)
def test_every_option_trains(extra: dict[str, Any], small: dict[str, Any], tmp_path: Path) -> None:
    run = bombo.train(**small | {"out": tmp_path / "run", "steps": 2, "eval_every": 0} | extra)
    assert all(tensor.isfinite().all() for tensor in weights(run.path).values() if tensor.is_floating_point())
    again = TrainSettings.resolve({"config": run.path / "config.yaml"})
    assert {name: getattr(again, name) for name in extra} == extra


LOSSES = {
    "detection only": ({"segmentation_weight": 0}, DETECTION),
    "segmentation only": ({"detection_weight": 0}, SEGMENTATION),
    "no Dice": ({"dice": 0}, {*DETECTION, "seg_ce"}),
}


@pytest.mark.parametrize(("extra", "losses"), LOSSES.values(), ids=LOSSES)
def test_losses_of_weight_zero_are_left_out(
    extra: dict[str, Any], losses: set[str], small: dict[str, Any], tmp_path: Path
) -> None:
    run = bombo.train(**small | {"out": tmp_path / "run", "steps": 1} | extra)
    assert {name for name in metrics(run.path)[0] if name.startswith(("det_", "seg_"))} == losses


def test_a_head_without_a_loss_stays_as_it_was(small: dict[str, Any], tmp_path: Path) -> None:
    given = small | {"out": tmp_path / "run", "steps": 2, "segmentation_weight": 0, "weight_decay": 0, "ema": 0}
    run = bombo.train(**given)
    torch.manual_seed(0)
    start = make_network(TrainSettings.resolve(given), run.model.space).state_dict()
    changed = {name for name, tensor in weights(run.path).items() if not torch.equal(tensor, start[name])}
    assert not [name for name in changed if name.startswith("segmentation.")]
    assert [name for name in changed if name.startswith("detection.")]


def test_the_seed_decides_everything(small: dict[str, Any], tmp_path: Path) -> None:
    runs = [
        bombo.train(out=tmp_path / name, steps=2, seed=seed, **small)
        for name, seed in [("one", 5), ("same", 5), ("other", 6)]
    ]
    one, same, other = (weights(run.path) for run in runs)
    assert equal(one, same)
    assert not equal(one, other)


def test_workers_change_nothing(small: dict[str, Any], tmp_path: Path) -> None:
    none, two = (bombo.train(**small | {"out": tmp_path / str(n), "steps": 2, "workers": n}) for n in (0, 2))
    assert equal(weights(none.path), weights(two.path))


class TestStopping:
    @pytest.fixture
    def scores(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[float]], list[int]]:
        """Makes evaluations score what the list says; returns a list that notes them."""

        def plan(values: list[float]) -> list[int]:
            calls: list[int] = []

            def measure(*_: Any, **__: Any) -> Evaluation:
                figures = dict.fromkeys(("mAP50", "mAP50-95", "mIoU"), values[len(calls)])
                calls.append(1)
                return Evaluation({"detection": 1, "segmentation": 1}, figures | {"IoU_background": 0.0}, {})

            monkeypatch.setattr(loop, "measure", measure)
            monkeypatch.setattr("bombo.engine.overview.evaluation_table", lambda _: "")
            return calls

        return plan

    def test_patience(self, small: dict[str, Any], tmp_path: Path, scores: Any) -> None:
        calls = scores([0.1, 0.3, 0.2, 0.3, 0.2])
        run = bombo.train(out=tmp_path / "run", epochs=9, patience=2, **small)
        assert (run.stopped, len(calls)) == ("no longer improving", 4)
        with safetensors.safe_open(run.path / "best.safetensors", "pt") as best:
            assert json.loads(best.metadata()["bombo"])["step"] == 4  # the second evaluation, two steps an epoch
        assert torch.load(run.path / "state.pt", weights_only=True)["step"] == 8
        again = bombo.train(resume=run.path)  # asked to go on, it does so until there is something to judge by
        assert (again.stopped, len(calls)) == ("no longer improving", 5)
        assert torch.load(run.path / "state.pt", weights_only=True)["step"] == 10

    def test_figures_that_cannot_be_measured_are_never_the_best(
        self, small: dict[str, Any], tmp_path: Path, scores: Any
    ) -> None:
        scores([math.nan, math.nan])
        run = bombo.train(out=tmp_path / "run", epochs=2, **small)
        assert not (run.path / "best.safetensors").exists()
        assert "NaN" not in (run.path / "metrics.jsonl").read_text()

    @pytest.mark.parametrize(("every", "expected"), [(1, [2, 4, 6]), (2, [4, 6]), (0, [6])])
    def test_evaluations_come_as_asked(
        self, every: int, expected: list[int], small: dict[str, Any], tmp_path: Path, scores: Any
    ) -> None:
        scores([0.1] * 3)
        run = bombo.train(out=tmp_path / "run", epochs=3, eval_every=every, **small)
        assert [line["step"] for line in metrics(run.path) if "val" in line] == expected

    def test_time_is_counted_from_each_start(
        self, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bombo_command: Any
    ) -> None:
        clock = iter(range(0, 10**6, 10))
        monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(clock)))  # every look at it takes 10 seconds
        ended = bombo_command("train", out=tmp_path / "run", epochs=9, max_time="1m20s", **small)
        assert ended.code == 0
        assert "(out of time)" in ended.out
        assert f"bombo train --resume {tmp_path / 'run'}" in ended.out
        first = torch.load(tmp_path / "run" / "state.pt", weights_only=True)["step"]
        assert 1 < first < 18
        assert "val" in metrics(tmp_path / "run")[-1]  # a run that stops is measured
        run = bombo.train(resume=tmp_path / "run")
        assert run.stopped == "out of time"
        assert torch.load(run.path / "state.pt", weights_only=True)["step"] == 2 * first


def test_loading_weights_is_silent(
    shared_data: Path, small: dict[str, Any], tmp_path: Path, bombo_command: Any, caplog: pytest.LogCaptureFixture
) -> None:
    file = shared_data / "weights" / "mobilenetv2_100.imagenet.safetensors"
    given = small | {"backbone": "mobilenetv2_100", "weights": file, "steps": 1, "out": tmp_path / "run"}
    ended = bombo_command("train", **given)
    assert ended.code == 0
    assert ended.err == ""
    assert not caplog.records


def test_the_model_of_a_run_is_the_one_it_saved(small: dict[str, Any], tmp_path: Path) -> None:
    run = bombo.train(out=tmp_path / "run", steps=2, **small)
    saved = bombo.load(run.path / "last.safetensors", device="cpu", precision="32")
    assert equal(run.model.network.state_dict(), saved.network.state_dict())
    assert replace(run.model, network=saved.network) == saved


def test_a_run_that_is_slow_to_evaluate_is_not_called_slow(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, late = loop.measure, [0.0]  # seconds by which the loop's clock is ahead: no test waits for a real one

    def slowly(*given: Any, **more: Any) -> Evaluation:
        late[0] += 10_000
        return measure(*given, **more)

    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + late[0], process_time=time.process_time)
    monkeypatch.setattr(loop, "measure", slowly)
    monkeypatch.setattr(loop, "time", clock)
    run = bombo.train(out=tmp_path / "run", epochs=2, **small)
    seconds = [line["seconds"] for line in metrics(run.path) if "seconds" in line]
    assert late[0] == 20_000
    assert seconds[-1] - seconds[0] < 10_000


def test_as_json_stdout_holds_nothing_else(small: dict[str, Any], tmp_path: Path, bombo_command: Any) -> None:
    ended = bombo_command("train", "--json", out=tmp_path / "run", steps=2, **small)
    told = json.loads(ended.out)
    assert (told["path"], told["stopped"]) == (str(tmp_path / "run"), "finished")
    assert told["evaluation"]["figures"] == metrics(tmp_path / "run")[-1]["val"]["figures"]
    assert "schedule" in ended.err
