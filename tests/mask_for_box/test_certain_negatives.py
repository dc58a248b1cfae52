from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import box_iou

from bombo.mask_for_box.certain_negatives import certain_negatives, negative_loss
from bombo.models.anchors import make_anchors

MakeScene = Callable[..., tuple[Tensor, Tensor, Tensor]]
ANCHORS = make_anchors([(12, 12), (6, 6), (3, 3), (2, 2)])
ONE = torch.tensor(1.0)


@pytest.mark.parametrize(
    ("anchor", "expected"),
    [
        # of the 4 pixels of class 0 in the upper left
        pytest.param((0, 0, 2, 2), [False, True], id="on the object"),
        pytest.param((2, 2, 4, 4), [True, True], id="on background"),
        pytest.param((0, 0, 4, 2), [False, True], id="half in the hull, half full"),
        pytest.param((0, 0, 4, 3), [True, True], id="a third in the hull"),
        pytest.param((-2, 0, 2, 2), [False, True], id="half outside the image"),
        pytest.param((-4, 0, 2, 2), [True, True], id="two thirds outside the image"),
    ],
)
def test_four_by_four_by_hand(draw: Callable[..., Tensor], anchor: tuple[float, ...], expected: list[bool]) -> None:
    masks = draw("11..", "11..", "....", "....")[None]
    assert certain_negatives(torch.tensor([anchor], dtype=torch.float32), masks, 2, small_side=0).tolist() == [
        [expected]
    ]


@pytest.mark.parametrize(("pixels", "expected"), [(4, True), (5, False)])
def test_fill(pixels: int, expected: bool) -> None:
    # two far corners give a hull all over; an anchor of 100 pixels needs 5 of the class
    masks = torch.zeros(1, 64, 64, dtype=torch.uint8)
    masks[0, 0, 0], masks[0, 63, 63], masks[0, 25, 20 : 20 + pixels] = 1, 1, 1
    anchor = torch.tensor([[20.0, 20, 30, 30]])
    assert bool(certain_negatives(anchor, masks, 1, small_side=0)) is expected


def mask_of(name: str) -> Tensor:
    mask = torch.zeros(1, 96, 96, dtype=torch.uint8)
    if name == "void":
        mask += 255
    elif name == "blob":
        mask[:, 30:60, 30:60] = 255
    elif name == "rim":
        mask[:, 28:62, 28:62] = 255
        mask[:, 30:60, 30:60] = 1
    elif name == "padding":
        mask[:, :, :40] = 255
    return mask


@pytest.mark.parametrize(
    ("name", "absent", "of_blob"),
    [
        pytest.param("background", 1.0, True, id="only background: everything"),
        pytest.param("void", 0.0, False, id="only void: nothing"),
        pytest.param("blob", None, False, id="a blob may hide any class"),
        pytest.param("rim", 1.0, True, id="a rim says nothing of absent classes"),
        pytest.param("padding", 1.0, True, id="padding is background"),
    ],
)
def test_absent_class(name: str, absent: float | None, of_blob: bool) -> None:
    negatives = certain_negatives(ANCHORS, mask_of(name), 2)[0, :, 1]
    if absent is not None:
        assert negatives.float().mean() == absent
    on_blob = box_iou(ANCHORS, torch.tensor([[30.0, 30, 60, 60]]))[:, 0] > 0.5
    assert on_blob.any()
    assert (negatives[on_blob] == of_blob).all()
    if name == "blob":
        assert negatives[(ANCHORS[:, 0] >= 60) | (ANCHORS[:, 3] <= 30)].all()


@pytest.mark.parametrize(
    ("objects", "exempt"),
    [
        pytest.param([(40, 40, 44, 44)], True, id="alone"),
        pytest.param([(40, 40, 42, 42), (46, 46, 48, 48)], True, id="a group"),
        pytest.param([(29, 40, 34, 44)], True, id="reaching out 3 px"),
        pytest.param([(26, 40, 34, 44)], False, id="reaching out 6 px"),
        pytest.param([(40, 40, 44, 44), (70, 0, 96, 96)], True, id="a large one far away"),
        pytest.param([(40, 40, 44, 44), (50, 0, 96, 96)], False, id="a large one beside: may be its part"),
        pytest.param([(40, 40, 42, 90)], False, id="larger than the anchor"),
        pytest.param([(80, 80, 84, 84)], None, id="elsewhere"),
    ],
)
def test_small_objects_keep_their_best_anchor(objects: list[tuple[int, ...]], exempt: bool | None) -> None:
    masks = torch.zeros(1, 96, 96, dtype=torch.uint8)
    for x1, y1, x2, y2 in objects:
        masks[:, y1:y2, x1:x2] = 1
    anchors = torch.tensor([[32.0, 32, 56, 56], [20, 20, 68, 68]])
    small, large = certain_negatives(anchors, masks, 1)[0, :, 0].tolist()
    small_anyway, large_anyway = certain_negatives(anchors, masks, 1, small_side=0)[0, :, 0].tolist()
    assert large == large_anyway, "its area is four times the square of the smallest side"
    if exempt is None:
        assert small
    elif exempt:
        assert (small, small_anyway) == (False, True)
    else:
        assert small == small_anyway


