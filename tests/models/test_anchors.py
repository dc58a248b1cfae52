from __future__ import annotations

import math

import pytest
import torch

from bombo.models.anchors import PER_CELL, RATIOS, SCALES, STRIDES, make_anchors

SHAPES = [(3, 5), (2, 3), (1, 2), (1, 1)]


def slow_anchors(shapes: list[tuple[int, int]]) -> list[tuple[float, ...]]:
    rows = []
    for (height, width), stride in zip(shapes, STRIDES, strict=True):
        for y in range(height):
            for x in range(width):
                for scale in SCALES:
                    for ratio in RATIOS:
                        w, h = scale * stride / math.sqrt(ratio), scale * stride * math.sqrt(ratio)
                        cx, cy = (x + 0.5) * stride, (y + 0.5) * stride
                        rows.append((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))
    return rows


def test_anchors_are_those_of_a_plain_loop() -> None:
    torch.testing.assert_close(make_anchors(SHAPES), torch.tensor(slow_anchors(SHAPES)))


def test_number_of_anchors() -> None:
    assert len(make_anchors(SHAPES)) == PER_CELL * sum(height * width for height, width in SHAPES)


def test_sides_on_the_finest_level() -> None:
    width, height = (make_anchors(SHAPES)[:PER_CELL, 2:] - make_anchors(SHAPES)[:PER_CELL, :2]).unbind(1)
    areas, ratios = width * height, height / width
    torch.testing.assert_close(areas.sqrt(), torch.tensor([24.0] * 3 + [24 * 2**0.5] * 3))
    torch.testing.assert_close(ratios, torch.tensor([0.5, 1, 2] * 2))


def test_a_level_too_few_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        make_anchors(SHAPES[:3])
