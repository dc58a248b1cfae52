from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bombo.box_for_mask.tightness import tightness_loss
from bombo.data.label_space import ANY_CLASS
from bombo.data.scenes import label_space, make_scene

WHOLE = [[0.0, 0.0, 4.0, 4.0]]


def logits_of(p: np.ndarray) -> torch.Tensor:
    """(1, 2, h, w) in which class 0 has probability p."""
    p = p.clip(1e-9, 1 - 1e-9)
    return torch.tensor(np.log(np.stack((1 - p, p))), dtype=torch.float64)[None]


def loss(logits: torch.Tensor, boxes: list[list[float]], labels: list[int] | None = None, valid=None, scale=1.0):  # type: ignore[no-untyped-def]
    labels = [0] * len(boxes) if labels is None else labels
    valid = [True] * len(boxes) if valid is None else valid
    return tightness_loss(
        logits, torch.tensor([boxes]).view(1, -1, 4), torch.tensor([labels]), torch.tensor([valid]), scale
    )


def by_points(p: np.ndarray, box: list[float]) -> float:
    """The formula on 64 × 64 points, interpolated between the centres of cells and averaged two by two."""

    def at(low: float, high: float, cells: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        points = (low + (high - low) * (np.arange(64) + 0.5) / 64 - 0.5).clip(0, cells - 1)
        first = np.minimum(points.astype(int), cells - 2)
        return first, first + 1, points - first

    (y0, y1, fy), (x0, x1, fx) = at(box[1], box[3], p.shape[0]), at(box[0], box[2], p.shape[1])
    rows = p[y0] * (1 - fy)[:, None] + p[y1] * fy[:, None]
    crop = (rows[:, x0] * (1 - fx) + rows[:, x1] * fx).reshape(32, 2, 32, 2).mean((1, 3))
    lines = np.stack((crop.max(0), crop.max(1))).clip(min=0.05)
    return float(-np.log(lines).mean())


@pytest.mark.parametrize("p", [0.8, 0.3, 0.05])
def test_one_probability_everywhere(p: float) -> None:
    value, number = loss(logits_of(np.full((4, 4), p)), WHOLE)
    assert value.item() == pytest.approx(-math.log(p))
    assert number == 1


def test_columns_by_hand() -> None:
    # every row reaches 0.8; a column has the probability between its two neighbours' centres
    steps = np.array([0.1, 0.2, 0.4, 0.8])
    points = np.interp((np.arange(64) + 0.5) / 16, [0.5, 1.5, 2.5, 3.5], steps).reshape(32, 2).mean(1)
    expected = (-math.log(0.8) - np.log(points).mean()) / 2
    assert loss(logits_of(np.tile(steps, (4, 1))), WHOLE).value.item() == pytest.approx(expected)


@pytest.mark.parametrize("box", [[0.0, 0.0, 6.0, 6.0], [1.0, 2.0, 5.0, 6.0], [0.3, 1.7, 3.9, 4.2]])
def test_against_points(box: list[float]) -> None:
    p = np.random.default_rng(0).uniform(0, 1, (6, 6)) ** 4
    assert loss(logits_of(p), [box]).value.item() == pytest.approx(by_points(p, box))


@pytest.mark.parametrize("scale", [0.25, (0.25, 0.25)])
def test_boxes_in_input_pixels(scale: float | tuple[float, float]) -> None:
    p = np.random.default_rng(1).uniform(0, 1, (6, 6))
    expected = by_points(p, [1, 2, 5, 6])
    assert loss(logits_of(p), [[4.0, 8.0, 20.0, 24.0]], scale=scale).value.item() == pytest.approx(expected)


def test_sides_may_have_different_scales() -> None:
    p = np.random.default_rng(2).uniform(0, 1, (6, 6))
    found = loss(logits_of(p), [[4.0, 4.0, 20.0, 12.0]], scale=(0.5, 0.25)).value
    assert found.item() == pytest.approx(by_points(p, [1, 2, 5, 6]))


def test_what_lies_outside_the_image_is_cut_off() -> None:
    p = np.random.default_rng(3).uniform(0, 1, (6, 9))
    found = loss(logits_of(p), [[-9.0, 2.0, 20.0, 50.0]]).value
    assert found.item() == pytest.approx(by_points(p, [0, 2, 9, 6]))


@pytest.mark.parametrize(
    ("boxes", "labels", "valid"),
    [
        pytest.param([[0, 0, 1.9, 4]], [0], [True], id="narrow"),
        pytest.param([[0, 0, 4, 1.9]], [0], [True], id="flat"),
        pytest.param([[3, 0, 9, 4]], [0], [True], id="narrow once clipped"),
        pytest.param([[9, 9, 19, 19]], [0], [True], id="outside"),
        pytest.param([[0, 0, 4, 4]], [ANY_CLASS], [True], id="any class"),
        pytest.param([[0, 0, 4, 4]], [0], [False], id="not valid"),
        pytest.param([[0, 0, 0, 0]], [0], [True], id="padding"),
    ],
)
def test_boxes_left_out(boxes: list[list[float]], labels: list[int], valid: list[bool]) -> None:
    logits = logits_of(np.full((4, 4), 0.3)).requires_grad_()
    value, number = loss(logits, [[float(x) for x in box] for box in boxes], labels, valid)
    value.backward()
    assert value == number == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_only_clipped_lines_have_no_gradient() -> None:
    p = np.full((4, 4), 0.01)
    p[:, 3] = 0.6  # column 0 and 1 are clipped; every row has the right one
    logits = logits_of(p).requires_grad_()
    loss(logits, WHOLE).value.backward()
    assert logits.grad is not None
    assert not logits.grad[..., :2].any()
    assert (logits.grad[0, 1, :, 3] < 0).all()


def test_a_class_without_a_sign_costs_three_and_has_no_gradient() -> None:
    logits = logits_of(np.full((4, 4), 0.01)).requires_grad_()
    value = loss(logits, WHOLE).value
    value.backward()
    assert value.item() == pytest.approx(-math.log(0.05))
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize(
    ("other", "label", "share"),
    [
        pytest.param([0, 0, 4, 2], 1, 0.75, id="upper half: half of the rows count half"),
        pytest.param([-1, -1, 9, 2], 1, 0.75, id="and reaches beyond"),
        pytest.param([2, 0, 4, 4], 1, 0.75, id="right half: columns"),
        pytest.param([0, 0, 4, 4], 1, 0.5, id="all of it"),
        pytest.param([0, 0, 4, 2], ANY_CLASS, 0.75, id="of any class"),
        pytest.param([0, 0, 4, 2], 0, 1, id="of its own class"),
        pytest.param([0, 0, 3.9, 2], 1, 1, id="not from end to end"),
        pytest.param([0, 0, 0, 0], 1, 1, id="padding"),
    ],
)
def test_lines_covered_by_another_class_count_half(other: list[float], label: int, share: float) -> None:
    # in both directions 0.5: rows or columns lose a quarter, which is an eighth of the loss
    logits = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    value, number = loss(logits, [*WHOLE, [float(x) for x in other]], [0, label], [True, False])
    both = 0.5 + share / 2 if share == 0.75 else share
    assert value.item() == pytest.approx(math.log(2) * both)
    assert number == 1


@given(st.integers(0, 99), st.permutations(range(4)))
@settings(deadline=None, max_examples=20)
def test_order_and_repetition_of_all_boxes_do_not_matter(seed: int, order: list[int]) -> None:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 8, 8, generator=random, dtype=torch.float64)
    corners = torch.rand(2, 4, 2, 2, generator=random) * 32
    boxes = torch.cat((corners.amin(2), corners.amax(2)), dim=-1)
    labels = torch.randint(2, (2, 4), generator=random)
    valid = torch.rand(2, 4, generator=random) > 0.2
    expected = tightness_loss(logits, boxes, labels, valid, 0.25)
    moved = tightness_loss(logits, boxes[:, order], labels[:, order], valid[:, order], 0.25)
    twice = tightness_loss(logits, boxes.repeat(1, 2, 1), labels.repeat(1, 2), valid.repeat(1, 2), 0.25)
    torch.testing.assert_close(moved.value, expected.value)
    torch.testing.assert_close(twice.value, expected.value)
    assert twice.number == 2 * expected.number


