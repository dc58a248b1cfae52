from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import bombo
from bombo.engine.loggers import flat, require
from bombo.errors import ConfigError


def test_flat_keeps_the_numbers() -> None:
    entry = {"step": 3, "val": {"figures": {"mIoU": 0.5, "mAP50": None}}, "note": "text", "flag": True}
    assert dict(flat(entry)) == {"step": 3, "val/figures/mIoU": 0.5}


def test_tensorboard_gets_the_same_figures_as_the_file(small: dict[str, Any], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = bombo.train(out=tmp_path / "run", steps=2, tensorboard=True, **small)
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    (scalar,) = events.Scalars("det_cls")
    assert (scalar.step, scalar.value) == (2, pytest.approx(lines[0]["det_cls"]))
    (scalar,) = events.Scalars("val/figures/mIoU")
    assert scalar.value == pytest.approx(lines[-1]["val"]["figures"]["mIoU"])
    assert "spoke_for/seg_ce" in events.Tags()["scalars"]


class Wandb(SimpleNamespace):
    def __init__(self) -> None:
        super().__init__(runs=[])

    def init(self, **given: Any) -> Any:
        logged: list[tuple[int, dict[str, float]]] = []
        run = SimpleNamespace(given=given, logged=logged, finished=False)
        run.log = lambda figures, step: logged.append((step, figures))
        run.finish = lambda: setattr(run, "finished", True)
        self.runs.append(run)
        return run


def test_wandb_gets_figures_and_settings_and_goes_on_in_the_same_curve(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    run = bombo.train(out=tmp_path / "run", wandb=True, **small | {"epochs": 1})
    bombo.train(resume=run.path, epochs=2)
    first, second = wandb.runs
    assert first.given["id"] == second.given["id"]
    assert (first.given["project"], first.given["name"], first.given["config"]["seed"]) == ("bombo", "run", 0)
    assert first.finished
    assert second.finished
    steps = [step for each in wandb.runs for step, _ in each.logged]
    assert steps == sorted(steps)
    assert "det_cls" in first.logged[0][1]


def test_a_logger_is_closed_when_training_fails(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    with pytest.raises(bombo.BomboError, match=r"is nan|not finite|is inf"):
        bombo.train(out=tmp_path / "run", wandb=True, **small | {"lr": 1e30, "clip": "inf", "steps": 30})
    assert wandb.runs[0].finished


def test_a_missing_package_is_named_before_anything_is_made(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[wandb\]'"):
        bombo.train(out=tmp_path / "run", wandb=True, **small)
    assert not (tmp_path / "run").exists()
    require([])
