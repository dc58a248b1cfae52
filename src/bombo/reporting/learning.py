"""How runs learned: small charts of every named loss and figure, and the curves of precision over recall."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bombo.reporting.charts import Chart, Point, Series, chart
from bombo.reporting.gather import RunFacts
from bombo.reporting.words import FIGURES, GROUPS, TERMS, WEAK, short

Marks = list[tuple[float, str]]
_CAPTION = "Running mean over steps, the weight of the loss included. Lower is better, but only against itself."


@dataclass(frozen=True)
class Charts:
    """Charts that belong together."""

    title: str
    caption: str
    charts: list[Chart]


def losses(runs: Sequence[RunFacts]) -> list[Charts]:
    """A chart for every loss, by what teaches what."""
    groups: dict[str, list[Chart]] = {prefix: [] for prefix in (*GROUPS, "")}
    for name in dict.fromkeys(name for run in runs for name in run.loss_names):
        prefix = name.partition("_")[0]
        marks = teacher_marks(runs) if prefix in WEAK else []
        drawn = over_steps(runs, name, _meaning(name), _logged(name), marks)
        groups[prefix if prefix in GROUPS else ""] += [drawn] if drawn else []
    weak = f"{_CAPTION} Dotted: the teacher, the averaged network, is asked from here, and trusted fully from there."
    captions = {prefix: weak if any(each.marks for each in drawn) else _CAPTION for prefix, drawn in groups.items()}
    titles = {**GROUPS, "": "Other losses"}
    return [Charts(titles[prefix], captions[prefix], drawn) for prefix, drawn in groups.items() if drawn]


def figures(runs: Sequence[RunFacts]) -> Charts | None:
    """A chart for every figure on the validation images; None where no run was evaluated twice."""
    if all(len(run.measured) < 2 for run in runs):
        return None
    drawn = [over_steps(runs, name, about, _measured(name)) for name, about in FIGURES.items()]
    return Charts("On the validation images", "Percent over steps.", [c for c in drawn if c])


def spoken_for(runs: Sequence[RunFacts]) -> Charts | None:
    """How many pixels, boxes, ... each weak loss was computed from, over steps; None where that was not logged."""
    drawn = []
    for name in dict.fromkeys(name for run in runs for name in run.loss_names):
        if name.partition("_")[0] in WEAK:
            title = f"{name}: {TERMS.get(name, ('', 'things'))[1]}"
            drawn.append(over_steps(runs, title, _meaning(name), _spoken(name), marks=teacher_marks(runs)))
    caption = (
        "How much was taught without an annotation of its own: pixels, boxes and so on that each weak loss was "
        "computed from in a step. The teacher is the averaged network. Where it comes in, it may strike out what it "
        "doubts (the line falls) and add what it is sure of (the line rises); at 0, nothing is taught."
    )
    kept = [c for c in drawn if c]
    return Charts("Pseudo-labels", caption, kept) if kept else None


def learning_rate(runs: Sequence[RunFacts]) -> Chart | None:
    """The learning rate over steps."""
    return over_steps(runs, "learning rate", "Of the new layers.", _logged("lr"))


def precision_recall(runs: Sequence[RunFacts]) -> list[Chart]:
    """A chart for every thing class, as far as curves were kept."""
    kept = [(i, run, e) for i, run in enumerate(runs) if (e := run.evaluation) and e.get("curves")]
    charts = []
    for name in dict.fromkeys(name for _, _, evaluation in kept for name in evaluation["curves"]):
        series = []
        for number, run, evaluation in kept:
            points = [(float(recall), 100 * p) for recall, p in enumerate(evaluation["curves"].get(name) or []) if p]
            area = evaluation["per_class"].get(name, {}).get("AP50")
            label = run.name if len(runs) > 1 else "" if area is None else f"AP {100 * area:.1f}"
            series.append(Series(number, label, points))
        charts.append(chart(name, "", series, x_max=100, y_max=100))
    return [c for c in charts if c]


def over_steps(
    runs: Sequence[RunFacts],
    title: str,
    about: str,
    points_of: Callable[[RunFacts], list[Point]],
    marks: Sequence[tuple[float, str]] = (),
    level: tuple[float, str] | None = None,
) -> Chart | None:
    """Over steps; at the end of a line stands its run or, where there is one only, the last value."""
    series = []
    for number, run in enumerate(runs):
        points = points_of(run)
        last = short(points[-1][1]) if points else ""
        series.append(Series(number, run.name if len(runs) > 1 else last, points))
    x_max = max(run.planned for run in runs)
    return chart(title.replace("VOC_", "VOC "), about, series, x_max=x_max, marks=marks, level=level)


def _logged(name: str) -> Callable[[RunFacts], list[Point]]:
    return lambda run: [(line["step"], value) for line in run.losses if (value := line.get(name)) is not None]


def _spoken(name: str) -> Callable[[RunFacts], list[Point]]:
    return lambda run: [
        (line["step"], value) for line in run.losses if (value := line.get("spoke_for", {}).get(name)) is not None
    ]


def _measured(name: str) -> Callable[[RunFacts], list[Point]]:
    return lambda run: [
        (step, 100 * value) for step, val in run.measured if (value := val["figures"].get(name)) is not None
    ]


def teacher_marks(runs: Sequence[RunFacts]) -> Marks:
    """Where the teacher is asked for the first time, and from where on it is trusted."""
    asked = [run for run in runs if run.method.asks_teacher(1.0)]
    marks = {round(run.method.start * run.planned): "teacher asked" for run in asked}
    return sorted((marks | {round(run.method.full * run.planned): "trusted" for run in asked}).items())


def _meaning(name: str) -> str:
    return TERMS.get(name, ("", ""))[0]
