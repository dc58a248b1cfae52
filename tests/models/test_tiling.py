from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bombo.models.postprocess import Detected
from bombo.models.tiling import OVERLAP, Window, merge, taper, windows

sides = st.integers(1, 700)
tiles = st.integers(32, 300)
overlaps = st.sampled_from([0.0, 0.1, OVERLAP, 0.5, 0.9])


@settings(max_examples=200, deadline=None)
@given(sides, sides, tiles, overlaps)
def test_windows_cover_every_pixel_and_overlap(height: int, width: int, tile: int, overlap: float) -> None:
    places = windows((height, width), tile, overlap)
    assert places == sorted(places, key=lambda place: (place.y, place.x))
    for length, starts in ((width, sorted({p.x for p in places})), (height, sorted({p.y for p in places}))):
        assert starts[0] == 0
        assert starts[-1] + min(tile, length) == length
        for one, other in itertools.pairwise(starts):
            assert one + tile - other >= overlap * tile
    assert len(places) == len({p.x for p in places}) * len({p.y for p in places})
    assert {place[2:] for place in places} == {(min(tile, width), min(tile, height))}


@pytest.mark.parametrize(
    ("size", "tile", "number"), [((100, 100), 100, 1), ((100, 101), 100, 2), ((100, 175), 100, 2), ((100, 176), 100, 3)]
)
def test_there_are_no_more_windows_than_needed(size: tuple[int, int], tile: int, number: int) -> None:
    assert len(windows(size, tile)) == number


