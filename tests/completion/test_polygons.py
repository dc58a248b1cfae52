from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bombo.completion.polygons import drawn
from bombo.conversion.shapes import to_pixels
from bombo.data.scenes import make_scene

SIZE = (24, 30)


def disc(y: float, x: float, radius: float) -> np.ndarray:
    ys, xs = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.hypot(ys - y, xs - x) <= radius


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize(
    ("pixels", "parts", "least"),
    [
        pytest.param(disc(12, 12, 9), 1, 0.93, id="disc"),
        pytest.param(disc(12, 12, 9) & ~disc(12, 12, 4), 1, 0.88, id="ring, its hole stays"),
        pytest.param(disc(10, 7, 5) | disc(14, 22, 5), 2, 0.88, id="two parts"),
        pytest.param(disc(12, 12, 9) | disc(1, 27, 0), 1, 0.92, id="a speck is left out"),
        pytest.param(disc(3, 3, 0), 1, 1.0, id="one pixel"),
        pytest.param(np.ones(SIZE, bool), 1, 1.0, id="all of it"),
    ],
)
def test_polygons_say_nearly_the_same(pixels: np.ndarray, parts: int, least: float) -> None:
    polygons = drawn(pixels, SIZE)
    assert len(polygons) == parts
    assert all(len(polygon) >= 6 for polygon in polygons)
    assert iou(to_pixels(polygons, SIZE), pixels) >= least


def test_few_points_are_left_to_drag() -> None:
    (polygon,) = drawn(disc(12, 12, 11), SIZE)
    assert 8 <= len(polygon) // 2 <= 24


@pytest.mark.parametrize(
    "corners", [(15, 1, 20, 12, 15, 23, 9, 12), (2, 3, 28, 9, 25, 21, 1, 15), (1, 1, 29, 4, 10, 23)]
)
def test_slanted_edges_have_points_at_their_ends_only(corners: tuple[int, ...]) -> None:
    larger = 5 * np.array(corners, np.float64)
    size = (5 * SIZE[0], 5 * SIZE[1])
    (polygon,) = drawn(to_pixels([larger], size), size)
    assert len(polygon) <= 2 * len(corners)


def test_what_a_person_drew_stays() -> None:
    polygons = [np.array([2, 2, 20.5, 3, 11, 20]), np.array([25, 1, 26, 1, 26, 2.5])]
    assert drawn(polygons, SIZE) is polygons


def test_no_pixel_is_no_polygon() -> None:
    assert drawn(np.zeros(SIZE, bool), SIZE) == []


def test_specks_of_holes_are_left_out() -> None:
    pixels = np.ones((60, 60), bool)
    pixels[10:20, 10:20] = False
    bridged = [len(polygon) for polygon in drawn(pixels, (60, 60))]
    pixels[30:50:4, 30:50:4] = False
    assert [len(polygon) for polygon in drawn(pixels, (60, 60))] == bridged


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 500))
def test_outlines_of_things_stay_within_a_pixel(seed: int) -> None:
    instances = make_scene(seed, 64).instances
    for number in range(1, int(instances.max()) + 1):
        pixels = instances == number
        again = to_pixels(drawn(pixels, pixels.shape), pixels.shape)
        outside = cv2.distanceTransform((~pixels).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        assert outside[again].max() < 1.5
        assert iou(again, pixels) > 0.6
