from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bombo.box_for_mask.painting import covered, union
from bombo.box_for_mask.shapes import RIGHT_ELLIPSE, RIGHT_FILL, RIGHT_INNER, Ellipse, Fill, Inner
from bombo.box_for_mask.weak_mask import LabelProvider, WeakMask
from bombo.data.label_space import ANY_CLASS, LabelSpace

SPACE, WITH_STUFF = LabelSpace(("a", "b", "c")), LabelSpace(("a", "b", "c"), ("sky",))
PROVIDERS: list[LabelProvider] = [Fill(), Ellipse(), Inner(), Inner(0.8)]
SIDE = 16

Row = tuple[float, float, float, float, int, bool]  # x1, y1, x2, y2, label, crowd


def arrays(rows: list[Row]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.array([row[:4] for row in rows], dtype=np.float32).reshape(-1, 4),
        np.array([row[4] for row in rows], dtype=np.int64),
        np.array([row[5] for row in rows], dtype=bool),
    )


def made_by(
    provider: LabelProvider, rows: list[Row], size: tuple[int, int] = (SIDE, SIDE), space: LabelSpace = SPACE
) -> WeakMask:
    return provider(np.zeros((*size, 3), dtype=np.uint8), *arrays(rows), space)


def drawn(values: np.ndarray) -> list[str]:
    return ["".join({0: ".", 255: "x"}.get(value, str(value)) for value in row) for row in values.tolist()]


def test_fill_by_hand() -> None:
    made = made_by(Fill(), [(0, 0, 3, 4, 0, False), (1, 1, 3, 3, 1, False)], (4, 4))
    assert drawn(made.values) == ["111.", "122.", "122.", "111."]
    np.testing.assert_array_equal(made.weights, np.where(made.values > 0, np.float32(RIGHT_FILL), 1))


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        # centres at ±¼ and ±¾: ¾² + ¾² > 1 at the corners
        pytest.param((0, 0, 4, 4), [".11.", "1111", "1111", ".11."], id="4 × 4"),
        # one row: ½² + 0² for every second centre of a box 2 wide
        pytest.param((1, 1, 3, 2), ["....", ".11.", "....", "...."], id="2 × 1"),
        # the left half is outside: centres at ¼ and ¾ of the right half, ⅛ and ⅜ … of the whole
        pytest.param((-4, 0, 4, 4), ["111.", "1111", "1111", "111."], id="half outside"),
    ],
)
def test_ellipse_by_hand(box: tuple[float, float, float, float], expected: list[str]) -> None:
    made = made_by(Ellipse(), [(*box, 0, False)], (4, 4))
    assert drawn(made.values) == expected
    inside = union(np.array([box]), (4, 4))  # the corners of the box are doubtful, too
    np.testing.assert_array_equal(made.weights, np.where(inside, np.float32(RIGHT_ELLIPSE), 1))


def test_inner_by_hand() -> None:
    made = made_by(Inner(), [(0, 0, 8, 6, 1, False)], (7, 9))  # the middle: 2 to 6, 1.5 to 4.5
    assert drawn(made.values) == ["xxxxxxxx."] + ["xx2222xx."] * 4 + ["xxxxxxxx.", "........."]
    expected = {0: 1, 2: np.float32(RIGHT_INNER), 255: 0}
    assert made.weights.tolist() == [[expected[value] for value in row] for row in made.values.tolist()]


def test_corners_do_not_hide_the_box_below() -> None:
    made = made_by(Ellipse(), [(0, 0, 8, 4, 0, False), (2, 0, 6, 4, 1, False)], (4, 8))
    assert drawn(made.values) == [".112211.", "11222211", "11222211", ".112211."]


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        pytest.param((2.6, 1.6, 2.8, 1.8), {(1, 2)}, id="within a pixel"),
        pytest.param((2.75, 1.75, 3.25, 2.25), {(1, 2), (1, 3), (2, 2), (2, 3)}, id="over a corner of four"),
        pytest.param((-3, 1, 0.25, 2), {(1, 0)}, id="hardly in the image"),
        pytest.param((-3, 1, 0, 2), set(), id="outside"),
    ],
)
def test_small_boxes_keep_a_pixel(
    provider: LabelProvider, box: tuple[float, float, float, float], pixels: set[tuple[int, int]]
) -> None:
    made = made_by(provider, [(*box, 0, False)], (4, 6))
    assert {tuple(place) for place in np.argwhere(made.values == 1).tolist()} == pixels


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_no_boxes_no_doubt(provider: LabelProvider) -> None:
    made = made_by(provider, [])
    assert not made.values.any()
    assert (made.weights == 1).all()
    made = made_by(provider, [], space=WITH_STUFF)
    assert (made.values == 255).all()
    assert not made.weights.any()


def test_every_setting_has_a_name() -> None:
    assert len({provider.name for provider in [*PROVIDERS, Inner(0.45)]}) == 5
    assert Inner().name == Inner(0.5).name


coordinates = st.integers(-4 * 4, 4 * (SIDE + 4)).map(lambda quarter: quarter / 4)
sides = st.integers(1, 4 * 12).map(lambda quarter: quarter / 4)
some_rows = st.lists(
    st.tuples(coordinates, coordinates, sides, sides, st.integers(ANY_CLASS, 2), st.booleans()).map(
        lambda row: (row[0], row[1], row[0] + row[2], row[1] + row[3], row[4], row[5])
    ),
    max_size=6,
)
providers = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)


@providers
@given(rows=some_rows, space=st.sampled_from([SPACE, WITH_STUFF]))
@settings(deadline=None, max_examples=40)
def test_a_mirror_image_has_the_mirrored_mask(provider: LabelProvider, rows: list[Row], space: LabelSpace) -> None:
    made = made_by(provider, rows, space=space)
    mirrored = made_by(provider, [(SIDE - row[2], row[1], SIDE - row[0], *row[3:]) for row in rows], space=space)
    np.testing.assert_array_equal(mirrored.values, made.values[:, ::-1])
    np.testing.assert_array_equal(mirrored.weights, made.weights[:, ::-1])
    upside_down = made_by(provider, [(row[0], SIDE - row[3], row[2], SIDE - row[1], *row[4:]) for row in rows])
    np.testing.assert_array_equal(upside_down.values, made_by(provider, rows).values[::-1])


@providers
@given(rows=some_rows, space=st.sampled_from([SPACE, WITH_STUFF]))
@settings(deadline=None, max_examples=40)
def test_the_rules_of_all_providers(provider: LabelProvider, rows: list[Row], space: LabelSpace) -> None:
    made, size = made_by(provider, rows, space=space), (SIDE, SIDE)
    boxes, labels, crowd = arrays(rows)
    assert ((made.weights == 0) == (made.values == 255)).all()
    assert made.weights.max(initial=0) <= 1

    outside = ~union(boxes, size)
    assert (made.values[outside] == (255 if space.stuff else 0)).all()
    silent = crowd | (labels == ANY_CLASS)
    for label in range(3):
        elsewhere = ~union(boxes[(labels == label) & ~silent], size)
        assert not (made.values[elsewhere] == label + 1).any()

    visible = np.clip(boxes, 0, SIDE)
    areas = (visible[:, 2] - visible[:, 0]) * (visible[:, 3] - visible[:, 1])
    for row in np.flatnonzero(~silent):
        smaller = (areas < areas[row]) | ((areas == areas[row]) & (np.arange(len(rows)) > row))
        window = covered(boxes[row], size)
        if (~union(boxes[smaller], size)[window]).any():
            assert (made.values[window] == labels[row] + 1).any()
