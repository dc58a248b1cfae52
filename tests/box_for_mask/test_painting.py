from __future__ import annotations

import numpy as np
import pytest

from bombo.box_for_mask.painting import Claim, Window, covered, normalised, paint, union
from bombo.box_for_mask.weak_mask import WeakMask
from bombo.data.label_space import ANY_CLASS, LabelSpace

SPACE, WITH_STUFF = LabelSpace(("a", "b", "c")), LabelSpace(("a", "b", "c"), ("sky",))

Row = tuple[float, float, float, float, int, bool]  # x1, y1, x2, y2, label, crowd


def painted(
    rows: list[Row], size: tuple[int, int], space: LabelSpace = SPACE, claims: list[str] | None = None
) -> WeakMask:
    """Boxes that claim all their pixels; or, with one row of characters per box, those marked #, and ? is silence."""

    def claim(row: int, window: Window) -> Claim:
        shape = (window[0].stop - window[0].start, window[1].stop - window[1].start)
        marks = np.broadcast_to(np.array(list(claims[row] if claims else "#" * size[1])), size)[window]
        assert marks.shape == shape
        return Claim(marks == "#", np.where(marks == "?", 0, 0.75).astype(np.float32))

    boxes = np.array([row[:4] for row in rows], dtype=np.float32).reshape(-1, 4)
    labels, crowd = np.array([row[4] for row in rows], dtype=np.int64), np.array([row[5] for row in rows], dtype=bool)
    return paint(size, boxes, labels, crowd, space, claim)


def drawn(values: np.ndarray) -> list[str]:
    return ["".join({0: ".", 255: "x"}.get(value, str(value)) for value in row) for row in values.tolist()]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        pytest.param(1, 3, "-##---", id="on the grid"),
        pytest.param(0.5, 2.5, "###---", id="centres on both sides count"),
        pytest.param(0.51, 2.49, "-#----", id="centres just outside do not"),
        pytest.param(1.6, 2.4, "-##---", id="no centre: the pixels it touches"),
        pytest.param(2.6, 2.8, "--#---", id="within one pixel"),
        pytest.param(2, 2.25, "--#---", id="within one pixel, from its edge"),
        pytest.param(-9, 9, "######", id="more than the image"),
        pytest.param(-9, 2, "##----", id="clipped"),
        pytest.param(-9, 0.25, "#-----", id="a quarter of a pixel is left of it"),
        pytest.param(5.75, 9, "-----#", id="the same at the other end"),
        pytest.param(-9, 0, "------", id="before the image"),
        pytest.param(6, 9, "------", id="behind the image"),
        pytest.param(-9, -3, "------", id="far before it"),
    ],
)
def test_pixels_a_box_covers(low: float, high: float, expected: str) -> None:
    marks = np.full((6, 6), "-")
    marks[covered(np.array((low, 2, high, 3)), (6, 6))] = "#"
    assert ["".join(row) for row in marks] == ["------"] * 2 + [expected] + ["------"] * 3
    marks[:] = "-"
    marks[covered(np.array((2, low, 3, high)), (6, 6))] = "#"
    assert ["".join(row) for row in marks.T] == ["------"] * 2 + [expected] + ["------"] * 3


def test_the_smaller_box_is_on_top_in_whatever_order() -> None:
    small, large = (2, 1, 5, 3, 0, False), (0, 0, 4, 4, 1, False)
    expected = ["2222..", "22111.", "22111.", "2222..", "......"]
    assert drawn(painted([small, large], (5, 6)).values) == expected
    assert drawn(painted([large, small], (5, 6)).values) == expected


def test_what_is_small_is_what_the_image_shows() -> None:
    mostly_outside, inside = (-20, 0, 2, 3, 0, False), (0, 0, 3, 3, 1, False)
    assert drawn(painted([mostly_outside, inside], (3, 4)).values) == ["112."] * 3


