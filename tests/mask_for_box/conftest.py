"""Masks drawn by hand and scenes of discs and rectangles whose boxes are known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

SIDE = 96


def drawn(*rows: str) -> Tensor:
    return torch.tensor([[int({".": "0", "x": "255"}.get(c, c)) for c in row] for row in rows], dtype=torch.uint8)


def scene(seed: int, num_things: int = 3, rim: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    instances = torch.zeros(SIDE, SIDE, dtype=torch.int64)
    kinds = torch.randint(num_things, (8,), generator=random)
    for i in range(int(torch.randint(1, 9, (1,), generator=random))):
        cx, cy = (torch.rand(2, generator=random) * SIDE).tolist()
        a, b = (4 + torch.rand(2, generator=random) ** 2 * 36).tolist()
        if torch.rand(1, generator=random) < 0.5:
            shape = ((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 <= 1
        else:
            shape = ((x - cx).abs() <= a) & ((y - cy).abs() <= b)
        instances[shape] = i + 1
    mask = torch.cat((torch.zeros(1, dtype=torch.int64), kinds + 1))[instances].to(torch.uint8)
    boxes, labels = [], []
    for i in instances.unique().tolist():
        rows, columns = (instances == i).nonzero(as_tuple=True)
        if i:
            boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            labels.append(kinds[i - 1])
    if rim:
        edge = torch.zeros_like(instances, dtype=torch.bool)
        edge[1:] |= instances[1:] != instances[:-1]
        edge[:-1] |= instances[1:] != instances[:-1]
        edge[:, 1:] |= instances[:, 1:] != instances[:, :-1]
        edge[:, :-1] |= instances[:, 1:] != instances[:, :-1]
        mask[edge] = 255
    return mask, torch.tensor(boxes, dtype=torch.float32).view(-1, 4), torch.tensor(labels, dtype=torch.int64)


@pytest.fixture(scope="session")
def draw() -> Callable[..., Tensor]:
    """(H, W) mask from rows of characters: . is background, x void, a digit its value."""
    return drawn


@pytest.fixture(scope="session")
def make_scene() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """Mask (96, 96), tight boxes of what is visible of every object, labels; from a seed, with a void rim if wanted."""
    return scene
