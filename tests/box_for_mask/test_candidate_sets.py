from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from bombo.box_for_mask.candidate_sets import candidate_loss, candidate_sets, restrict
from bombo.data.label_space import ANY_CLASS

THINGS, VALUES = 2, 4  # background, two things, one stuff

Box = tuple[float, float, float, float]


def sets(boxes: list[Box], labels: list[int], size: tuple[int, int] = (4, 4)) -> torch.Tensor:
    """Of one image of 16 × 16."""
    given_boxes = torch.tensor([boxes], dtype=torch.float32).view(1, -1, 4)
    stride = (16 / size[0], 16 / size[1])
    return candidate_sets(given_boxes, torch.tensor([labels], dtype=torch.int64), THINGS, VALUES, size, stride)


def drawn(plane: torch.Tensor) -> list[str]:
    return ["".join("#" if cell else "." for cell in row) for row in plane.tolist()]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        pytest.param((4, 4, 12, 8), ["....", ".##.", "....", "...."], id="on the grid"),
        pytest.param((5, 5, 8.5, 7), ["....", ".##.", "....", "...."], id="outward"),
        pytest.param((7.9, 3.9, 8.1, 4.1), [".##.", ".##.", "....", "...."], id="sub-pixel over a corner"),
        pytest.param((6.1, 6.1, 6.2, 6.2), ["....", ".#..", "....", "...."], id="sub-pixel"),
        pytest.param((0, 0, 16, 16), ["####"] * 4, id="whole image"),
        pytest.param((-9, -9, 99, 99), ["####"] * 4, id="more than the image"),
        pytest.param((-5, 11, 5, 30), ["....", "....", "##..", "##.."], id="clipped"),
        pytest.param((16, 0, 30, 16), ["...."] * 4, id="right of the image"),
        pytest.param((-8, 0, 0, 16), ["...."] * 4, id="left of the image"),
        pytest.param((0, 0, 0, 0), ["...."] * 4, id="padding"),
        pytest.param((5, 5, 5, 9), ["...."] * 4, id="no area"),
    ],
)
def test_cells_of_a_box(box: Box, expected: list[str]) -> None:
    found = sets([box], [1])
    assert drawn(found[0, 2]) == expected
    assert found[0, 0].all()
    assert not found[0, 1].any()
    assert found[0, 3].all()  # stuff


def test_boxes_of_several_classes() -> None:
    found = sets([(0, 0, 8, 4), (4, 0, 12, 8), (4, 0, 8, 16)], [0, 1, 1])
    assert drawn(found[0, 1]) == ["##..", "....", "....", "...."]
    assert drawn(found[0, 2]) == [".##.", ".##.", ".#..", ".#.."]


def test_a_region_of_any_class_allows_everything() -> None:
    found = sets([(0, 0, 4, 4), (8, 8, 16, 16)], [0, ANY_CLASS])
    assert drawn(found[0, 1]) == ["#...", "....", "..##", "..##"]
    assert drawn(found[0, 2]) == ["....", "....", "..##", "..##"]


def test_without_boxes_background_and_stuff_are_left() -> None:
    assert sets([], [])[0].all(-1).all(-1).tolist() == [True, False, False, True]


def test_sides_may_have_different_strides() -> None:
    found = sets([(0, 8, 4, 9)], [0], size=(2, 8))
    assert drawn(found[0, 1]) == ["........", "##......"]


coordinates = st.integers(-24, 88).map(lambda quarter: quarter / 4)
some_boxes = st.lists(st.tuples(coordinates, coordinates, coordinates, coordinates, st.integers(-1, 1)), max_size=5)


@given(some_boxes)
@settings(deadline=None, max_examples=60)
def test_against_every_cell_by_itself(rows: list[tuple[float, float, float, float, int]]) -> None:
    found = sets([row[:4] for row in rows], [row[4] for row in rows])
    for value, y, x in [(value, y, x) for value in (1, 2) for y in range(4) for x in range(4)]:
        expected = any(
            label in (value - 1, ANY_CLASS)
            and (x1 < x2 and y1 < y2)
            and (x1 < 4 * x + 4 and x2 > 4 * x and y1 < 4 * y + 4 and y2 > 4 * y)
            for x1, y1, x2, y2, label in rows
        )
        assert found[0, value, y, x] == expected


@given(some_boxes, st.randoms())
@settings(deadline=None, max_examples=30)
def test_order_and_repetition_do_not_matter(rows: list[tuple[float, float, float, float, int]], random) -> None:  # type: ignore[no-untyped-def]
    expected = sets([row[:4] for row in rows], [row[4] for row in rows])
    rows = rows + rows[:2]
    random.shuffle(rows)
    assert torch.equal(sets([row[:4] for row in rows], [row[4] for row in rows]), expected)


def hand_made() -> tuple[torch.Tensor, torch.Tensor]:
    """4 × 4 pixels of probabilities 0.5, 0.3, 0.2; value 1 is possible in the four of the middle, 2 nowhere."""
    logits = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log().view(1, 3, 1, 1).repeat(1, 1, 4, 4)
    candidates = torch.zeros(1, 3, 4, 4, dtype=torch.bool)
    candidates[:, 0] = True
    candidates[:, 1, 1:3, 1:3] = True
    return logits, candidates


def test_by_hand() -> None:
    logits, candidates = hand_made()
    valid = torch.ones(1, 4, 4, dtype=torch.bool)
    value, number = candidate_loss(logits + 7, candidates, valid)
    assert value.item() == pytest.approx((4 * -math.log(0.8) + 12 * -math.log(0.5)) / 16)
    assert number == 16
    valid[:, 0] = False
    value, number = candidate_loss(logits, candidates, valid)
    assert value.item() == pytest.approx((4 * -math.log(0.8) + 8 * -math.log(0.5)) / 12)
    assert number == 12


def test_one_candidate_is_cross_entropy_and_all_are_nothing() -> None:
    logits, labels = torch.randn(2, 5, 4, 4), torch.randint(5, (2, 4, 4))
    valid = torch.ones(2, 4, 4, dtype=torch.bool)
    only = torch.arange(5).view(1, 5, 1, 1) == labels[:, None]
    torch.testing.assert_close(candidate_loss(logits, only, valid).value, cross_entropy(logits, labels))
    assert candidate_loss(logits, torch.ones_like(only), valid).value == 0


def test_set_gradient() -> None:
    _, candidates = hand_made()
    valid = torch.rand(1, 4, 4) > 0.3
    logits = torch.randn(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: candidate_loss(x, candidates, valid).value, logits)


def test_a_pixel_that_is_not_valid_needs_no_candidate() -> None:
    logits = torch.randn(1, 3, 1, 2, requires_grad=True)
    candidates = torch.tensor([[[[True, False]]]]).repeat(1, 3, 1, 1)
    candidate_loss(logits, candidates, torch.tensor([[[True, False]]])).value.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_restrict_by_hand() -> None:
    logits, candidates = hand_made()
    found = restrict(logits.softmax(1), candidates)
    assert found[0, :, 0, 0].tolist() == pytest.approx([1, 0, 0])
    assert found[0, :, 1, 1].tolist() == pytest.approx([0.625, 0.375, 0])


def test_restrict_where_nothing_is_left() -> None:
    found = restrict(torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1), torch.tensor([1, 1, 0]).bool().view(1, 3, 1, 1))
    assert found.flatten().tolist() == [0.5, 0.5, 0]
