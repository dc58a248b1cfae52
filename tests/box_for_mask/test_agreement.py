from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from bombo.box_for_mask.agreement import Agreement
from bombo.box_for_mask.shapes import Ellipse, Fill
from bombo.box_for_mask.weak_mask import LabelProvider, WeakMask
from bombo.data.label_space import LabelSpace

SPACE = LabelSpace(("a", "b"))


@dataclass(frozen=True)
class Says:
    values: tuple[tuple[int, ...], ...]
    weights: tuple[tuple[float, ...], ...]
    name: str = "says"

    def __call__(
        self, image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, crowd: np.ndarray, space: LabelSpace
    ) -> WeakMask:
        return WeakMask(np.array(self.values, dtype=np.uint8), np.array(self.weights, dtype=np.float32))


ONE = Says(((0, 0, 1, 1), (1, 1, 2, 255)), ((1, 0.7, 0.8, 0.8), (0.5, 0.9, 0.6, 0)))
OTHER = Says(((0, 0, 1, 2), (1, 0, 255, 255)), ((1, 0.5, 0.6, 0.9), (0.5, 1, 0, 0)))


def agreed(first: LabelProvider, second: LabelProvider) -> WeakMask:
    boxes = np.array([(1, 1, 7, 5)], dtype=np.float32)
    image = np.zeros((6, 8, 3), dtype=np.uint8)
    return Agreement(first, second)(image, boxes, np.array([1]), np.array([False]), SPACE)


def test_by_hand() -> None:
    made = agreed(ONE, OTHER)
    assert made.values.tolist() == [[0, 0, 1, 255], [1, 255, 255, 255]]
    # 0.7 of one who knows and 0.5 of one who does not; 0.8 · 0.6 against 0.2 · 0.4: 0.48 / 0.56; twice in the dark
    assert made.weights.ravel().tolist() == pytest.approx([1, 0.7, 6 / 7, 0, 0.5, 0, 0, 0])
    assert made.values.dtype == np.uint8
    assert made.weights.dtype == np.float32


def test_neither_comes_first() -> None:
    one, other = agreed(ONE, OTHER), agreed(OTHER, ONE)
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.weights, other.weights)


def test_fill_and_ellipse_differ_in_the_corners() -> None:
    made, fill, ellipse = agreed(Fill(), Ellipse()), agreed(Fill(), Fill()), agreed(Ellipse(), Ellipse())
    assert (made.values[fill.values == ellipse.values] != 255).all()
    assert (made.values[fill.values != ellipse.values] == 255).all()
    # 0.6 · 0.7 against 0.4 · 0.3
    np.testing.assert_allclose(made.weights[made.values == 2], 0.42 / 0.54, rtol=1e-6)


def test_the_name_names_both() -> None:
    assert Agreement(Fill(), Ellipse()).name == "fill+ellipse"
    assert Agreement(Ellipse(), Fill()).name != Agreement(Fill(), Ellipse()).name