@pytest.mark.parametrize("rim", [False, True])
def test_hardly_ever_contains_a_true_positive(make_scene: MakeScene, rim: bool) -> None:
    hit, positives, decided, pairs, best_hit, objects = 0, 0, 0, 0, 0, 0
    for seed in range(150):
        mask, boxes, labels = make_scene(seed, rim=rim)
        present = sorted(set(labels.tolist()))
        negatives = certain_negatives(ANCHORS, mask[None], 3)[0]
        iou = box_iou(ANCHORS, boxes)
        of_label = negatives[:, labels]
        hit += int((of_label & (iou >= 0.5)).sum())
        positives += int((iou >= 0.5).sum())
        best_hit += int(of_label.gather(0, iou.argmax(0)[None]).sum())
        objects += len(boxes)
        decided += int(negatives[:, present].sum())
        pairs += negatives[:, present].numel()
        absent = [label for label in range(3) if label not in present]
        assert rim or negatives[:, absent].all()
    assert positives > 2000
    assert hit <= 0.01 * positives
    assert best_hit <= 0.05 * objects
    assert decided > 0.5 * pairs


@given(st.integers(0, 2**31), st.booleans())
@settings(max_examples=15)
def test_flip(make_scene: MakeScene, seed: int, rim: bool) -> None:
    mask, _, _ = make_scene(seed, rim=rim)
    mirrored = ANCHORS[:, [2, 1, 0, 3]] * torch.tensor([-1.0, 1, -1, 1]) + torch.tensor([96.0, 0, 96, 0])
    expected = certain_negatives(ANCHORS, mask[None], 3)
    assert torch.equal(certain_negatives(mirrored, mask.flip(-1)[None], 3), expected)


def test_images_do_not_mix(make_scene: MakeScene) -> None:
    masks = torch.stack([make_scene(seed)[0] for seed in range(4)])
    together = certain_negatives(ANCHORS, masks, 3)
    for i in range(4):
        assert torch.equal(together[i : i + 1], certain_negatives(ANCHORS, masks[i : i + 1], 3))


@pytest.mark.parametrize(("images", "num_things"), [(0, 3), (2, 0)])
def test_nothing_to_say(images: int, num_things: int) -> None:
    masks = torch.zeros(images, 96, 96, dtype=torch.uint8)
    assert certain_negatives(ANCHORS, masks, num_things).shape == (images, len(ANCHORS), num_things)


def test_loss_by_hand() -> None:
    scores = torch.tensor([[[0.5, 0.9], [0.2, 0.8], [0.1, 0.3], [0.6, 0.7]]])
    negatives = torch.tensor([[[True, False], [True, True], [False, False], [False, False]]])
    expected = -0.75 * (0.25 * math.log(0.5) + 0.04 * math.log(0.8) + 0.64 * math.log(0.2)) / 4
    term = negative_loss(scores.logit(), negatives, torch.tensor(4.0))
    assert float(term.value) == pytest.approx(expected, rel=1e-5)
    assert term.number == 3


def test_gradient_of_negatives_only() -> None:
    logits = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    negatives = torch.rand(2, 5, 3) > 0.5
    assert torch.autograd.gradcheck(lambda x: negative_loss(x, negatives, ONE.double()).value, logits)
    negative_loss(logits, negatives, ONE).value.backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad > 0, negatives)


@pytest.mark.parametrize("shape", [(2, 5, 3), (0, 5, 3), (2, 5, 0)])
def test_no_negatives_give_an_attached_zero(shape: tuple[int, ...]) -> None:
    logits = torch.randn(shape, requires_grad=True)
    term = negative_loss(logits, torch.zeros(shape, dtype=torch.bool), ONE)
    term.value.backward()
    assert term.value == 0
    assert term.number == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("value", [200.0, -200.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_extreme_logits(value: float, dtype: torch.dtype) -> None:
    logits = torch.full((1, 4, 2), value, dtype=dtype, requires_grad=True)
    loss = negative_loss(logits, torch.ones(1, 4, 2, dtype=torch.bool), ONE).value
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
