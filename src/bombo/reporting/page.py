"""The page: what was gathered, in the order in which a person asks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from statistics import fmean
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from bombo.engine.ladder import ORACLE, SKIP
from bombo.reporting import learning, pictures, pseudo_labels, tables
from bombo.reporting.charts import HEIGHT, WIDTH
from bombo.reporting.gather import AblationFacts, RunFacts
from bombo.reporting.words import count, percent
from bombo.wording import counted

KINDS = {"boxes": "boxes only", "masks": "masks only", "both": "both", "none": "neither"}
_MANY_CLASSES = 16  # from here on a confusion matrix is folded away
LINES = 8  # that colour and dashes tell apart


def render(
    runs: Sequence[RunFacts], ablation: AblationFacts | None = None, before: RunFacts | None = None, title: str = ""
) -> str:
    """Writes the page.

    Args:
        runs: One run, or several side by side; at most 8 can be told apart.
        ablation: What is to be said about the contribution of each kind of annotation.
        before: An earlier run to compare a single one with.
        title: What the page is about; by default the names of the runs.

    Raises:
        BomboError: A picture cannot be read.
    """
    evaluated = [(i, run, run.evaluation) for i, run in enumerate(runs) if run.evaluation]
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=title or ", ".join(run.name for run in runs),
            runs=runs,
            numbers=tables.numbers(runs[0], before, ablation) if len(runs) == 1 and runs[0].evaluation else [],
            runs_table=tables.runs_table(runs) if len(runs) > 1 else None,
            ablation=ablation,
            arms_table=tables.arms_table(ablation) if ablation else None,
            contributions=contributions(ablation) if ablation else [],
            plot=pictures.data_uri(ablation.plot) if ablation and ablation.plot else "",
            fed=_fed(runs),
            sheets=[(run, sheets) for run in runs if (sheets := pictures.training_sheets(run))],
            figures=learning.figures(runs),
            losses=learning.losses(runs),
            spoken_for=learning.spoken_for(runs),
            rightness=pseudo_labels.rightness(runs),
            rightness_table=pseudo_labels.table(runs),
            rightness_on=pseudo_labels.measured_on(runs),
            rightness_unknown=pseudo_labels.unmeasured(runs),
            strips=[(i, run, drawn) for i, run in enumerate(runs) if (drawn := pseudo_labels.strips(run))],
            learning_rate=learning.learning_rate(runs),
            class_table=tables.class_table(runs),
            curves=learning.precision_recall(runs),
            confusions=[_confusion(i, run, e["confusion"]) for i, run, e in evaluated if e.get("confusion")],
            galleries=[(i, run, groups) for i, run in enumerate(runs) if (groups := pictures.gallery(run))],
            settings_table=tables.settings_table(runs),
            kinds=KINDS,
            many=_MANY_CLASSES,
            width=WIDTH,
            height=HEIGHT,
            style=_text("style.css"),
            script=_text("script.js"),
        )
    )


def contributions(ablation: AblationFacts) -> list[str]:
    """What each kind of annotation contributed to the other task, in sentences, over the seeds two arms share."""

    def gain(arm: str, figure: str) -> str:
        own, skip = ablation.by_seed(arm, figure), ablation.by_seed(SKIP, figure)
        common = own.keys() & skip.keys()
        return f"{100 * fmean(own[seed] - skip[seed] for seed in common):+.1f}".replace("-", "−") if common else ""

    sentences = []
    for arms, figure, text in (
        (("b4m", "faithful-b4m"), "mIoU", "Boxes taught segmentation"),
        (("m4b", "faithful-m4b"), "mAP50-95", "Masks taught detection"),
    ):
        arm = next((arm for arm in arms if arm in ablation.arms), None)
        if arm and (points := gain(arm, figure)):
            sentences.append(f"{text}: {points} points of {figure} against leaving it out (arm {arm}).")
    both = [
        f"{points} points of {figure}"
        for figure in ("mAP50-95", "mIoU")
        if "bombo" in ablation.arms and (points := gain("bombo", figure))
    ]
    if both:
        sentences.append(f"Both together (arm bombo): {' and '.join(both)}.")
    ends = [
        f"{gain(ORACLE, figure)} points of {figure}"
        for figure in ("mAP50-95", "mIoU")
        if ORACLE in ablation.arms and gain(ORACLE, figure)
    ]
    if ends:
        sentences.append(f"With both annotations on every image (arm oracle) it would have been {' and '.join(ends)}.")
    return sentences


def _fed(runs: Sequence[RunFacts]) -> list[tuple[list[RunFacts], dict[str, object], tables.Table]]:
    """Runs that were fed the same, with the counts and the table."""
    groups: list[tuple[list[RunFacts], dict[str, object], tables.Table]] = []
    for run in runs:
        if run.data is None:
            continue
        same = next((own for own, data, _ in groups if data == run.data), None)
        if same is not None:
            same.append(run)
        else:
            groups.append(([run], run.data, tables.fed_table(run.data)))
    return groups


def _confusion(number: int, run: RunFacts, confusion: dict[str, dict[str, Any]]) -> dict[str, object]:
    boxes, masks = confusion["boxes"], confusion["masks"]
    parts = []
    if any(map(any, boxes["counts"])):
        caption = (
            f"Boxes. A row holds the objects of a class, in percent: the diagonal was found, “missed” was not; the "
            f"last row holds detections where nothing is. Scores from {boxes['score']:g}, "
            f"overlap from {100 * boxes['iou']:.0f} %."
        )
        table = tables.confusion_table(boxes, caption, missed="missed")
        parts.append((table, tables.largest_confusions(boxes)))
    if any(map(any, masks["counts"])):
        caption = (
            "Masks. A row holds the pixels of a class, in percent: the diagonal was named rightly. Void is left out."
        )
        parts.append((tables.confusion_table(masks, caption), tables.largest_confusions(masks)))
    return {"number": number, "run": run, "parts": parts}


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("bombo.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "count": count, "counted": counted}
    return environment


@cache
def _text(name: str) -> str:
    return (files("bombo.reporting") / "templates" / name).read_text(encoding="utf-8")
