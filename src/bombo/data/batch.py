"""A batch: images stacked, annotation padded, and flags that say what each image carries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

from bombo.data.derived import Derived, stack
from bombo.data.label_space import VOID
from bombo.data.sample import Sample


@dataclass(frozen=True)
class Batch:
    """B samples as tensors; nothing here turns "not annotated" into "nothing there": ask `has_boxes` and `has_mask`.

    Args:
        images: (B, 3, H, W) uint8.
        boxes: (B, N, 4) float32 xyxy pixels; zero rows are padding.
        labels: (B, N) int64, class index or `ANY_CLASS`.
        is_target: (B, N) bool; False rows with an area are regions, which count as negative for nothing.
        masks: (B, H, W) uint8; void all over where `has_mask` is False.
        has_boxes: (B,) bool, annotated for detection.
        has_mask: (B,) bool, annotated for segmentation.
        labelled: (B, C) bool, the classes looked for on an image; None: all of them on all.
        names: Names of the images, for messages.
        derived: Weak targets, None where nothing asks for them.
        skipped: Names and errors of files that could not be read and were replaced (with skip_bad).
    """

    images: Tensor
    boxes: Tensor
    labels: Tensor
    is_target: Tensor
    masks: Tensor
    has_boxes: Tensor
    has_mask: Tensor
    labelled: Tensor | None = None
    names: tuple[str, ...] = ()
    derived: Derived | None = None
    skipped: tuple[tuple[str, str], ...] = ()

    def to(self, device: torch.device) -> Self:
        """Moves the tensors, without waiting for the copy where memory is pinned."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """Called by the loader when it copies to a GPU."""
        return self._map(Tensor.pin_memory)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name, for saving a batch."""
        derived = {} if self.derived is None else self.derived.tensors()
        return self._own_tensors() | {f"derived_{name}": tensor for name, tensor in derived.items()}

    def _own_tensors(self) -> dict[str, Tensor]:
        return {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        changed = {name: function(tensor) for name, tensor in self._own_tensors().items()}
        derived = None if self.derived is None else self.derived.map(function)
        return replace(self, derived=derived, **changed)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.images)


def collate(
    samples: list[Sample],
    names: tuple[str, ...] = (),
    skipped: tuple[tuple[str, str], ...] = (),
    derived: list[Derived] | None = None,
) -> Batch:
    """Stacks samples of one size, with their weak targets; boxes are padded to the largest count in the batch."""
    count = max((len(s.boxes) for s in samples if s.boxes is not None), default=0)
    height, width = samples[0].image.shape[-2:]
    boxes = torch.zeros(len(samples), count, 4)
    labels = torch.zeros(len(samples), count, dtype=torch.int64)
    is_target = torch.zeros(len(samples), count, dtype=torch.bool)
    masks = torch.full((len(samples), height, width), VOID, dtype=torch.uint8)
    for i, sample in enumerate(samples):
        if sample.boxes is not None and sample.labels is not None and sample.is_target is not None:
            boxes[i, : len(sample.boxes)] = sample.boxes
            labels[i, : len(sample.boxes)] = sample.labels
            is_target[i, : len(sample.boxes)] = sample.is_target
        if sample.mask is not None:
            masks[i] = sample.mask
    return Batch(
        images=torch.stack([sample.image for sample in samples]),
        boxes=boxes,
        labels=labels,
        is_target=is_target,
        masks=masks,
        has_boxes=torch.tensor([sample.boxes is not None for sample in samples]),
        has_mask=torch.tensor([sample.mask is not None for sample in samples]),
        labelled=_labelled(samples),
        names=names,
        derived=None if derived is None else stack(derived),
        skipped=skipped,
    )


def _labelled(samples: list[Sample]) -> Tensor | None:
    some = [sample.labelled for sample in samples if sample.labelled is not None]
    if not some:
        return None
    every = torch.ones_like(some[0])
    return torch.stack([every if sample.labelled is None else sample.labelled for sample in samples])
