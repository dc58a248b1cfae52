"""Geometry of small line charts; the template turns it into SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bombo.reporting.words import short

WIDTH, HEIGHT = 320, 190
_LEFT, _TOP, _BOTTOM = 40, 14, 24
_LABEL_HEIGHT, _MOST_POINTS = 11, 240
Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """A curve to be drawn.

    Args:
        run: Number of the run: its colour and dashes.
        name: Written at the end of the line.
        points: (x, y), x ascending.
    """

    run: int
    name: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Line:
    """A curve in pixels, its name beside the end."""

    run: int
    name: str
    path: str
    end: Point
    label_y: float
    is_dot: bool


@dataclass(frozen=True)
class Mark:
    """A vertical line with a name."""

    x: float
    name: str


@dataclass(frozen=True)
class Level:
    """A horizontal line with a name."""

    y: float
    name: str


@dataclass(frozen=True)
class Chart:
    """A chart of WIDTH × HEIGHT pixels.

    Args:
        title: What is drawn.
        about: One sentence on it.
        lines: The curves.
        x_ticks: (pixel, text).
        y_ticks: (pixel, text).
        marks: Vertical lines.
        level: A horizontal line to compare the curves with.
        left: Where the area begins.
        right: Where it ends; names stand right of it.
        top: Its upper edge.
        bottom: Its lower edge.
    """

    title: str
    about: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    marks: list[Mark]
    level: Level | None = None
    left: int = _LEFT
    right: int = WIDTH - 40
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


def chart(
    title: str,
    about: str,
    series: Sequence[Series],
    *,
    x_max: float | None = None,
    y_max: float | None = None,
    marks: Sequence[tuple[float, str]] = (),
    level: tuple[float, str] | None = None,
    form: Callable[[float], str] = short,
) -> Chart | None:
    """Lays out curves over a common x axis; both axes begin at 0.

    Args:
        title: What is drawn.
        about: One sentence on it.
        series: The curves; a single point becomes a dot. Those without points are left out.
        x_max: End of the x axis, by default the largest x.
        y_max: End of the y axis, by default a round number above the largest y.
        marks: (x, name) of vertical lines.
        level: (y, name) of a horizontal line.
        form: Writes a y value.

    Returns:
        The chart, None without points.
    """
    series = [each for each in series if each.points]
    if not series:
        return None
    right = WIDTH - min(110, 16 + round(5.6 * max(len(_shown(each.name)) for each in series)))
    x_end = x_max or max(x for each in series for x, _ in each.points) or 1.0
    top = max(*(y for each in series for _, y in each.points), level[0] if level else 0.0)
    y_ticks = ticks(y_max or top, 4)
    y_end = y_max or max(y_ticks[-1], top)

    def place(point: Point) -> Point:
        return (
            round(_LEFT + (right - _LEFT) * min(1.0, point[0] / x_end), 1),
            round(_TOP + (HEIGHT - _BOTTOM - _TOP) * (1 - max(0.0, point[1]) / y_end), 1),
        )

    ends = [place(each.points[-1]) for each in series]
    heights = spread_out([y for _, y in ends], _LABEL_HEIGHT, _TOP, HEIGHT - _BOTTOM)
    lines = [
        Line(
            each.run,
            _shown(each.name),
            "M" + "L".join(f"{x:g} {y:g}" for x, y in map(place, _thinned(each.points))),
            end,
            height,
            len(each.points) == 1,
        )
        for each, end, height in zip(series, ends, heights, strict=True)
    ]
    return Chart(
        title,
        about,
        lines,
        [(place((x, 0))[0], short(x)) for x in ticks(x_end, 3) if x <= x_end * 1.001],
        [(place((0, y))[1], form(y)) for y in y_ticks if y <= y_end * 1.001],
        [Mark(place((x, 0))[0], name) for x, name in marks if x <= x_end],
        None if level is None else Level(place((0, level[0]))[1], level[1]),
        right=right,
    )


def ticks(end: float, number: int) -> list[float]:
    """About `number` round steps from 0 to the first one that reaches `end`: multiples of 1, 2 or 5 times ten."""
    if end <= 0 or not math.isfinite(end):
        return [0.0, 1.0]
    rough = end / number
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough * 0.999)
    return [step * i for i in range(math.ceil(end / step - 1e-9) + 1)]


def spread_out(places: Sequence[float], distance: float, low: float, high: float) -> list[float]:
    """Moves places apart as little as is simple, so that labels there do not cover each other.

    Args:
        places: Where each would like to be.
        distance: Least distance of two.
        low: Least place.
        high: Largest place; given up where there is not enough room.
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    limit = low
    for i in order:
        moved[i] = max(moved[i], limit)
        limit = moved[i] + distance
    limit = max(high, low + distance * (len(places) - 1))
    for i in reversed(order):
        moved[i] = min(moved[i], limit)
        limit = moved[i] - distance
    return [round(place, 1) for place in moved]


def _thinned(points: Sequence[Point]) -> list[Point]:
    step = math.ceil(len(points) / _MOST_POINTS)
    kept = list(points[::step])
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def _shown(name: str) -> str:
    return name if len(name) <= 16 else f"{name[:7]}…{name[-8:]}"
