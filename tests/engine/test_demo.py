from __future__ import annotations

from pathlib import Path
from typing import Any

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
    ablation = demo.demo(out=tmp_path / "demo")
    printed = capsys.readouterr().out
    pictures = sorted((tmp_path / "demo" / "pictures").glob("*.png"))
    assert len(pictures) == 4
    assert Image.open(pictures[0]).width > 4 * 128
    assert ablation.comparison is not None
    assert list(ablation.comparison.seeds) == ["skip", "bombo"]
    for word in ("pictures", "touching things", "mAP50", "mIoU", "skip", "bombo train --data"):
        assert word in printed, word


def test_the_demo_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "TRAIN_IMAGES", 4)
    monkeypatch.setattr(demo, "VAL_IMAGES", 2)
    monkeypatch.setattr(demo, "SETTINGS", demo.SETTINGS | {"steps": 1, "batch_size": 4, "workers": 0})
    first = demo.demo(out=tmp_path / "demo").comparison
    again = demo.demo(out=tmp_path / "demo").comparison
    assert first is not None
    assert again is not None
    assert repr(first.figures) == repr(again.figures)  # repr: what could not be measured is NaN


@pytest.mark.parametrize("held", ["notes.txt", "runs/pets-1/best.safetensors", "settings.yaml"])
def test_a_folder_that_holds_something_else_is_left_alone(held: str, tmp_path: Path, bombo_command: Any) -> None:
    file = tmp_path / "mine" / held
    file.parent.mkdir(parents=True)
    file.write_text("precious")
    ended = bombo_command("demo", out=tmp_path / "mine")
    assert ended.code == 2
    assert "holds something else than an earlier demo" in ended.err
    assert [each for each in (tmp_path / "mine").rglob("*") if each.is_file()] == [file]
    assert file.read_text() == "precious"