@pytest.mark.parametrize("side", [32, 33, 640, 10_000])
def test_the_weight_falls_to_the_borders_but_not_to_nothing(side: int) -> None:
    weight = taper(Window(5, 7, side, 40))
    assert weight.shape == (40, side)
    assert weight.min() > 1e-12
    assert torch.allclose(weight, weight.flip(0, 1))
    across = weight[20]
    assert (across[: side // 2].diff() >= 0).all()
    assert across[0] < 0.01 * across[side // 2]


def detected(*rows: tuple[list[float], float, int]) -> Detected:
    boxes = torch.tensor([box for box, _, _ in rows]).float().reshape(-1, 4)
    return Detected(boxes, torch.tensor([score for _, score, _ in rows]), torch.tensor([c for _, _, c in rows]).long())


LEFT, RIGHT = Window(0, 0, 100, 100), Window(75, 0, 100, 100)  # of an image of 175 x 175
BELOW, ACROSS = Window(0, 75, 100, 100), Window(75, 75, 100, 100)
MERGED: dict[str, tuple[dict[Window, list[Any]], list[Any]]] = {
    "nothing": ({LEFT: [], RIGHT: []}, []),
    "one object in one window": ({LEFT: [([10, 10, 30, 30], 0.9, 0)], RIGHT: []}, [([10, 10, 30, 30], 0.9, 0)]),
    "seen whole twice: the better stays": (
        {LEFT: [([80, 10, 95, 30], 0.6, 0)], RIGHT: [([80, 11, 94, 30], 0.9, 0)]},
        [([80, 11, 94, 30], 0.9, 0)],
    ),
    "whole here, cut there: the whole stays, though worse": (
        {LEFT: [([60, 10, 100, 50], 0.9, 0)], RIGHT: [([80, 10, 130, 50], 0.6, 0)]},
        [([80, 10, 130, 50], 0.6, 0)],
    ),
    "cut to a sliver": (
        {LEFT: [([20, 10, 90, 50], 0.5, 0)], RIGHT: [([75, 14, 90, 46], 0.9, 0)]},
        [([20, 10, 90, 50], 0.5, 0)],
    ),
    "a cut part that agrees with nothing, but lies inside": (
        {LEFT: [([10, 10, 92, 90], 0.5, 0)], RIGHT: [([75, 20, 94, 40], 0.9, 0)]},
        [([10, 10, 92, 90], 0.5, 0)],
    ),
    "a whole small one in front of a large one": (
        {LEFT: [([10, 10, 92, 90], 0.5, 0)], RIGHT: [([79, 20, 91, 40], 0.9, 0)]},
        [([79, 20, 91, 40], 0.9, 0), ([10, 10, 92, 90], 0.5, 0)],
    ),
    "cut by both: parts of one": (
        {LEFT: [([40, 10, 100, 50], 0.6, 0)], RIGHT: [([75, 10, 140, 52], 0.9, 0)]},
        [([40, 10, 140, 52], 0.9, 0)],
    ),
    "cut by four": (
        {
            LEFT: [([40, 40, 99, 100], 0.5, 0)],
            RIGHT: [([75, 41, 150, 100], 0.6, 0)],
            BELOW: [([41, 75, 100, 150], 0.7, 0)],
            ACROSS: [([76, 75, 149, 151], 0.8, 0)],
        },
        [([40, 40, 150, 151], 0.8, 0)],
    ),
    "cut by both, of two classes": (
        {LEFT: [([40, 10, 100, 50], 0.6, 0)], RIGHT: [([75, 10, 140, 50], 0.9, 1)]},
        [([75, 10, 140, 50], 0.9, 1), ([40, 10, 100, 50], 0.6, 0)],
    ),
    "cut, but not where the other goes on": (
        {LEFT: [([40, 10, 100, 30], 0.6, 0)], RIGHT: [([75, 50, 140, 70], 0.9, 0)]},
        [([75, 50, 140, 70], 0.9, 0), ([40, 10, 100, 30], 0.6, 0)],
    ),
    "a part whose rest nobody sees": (
        {LEFT: [([40, 10, 100, 30], 0.6, 0)], RIGHT: []},
        [([40, 10, 100, 30], 0.6, 0)],
    ),
    "the border of the image cuts nothing": (
        {LEFT: [([0, 0, 90, 90], 0.6, 0)], RIGHT: [([75, 0, 95, 90], 0.9, 0)]},
        [([0, 0, 90, 90], 0.6, 0)],
    ),
    "two that one window tells apart": (
        {LEFT: [([40, 10, 100, 50], 0.6, 0), ([50, 20, 100, 44], 0.5, 0)], RIGHT: [([75, 10, 140, 50], 0.9, 0)]},
        [([40, 10, 140, 50], 0.9, 0), ([50, 20, 100, 44], 0.5, 0)],
    ),
}


@pytest.mark.parametrize(("seen", "expected"), MERGED.values(), ids=MERGED)
def test_merged(seen: dict[Window, list[Any]], expected: list[Any]) -> None:
    found = merge([(window, detected(*rows)) for window, rows in seen.items()], (175, 175))
    wanted = detected(*expected)
    assert torch.equal(found.boxes, wanted.boxes)
    assert torch.allclose(found.scores, wanted.scores)
    assert torch.equal(found.labels, wanted.labels)


def test_the_detections_given_stay_as_they_were() -> None:
    seen = [(LEFT, detected(([40, 10, 100, 50], 0.6, 0))), (RIGHT, detected(([75, 10, 140, 52], 0.9, 0)))]
    merge(seen, (175, 175))
    assert seen[0][1].boxes.tolist() == [[40, 10, 100, 50]]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[tuple[int, int], int, torch.Tensor, torch.Tensor]:
    """An image in cells, at most one object of any size in each: none touches another."""
    cell, down, across = draw(st.integers(60, 200)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    boxes, labels = [], []
    for row, column in itertools.product(range(down), range(across)):
        if draw(st.booleans()):
            x, y = draw(st.integers(1, cell - 15)), draw(st.integers(1, cell - 15))
            w, h = draw(st.integers(8, cell - x - 1)), draw(st.integers(8, cell - y - 1))
            boxes.append([column * cell + x, row * cell + y, column * cell + x + w, row * cell + y + h])
            labels.append(draw(st.integers(0, 1)))
    tile = draw(st.integers(40, 300))
    return (down * cell, across * cell), tile, torch.tensor(boxes).float().reshape(-1, 4), torch.tensor(labels).long()


@settings(max_examples=150, deadline=None)
@given(worlds(), st.integers(0, 2**32 - 1))
def test_objects_of_any_size_seen_in_parts_are_found_once(world: Any, seed: int) -> None:
    size, tile, boxes, labels = world
    generator = torch.Generator().manual_seed(seed)
    seen = []
    for window in windows(size, tile):
        low = torch.tensor((window.x, window.y)).float()
        high = low + torch.tensor((window.width, window.height))
        parts = torch.cat((boxes[:, :2].maximum(low), boxes[:, 2:].minimum(high)), dim=1)
        visible = (parts[:, 2:] > parts[:, :2]).all(1)
        scores = torch.rand(int(visible.sum()), generator=generator)
        seen.append((window, Detected(parts[visible], scores, labels[visible])))
    found = merge(seen, size)
    assert sorted(found.boxes.tolist()) == sorted(boxes.tolist())
    assert (found.scores.diff() <= 0).all()
