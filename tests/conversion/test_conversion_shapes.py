from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bombo.conversion.annotated import AnnotatedObject
from bombo.conversion.shapes import Ring, borders, extent, is_hole, one_ring, paint, to_pixels, to_rings, to_rle

REGIONS = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda size: arrays(bool, size)).filter(np.any)


def filled(rings: list[Ring], size: tuple[int, int]) -> np.ndarray:
    """Even-odd rule at the centres of the pixels: an independent way to fill rings."""
    ys, xs = np.mgrid[: size[0], : size[1]] + 0.5
    inside = np.zeros(size, bool)
    for ring in rings:
        for (x1, y1), (x2, y2) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            crossed = (y1 > ys) != (y2 > ys)
            if y1 != y2:
                inside ^= crossed & (xs < (x2 - x1) * (ys - y1) / (y2 - y1) + x1)
    return inside


@settings(max_examples=150, deadline=None)
@given(REGIONS)
def test_borders_filled_again_are_the_same_pixels(pixels: np.ndarray) -> None:
    rings = borders(pixels)
    assert np.array_equal(filled(rings, pixels.shape), pixels)  # type: ignore[arg-type]
    ys, xs = np.nonzero(pixels)
    assert extent(rings) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


@settings(max_examples=150, deadline=None)
@given(REGIONS)
def test_parts_and_holes_in_one_ring_are_the_same_pixels(pixels: np.ndarray) -> None:
    ring = one_ring(borders(pixels))
    assert np.array_equal(filled([ring], pixels.shape), pixels)  # type: ignore[arg-type]
    assert np.array_equal(to_pixels([ring.reshape(-1)], pixels.shape), pixels)  # type: ignore[arg-type]


def test_many_holes_are_joined_with_no_pair_of_points_compared_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.ones((60, 60), bool)
    for y, x in np.ndindex(10, 10):
        pixels[6 * y + 2 : 6 * y + 4, 6 * x + 2 : 6 * x + 4] = False
    rings, hypot, compared = borders(pixels), np.hypot, list[int]()

    def counted(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        compared.append(max(x.size, y.size))
        distances: np.ndarray = hypot(x, y)
        return distances

    monkeypatch.setattr(np, "hypot", counted)
    ring = one_ring(rings)
    assert 0 < sum(compared) <= sum(map(len, rings)) ** 2 / 2
    assert np.array_equal(to_pixels([ring.reshape(-1)], (60, 60)), pixels)


def test_parts_that_overlap_keep_what_they_share() -> None:
    parts = [np.array([1.0, 1, 5, 1, 5, 4, 1, 4]), np.array([3.0, 1, 8, 1, 8, 4, 3, 4])]
    rings = to_rings(parts, (6, 9))
    assert np.array_equal(filled(rings, (6, 9)), to_pixels(parts, (6, 9)))
    assert np.array_equal(filled([one_ring(rings)], (6, 9)), to_pixels(parts, (6, 9)))


@settings(max_examples=50, deadline=None)
@given(REGIONS)
def test_run_lengths_are_the_same_pixels(pixels: np.ndarray) -> None:
    rle = to_rle(pixels, pixels.shape)  # type: ignore[arg-type]
    assert isinstance(rle["counts"], str)
    assert np.array_equal(to_pixels(rle, pixels.shape), pixels)  # type: ignore[arg-type]


def test_a_frame_has_a_border_and_a_hole() -> None:
    frame = np.ones((4, 5), bool)
    frame[1:3, 1:4] = False
    outer, inner = borders(frame)
    assert {tuple(point) for point in outer.tolist()} == {(0, 0), (5, 0), (5, 4), (0, 4)}
    assert {tuple(point) for point in inner.tolist()} == {(1, 1), (4, 1), (4, 3), (1, 3)}
    assert (is_hole(outer), is_hole(inner)) == (False, True)


def test_pixels_that_touch_at_a_corner_are_two_rings() -> None:
    assert [len(ring) for ring in borders(np.eye(2, dtype=bool))] == [4, 4]


def test_polygons_stay_as_they_are() -> None:
    polygon = np.array([0.25, 0, 3, 0.5, 2, 2.75])
    assert to_rings([polygon], (4, 4))[0].tolist() == [[0.25, 0], [3, 0.5], [2, 2.75]]


@pytest.mark.parametrize("order", [1, -1])
def test_the_smallest_object_is_on_top_and_crowds_are_void_below(order: int) -> None:
    whole, half, corner = (np.zeros((2, 4), bool) for _ in range(3))
    whole[:], half[:, :2], corner[0, 0] = True, True, True
    objects = [
        AnnotatedObject(0, (0, 0, 4, 2), half),
        AnnotatedObject(1, (0, 0, 1, 1), corner),
        AnnotatedObject(1, (0, 0, 4, 2), whole, crowd=True),
        AnnotatedObject(5, (0, 0, 4, 2)),
    ]
    assert paint(objects[::order], (2, 4)).tolist() == [[2, 1, 255, 255], [1, 1, 255, 255]]
