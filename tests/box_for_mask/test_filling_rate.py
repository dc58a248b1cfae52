from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bombo.box_for_mask.filling_rate import filling_rate_loss, filling_rates
from bombo.data.label_space import ANY_CLASS

WHOLE = [0.0, 0.0, 4.0, 4.0]


def logits_of(p: torch.Tensor) -> torch.Tensor:
    """(1, 2, h, w) in which class 0 has probability p."""
    return torch.stack((1 - p, p)).log()[None]


def loss(p: torch.Tensor, boxes: list[list[float]], low: float, high: float, labels=None, scale=1.0):  # type: ignore[no-untyped-def]
    labels = torch.tensor([[0] * len(boxes) if labels is None else labels])
    valid = torch.ones_like(labels, dtype=torch.bool)
    given = torch.tensor([boxes]).view(1, -1, 4)
    return filling_rate_loss(logits_of(p), given, labels, valid, torch.tensor([low]), torch.tensor([high]), scale)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        pytest.param(0.5, 0.9, 0.225, id="too empty"),
        pytest.param(0.1, 0.2, 0.075, id="too full"),
        pytest.param(0.2, 0.3, 0, id="as usual"),
    ],
)
def test_rate_by_hand(low: float, high: float, expected: float) -> None:
    p = torch.full((4, 4), 0.1, dtype=torch.float64)
    p[1:3, 1:3] = 0.8  # (4 · 0.8 + 12 · 0.1) / 16 = 0.275
    value, number = loss(p, [WHOLE], low, high)
    assert value.item() == pytest.approx(expected)
    assert number == 1


def test_mean_over_boxes_of_their_own_classes() -> None:
    logits = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log().view(1, 3, 1, 1).repeat(1, 1, 4, 8)
    boxes = torch.tensor([[[0.0, 0, 16, 16], [16, 0, 32, 16], [0, 0, 32, 16], [0, 0, 12, 16]]])
    labels, valid = torch.tensor([[0, 1, ANY_CLASS, 0]]), torch.ones(1, 4, dtype=torch.bool)
    low, high = torch.tensor([0.6, 0.0]), torch.tensor([0.9, 0.1])
    value, number = filling_rate_loss(logits, boxes, labels, valid, low, high, 0.25)
    assert value.item() == pytest.approx(((0.6 - 0.5) + (0.3 - 0.1)) / 2)  # the third has no class, the last 12 cells
    assert number == 2


coordinates = st.integers(-8, 40).map(lambda quarter: quarter / 4)


@given(coordinates, coordinates, coordinates, coordinates)
@settings(deadline=None, max_examples=60)
def test_cells_with_their_centre_inside(x1: float, y1: float, x2: float, y2: float) -> None:
    p = torch.rand(8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    cells = [
        p[y, x].item()
        for y in range(8)
        for x in range(8)
        if max(x1, 0) < x + 0.5 < min(x2, 8) and max(y1, 0) < y + 0.5 < min(y2, 8)
    ]
    value, number = loss(p, [[x1, y1, x2, y2]], 1.0, 1.0)
    assert number == (len(cells) >= 16)
    assert value.item() == pytest.approx(1 - sum(cells) / len(cells) if number else 0, abs=1e-6)


def test_rate_gradient() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 6, 6, dtype=torch.float64, requires_grad=True)
    boxes = torch.tensor([[[0.0, 0, 6, 6], [1, 1, 5, 6]], [[0, 2, 6, 6], [0, 0, 0, 0]]])
    labels, valid = torch.tensor([[0, 1], [1, 0]]), torch.tensor([[True, True], [True, False]])
    low, high = torch.tensor([0.7, 0.0]), torch.tensor([0.9, 0.1])
    assert torch.autograd.gradcheck(lambda x: filling_rate_loss(x, boxes, labels, valid, low, high, 1.0).value, logits)


def squares(fill: list[int], count: int = 1) -> np.ndarray:
    """Components of class 0 in boxes of 10 × 10: so many full rows, and the first pixel of the others."""
    mask = np.zeros((12 * len(fill) * count, 12), np.uint8)
    for i, rows in enumerate(fill * count):
        mask[12 * i : 12 * i + rows, :10] = 1
        mask[12 * i : 12 * i + 10, 0] = 1
    return mask


def test_rates_of_a_class_by_hand() -> None:
    # 3, 4 and 6 full rows with 7, 6 and 4 more pixels: 37, 46 and 64 of 100, eleven of each over two masks
    low, high = filling_rates([squares([3, 4, 6], 5), squares([3, 4, 6], 6)], 1)
    assert low.tolist() == pytest.approx([0.37])
    assert high.tolist() == pytest.approx([0.64])


def test_percentiles() -> None:
    # of 41 rates in order the third (2 / 40) and the third from the end are taken
    low, high = filling_rates([squares([3, 3, 4, *[5] * 35, 6, 10, 10])], 1)
    assert low.tolist() == pytest.approx([0.46])
    assert high.tolist() == pytest.approx([0.64])


@pytest.mark.parametrize(
    ("masks", "low", "high"),
    [
        pytest.param([], 0.27, 0.85, id="no mask"),
        pytest.param([np.full((40, 40), 255, np.uint8)], 0.27, 0.85, id="only void"),
        pytest.param([np.full((40, 40), 2, np.uint8)], 0.27, 0.85, id="only stuff"),
        pytest.param([np.full((3, 10), 1, np.uint8)], 0.27, 0.85, id="too small"),
        pytest.param([squares([10], 15)], (0.27 + 1) / 2, (0.85 + 1) / 2, id="half way to enough"),
        pytest.param([squares([10], 30)], 1, 1, id="enough"),
        pytest.param([squares([10], 60)], 1, 1, id="more than enough"),
    ],
)
def test_rates_of_few_components(masks: list[np.ndarray], low: float, high: float) -> None:
    found = filling_rates(masks, 1)
    assert [each.tolist() for each in found] == [pytest.approx([low]), pytest.approx([high])]
    assert found[0].dtype == torch.float32


def test_classes_keep_their_own_rates_and_corners_connect() -> None:
    mask = np.zeros((12, 12), np.uint8)
    mask[:5, :5] = mask[5:10, 5:10] = 2  # 50 of 100 when they are one, too small when they are two
    low, high = filling_rates([mask] * 30, 3)
    assert low.tolist() == pytest.approx([0.27, 0.5, 0.27])
    assert high.tolist() == pytest.approx([0.85, 0.5, 0.85])
