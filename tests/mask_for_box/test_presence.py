from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bombo.losses.term import Term
from bombo.mask_for_box.presence import presence_loss

ROOM = [0.0, 0.0, 4.0, 4.0]


def loss(
    scores: list[list[float]],
    boxes: list[list[float]],
    mask: Tensor,
    components: list[list[float]],
    labels: list[int],
    matched: list[bool] | None = None,
) -> Term:
    return presence_loss(
        torch.tensor([scores]).logit(),
        torch.tensor([boxes]),
        torch.tensor([components]),
        torch.tensor([labels]),
        torch.tensor([matched or [False] * len(labels)]),
        mask[None],
    )


@pytest.fixture
def two_things(draw: Callable[..., Tensor]) -> Tensor:
    return draw("11..", "11..", "..22", "..22")


def test_four_by_four_by_hand(two_things: Tensor) -> None:
    boxes = [[0.0, 0, 2, 2], [0, 0, 2, 1], [2, 2, 4, 4], [0, 0, 4, 4], [1, 1, 3, 3]]
    scores = [[0.5, 0.9], [0.2, 0.9], [0.9, 0.3], [0.9, 0.9], [0.9, 0.9]]
    # the fourth box reaches too far, the fifth has a quarter of its area inside
    term = loss(scores, boxes, two_things, [[0.0, 0, 2, 2], [2, 2, 4, 4]], [0, 1])
    first, second = 1 - 0.5 * 0.8, 0.3
    assert float(term.value) == pytest.approx(-(math.log(first) + math.log(second)) / 2, rel=1e-5)
    assert term.number == 2


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        pytest.param([0.0, 0, 10, 10], True, id="the component itself"),
        pytest.param([0.0, 0, 10, 14], True, id="71 % of it inside"),
        pytest.param([0.0, 0, 10, 15], False, id="67 % of it inside"),
        pytest.param([9.0, 0, 20, 10], False, id="centre outside"),
        pytest.param([2.0, 3, 9, 9], True, id="a part"),
        pytest.param([3.0, 3, 3, 9], False, id="without area"),
        pytest.param([9.0, 9, 2, 2], False, id="inside out"),
    ],
)
def test_whose_box_counts(box: list[float], inside: bool) -> None:
    mask = torch.zeros(20, 20, dtype=torch.uint8)
    mask[:10, :10] = 1
    term = loss([[0.25]], [box], mask, [[0.0, 0, 10, 10]], [0])
    assert term.number == inside
    assert float(term.value) == pytest.approx(-math.log(0.25) if inside else 0.0)


@pytest.mark.parametrize(("rows", "counts"), [(4, True), (2, False)])
def test_a_box_must_be_filled(rows: int, counts: bool) -> None:
    mask = torch.zeros(20, 20, dtype=torch.uint8)
    mask[:rows, :10] = 1  # 40 % or 20 % of the box
    assert loss([[0.25]], [[0.0, 0, 10, 10]], mask, [[0.0, 0, 10, 10]], [0]).number == counts


def test_only_the_five_best(draw: Callable[..., Tensor]) -> None:
    mask = draw(*["1111"] * 4)
    scores = [[0.1], [0.9], [0.2], [0.3], [0.4], [0.5], [0.05]]
    expected = -math.log(1 - 0.1 * 0.8 * 0.7 * 0.6 * 0.5)
    assert float(loss(scores, [ROOM] * 7, mask, [ROOM], [0]).value) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("component", "label", "matched"),
    [
        pytest.param(ROOM, 0, True, id="matched already"),
        pytest.param([0.0, 0, 0, 0], 0, False, id="padding"),
        pytest.param(ROOM, -1, False, id="any class"),
        pytest.param(ROOM, 1, False, id="a class without pixels"),
    ],
)
def test_left_out(draw: Callable[..., Tensor], component: list[float], label: int, matched: bool) -> None:
    mask = draw("1111", "1111", "....", "....")  # half of it background, which is no class either
    term = loss([[0.5, 0.5]], [ROOM], mask, [ROOM, component], [0, label], [False, matched])
    assert term.number == 1
    assert float(term.value) == pytest.approx(math.log(2), rel=1e-5)


