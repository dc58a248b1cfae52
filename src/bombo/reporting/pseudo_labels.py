"""Pseudo-labels over time: how right they were, and what they looked like."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bombo.engine.run_folder import PSEUDO_LABELS
from bombo.errors import BomboError
from bombo.reporting.charts import Point
from bombo.reporting.gather import RunFacts
from bombo.reporting.learning import Charts, over_steps, teacher_marks
from bombo.reporting.pictures import data_uri
from bombo.reporting.tables import Cell, Head, Table
from bombo.reporting.words import count, percent

_GIVEN = "given"


@dataclass(frozen=True)
class _Figure:
    """A figure of `pseudo_labels` in metrics.jsonl, and the one without the teacher that it is compared with."""

    part: str
    name: str
    alone: str
    title: str
    about: str

    def of(self, entry: dict[str, Any], *, alone: bool = False) -> float | None:
        """Its value, a share; None where it was not measured."""
        value: float | None = entry.get(self.part, {}).get(self.alone if alone else self.name)
        return value


_FIGURES = (
    _Figure(
        *("masks", "mIoU", "provider_mIoU", "masks made of boxes: mIoU"),
        "Shared area over joint area with the true mask, of the pixels that get a label.",
    ),
    _Figure(
        *("masks", "coverage", "provider_coverage", "masks made of boxes: coverage"),
        "Share of the pixels that get a label; of the others nothing is learned.",
    ),
    _Figure(
        *("boxes", "recall50", "components_recall50", "boxes made of masks: recall"),
        "Share of the true boxes that one of them meets with half an overlap.",
    ),
    _Figure(
        *("boxes", "precision50", "components_precision50", "boxes made of masks: precision"),
        "Share of them that meet a true box with half an overlap.",
    ),
)


@dataclass(frozen=True)
class Strip:
    """A training image over time: `pictures` are (caption, data URI), its own annotation first."""

    name: str
    carries: str
    pictures: list[tuple[str, str]]


def rightness(runs: Sequence[RunFacts]) -> Charts | None:
    """A chart for every figure; None where no run was scored twice."""
    if all(len(run.followed) < 2 for run in runs):
        return None
    marks = teacher_marks(runs)
    drawn = [over_steps(runs, f.title, f.about, _points(f), marks, _level(runs, f)) for f in _FIGURES]
    caption = (
        "Percent over steps. Dotted across: without the teacher, the provider's masks and the mask's components as "
        "they are; mIoU, recall or precision below that line means that the teacher does harm. Coverage may well fall "
        "below it: what the teacher doubts is left out."
    )
    return Charts("How right the pseudo-labels were", caption, [c for c in drawn if c])


def table(runs: Sequence[RunFacts]) -> Table | None:
    """The same in figures: a row for every time they were scored; None where they never were."""
    scored = [run for run in runs if run.followed]
    figures = [f for f in _FIGURES if any(f.of(entry) is not None for run in scored for _, entry in run.followed)]
    if not figures:
        return None
    rows = []
    for run in scored:
        before = f"{run.name}, " if len(runs) > 1 else ""
        rows += [_row(f"{before}step {count(step)}", [f.of(entry) for f in figures]) for step, entry in run.followed]
        last = run.followed[-1][1]
        rows.append(_row(f"{before}without the teacher", [f.of(last, alone=True) for f in figures]))
    labels = [f.title.partition(": ") for f in figures]
    above = [Head(part, columns=number) for part, number in Counter(part for part, _, _ in labels).items()]
    below = [Head(name) for _, _, name in labels]
    return Table("How right the pseudo-labels were, in percent.", [[Head("", rows=2), *above], below], rows)


def measured_on(runs: Sequence[RunFacts]) -> str:
    """A sentence on the images that judged them; empty where none did."""
    number = max((own["images"] for run in runs for _, entry in run.followed for own in entry.values()), default=0)
    if not number:
        return ""
    images = "one validation image that carries" if number == 1 else f"{count(number)} validation images that carry"
    return (
        f"Measured on {images} both annotations, the same every time: a mask was made of the boxes alone and held "
        "against the true mask, and boxes of the mask alone and held against the true boxes, as training does it. "
        "They are only watched: nothing is learned from these images or chosen by these figures."
    )


def unmeasured(runs: Sequence[RunFacts]) -> list[RunFacts]:
    """Runs that learned from pseudo-labels and were evaluated, but whose pseudo-labels were never scored."""
    derived = ("b4m_label", "b4m_dice", "m4b_cls", "m4b_box", "m4b_bag")
    return [run for run in runs if run.measured and not run.followed and any(n in derived for n in run.loss_names)]


def strips(run: RunFacts) -> list[Strip]:
    """The training images whose pseudo-labels were drawn.

    Raises:
        BomboError: A file is damaged.
    """
    folder = run.path / PSEUDO_LABELS
    index = folder / "index.json"
    if not index.is_file():
        return []
    found = []
    try:
        shown = [(str(own["name"]), str(own["carries"])) for own in json.loads(index.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, KeyError) as error:
        fix = "delete the file: the report goes without"
        raise BomboError(f"cannot be read ({error})", where=str(index), fix=fix) from None
    for number, (name, carries) in enumerate(shown, start=1):
        files = {file.stem.partition("-")[2]: file for file in folder.glob(f"{number}-*.jpg")}
        steps = sorted(int(step) for step in files if step.isdigit() and int(step) <= run.steps)
        given = [(f"its {carries}", data_uri(files[_GIVEN]))] if _GIVEN in files else []
        over_time = [(f"step {count(step)}", data_uri(files[str(step)])) for step in steps]
        found.append(Strip(name, carries, given + over_time))
    return found


def _row(name: str, shares: Sequence[float | None]) -> list[Cell]:
    return [Cell(name, kind="name"), *(Cell(percent(share), share) for share in shares)]


def _points(figure: _Figure) -> Callable[[RunFacts], list[Point]]:
    return lambda run: [(step, 100 * v) for step, entry in run.followed if (v := figure.of(entry)) is not None]


def _level(runs: Sequence[RunFacts], figure: _Figure) -> tuple[float, str] | None:
    """Without the teacher: one line, where it is the same for all runs."""
    values = {percent(v): v for run in runs for _, entry in run.followed if (v := figure.of(entry, alone=True))}
    (text, value), *others = values.items() or [("", 0.0)]
    return (100 * value, f"no teacher {text}") if text and not others else None
