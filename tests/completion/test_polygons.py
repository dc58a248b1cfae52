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