def test_gradient(two_things: Tensor) -> None:
    boxes = torch.tensor([[[0.0, 0, 2, 2], [0, 0, 2, 1], [2, 2, 4, 4], [0, 0, 4, 4]]], dtype=torch.float64)
    logits = torch.randn(1, 4, 2, dtype=torch.float64, requires_grad=True)
    components = torch.tensor([[[0.0, 0, 2, 2], [2, 2, 4, 4], [0, 0, 0, 0]]])
    labels, matched = torch.tensor([[0, 1, 0]]), torch.zeros(1, 3, dtype=torch.bool)

    def value(x: Tensor) -> Tensor:
        return presence_loss(x, boxes, components, labels, matched, two_things[None]).value

    assert torch.autograd.gradcheck(value, logits)
    value(logits).backward()
    assert logits.grad is not None
    assert (logits.grad < 0).tolist() == [[[True, False], [True, False], [False, True], [False, False]]]


def test_no_gradient_to_the_boxes(two_things: Tensor) -> None:
    logits, boxes = torch.zeros(1, 1, 2, requires_grad=True), torch.tensor([[[0.0, 0, 2, 2]]], requires_grad=True)
    components = torch.tensor([[[0.0, 0, 2, 2]]])
    labels, matched = torch.tensor([[0]]), torch.tensor([[False]])
    presence_loss(logits, boxes, components, labels, matched, two_things[None]).value.backward()
    assert boxes.grad is None


@pytest.mark.parametrize("value", [200.0, -200.0, 0.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_extreme_logits(two_things: Tensor, value: float, dtype: torch.dtype) -> None:
    logits = torch.full((1, 6, 2), value, dtype=dtype, requires_grad=True)
    boxes = torch.tensor([[[0.0, 0, 2, 2]] * 6])
    components = torch.tensor([[[0.0, 0, 2, 2]]])
    labels, matched = torch.tensor([[0]]), torch.tensor([[False]])
    term = presence_loss(logits, boxes, components, labels, matched, two_things[None])
    term.value.backward()
    assert term.value.dtype == torch.float32
    assert 0 <= term.value <= -math.log(0.99e-6)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("images", "anchors", "count", "value"),
    [
        pytest.param(0, 4, 2, 1, id="no image"),
        pytest.param(2, 0, 2, 1, id="no anchor"),
        pytest.param(2, 4, 0, 1, id="no component"),
        pytest.param(2, 4, 2, 0, id="only background"),
        pytest.param(2, 4, 2, 255, id="only void"),
    ],
)
def test_nothing_valid_gives_an_attached_zero(images: int, anchors: int, count: int, value: int) -> None:
    logits = torch.randn(images, anchors, 3, requires_grad=True)
    term = presence_loss(
        logits,
        torch.tensor(ROOM).expand(images, anchors, 4),
        torch.tensor(ROOM).expand(images, count, 4),
        torch.zeros(images, count, dtype=torch.int64),
        torch.zeros(images, count, dtype=torch.bool),
        torch.full((images, 8, 8), value, dtype=torch.uint8),
    )
    term.value.backward()
    assert term.value == 0
    assert term.number == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_flip_and_order(make_scene: Callable[..., tuple[Tensor, Tensor, Tensor]]) -> None:
    random = torch.Generator().manual_seed(5)
    turn, shift = torch.tensor([-1.0, 1, -1, 1]), torch.tensor([96.0, 0, 96, 0])
    spoken = 0
    for seed in range(10):
        mask, components, labels = make_scene(seed)
        low = torch.randint(0, 70, (1, 80, 2), generator=random).float()
        boxes = torch.cat((low, low + torch.randint(5, 50, (1, 80, 2), generator=random)), dim=2)
        boxes[0, : len(components)] = components
        logits = torch.randn(1, 80, 3, generator=random)
        matched = torch.zeros(1, len(labels), dtype=torch.bool)
        expected = presence_loss(logits, boxes, components[None], labels[None], matched, mask[None])

        def flipped(b: Tensor) -> Tensor:
            return b[..., [2, 1, 0, 3]] * turn + shift

        mirrored = presence_loss(
            logits, flipped(boxes), flipped(components)[None], labels[None], matched, mask.flip(-1)[None]
        )
        shuffled = presence_loss(
            logits.flip(1), boxes.flip(1), components.flip(0)[None], labels.flip(0)[None], matched, mask[None]
        )
        for other in (mirrored, shuffled):
            torch.testing.assert_close(other.value, expected.value)
            assert other.number == expected.number
        spoken += int(expected.number)
    assert spoken > 15
