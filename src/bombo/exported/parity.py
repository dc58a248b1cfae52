"""Whether an exported file says what the network says: the same images through both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from bombo.data.view import View
from bombo.engine.model import Model
from bombo.exported.batches import joined
from bombo.exported.metadata import Metadata
from bombo.models.network import Predictions
from bombo.models.postprocess import Detected, detect

OUTPUT = 1e-4  # allowed between raw outputs, times the largest value where that exceeds 1
LOST = 0.01  # allowed share of boxes without a counterpart: ties in suppression may go the other way
PIXELS = 0.001  # allowed share of pixels of another class: ties, too
_NEAR, _ALIKE = 1.0, 0.01  # a counterpart is at most this many pixels away, and its score differs by at most that


class File(Protocol):
    """An exported file that can be run."""

    metadata: Metadata

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Images (B, 3, H, W) uint8 → outputs by name."""


@dataclass(frozen=True)
class Parity:
    """How far a file is from the network.

    Args:
        images: Number of images compared.
        outputs: Largest difference of each raw output, and the largest allowed.
        boxes: Number of detections of the network.
        lost: Detections of either that the other lacks.
        apart: Largest distance in input pixels between an edge of a box and its counterpart.
        pixels: Share of pixels whose class differs, 0 to 1.
    """

    images: int
    outputs: dict[str, tuple[float, float]]
    boxes: int
    lost: int
    apart: float
    pixels: float

    def problems(self) -> list[str]:
        """What exceeds the tolerance, in words; nothing if the file may be used."""
        found = [
            f"{name} differs by {largest:.2g}; allowed are {allowed:.2g}"
            for name, (largest, allowed) in self.outputs.items()
            if not largest <= allowed  # NaN is a difference, too
        ]
        if self.lost > LOST * self.boxes:
            found.append(f"{self.lost:,} of {self.boxes:,} boxes have no counterpart; allowed are {share(LOST)}")
        if self.pixels > PIXELS:
            found.append(f"{share(self.pixels)} of the mask's pixels differ; allowed are {share(PIXELS)}")
        return found


def share(value: float) -> str:
    """A share from 0 to 1 in percent."""
    return f"{100 * value:.2g} %"


def compare(model: Model, file: File, images: Tensor) -> Parity:
    """Runs the same images through the network and through a file made of it.

    Args:
        model: The network, in float32 on the CPU.
        file: What was made of it.
        images: (B, 3, H, W) uint8; they go in as one, three and all others, if the file takes any number.
    """
    parts = [part for part in (images[:1], images[1:4], images[4:]) if len(part)]
    expected = joined([model.forward(part)._asdict() for part in parts])
    given = joined([file(part) for part in parts])
    network = Predictions(**expected)
    reference, true_mask = detect(network, model.size), _class_map(network, model.size)
    outputs: dict[str, tuple[float, float]] = {}
    if file.metadata.outputs == "heads":
        outputs = {name: _difference(expected[name], given[name]) for name in expected}
        found, mask = detect(Predictions(**given), model.size), _class_map(Predictions(**given), model.size)
    else:
        found, mask = _detections(given), given["mask"]
    pairs = [_matched(one, other) for one, other in zip(reference, found, strict=True)]
    return Parity(
        images=len(images),
        outputs=outputs,
        boxes=sum(len(each.boxes) for each in reference),
        lost=sum(lost for lost, _ in pairs),
        apart=max(apart for _, apart in pairs),
        pixels=(mask != true_mask).double().mean().item(),
    )


def _difference(expected: Tensor, given: Tensor) -> tuple[float, float]:
    if not expected.numel():
        return 0.0, OUTPUT
    return (given - expected).abs().max().item(), OUTPUT * max(1.0, expected.abs().max().item())


def _class_map(predictions: Predictions, size: tuple[int, int]) -> Tensor:
    view = View.whole(size, size, "squash")
    return torch.stack([view.classes_to_source(scores) for scores in predictions.mask_logits])


def _detections(given: dict[str, Tensor]) -> list[Detected]:
    rows = zip(given["boxes"], given["scores"], given["labels"], strict=True)
    return [Detected(boxes[scores > 0], scores[scores > 0], labels[scores > 0]) for boxes, scores, labels in rows]


def _matched(one: Detected, other: Detected) -> tuple[int, float]:
    """Number of detections of either without a counterpart, and the largest distance between counterparts."""
    apart = (one.boxes[:, None] - other.boxes).abs().amax(-1)
    same = (apart <= _NEAR) & (one.labels[:, None] == other.labels)
    same &= (one.scores[:, None] - other.scores).abs() <= _ALIKE
    lost = int((~same.any(1)).sum() + (~same.any(0)).sum())
    nearest = apart.where(same, torch.inf).amin(1) if apart.numel() else apart.new_zeros(0)
    return lost, max(nearest[nearest.isfinite()].tolist(), default=0.0)
