from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from bombo.engine import demo


def test_the_demo_trains_and_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # the full demo takes minutes; here the same path with a handful of scenes and steps
    monkeypatch.setattr(demo, "TRAIN_IMAGES", 8)
    monkeypatch.setattr(demo, "VAL_IMAGES", 4)
    monkeypatch.setattr(demo, "SETTINGS", demo.SETTINGS | {"steps": 2, "batch_size": 4, "workers": 0})
    run = demo.demo(out=tmp_path / "demo")
    printed = capsys.readouterr().out
    pictures = sorted((tmp_path / "demo" / "pictures").glob("*.png"))
    assert len(pictures) == 4
    assert Image.open(pictures[0]).width > 3 * 128
    assert run.stopped == "finished"
    assert run.evaluation is not None
    for word in ("pictures", "starfish", "water", "AP50", "IoU", "bombo train --data"):
        assert word in printed, word


def test_the_demo_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "TRAIN_IMAGES", 4)
    monkeypatch.setattr(demo, "VAL_IMAGES", 2)
    monkeypatch.setattr(demo, "SETTINGS", demo.SETTINGS | {"steps": 1, "batch_size": 4, "workers": 0})
    first = demo.demo(out=tmp_path / "demo").evaluation
    again = demo.demo(out=tmp_path / "demo").evaluation
    assert first is not None
    assert again is not None
    assert first.to_json() == again.to_json()
