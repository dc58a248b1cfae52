from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import bombo
from bombo.engine import progress
from bombo.engine.progress import TrainingProgress, clock

LOSSES = {"det_cls": 1.0, "det_box": 0.5, "seg_ce": 2.0}
CONTROL = re.compile(r"\x1b\[[0-9?;]*[A-Za-z]")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, to be set."""
    time = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: time[0])
    return time


def terminal(width: int = 200, live: bool = True) -> Console:
    return Console(force_terminal=live, file=io.StringIO(), width=width, color_system=None, legacy_windows=False)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return CONTROL.sub("", console.file.getvalue())


def show(shown: TrainingProgress, step: int, **changed: Any) -> None:
    seen = {"boxes": 16 * step, "masks": 8 * step}
    shown.show(step, **{"epoch": "epoch 2/5", "losses": LOSSES, "images": 20, "seen": seen, "memory": 2**31} | changed)


def test_a_line_says_everything(now: list[float]) -> None:
    console = terminal(live=False)
    with TrainingProgress(console, steps=1000, start=100, quiet=False) as shown:
        now[0] += 50
        shown.pause(10)  # an evaluation
        show(shown, 200)
    line = printed(console).strip()
    for part in ("epoch 2/5", "200/1000", "loss 3.500", "det_cls 1.000", "det_box 0.500", "seg_ce 2.000", "2.0 GiB"):
        assert part in line
    assert "50 img/s" in line  # 100 steps of 20 images in 40 seconds
    assert "5:20 left" in line  # 800 steps of 0.4 seconds
    assert "seen: 3,200 with boxes, 1,600 with masks" in line


def test_plain_lines_come_seldom_and_in_the_end(now: list[float]) -> None:
    console = terminal(live=False)
    with TrainingProgress(console, steps=100, start=0, quiet=False) as shown:
        for step in range(1, 101):
            now[0] += 1
            show(shown, step)
    steps = [int(number) for number in re.findall(r"(\d+)/100", printed(console))]
    assert steps == [16, 32, 48, 64, 80, 96, 100]
    assert "\r" not in printed(console)


def test_a_terminal_shows_one_live_line_that_goes_away(now: list[float]) -> None:
    console = terminal()
    with TrainingProgress(console, steps=100, start=0, quiet=False) as shown:
        now[0] += 1
        show(shown, 50)
        assert shown.live is not None
        shown.live.refresh()
        shown.say("epoch 2/5  mAP50 12.3")
    assert "━━━━━━━━──────── 50 %" in printed(console)
    assert "epoch 2/5  mAP50 12.3\n" in printed(console)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().rstrip().endswith("\x1b[2K")  # the line is erased


@pytest.mark.parametrize("width", [40, 80, 120, 160])
def test_a_narrow_terminal_gets_all_of_it_unbroken(width: int, now: list[float]) -> None:
    console = terminal(width)
    with TrainingProgress(console, steps=100, start=0, quiet=False) as shown:
        now[0] += 1
        show(shown, 50)
        assert shown.live is not None
        shown.live.refresh()
    text = printed(console)
    for part in ("epoch 2/5", "50 %", "loss 3.500", "det_cls 1.000", "seg_ce 2.000", "2.0 GiB", "seen: 800 with boxes"):
        assert part in text
    assert "…" not in text
    assert max(len(line) for line in re.split(r"[\r\n]", text)) <= width


def test_other_processes_are_quiet(now: list[float]) -> None:
    console = terminal()
    with TrainingProgress(console, steps=10, start=0, quiet=True) as shown:
        now[0] += 100
        show(shown, 10)
        shown.say("anything")
    assert printed(console) == ""


def test_the_first_step_needs_no_time(now: list[float]) -> None:
    console = terminal(live=False)
    with TrainingProgress(console, steps=1, start=0, quiet=False) as shown:
        show(shown, 1)
    assert "1/1" in printed(console)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1:00"), (371, "6:11"), (3600, "1:00:00"), (3723, "1:02:03")],
)
def test_times_are_short(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_a_run_begins_with_what_it_found(small: dict[str, Any], tmp_path: Path, bombo_command: Any) -> None:
    out = bombo_command("train", out=tmp_path / "run", steps=1, **small | {"device": "auto"}).out
    for expected in (
        r"^data +8 training images: 4 with boxes only · 4 with masks only · 0 with both +4 for validation",
        r"^classes +6 things, 1 stuff",
        r"class +boxes +images with boxes +pixels in masks +images with masks",
        r"^ +starfish +\d+ +\d+ +\d+\.\d % +\d+",
        r"^ +water +stuff +\d+\.\d % +\d+",
        r"^network +test_resnet \(untrained\) .* M parameters, \d+\.\d GMAC at 64 px",
        r"^losses +det_cls 1 +det_box 1 \(giou\) +seg_ce 1 +seg_dice 1$",
        r"^device +\S+ \(.*\), float32 \(.+; as asked\); seed 0",
        r"^schedule +1 step of 4 images \(2 with boxes and 2 with masks\), 1 epoch$",
        rf"^run +{re.escape(str(tmp_path / 'run'))} .* --resume",
    ):
        assert re.search(expected, out, flags=re.MULTILINE), expected


def test_the_counts_are_those_of_the_annotation_that_is_used(
    small: dict[str, Any], tmp_path: Path, world: Path, bombo_command: Any
) -> None:
    out = bombo_command("train", out=tmp_path / "run", steps=1, **small).out
    annotations = world.parent / "devkit" / "Annotations"
    boxes = [file.read_text().count("<name>crab</name>") for file in annotations.glob("train_boxes_*.xml")]
    assert re.search(rf"crab +{sum(boxes)} +{sum(count > 0 for count in boxes)} ", out)


def test_without_masks_no_image_has_any(
    small: dict[str, Any], tmp_path: Path, devkit: Callable[..., Path], bombo_command: Any
) -> None:
    data = devkit(train=[("train_boxes", "boxes")])
    words = {"out": tmp_path / "run", "steps": 1, "mask_provider": "fill", "cache": tmp_path / "cache"}
    out = bombo_command("train", **small | words | {"data": data}).out
    assert re.search(r"^ +starfish +\d+ +\d+ +– +0 *$", out, flags=re.MULTILINE)
    assert re.search(r"^masks +of boxes: 4 made in \d+ s, kept in ", out, flags=re.MULTILINE)
    out = bombo_command("train", "--overwrite", **small | words | {"data": data}).out
    assert re.search(r"^masks +of boxes: 4 from earlier runs, kept in ", out, flags=re.MULTILINE)


def test_a_small_run_prints_no_live_line(small: dict[str, Any], tmp_path: Path, bombo_command: Any) -> None:
    out = bombo_command("train", out=tmp_path / "run", epochs=2, **small).out
    assert "\x1b" not in out
    assert out.count("mAP50-95") == 2  # one line per evaluation; the table says AP50-95
    assert bombo.load(tmp_path / "run").space.names[0] == "starfish"