def test_certain_background_outside_and_claimed_certainty_inside() -> None:
    made = painted([(1, 0, 4, 2, 2, False)], (3, 5), claims=["..##."])
    assert drawn(made.values) == ["..33.", "..33.", "....."]
    assert made.weights.tolist() == [[1, 0.75, 0.75, 0.75, 1]] * 2 + [[1] * 5]
    assert made.values.dtype == np.uint8
    assert made.weights.dtype == np.float32


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([(0, 0, 4, 2, 0, True)], ["xxxx.", "xxxx.", "....."], id="crowd"),
        pytest.param([(0, 0, 4, 2, ANY_CLASS, False)], ["xxxx.", "xxxx.", "....."], id="any class"),
        pytest.param([(0, 0, 4, 3, 0, True), (1, 1, 3, 2, 1, False)], ["xxxx.", "x22x.", "xxxx."], id="box on crowd"),
        pytest.param([(0, 0, 4, 3, 0, False), (1, 1, 3, 2, 1, True)], ["1111.", "1xx1.", "1111."], id="crowd on box"),
        pytest.param([(9, 9, 12, 12, 0, True), (1, 1, 3, 2, 1, False)], [".....", ".22..", "....."], id="outside"),
        pytest.param([], ["....."] * 3, id="no boxes"),
    ],
)
def test_who_says_nothing(rows: list[Row], expected: list[str]) -> None:
    made = painted(rows, (3, 5))
    assert drawn(made.values) == expected
    assert ((made.weights == 0) == (made.values == 255)).all()


def test_a_ring_of_silence_covers_a_larger_box() -> None:
    made = painted([(0, 0, 6, 1, 0, False), (1, 0, 5, 1, 1, False)], (1, 6), claims=["######", ".?##?."])
    assert drawn(made.values) == ["1x22x1"]
    assert made.weights.tolist() == [[0.75, 0, 0.75, 0.75, 0, 0.75]]


def test_with_stuff_what_is_no_object_is_unknown() -> None:
    made = painted([(1, 0, 4, 2, 2, False)], (3, 5), WITH_STUFF, claims=["..##."])
    assert drawn(made.values) == ["xx33x", "xx33x", "xxxxx"]
    assert ((made.weights == 0) == (made.values == 255)).all()


@pytest.mark.parametrize(
    ("rows", "claims", "values", "weights"),
    [
        pytest.param(
            [(0, 0, 6, 1, 0, False), (2, 0, 4, 1, 1, False)],
            ["..##..", "..##.."],
            ".1221.",  # free pixels 1.5 from the centre
            [0.75, 0.5, 0.75, 0.75, 0.5, 0.75],
            id="hidden by a smaller box",
        ),
        pytest.param([(1, 0, 4, 1, 0, False)], ["......"], "..1...", [1, 0.75, 0.5, 0.75, 1, 1], id="claims nothing"),
        pytest.param([(1, 0, 4, 1, 0, False)], ["??????"], ".x1x..", [1, 0, 0.5, 0, 1, 1], id="only silence"),
        pytest.param(
            [(0, 0, 3, 1, 0, False), (0, 0, 2, 1, 1, False), (2, 0, 3, 1, 2, False)],
            ["######"] * 3,
            "223...",
            [0.75, 0.75, 0.75, 1, 1, 1],
            id="nothing is free",
        ),
        pytest.param(
            [(0, 0, 4, 1, 0, False), (1, 0, 3, 1, 0, False)],
            ["......", ".##..."],
            ".11...",
            [0.75, 0.75, 0.75, 0.75, 1, 1],
            id="one of its class is enough",
        ),
        pytest.param(
            [(0, 0, 6, 1, 0, False), (1, 0, 5, 1, 1, False), (3, 0, 4, 1, 2, False)],
            ["..#...", "...#..", "...#.."],
            "1.23.1",  # box 2 lost its pixel to 3 and takes the last one of 1, which then takes two of its own
            [0.5, 0.75, 0.5, 0.75, 0.75, 0.5],
            id="one rescue calls for another",
        ),
    ],
)
def test_no_box_vanishes(rows: list[Row], claims: list[str], values: str, weights: list[float]) -> None:
    made = painted(rows, (1, 6), claims=claims)
    assert drawn(made.values) == [values]
    assert made.weights.tolist() == [weights]


@pytest.mark.parametrize("box", [(-4, 0, 0, 3), (5, 0, 9, 3), (0, -4, 5, 0), (0, 3, 5, 9), (-9, -9, -3, -3)])
def test_outside_the_image_nobody_is_asked(box: tuple[float, float, float, float]) -> None:
    made = painted([(*box, 0, False)], (3, 5), claims=[])
    assert not made.values.any()
    assert (made.weights == 1).all()


def test_union_and_places() -> None:
    inside = union(np.array([(0, 0, 2, 1), (1, 0, 3, 2)]), (2, 4))
    assert inside.tolist() == [[True, True, True, False], [False, True, True, False]]
    assert not union(np.zeros((0, 4)), (2, 4)).any()
    down, across = normalised(np.array((0, 0, 4, 2)), (slice(0, 2), slice(0, 5)))
    assert down.tolist() == [[-0.5], [0.5]]
    assert across.tolist() == [[-0.75, -0.25, 0.25, 0.75, 1.25]]
