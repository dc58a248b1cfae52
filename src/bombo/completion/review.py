"""The list a person works through: the most doubtful image first, with pictures of those at the top."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from bombo.completion.doubt import Doubt, Facts
from bombo.data.dataset import load
from bombo.data.label_space import LabelSpace
from bombo.engine.drawing import draw, side_by_side
from bombo.files import atomic_write

PAGE, TABLE, PICTURES = "review.html", "review.csv", "review"
COLUMNS = (
    "rank",
    "image",
    "completed",
    "doubt",
    "why",
    "objects",
    "lowest_confidence",
    "left_open",
    "disagreement",
    "look_merged",
    "file",
)
_TEMPLATE = Path(__file__).with_name("review.html.j2")


def write_review(
    doubts: Sequence[Doubt], space: LabelSpace, out: Path, pictures: int, mask_of: Callable[[str], np.ndarray]
) -> None:
    """Writes `review.csv` and `review.html` with all images, and `review/*.jpg` of the first ones.

    Args:
        doubts: The images, the most doubtful first.
        space: The classes.
        out: The folder.
        pictures: Number of images to draw.
        mask_of: Name of an image → its completed mask (H, W) uint8.

    Raises:
        DataError: An image cannot be read.
    """
    rows = [row(rank, doubt) for rank, doubt in enumerate(doubts, start=1)]
    drawn: dict[int, str] = {}
    for entry, doubt in zip(rows[:pictures], doubts, strict=False):
        drawn[entry["rank"]] = f"{PICTURES}/{entry['rank']:04d}-{entry['image']}.jpg"
        atomic_write(out / drawn[entry["rank"]], _picture(doubt.facts, mask_of(entry["image"]), space))
    atomic_write(out / TABLE, _csv(rows))
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    atomic_write(out / PAGE, page.render(rows=rows, pictures=drawn))


def row(rank: int, doubt: Doubt) -> dict[str, Any]:
    """One line of the review, as plain types.

    Args:
        rank: From 1.
        doubt: The image.
    """
    facts = doubt.facts
    values = (
        rank,
        facts.record.name,
        facts.filled,
        round(doubt.doubt, 3),
        "; ".join(doubt.why),
        len(facts.boxes),
        round(doubt.lowest, 3),
        round(facts.unlabelled, 3),
        round(facts.changed, 3),
        doubt.merged,
        str(facts.record.image),
    )
    return dict(zip(COLUMNS, values, strict=True))


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _picture(facts: Facts, mask: np.ndarray, space: LabelSpace) -> bytes:
    """What a person gave beside what came of it, scores at what was worked out."""
    sample = load(facts.record)
    image = sample.image.permute(1, 2, 0).numpy()
    given = np.zeros((0, 4)) if sample.boxes is None else sample.boxes.numpy()
    labels = np.zeros(0, np.int64) if sample.labels is None else sample.labels.numpy()
    own = None if sample.mask is None else sample.mask.numpy()
    panels = {
        "annotated": draw(image, given, labels, None, own, space.names),
        "completed": draw(image, facts.boxes, facts.labels, facts.confidence, mask, space.names),
    }
    buffer = io.BytesIO()
    side_by_side(list(panels.values()), list(panels)).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
