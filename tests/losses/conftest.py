"""Batches and predictions made by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bombo.data.batch import Batch, collate
from bombo.data.sample import Sample
from bombo.models.anchors import make_anchors
from bombo.models.network import Predictions

SIDE = 64
SHAPES = [(8, 8), (4, 4), (2, 2), (1, 1)]

Row = tuple[float, float, float, float, int, bool]  # x1, y1, x2, y2, label, is a target


def sample(boxes: list[Row] | None = None, mask: Tensor | None = None) -> Sample:
    image = torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)
    if boxes is None:
        return Sample(image, None, None, None, mask)
    return Sample(
        image,
        torch.tensor([row[:4] for row in boxes], dtype=torch.float32).view(-1, 4),
        torch.tensor([row[4] for row in boxes], dtype=torch.int64),
        torch.tensor([row[5] for row in boxes], dtype=torch.bool),
        mask,
    )


def batch(*samples: tuple[list[Row] | None, Tensor | None]) -> Batch:
    return collate([sample(*each) for each in samples])


def predictions(
    images: int, num_things: int = 3, num_values: int = 5, seed: int = 0, scale: float = 1.0
) -> Predictions:
    random = torch.Generator().manual_seed(seed)
    anchors = make_anchors(SHAPES)

    def leaf(*shape: int) -> Tensor:
        return (torch.randn(images, *shape, generator=random) * scale).requires_grad_()

    return Predictions(leaf(len(anchors), num_things), leaf(len(anchors), 4), anchors, leaf(num_values, 16, 16))


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., Batch]:
    """Batch of (boxes or None, mask or None), images of 64 × 64; a box is (x1, y1, x2, y2, label, is_target)."""
    return batch


@pytest.fixture(scope="session")
def make_predictions() -> Callable[..., Predictions]:
    """Random predictions of so many images, every output a leaf that collects its gradient."""
    return predictions
