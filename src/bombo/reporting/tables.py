"""The tables of a report, as rows of cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bombo.engine.ladder import ORACLE, SKIP
from bombo.reporting.gather import AblationFacts, RunFacts
from bombo.reporting.words import count, percent

HEADLINES = ("mAP50", "mAP50-95", "mIoU")
_CLASS_FIGURES = ("AP50", "AP50-95", "VOC_AP50", "IoU")


@dataclass(frozen=True)
class Cell:
    """A cell.

    Args:
        text: What it says.
        sort: What it is sorted by, None for the text.
        bar: Length of a bar beside the number, 0 to 1.
        heat: Strength of its background, 0 to 1.
        kind: `name` heads its row, `number` stands right, `best` is one that stands out, `masks` has a hatched bar.
    """

    text: str
    sort: float | None = None
    bar: float | None = None
    heat: float | None = None
    kind: str = "number"


@dataclass(frozen=True)
class Head:
    """A cell of the header; `column` is what a click sorts by, None for one that only groups; `run` has its mark."""

    text: str
    column: int | None = None
    columns: int = 1
    rows: int = 1
    run: int | None = None


@dataclass(frozen=True)
class Table:
    """A table; rows that `differ` are marked."""

    caption: str
    header: list[list[Head]]
    rows: list[list[Cell]]
    differ: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Number:
    """One of the numbers that say whether it worked; `others` are what it is compared with: name, figure, distance."""

    name: str
    text: str
    others: list[tuple[str, str, str]]


def numbers(run: RunFacts, before: RunFacts | None, ablation: AblationFacts | None) -> list[Number]:
    """The three figures of one run, against the run before it and the ends of the gap."""
    found = []
    for name in HEADLINES:
        own, others = run.figure(name), []
        if before is not None:
            others.append((before.name, before.figure(name)))
        if ablation is not None:
            others += [(arm, ablation.mean(arm, name)) for arm in (SKIP, ORACLE) if arm in ablation.arms]
        compared = [(other, percent(value), _distance(own, value)) for other, value in others if value is not None]
        found.append(Number(name, percent(own), compared))
    return found


def runs_table(runs: Sequence[RunFacts]) -> Table:
    """The three figures of several runs."""
    best = {name: max((f for run in runs if (f := run.figure(name)) is not None), default=None) for name in HEADLINES}
    rows = []
    for run in runs:
        values = [run.figure(name) for name in HEADLINES]
        row = [Cell(run.name, kind="name")]
        row += [
            Cell(percent(v), v, kind="best" if v is not None and v == best[n] else "number")
            for n, v in zip(HEADLINES, values, strict=True)
        ]
        rows.append([*row, Cell(count(run.steps), run.steps)])
    header = [Head("run", 0), *(Head(name, i) for i, name in enumerate((*HEADLINES, "steps"), 1))]
    caption = "Percent on the validation images, after the last step. The best of each column is bold."
    return Table(caption, [header], rows)


def arms_table(ablation: AblationFacts) -> Table:
    """Means of the arms of an ablation, and the share of the gap between `skip` and `oracle` that each closes."""
    figures = ablation.results["comparison"]["figures"]
    gap = {SKIP, ORACLE} <= figures.keys()
    rows = []
    for arm, own in figures.items():
        row = [Cell(arm, kind="name"), Cell(count(len(ablation.results["comparison"]["seeds"][arm])))]
        for name in HEADLINES:
            mean, spread, closed = (own[name].get(key) for key in ("mean", "spread", "gap_closed"))
            row.append(Cell(percent(mean) + (f" ± {percent(spread)}" if spread is not None else ""), mean))
            if gap:
                row.append(Cell("–" if closed is None else f"{100 * closed:.0f} %".replace("-", "−"), closed))
        rows.append(row)
    labels = ["arm", "seeds"]
    for name in HEADLINES:
        labels += [name, "gap closed"][: 1 + gap]
    return Table(str(ablation.results.get("note", "")), [[Head(text, i) for i, text in enumerate(labels)]], rows)


def fed_table(data: dict[str, Any]) -> Table:
    """What the training images carry, class by class."""
    classes = data["classes"]
    scale = data["masks"] / data["masks_read"] if data["masks_read"] else 1
    pixels = {name: round(own["images_with_pixels"] * scale) for name, own in classes.items()}
    most = max([1, *pixels.values(), *(own["images_with_boxes"] for own in classes.values())])
    rows = []
    for name, own in classes.items():
        thing = own["kind"] == "thing"
        share = own["pixel_share"]
        rows.append(
            [
                Cell(name, kind="name"),
                Cell(count(own["boxes"]) if thing else "stuff", own["boxes"] if thing else None),
                Cell(count(own["images_with_boxes"]), own["images_with_boxes"], own["images_with_boxes"] / most)
                if thing
                else Cell(""),
                Cell("–" if share is None else f"{100 * share:.1f} %", share),
                Cell(count(pixels[name]), pixels[name], pixels[name] / most, kind="masks"),
            ]
        )
    estimate = " (estimated from a part of them)" if data["masks_read"] < data["masks"] else ""
    caption = (
        f"Training images that carry each class. Plain bars: in boxes; hatched bars: in masks{estimate}; one scale for "
        "both. A class with a short bar of one kind is learned, for that task, mostly from the other kind."
    )
    labels = ("class", "boxes", "images with boxes", "share of mask pixels", "images with masks")
    return Table(caption, [[Head(text, i) for i, text in enumerate(labels)]], rows)


def class_table(runs: Sequence[RunFacts]) -> Table | None:
    """Figures of each class, of one run or of several side by side."""
    known = [(number, run) for number, run in enumerate(runs) if run.evaluation]
    if not known:
        return None
    per_class = [run.evaluation["per_class"] for _, run in known if run.evaluation]
    names = list(dict.fromkeys(name for own in per_class for name in own))
    figures = [f for f in _CLASS_FIGURES if len(known) == 1 or f != "VOC_AP50"]
    rows = []
    for name in names:
        row = [Cell(name, kind="name")]
        for figure in figures:
            row += _figures([own.get(name, {}).get(figure) for own in per_class], figure)
        rows.append(row)
    shown = [figure.replace("_", " ") for figure in figures]
    caption = "Percent, class by class. AP judges boxes, IoU judges masks. Click a heading to sort by it."
    if len(known) == 1:
        return Table(caption, [[Head(text, i) for i, text in enumerate(("class", *shown))]], rows)
    above = [Head("class", 0, rows=2), *(Head(text, columns=len(known)) for text in shown)]
    labels = [(number, run.name) for _ in figures for number, run in known]
    below = [Head(name, i, run=number) for i, (number, name) in enumerate(labels, 1)]
    return Table(f"{caption} The best run of each is bold.", [above, below], rows)


def confusion_table(matrix: dict[str, Any], caption: str, *, missed: str = "") -> Table:
    """A confusion matrix, in percent of each row.

    Args:
        matrix: `names` and `counts`, true by predicted.
        caption: What it shows.
        missed: Heading of the last column, if it is not that of the last row.
    """
    names, rows = matrix["names"], []
    for name, row in zip(names, matrix["counts"], strict=True):
        total = sum(row)
        shares = [value / total if total else 0.0 for value in row]
        rows.append([Cell(name, kind="name"), *(_heat(share) for share in shares), Cell(count(total), kind="total")])
    columns = [*names[:-1], missed or names[-1]]
    header = [Head("true ↓  predicted →"), *(Head(name) for name in columns), Head("all")]
    return Table(caption, [header], rows)


def largest_confusions(matrix: dict[str, Any], most: int = 5) -> list[str]:
    """What is most often taken for what, in words; misses and inventions are no confusion."""
    names, found = matrix["names"], []
    for i, row in enumerate(matrix["counts"]):
        for j, value in enumerate(row):
            if value and i != j and "nothing" not in (names[i], names[j]):
                found.append((value / sum(row), names[i], names[j]))
    found.sort(key=lambda each: -each[0])
    shown = [each for each in found[:most] if each[0] >= 0.01]
    return [f"{100 * share:.0f}\N{NO-BREAK SPACE}% of {true} is taken for {other}" for share, true, other in shown]


def settings_table(runs: Sequence[RunFacts]) -> Table:
    """All settings and versions, a run a column; the rows that differ are marked and come first."""
    columns = [_settings(run) for run in runs]
    names = list(dict.fromkeys(name for column in columns for name in column))
    differing = [n for n in names if len({column.get(n, "–") for column in columns}) > 1]
    ordered = [*differing, *(n for n in names if n not in differing)]
    rows = [[Cell(n, kind="name"), *(Cell(column.get(n, "–"), kind="text") for column in columns)] for n in ordered]
    if len(runs) == 1:
        return Table("Every setting, resolved.", [[Head("setting"), Head("value")]], rows)
    header = [Head("setting"), *(Head(run.name, run=number) for number, run in enumerate(runs))]
    caption = "Every setting, resolved. Those that differ are marked and come first."
    return Table(caption, [header], rows, frozenset(range(len(differing))))


def _figures(values: Sequence[float | None], figure: str) -> list[Cell]:
    """A figure of one class: of one run with a bar, of several with the best marked."""
    texts = [percent(v) if v is not None or figure == "IoU" else "" for v in values]
    if len(values) == 1:
        return [Cell(texts[0], values[0], bar=values[0], kind="masks" if figure == "IoU" else "number")]
    best = max((v for v in values if v is not None), default=None)
    stands_out = values.count(best) == 1
    return [
        Cell(t, v, kind="best" if v == best and stands_out else "number") for t, v in zip(texts, values, strict=True)
    ]


def _settings(run: RunFacts) -> dict[str, str]:
    environment = dict(run.environment)
    packages = environment.pop("packages", {})
    environment.pop("command", None)
    values = {**run.config, **environment, **packages}
    return {name: "–" if value is None else str(value) for name, value in values.items()}


def _heat(share: float) -> Cell:
    return Cell(f"{100 * share:.0f}" if share >= 0.005 else "·" if share else "", share, heat=share)


def _distance(own: float | None, other: float | None) -> str:
    if own is None or other is None:
        return ""
    points = round(100 * (own - other), 1)
    return "±0.0" if points == 0 else f"{'+' if points > 0 else '−'}{abs(points):.1f}"
