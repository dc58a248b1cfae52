"""What was worked out from one kind of annotation about the other: weak targets, before any network saw them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from bombo.data.augment import boxes_in_view
from bombo.data.label_space import VOID
from bombo.data.sample import Record, Sample
from bombo.data.view import View


@dataclass(frozen=True)
class Derived:
    """Weak targets of one sample, in its pixels; or, with a leading dimension B, of a batch.

    Args:
        plain: (3, H, W) uint8 image as augmented but without changes of colour: what a teacher looks at.
        masks: (H, W) uint8 mask values derived from boxes; void where they say nothing.
        weights: (H, W) float32, how far each pixel of `masks` is to be trusted, 0 to 1.
        visible: (H, W) bool, False where no weak loss may speak: in the padding of a view, in crowds, and in boxes of
            unknown class but for what smaller boxes say.
        boxes: (M, 4) float32 xyxy, derived from a mask; in a batch zero rows are padding.
        labels: (M,) int64 class index of the boxes.
        is_target: (M,) bool, False for those of which a view shows too little: regions, as true boxes are then.
    """

    plain: Tensor
    masks: Tensor
    weights: Tensor
    visible: Tensor
    boxes: Tensor
    labels: Tensor
    is_target: Tensor

    @classmethod
    def nothing(cls, image: Tensor) -> Self:
        """No weak target at all, for an image (3, H, W)."""
        size = image.shape[-2:]
        return cls(
            plain=image,
            masks=torch.full(size, VOID, dtype=torch.uint8),
            weights=torch.zeros(size),
            visible=torch.ones(size, dtype=torch.bool),
            boxes=torch.zeros(0, 4),
            labels=torch.zeros(0, dtype=torch.int64),
            is_target=torch.zeros(0, dtype=torch.bool),
        )

    def seen_through(self, view: View, image: Tensor) -> Self:
        """The same through a view.

        Args:
            view: The view.
            image: The sample's image, as the view shows it already.
        """
        boxes, kept, enough = boxes_in_view(view, self.boxes)
        return type(self)(
            plain=image,
            masks=view.mask(self.masks),
            weights=view.mask(self.weights, fill=0),
            visible=view.mask(self.visible, fill=0),
            boxes=boxes,
            labels=self.labels[kept],
            is_target=enough & self.is_target[kept],
        )

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Applies a function to every tensor."""
        return type(self)(**{name: function(tensor) for name, tensor in self.tensors().items()})


Derive = Callable[[Record, Sample], Derived]
"""Works out the weak targets of a decoded image, at source resolution."""


def stack(samples: list[Derived]) -> Derived:
    """Samples of one size as a batch; boxes are padded to the largest count."""
    count = max((len(sample.boxes) for sample in samples), default=0)
    boxes, labels = torch.zeros(len(samples), count, 4), torch.zeros(len(samples), count, dtype=torch.int64)
    is_target = torch.zeros(len(samples), count, dtype=torch.bool)
    for i, sample in enumerate(samples):
        boxes[i, : len(sample.boxes)] = sample.boxes
        labels[i, : len(sample.labels)] = sample.labels
        is_target[i, : len(sample.is_target)] = sample.is_target
    return Derived(
        plain=torch.stack([sample.plain for sample in samples]),
        masks=torch.stack([sample.masks for sample in samples]),
        weights=torch.stack([sample.weights for sample in samples]),
        visible=torch.stack([sample.visible for sample in samples]),
        boxes=boxes,
        labels=labels,
        is_target=is_target,
    )
