"""What a person watches while a network trains: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import textwrap
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

_PLAIN_EVERY = 15.0  # seconds between plain lines: a log file should not drown
_BAR = 16  # characters


class TrainingProgress:
    """Shows epoch, losses by name, images per second, time left, memory, and how much of each annotation was seen.

    Args:
        console: Where to write.
        steps: Length of the run.
        start: Step it begins at.
        quiet: Show nothing (other processes than the main one).
    """

    def __init__(self, console: Console, steps: int, start: int, quiet: bool) -> None:
        self.console, self.steps, self.start, self.quiet = console, steps, start, quiet
        self.began = self.spoke = time.monotonic()
        self.paused = 0.0
        self.live = Live(console=console, transient=True) if console.is_terminal and not quiet else None

    def __enter__(self) -> Self:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()

    def show(
        self, step: int, epoch: str, losses: dict[str, float], images: int, seen: dict[str, int], memory: float
    ) -> None:
        """Shows the state after a step.

        Args:
            step: Steps done.
            epoch: For instance `epoch 4/30`.
            losses: Running mean of each named loss.
            images: Images per step.
            seen: Images seen so far by task, `boxes` and `masks`.
            memory: Bytes in use.
        """
        if self.quiet:
            return
        speed = images * (step - self.start) / max(self.seconds(), 1e-6)
        left = (self.steps - step) * images / max(speed, 1e-6)
        parts = [
            f"{step}/{self.steps}",
            f"loss {sum(losses.values()):.3f}",
            *(f"{name} {value:.3f}" for name, value in losses.items()),
            f"{speed:,.0f} img/s",
            f"{clock(left)} left",
            f"{memory / 2**30:.1f} GiB",
            f"seen: {seen['boxes']:,} with boxes, {seen['masks']:,} with masks",
        ]
        if self.live:
            done = _BAR * step // self.steps
            parts[0] = f"{'━' * done}{'─' * (_BAR - done)} {100 * step // self.steps} %"
            self.live.update(Text(_packed([epoch, *parts], self.console.width)))
        elif time.monotonic() - self.spoke > _PLAIN_EVERY or step == self.steps:
            self.spoke = time.monotonic()
            self.say("  ".join([epoch, *parts]))

    def say(self, text: str) -> None:
        """Prints a line that stays, above the live one."""
        if not self.quiet:
            self.console.print(text, highlight=False, soft_wrap=True)

    def pause(self, seconds: float) -> None:
        """Leaves time that was not spent on training (an evaluation) out of images per second."""
        self.paused += seconds

    def seconds(self) -> float:
        """Seconds of training so far in this process."""
        return time.monotonic() - self.began - self.paused


def clock(seconds: float) -> str:
    """Seconds as `45 s`, `6:11` or `1:02:03`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _packed(parts: list[str], width: int) -> str:
    """The parts in one line, or in as many as a narrow terminal needs, none cut in two."""
    whole = "  ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts)
    return textwrap.fill(whole, width).replace("\N{NO-BREAK SPACE}", " ")
