"""Follows pseudo-labels while a network is trained: at every evaluation they are scored and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from bombo import distributed
from bombo.data.data_file import DataSet
from bombo.engine.deriving import Deriver
from bombo.engine.pseudo_label_pictures import Shown, draw_pseudo_labels, shown_images
from bombo.engine.pseudo_labels import Judged, Labeller, judged_images, score


@dataclass(frozen=True)
class Following:
    """What is looked at; nothing of it is trained on, and nothing chosen by it.

    Args:
        judged: Validation images that say how right pseudo-labels are.
        shown: Training images whose pseudo-labels are drawn.
        labeller: Makes them as training does.
        folder: The run's.
    """

    judged: Sequence[Judged]
    shown: Sequence[Shown]
    labeller: Labeller
    folder: Path

    def __call__(self, step: int, progress: float) -> dict[str, Any]:
        """Draws the pseudo-labels after a step, and tells how right they are: what joins the line of metrics.jsonl."""
        draw_pseudo_labels(self.folder, self.shown, self.labeller, step, progress)
        figures = score(self.judged, self.labeller, progress)
        return {"pseudo_labels": figures} if figures else {}


def follow(
    derive: Deriver | None,
    labeller: Labeller,
    train_set: DataSet,
    val_set: DataSet,
    folder: Path,
    console: Console,
) -> Following | None:
    """Reads the images to look at, and says on how many pseudo-labels will be scored.

    Args:
        derive: As training derives; None = it does not.
        labeller: Makes pseudo-labels.
        train_set: Where the pictures come from.
        val_set: Where the judges come from.
        folder: The run's.
        console: Where it is said.

    Returns:
        None where nothing is derived from an annotation, nothing is evaluated, or another process does it.
    """
    if derive is None or not val_set.records or not distributed.is_main():
        return None
    weights, kinds = labeller.method.weights, {record.kind for record in train_set.records}
    learned = weights.m4b_cls or weights.m4b_box or weights.m4b_bag
    derive = replace(derive, boxes=bool(learned) and "masks" in kinds)
    if derive.masks is None and not derive.boxes:
        return None
    judged = judged_images(val_set, derive, labeller.teacher)
    shown = shown_images(train_set.records, derive, labeller.teacher)
    text = (
        f"{len(judged):,} validation images with both annotations tell at every evaluation how right pseudo-labels are"
        if judged
        else "no validation image carries both annotations, of all classes: how right pseudo-labels are cannot be told"
    )
    console.print(f"judges    {text}", markup=False, highlight=False, soft_wrap=True)
    return Following(judged, shown, labeller, folder)
