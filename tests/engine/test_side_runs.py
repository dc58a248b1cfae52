"""Runs side by side, when what watches them fails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bombo.engine import side_runs
from bombo.engine.arm_run import ArmRun
from bombo.engine.settings import TrainSettings


def test_an_error_outside_a_run_lets_it_save(small: dict[str, Any], tmp_path: Path) -> None:
    run = ArmRun(
        "skip",
        0,
        TrainSettings.resolve({**small, "method": "skip", "steps": 100_000, "eval_every": 0}),
        tmp_path / "skip",
    )

    def watch(going: Sequence[ArmRun]) -> None:
        if (run.path / "metrics.jsonl").is_file():
            raise BrokenPipeError  # whoever read what is told has left

    with pytest.raises(BrokenPipeError):
        side_runs.make([run], 1, lambda *_: None, watch)
    assert "everything is saved" in (run.path / "log.txt").read_text()
    assert run.is_begun