def test_more_boxes_than_are_cropped_at_once() -> None:
    p = np.random.default_rng(4).uniform(0, 1, (6, 6))
    value, number = loss(logits_of(p), [[1.0, 2.0, 5.0, 6.0]] * 1025)
    assert value.item() == pytest.approx(by_points(p, [1, 2, 5, 6]))
    assert number == 1025


def test_row_gradient() -> None:
    torch.manual_seed(0)
    logits = (3 * torch.randn(2, 3, 5, 5, dtype=torch.float64)).requires_grad_()
    boxes = torch.tensor([[[1.0, 2.0, 5.0, 6.0], [0.0, 0.0, 8.0, 10.0]], [[3.0, 3.0, 10.0, 10.0], [0, 0, 0, 0]]])
    labels, valid = torch.tensor([[0, 1], [1, 0]]), torch.tensor([[True, True], [True, False]])
    assert torch.autograd.gradcheck(lambda x: tightness_loss(x, boxes, labels, valid, 0.5).value, logits)


def test_the_truth_costs_little() -> None:
    scene = make_scene(3, size=96)
    boxes, labels = torch.from_numpy(scene.boxes)[None], torch.from_numpy(scene.labels)[None]
    valid = torch.ones_like(labels, dtype=torch.bool)

    def loss_of(mask: np.ndarray) -> torch.Tensor:
        certain = torch.nn.functional.one_hot(torch.from_numpy(mask).long(), label_space().num_mask_values) * 20.0
        return tightness_loss(certain.movedim(-1, 0)[None], boxes, labels, valid, 1.0).value

    half = scene.mask.copy()
    half[:, 48:] = 0  # half of the picture is said to be background
    assert loss_of(scene.mask) < 0.1
    assert loss_of(half) > 4 * loss_of(scene.mask)


@pytest.mark.parametrize("values", [3, 21, 81])
def test_a_network_that_knows_nothing_learns(values: int) -> None:
    logits = torch.zeros(1, values, 16, 16, requires_grad=True)
    box = torch.tensor([[[8.0, 8, 40, 40]]])
    term = tightness_loss(logits, box, torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool), 0.25)
    term.value.backward()
    assert logits.grad is not None
    assert (logits.grad[0, 1] < 0).any()
