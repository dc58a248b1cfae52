from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bombo.conversion.objects import extent, nearest, objects_in_boxes, touched

LEFT, RIGHT, SMALL = (0, 0, 6, 4), (4, 0, 10, 4), (6, 1, 8, 3)


@pytest.mark.parametrize(
    ("boxes", "labels", "row", "expected"),
    [
        pytest.param([LEFT], [0], "1111111111", "1111110000", id="only inside the box"),
        pytest.param([LEFT, RIGHT], [0, 0], "1111111111", "1111122222", id="cut in the middle of what two share"),
        pytest.param([LEFT, RIGHT], [0, 1], "1111122222", "1111122222", id="each its own class"),
        pytest.param([LEFT, RIGHT], [0, 1], "1111111111", "1111110000", id="no box of another class"),
        pytest.param([RIGHT, SMALL], [0, 0], "0000111111", "0000112211", id="a smaller one on a larger one"),
        pytest.param([(0.4, 0, 2.2, 4)], [0], "1111000000", "1110000000", id="sides rounded outward"),
        pytest.param([LEFT], [-1], "1111110000", "0000000000", id="a box of no class owns nothing"),
        pytest.param([], [], "1111110000", "0000000000", id="no boxes"),
    ],
)
def test_pixels_go_to_a_box_of_their_class(
    boxes: list[tuple[float, ...]], labels: list[int], row: str, expected: str
) -> None:
    mask = np.array([[int(value) for value in row]] * 4, np.uint8)
    owner = objects_in_boxes(mask, np.array(boxes).reshape(-1, 4), np.array(labels, int))
    assert "".join(map(str, owner[1])) == expected


def test_outside_all_boxes_the_nearer_one_has_a_pixel() -> None:
    xs = np.array([0, 4, 5, 9])
    boxes = np.array([(1, 0, 4, 4), (6, 0, 9, 4)], float)
    assert nearest(np.full(4, 1), xs, boxes).tolist() == [0, 0, 1, 1]


def test_a_box_that_touches_a_pixel_comes_before_one_that_is_only_near() -> None:
    boxes = np.array([(0, 0, 100, 4), (10, 0, 12, 4)], float)
    assert nearest(np.array([1]), np.array([13]), boxes).tolist() == [0]


sides = st.floats(0, 12, width=32)
box = st.tuples(sides, sides, sides, sides).map(lambda s: (min(s[0], s[2]), min(s[1], s[3]), *_high(s)))


def _high(s: tuple[float, float, float, float]) -> tuple[float, float]:
    return max(s[0], s[2]) + 0.5, max(s[1], s[3]) + 0.5


@given(st.lists(st.tuples(box, st.integers(0, 1)), max_size=5), st.integers(0, 2**32))
def test_every_pixel_with_a_box_of_its_class_over_it_is_owned_by_such_a_box(
    things: list[tuple[tuple[float, ...], int]], seed: int
) -> None:
    mask = np.random.default_rng(seed).integers(0, 3, (12, 10)).astype(np.uint8)
    boxes = np.array([each for each, _ in things]).reshape(-1, 4)
    labels = np.array([label for _, label in things], int)
    owner = objects_in_boxes(mask, boxes, labels)
    over = np.zeros((len(labels) + 1, 12, 10), bool)
    over[0] = True
    for row, (each, label) in enumerate(zip(boxes, labels, strict=True), start=1):
        over[(row, *touched(each, (12, 10)))] = True
        over[row] &= mask == label + 1
    assert np.take_along_axis(over, owner[None], 0).all()
    assert ((owner > 0) == over[1:].any(0)).all()


def test_extent_is_tight() -> None:
    assert extent(np.array([3, 5]), np.array([7, 2])).tolist() == [2, 3, 8, 6]
