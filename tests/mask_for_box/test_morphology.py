from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import max_pool2d

from bombo.mask_for_box.morphology import dilate, opening


@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(1, 12), st.integers(0, 4))
def test_dilation_is_max_pooling(seed: int, height: int, width: int, radius: int) -> None:
    maps = torch.rand(2, height, width, generator=torch.Generator().manual_seed(seed)) > 0.9
    expected = max_pool2d(maps.float(), 2 * radius + 1, stride=1, padding=radius) > 0
    before = maps.clone()
    assert torch.equal(dilate(maps, radius), expected)
    assert torch.equal(maps, before)


@pytest.mark.parametrize(
    ("height", "width", "survives"),
    [
        pytest.param(5, 5, True, id="one square"),
        pytest.param(5, 9, True, id="a bar of squares"),
        pytest.param(4, 9, False, id="a rim"),
        pytest.param(1, 1, False, id="a point"),
    ],
)
def test_opening(height: int, width: int, survives: bool) -> None:
    maps = torch.zeros(1, 20, 20, dtype=torch.bool)
    maps[:, 6 : 6 + height, 5 : 5 + width] = True
    assert torch.equal(opening(maps, 2), maps if survives else torch.zeros_like(maps))
