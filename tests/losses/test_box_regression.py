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


KNOWN = torch.tensor([[True, False, True, True], [False] * 4, [True] * 4, [False, False, True, True], [True] * 4])
WEIGHTS = torch.tensor([0.5, 1.0, 0.0, 0.25, 1.0])


@pytest.mark.parametrize("kind", KINDS)
def test_weights_scale_their_anchors(kind: BoxLoss) -> None:
    deltas, boxes, anchors = some(5)
    alone = torch.stack(
        [box_regression_loss(deltas[i : i + 1], boxes[i : i + 1], anchors[i : i + 1], ONE, kind=kind) for i in range(5)]
    )
    found = box_regression_loss(deltas, boxes, anchors, torch.tensor(2.0), kind=kind, weights=WEIGHTS)
    torch.testing.assert_close(found, (alone * WEIGHTS).sum() / 2)


@pytest.mark.parametrize("kind", KINDS)
def test_all_sides_known_is_the_plain_loss(kind: BoxLoss) -> None:
    deltas, boxes, anchors = some(5)
    plain = box_regression_loss(deltas, boxes, anchors, ONE, kind=kind)
    known = torch.ones(5, 4, dtype=torch.bool)
    found = box_regression_loss(deltas, boxes, anchors, ONE, kind=kind, weights=torch.ones(5), known=known)
    torch.testing.assert_close(found, plain)


def test_giou_with_an_unknown_side_by_hand() -> None:
    # predicted 10 x 5, of the target only the lower edge is missing: the prediction's takes its place, and 8 of 10
    # columns are shared
    predicted, target = torch.tensor([[0.0, 0, 10, 5]]), torch.tensor([[0.0, 0, 8, 9]])
    known = torch.tensor([[True, True, True, False]])
    found = box_regression_loss(encode(predicted, ANCHOR), target, ANCHOR, ONE, known=known)
    assert float(found) == pytest.approx(2 * (1 - 0.8), abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_sides_of_the_target_do_not_matter(kind: BoxLoss) -> None:
    deltas, boxes, anchors = some(5)
    values, gradients = [], []
    for moved in (boxes, boxes + (~KNOWN) * torch.tensor([-7.0, -7, 7, 7])):
        values.append(box_regression_loss(deltas, moved, anchors, ONE, kind=kind, weights=WEIGHTS, known=KNOWN))
        gradients.append(torch.autograd.grad(values[-1], deltas)[0])
    torch.testing.assert_close(values[0], values[1])
    torch.testing.assert_close(gradients[0], gradients[1])
    assert not gradients[0][1:3].any()  # nothing known, no weight
    assert gradients[0][[0, 3, 4]].any(1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_known_sides_beyond_the_predicted_ones_are_left_out(kind: BoxLoss) -> None:
    predicted, target = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[12.0, 0, 20, 10]])
    deltas = encode(predicted, ANCHOR).requires_grad_()
    known = torch.tensor([[True, True, False, True]])  # from x = 12 to the predicted 10: no box
    loss = box_regression_loss(deltas, target, ANCHOR, ONE, kind=kind, known=known)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    assert deltas.grad is not None
    assert not deltas.grad.any()


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_with_weights_and_known_sides(kind: BoxLoss) -> None:
    deltas, boxes, anchors = some(5, torch.float64)
    fixed = decode(deltas, anchors).detach()

    def loss(d: torch.Tensor) -> torch.Tensor:
        # what the loss holds fixed has to stay fixed while numbers are varied: unknown sides
        sides = decode(d, anchors).where(KNOWN, fixed)
        return box_regression_loss(
            encode(sides, anchors), boxes.where(KNOWN, fixed), anchors, ONE, kind=kind, weights=WEIGHTS
        )

    possible = boxes.where(KNOWN, fixed)
    assert (possible[:, 2:] > possible[:, :2]).all()
    assert torch.autograd.gradcheck(loss, deltas)
    (expected,) = torch.autograd.grad(loss(deltas), deltas)
    given = box_regression_loss(deltas, boxes, anchors, ONE, kind=kind, weights=WEIGHTS, known=KNOWN)
    (found,) = torch.autograd.grad(given, deltas)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [200.0, -200.0, 0.0])
def test_extreme_deltas_with_known_sides(kind: BoxLoss, value: float) -> None:
    deltas = torch.full((4, 4), value, dtype=torch.bfloat16, requires_grad=True)
    target = torch.tensor([[3.0, 3, 9, 9]]).expand(4, 4)
    anchors = ANCHOR.expand(4, 4)
    loss = box_regression_loss(deltas, target, anchors, ONE, kind=kind, weights=torch.ones(4), known=KNOWN[:4])
    loss.backward()
    assert loss.isfinite()
    assert deltas.grad is not None
    assert deltas.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_no_positive_anchor_with_known_sides(kind: BoxLoss) -> None:
    deltas = torch.zeros(0, 4, requires_grad=True)
    none = torch.zeros(0, 4)
    loss = box_regression_loss(deltas, none, none, ONE, kind=kind, weights=torch.zeros(0), known=none.bool())
    loss.backward()
    assert loss == 0
