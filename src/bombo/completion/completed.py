"""One image with both annotations: what a person gave, what was worked out, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bombo.conversion.annotated import AnnotatedImage
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
        unlabelled: Share of the pixels in boxes that stay void.
        changed: Share of the pixels in boxes where the network did not agree with what the colours say.
        split: Number of components of the mask that the network took apart.
    """

    record: Record
    image: AnnotatedImage
    filled: Filled
    unlabelled: float = 0.0
    changed: float = 0.0
    split: int = 0
