from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bombo.mask_for_box.containment import containment_loss


@pytest.fixture
def corner(draw: Callable[..., Tensor]) -> Tensor:
    """One object of class 0 in the upper left quarter."""
    return draw("11..", "11..", "....", "....")[None]


def test_four_by_four_by_hand(corner: Tensor) -> None:
    boxes = torch.tensor([[[0.0, 0, 2, 2], [0, 0, 4, 2], [1, 1, 3, 3], [2, 2, 4, 4], [0, 0, 4, 4]]])
    scores = torch.tensor([[[0.9, 0.9], [0.8, 0.9], [0.6, 0.9], [0.5, 0.9], [0.2, 0.9]]])
    # the last is not confident, the second class not present
    expected = (0.9 * 0 + 0.8 * 0.5 + 0.6 * 0.75 + 0.5 * 1) / 4
    term = containment_loss(scores.logit(), boxes, corner)
    assert float(term.value) == pytest.approx(expected, rel=1e-5)
    assert term.number == 4


def test_gradient(corner: Tensor) -> None:
    logits = torch.tensor([[[2.0], [1.0], [0.5]]], dtype=torch.float64)
    boxes = torch.tensor(
        [[[0.3, 0.4, 3.1, 2.9], [-1.5, 0.2, 1.7, 3.3], [0.2, 0.2, 1.9, 1.8]]], dtype=torch.float64, requires_grad=True
    )
    assert torch.autograd.gradcheck(lambda x: containment_loss(logits, x, corner).value, boxes)


def test_a_step_shrinks_the_box(corner: Tensor) -> None:
    logits = torch.full((1, 1, 1), 2.0, requires_grad=True)
    boxes = torch.tensor([[[0.5, 0.5, 3, 1.7]]], requires_grad=True)
    containment_loss(logits, boxes, corner).value.backward()
    assert logits.grad is None
    assert boxes.grad is not None
    x1, y1, x2, y2 = boxes.grad[0, 0].tolist()
    assert x2 > 0
    assert x1 > 0, "more of the class on the left lessens the share outside"
    assert y1 == pytest.approx(0, abs=1e-6)
    assert y2 == pytest.approx(0, abs=1e-6)


def test_a_true_prediction_costs_nothing(make_scene: Callable[..., tuple[Tensor, Tensor, Tensor]]) -> None:
    for seed in range(20):
        mask, boxes, labels = make_scene(seed)
        logits = torch.full((1, len(boxes), 3), -10.0)
        logits[0, torch.arange(len(boxes)), labels] = 10.0
        term = containment_loss(logits, boxes[None], mask[None])
        assert float(term.value) == pytest.approx(0, abs=1e-5)
        assert term.number == len(boxes)


@pytest.mark.parametrize(
    ("images", "anchors", "value", "num_things"),
    [
        pytest.param(0, 4, 1, 3, id="no image"),
        pytest.param(2, 0, 1, 3, id="no anchor"),
        pytest.param(2, 4, 0, 3, id="only background"),
        pytest.param(2, 4, 255, 3, id="only void"),
        pytest.param(2, 4, 4, 3, id="only stuff"),
        pytest.param(2, 4, 1, 0, id="no things"),
    ],
)
def test_nothing_valid_gives_an_attached_zero(images: int, anchors: int, value: int, num_things: int) -> None:
    boxes = torch.tensor([0.0, 0, 4, 4]).repeat(images, anchors, 1).requires_grad_()
    masks = torch.full((images, 8, 8), value, dtype=torch.uint8)
    term = containment_loss(torch.full((images, anchors, num_things), 9.0), boxes, masks)
    term.value.backward()
    assert term.value == 0
    assert term.number == 0
    assert boxes.grad is not None
    assert not boxes.grad.any()


@pytest.mark.parametrize(
    "box",
    [
        pytest.param([2.0, 2, 2, 2], id="a point"),
        pytest.param([1.0, 1, 1 + 1e-6, 3], id="a line"),
        pytest.param([3.0, 3, 1, 1], id="inside out"),
        pytest.param([-1e6, -1e6, 1e6, 1e6], id="huge"),
        pytest.param([50.0, 50, 60, 60], id="outside the image"),
        pytest.param([0.0, 0, 2, 2], id="exact"),
        pytest.param([0.5, 0.5, 0.75, 1.5], id="below a pixel"),
    ],
)
@pytest.mark.parametrize("value", [200.0, 0.0])
def test_edges(corner: Tensor, box: list[float], value: float) -> None:
    boxes = torch.tensor([[box]], requires_grad=True)
    loss = containment_loss(torch.full((1, 1, 1), value, dtype=torch.float16), boxes, corner).value
    loss.backward()
    assert loss.dtype == torch.float32
    assert 0 <= loss <= 1
    assert boxes.grad is not None
    assert boxes.grad.isfinite().all()


def test_a_tiny_box_is_not_pulled_hard(corner: Tensor) -> None:
    boxes = torch.tensor([[[1.9999, 0.5, 2.0001, 1.5]]], requires_grad=True)
    containment_loss(torch.full((1, 1, 1), 9.0), boxes, corner).value.backward()
    assert boxes.grad is not None
    assert boxes.grad[0, 0, 2] > 0
    assert boxes.grad.abs().max() <= 1


def test_flip_order_and_duplicates(make_scene: Callable[..., tuple[Tensor, Tensor, Tensor]]) -> None:
    random = torch.Generator().manual_seed(7)
    mask, _, _ = make_scene(2, rim=True)
    low = torch.rand(1, 40, 2, generator=random) * 60
    boxes, logits = torch.cat((low, low + 30), dim=2), torch.randn(1, 40, 3, generator=random)
    expected = containment_loss(logits, boxes, mask[None])
    assert expected.value > 0
    mirrored = boxes[..., [2, 1, 0, 3]] * torch.tensor([-1.0, 1, -1, 1]) + torch.tensor([96.0, 0, 96, 0])
    torch.testing.assert_close(containment_loss(logits, mirrored, mask.flip(-1)[None]).value, expected.value)
    torch.testing.assert_close(containment_loss(logits.flip(1), boxes.flip(1), mask[None]).value, expected.value)
    twice = containment_loss(logits.repeat(1, 2, 1), boxes.repeat(1, 2, 1), mask[None])
    torch.testing.assert_close(twice.value, expected.value)
    assert twice.number == 2 * expected.number
