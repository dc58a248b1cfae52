from __future__ import annotations

import pytest
import torch
from torch.nn.functional import smooth_l1_loss
from torchvision.ops import generalized_box_iou

from bombo.losses.balanced_l1 import balanced_l1_loss
from bombo.losses.box_regression import BoxLoss, box_regression_loss
from bombo.models.box_coding import decode, encode

KINDS: tuple[BoxLoss, ...] = ("giou", "balanced_l1", "smooth_l1")
ONE = torch.tensor(1.0)
ANCHOR = torch.tensor([[0.0, 0, 10, 10]])


@pytest.mark.parametrize(
    ("predicted", "target", "giou"),
    [
        pytest.param((0, 0, 10, 10), (0, 0, 10, 10), 1.0, id="same"),
        pytest.param((0, 0, 10, 10), (0, 0, 10, 5), 0.5, id="half"),
        pytest.param((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3, id="shifted"),
        pytest.param((0, 0, 10, 10), (10, 0, 20, 10), 0.0, id="touching"),
        pytest.param((0, 0, 10, 10), (20, 0, 30, 10), -1 / 3, id="apart"),
    ],
)
def test_giou_by_hand(predicted: tuple[float, ...], target: tuple[float, ...], giou: float) -> None:
    boxes, wanted = torch.tensor([predicted]).float(), torch.tensor([target]).float()
    assert float(generalized_box_iou(boxes, wanted)) == pytest.approx(giou, abs=1e-6)
    assert float(box_regression_loss(encode(boxes, ANCHOR), wanted, ANCHOR, ONE)) == pytest.approx(
        2 * (1 - giou), abs=1e-5
    )


def some(count: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(count)
    low = torch.rand(2, count, 2, generator=random, dtype=torch.float64) * 40
    boxes, anchors = torch.cat((low, low + 5 + torch.rand(2, count, 2, generator=random) * 30), dim=-1).to(dtype)
    return torch.randn(count, 4, generator=random, dtype=torch.float64).to(dtype).requires_grad_(), boxes, anchors


def test_each_kind_against_its_formula() -> None:
    deltas, boxes, anchors = some(6)
    target = encode(boxes, anchors)
    expected = {
        "giou": 2 * (1 - generalized_box_iou(decode(deltas, anchors), boxes).diagonal()).sum(),
        "balanced_l1": balanced_l1_loss(deltas, target).sum() / 4,
        "smooth_l1": smooth_l1_loss(deltas, target, beta=1 / 9, reduction="sum") / 4,
    }
    for kind in KINDS:
        found = box_regression_loss(deltas, boxes, anchors, torch.tensor(5.0), kind=kind)
        torch.testing.assert_close(found, expected[kind] / 5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient(kind: BoxLoss) -> None:
    deltas, boxes, anchors = some(5, torch.float64)
    assert torch.autograd.gradcheck(lambda d: box_regression_loss(d, boxes, anchors, ONE, kind=kind), deltas)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [200.0, -200.0, 0.0])
@pytest.mark.parametrize("target", [(3.0, 3.0, 9.0, 9.0), (3.0, 3.0, 3.0, 3.0), (3.0, 3.0, 3.0, 9.0)])
def test_extreme_deltas_and_boxes_without_area(
    kind: BoxLoss, dtype: torch.dtype, value: float, target: tuple[float, ...]
) -> None:
    deltas = torch.full((1, 4), value, dtype=dtype, requires_grad=True)
    loss = box_regression_loss(deltas, torch.tensor([target]), ANCHOR, ONE, kind=kind)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert deltas.grad is not None
    assert deltas.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_no_positive_anchor_gives_an_attached_zero(kind: BoxLoss) -> None:
    deltas = torch.zeros(0, 4, requires_grad=True)
    loss = box_regression_loss(deltas, torch.zeros(0, 4), torch.zeros(0, 4), ONE, kind=kind)
    loss.backward()
    assert loss == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_perfect_box_costs_nothing(kind: BoxLoss) -> None:
    _, boxes, anchors = some(4)
    assert float(box_regression_loss(encode(boxes, anchors), boxes, anchors, ONE, kind=kind)) == pytest.approx(
        0, abs=1e-5
    )
