from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from bombo.mask_for_box.integral import count_inside, integral


def test_by_hand() -> None:
    maps = torch.tensor([[[1, 0, 1], [0, 1, 1]]], dtype=torch.bool)
    table = integral(maps)
    assert table.tolist() == [[[0, 0, 0, 0], [0, 1, 1, 2], [0, 1, 2, 4]]]
    boxes = torch.tensor([[[0, 0, 3, 2], [1, 0, 3, 1], [2, 0, 3, 2], [1, 1, 1, 2], [-5, -5, 9, 9], [3, 2, 8, 8]]])
    assert count_inside(table, boxes.float()).tolist() == [[4, 1, 2, 0, 4, 0]]


@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 9))
def test_against_slices(seed: int, height: int, width: int) -> None:
    random = torch.Generator().manual_seed(seed)
    maps = torch.rand(3, height, width, generator=random) > 0.5
    low = torch.randint(0, 6, (3, 5, 2), generator=random)
    boxes = torch.cat((low, low + torch.randint(0, 6, (3, 5, 2), generator=random)), dim=2)
    expected = [[int(maps[p, y1:y2, x1:x2].sum()) for x1, y1, x2, y2 in rows] for p, rows in enumerate(boxes.tolist())]
    assert count_inside(integral(maps), boxes.float()).tolist() == expected


def test_edges_are_rounded() -> None:
    table = integral(torch.ones(1, 4, 4, dtype=torch.bool))
    boxes = torch.tensor([[[0.4, 0.4, 2.6, 1.4], [0.6, 0.6, 2.4, 3.6], [-0.6, 3.6, 4.4, 9.0]]])
    assert count_inside(table, boxes).tolist() == [[3 * 1, 1 * 3, 0]]


def test_no_maps() -> None:
    assert count_inside(integral(torch.zeros(0, 4, 4, dtype=torch.bool)), torch.zeros(1, 7, 4)).shape == (0, 7)
