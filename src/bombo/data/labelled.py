"""Which classes were looked for on an image: of the others, nothing is known there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from bombo.data.label_space import VOID, LabelSpace
from bombo.data.sample import MaskAnnotation, Record


@dataclass(frozen=True)
class LabelledMask:
    """A mask whose pixels of classes that were not looked for are void.

    Args:
        mask: The mask as annotated.
        labelled: (C,) whether each class was looked for.
    """

    mask: MaskAnnotation
    labelled: tuple[bool, ...]

    def load(self, size: tuple[int, int]) -> np.ndarray:
        """See `MaskAnnotation`."""
        values = np.arange(256, dtype=np.uint8)
        values[1 : len(self.labelled) + 1][~np.array(self.labelled)] = VOID
        mask: np.ndarray = values[self.mask.load(size)]
        return mask


def labelled_classes(names: Iterable[str], space: LabelSpace, *, masks: bool) -> tuple[bool, ...] | None:
    """Whether each class of the label space was looked for; None = all were.

    Args:
        names: The classes that were.
        space: The label space.
        masks: Whether the annotation holds masks. Boxes never speak of stuff, whoever draws them.
    """
    known = set(names) if masks else {*names, *space.stuff}
    labelled = tuple(name in known for name in space.names)
    return None if all(labelled) else labelled


def as_labelled(record: Record) -> Record:
    """Takes back what an image says of classes that were not looked for on it.

    Some objects of such a class may be marked all the same: their boxes become regions, which are no target and count
    as negative for nothing, and their pixels become void.
    """
    if record.labelled is None:
        return record
    boxes, mask = record.boxes, record.mask
    if boxes is not None:
        unknown = ~np.array((*record.labelled, True))[boxes.labels]  # the last for ANY_CLASS, which is −1
        boxes = replace(boxes, crowd=boxes.crowd | unknown)
    return replace(record, boxes=boxes, mask=None if mask is None else LabelledMask(mask, record.labelled))
