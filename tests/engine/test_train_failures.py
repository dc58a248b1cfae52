"""What stops a run says so, names what to do, and leaves the last checkpoint as it was."""

from __future__ import annotations

import errno
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import bombo
from bombo import distributed
from bombo.data.batch import Batch
from bombo.data.label_space import LabelSpace
from bombo.engine.evaluate import Evaluation
from bombo.engine.settings import TrainSettings
from bombo.engine.train import make_forward, make_network
from bombo.errors import BomboError, ConfigError
from bombo.losses.criterion import Criterion

BOXES, MASKS = ("train_boxes", "boxes"), ("train_masks", "masks")


def weights(folder: Path, name: str = "last.safetensors") -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / name)


class TestLossThatIsNotFinite:
    @pytest.fixture
    def broken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From the third batch on, the box loss is NaN."""
        compute, calls = Criterion.__call__, []

        def break_third(self: Criterion, predictions: Any, batch: Batch, *rest: Any) -> Any:
            terms = compute(self, predictions, batch, *rest)
            calls.append(1)
            if len(calls) >= 3:
                terms["det_box"] = terms["det_box"]._replace(value=terms["det_box"].value * math.nan)
            return terms

        monkeypatch.setattr(Criterion, "__call__", break_third)

    @pytest.mark.usefixtures("broken")
    def test_is_named_and_its_batch_kept(self, small: dict[str, Any], tmp_path: Path, bombo_command: Any) -> None:
        out = tmp_path / "run"
        ended = bombo_command("train", out=out, epochs=4, **small)
        assert ended.code == 1
        assert "the loss det_box is nan at step 3" in ended.err
        assert "--lr" in ended.err
        batch = torch.load(out / "bad_batch_0.pt", weights_only=True)
        assert batch["images"].shape == (4, 3, 64, 64)
        assert math.isnan(batch["losses"]["det_box"])
        assert (batch["step"], len(batch["names"])) == (3, 4)
        assert {"boxes", "labels", "is_target", "masks", "has_boxes", "has_mask"} < batch.keys()
        assert torch.load(out / "state.pt", weights_only=True)["step"] == 2  # as it was before
        assert all(tensor.isfinite().all() for tensor in weights(out).values() if tensor.is_floating_point())

    def test_from_a_learning_rate_far_too_high(self, small: dict[str, Any], tmp_path: Path) -> None:
        with pytest.raises(BomboError, match=r"the loss \w+ is (nan|inf)"):
            bombo.train(out=tmp_path / "run", steps=9, lr=1e30, **small)

    @pytest.mark.usefixtures("broken")
    def test_the_kept_batch_goes_when_the_run_is_replaced(self, small: dict[str, Any], tmp_path: Path) -> None:
        out = tmp_path / "run"
        with pytest.raises(BomboError):
            bombo.train(out=out, epochs=4, **small)
        with pytest.raises(BomboError):
            bombo.train(out=out, epochs=4, overwrite=True, **small | {"lr": 1e-30})
        assert [file.name for file in out.glob("bad_batch_*")] == ["bad_batch_0.pt"]


@pytest.mark.parametrize("name", ["last.safetensors", "state.pt", "best.safetensors", "metrics.jsonl"])
def test_a_full_disk_leaves_the_earlier_checkpoint(
    name: str, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bombo_command: Any
) -> None:
    out = tmp_path / "run"
    bombo.train(out=out, epochs=1, **small)
    before = {file.name: file.read_bytes() for file in out.iterdir() if file.is_file() and file.name != "config.yaml"}

    def no_space(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    # the disk is full for this file only, so that each place that writes is tried
    replace_file, opened = Path.replace, Path.open
    monkeypatch.setattr(
        Path, "replace", lambda self, to: no_space() if Path(to).name == name else replace_file(self, to)
    )
    monkeypatch.setattr(
        Path,
        "open",
        lambda self, mode="r", *rest, **more: (
            no_space() if (self.name, mode) == (name, "a") else opened(self, mode, *rest, **more)
        ),
    )
    monkeypatch.setattr(Evaluation, "score", property(lambda self: 1.0))  # better than the first, so that best is saved
    ended = bombo_command("train", resume=out, epochs=2)
    assert ended.code == 1
    assert "No space left on device" in ended.err
    assert str(out / name) in ended.err
    assert (out / name).read_bytes() == before[name]
    assert not list(out.glob(".*"))
    monkeypatch.undo()
    assert bombo.train(resume=out, epochs=2).stopped == "finished"


class TestBadFiles:
    @pytest.fixture
    def damaged(self, world: Path, tmp_path: Path) -> Path:
        """The world with one training image and one validation image cut short."""
        for file in world.parent.rglob("*"):
            if file.is_file():
                copy = tmp_path / "world" / file.relative_to(world.parent)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(file.read_bytes())
        for name in ("train_boxes_00001", "val_00002"):
            image = tmp_path / "world" / "devkit" / "JPEGImages" / f"{name}.jpg"
            image.write_bytes(image.read_bytes()[:600])
        return tmp_path / "world" / "data.yaml"

    def test_stop_the_run(self, damaged: Path, small: dict[str, Any], tmp_path: Path, bombo_command: Any) -> None:
        ended = bombo_command("train", **small | {"data": damaged, "out": tmp_path / "run", "epochs": 2})
        assert ended.code == 1
        assert "train_boxes_00001.jpg: cannot be read as an image" in ended.err

    @pytest.mark.parametrize("workers", [0, 1])
    def test_are_listed_where_they_may_be_left_out(
        self, workers: int, damaged: Path, small: dict[str, Any], tmp_path: Path
    ) -> None:
        given = small | {"data": damaged, "out": tmp_path / "run", "epochs": 2, "skip_bad": True, "workers": workers}
        run = bombo.train(**given)
        listed = json.loads((run.path / "skipped.json").read_text())
        assert [entry["image"] for entry in listed] == ["train_boxes_00001", "val_00002"]
        assert all("cannot be read as an image" in entry["error"] for entry in listed)
        assert run.evaluation is not None
        assert run.evaluation.images == {"detection": 3, "segmentation": 3}

    def test_that_are_missing_are_found_at_once(
        self, damaged: Path, small: dict[str, Any], tmp_path: Path, bombo_command: Any
    ) -> None:
        (damaged.parent / "devkit" / "Annotations" / "train_boxes_00000.xml").unlink()
        given = small | {"data": damaged, "out": tmp_path / "run", "epochs": 1}
        ended = bombo_command("train", **given)
        assert ended.code == 1
        assert "train_boxes_00000.xml" in ended.err
        assert "--skip-bad" in ended.err
        run = bombo.train(**given | {"skip_bad": True})
        assert "train_boxes_00000.xml" in (run.path / "skipped.json").read_text()


ERRORS = {
    "no data file": ({"data": "nowhere.yaml"}, 2, "nowhere.yaml"),
    "half precision on a CPU": ({"precision": "fp16"}, 2, "a CPU does not train in fp16"),
    "no such device": ({"device": "gpu"}, 2, "`gpu` is no device"),
    "no such backbone": ({"backbone": "resnet81"}, 2, "Did you mean `resnet"),
    "no such weights": ({"weights": "nowhere.pt"}, 2, "'nowhere.pt' is no file"),
    "a batch too small for both kinds": ({"batch_size": 1}, 2, "a batch of 1 cannot hold 2 kinds"),
    "a value out of range": ({"epochs": 0}, 2, "epochs: 0"),
    "a value of the wrong kind": ({"epochs": "three"}, 2, "--epochs"),
    "an unknown word": ({"optimiser": "adam"}, 2, "--optimiser"),
    "an unknown option": ({"epoch": 3}, 2, "--epochs"),
    "an unfit size": ({"size": 65}, 2, "multiple of 32"),
}


@pytest.mark.parametrize(("given", "code", "message"), ERRORS.values(), ids=ERRORS)
def test_mistakes_end_with_a_message(
    given: dict[str, Any], code: int, message: str, small: dict[str, Any], tmp_path: Path, bombo_command: Any
) -> None:
    ended = bombo_command("train", **small | {"out": tmp_path / "run"} | given)
    assert ended.code == code
    assert message in ended.err
    assert "Traceback" not in ended.err
    assert not (tmp_path / "run").exists()


def test_a_key_the_data_file_does_not_know_is_named(devkit: Any, small: dict[str, Any], bombo_command: Any) -> None:
    data = devkit("stuf: [water]", train=[BOXES, MASKS])
    ended = bombo_command("train", **small | {"data": data})
    assert ended.code == 2
    assert f"{data}, line 1" in ended.err
    assert "Did you mean `stuff`" in ended.err


def test_a_list_that_is_missing_is_named(devkit: Any, small: dict[str, Any], bombo_command: Any) -> None:
    ended = bombo_command("train", **small | {"data": devkit(train=[("train_maks", "masks")])})
    assert ended.code in (1, 2)
    assert "train_maks" in ended.err


def test_python_gets_the_same_errors(small: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fp16"):
        bombo.train(**small | {"precision": "fp16", "out": tmp_path / "run"})
    with pytest.raises(ConfigError, match="file is missing"):
        bombo.train(**small | {"data": tmp_path / "nothing.yaml", "out": tmp_path / "run"})


def test_a_gradient_that_is_not_finite_stops_before_the_step(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    compute, calls = Criterion.__call__, []

    def poison_third(self: Criterion, predictions: Any, batch: Batch, *rest: Any) -> Any:
        terms = compute(self, predictions, batch, *rest)
        calls.append(1)
        if len(calls) >= 3:  # a finite value with an infinite slope
            logits = predictions.mask_logits
            slope = (logits - logits.detach()).abs().sum().sqrt()
            terms["seg_ce"] = terms["seg_ce"]._replace(value=terms["seg_ce"].value + slope)
        return terms

    monkeypatch.setattr(Criterion, "__call__", poison_third)
    with pytest.raises(BomboError, match="gradient is not finite at step 3"):
        bombo.train(out=out, epochs=4, **small)
    assert all(tensor.isfinite().all() for tensor in weights(out).values() if tensor.is_floating_point())


def test_batch_norm_on_several_cpu_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = TrainSettings(data=Path("x.yaml"), backbone="test_resnet", weights="none")
    network = make_network(settings, LabelSpace(("cat",)))
    monkeypatch.setattr(distributed, "world", lambda: 2)
    with pytest.raises(ConfigError, match="synchronises on GPUs only"):
        make_forward(settings, network, torch.device("cpu"))
