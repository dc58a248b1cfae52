"""One image with both annotations: what a person gave, what was worked out, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bombo.conversion.annotated import AnnotatedImage, AnnotatedObject
from bombo.conversion.reading import objects_of
from bombo.data.label_space import LabelSpace
from bombo.data.sample import Record

Filled = Literal["mask", "boxes", "both", "nothing"]


@dataclass(frozen=True, eq=False)
class Completed:
    """An image whose annotation is complete.

    Args:
        record: What was known of it.
        image: All its annotation. An object's score is its confidence: of its box near the probability that it is
            right, of its mask near the share of its pixels that are; None where nothing of it was worked out. The mask
            is void where nobody is sure. A region of no known class has the label after the last class.
        filled: Which annotation was worked out.
        unlabelled: Share of the pixels in boxes that stay void; boxes with an outline left out, here and below.
        changed: Share of the pixels in boxes where the network did not agree with what the colours say.
        split: Number of components of the mask that the network took apart.
    """

    record: Record
    image: AnnotatedImage
    filled: Filled
    unlabelled: float = 0.0
    changed: float = 0.0
    split: int = 0


def given(record: Record, mask: np.ndarray | None, space: LabelSpace) -> tuple[AnnotatedObject, ...]:
    """The objects as a person gave them; those of no known class have the label after the last class."""
    no_class = len(space.names)
    return tuple(replace(item, label=no_class) if item.label < 0 else item for item in objects_of(record, mask) or ())
