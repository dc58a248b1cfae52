from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bombo.data.augment import Augment, boxes_in_view
from bombo.data.view import Fit, View

IMAGE, SIZE = (60, 100), (64, 64)


def draw(augment: Augment, image: tuple[int, int] = IMAGE, count: int = 1500) -> list[View]:
    torch.manual_seed(0)
    return [augment.view(image, SIZE) for _ in range(count)]


def sides_shown(view: View) -> tuple[float, float]:
    """Width and height of the window, in source pixels, measured from the view's scale."""
    (_, _, width, height), (_, _, target_width, target_height) = view.source, view.target
    return view.size[1] * width / target_width, view.size[0] * height / target_height


@pytest.mark.parametrize("fit", ["squash", "letterbox"])
def test_shares(fit: Fit) -> None:
    whole = View.whole(IMAGE, SIZE, fit)
    seen = draw(Augment(fit, view_probability=0.8))
    assert np.mean([view.flip for view in seen]) == pytest.approx(0.5, abs=0.05)
    assert np.mean([replace(view, flip=False) == whole for view in seen]) == pytest.approx(0.2, abs=0.05)
    assert {view.flip for view in draw(Augment(fit, flip_probability=0), count=50)} == {False}
    assert {view.flip for view in draw(Augment(fit, flip_probability=1), count=50)} == {True}
    assert {*draw(Augment(fit, view_probability=0, flip_probability=0), count=50)} == {whole}


@pytest.mark.parametrize(
    ("fit", "full"), [("squash", (300, 200)), ("letterbox", (300, 300))], ids=["squash", "letterbox"]
)
def test_zoom_and_aspect_fill_their_ranges(fit: Fit, full: tuple[int, int]) -> None:
    seen = draw(Augment(fit, scale=(0.5, 2.0), aspect=1.5, view_probability=1), image=(200, 300))
    shown = np.array([sides_shown(view) for view in seen]) / full
    zoom, stretch = 1 / np.sqrt(shown.prod(1)), shown[:, 0] / shown[:, 1]
    for found, low, high in ((zoom, 0.5, 2.0), (stretch, 1 / 1.5, 1.5)):
        assert found.min() == pytest.approx(low, rel=0.06)  # windows are rounded to whole pixels
        assert found.max() == pytest.approx(high, rel=0.06)
        assert np.log(found).mean() == pytest.approx(0, abs=0.05)  # in and out, wide and tall alike


@pytest.mark.parametrize("fit", ["squash", "letterbox"])
def test_a_crop_lies_in_the_image_and_an_expanded_image_in_the_input(fit: Fit) -> None:
    for view in draw(Augment(fit, view_probability=1), count=300):
        width, height = sides_shown(view)
        for shown, full, part, start, side in (
            (width, 100, view.source[2], view.target[0], view.target[2]),
            (height, 60, view.source[3], view.target[1], view.target[3]),
        ):
            if shown < full - 2:
                assert (start, side) == (0, 64)
            elif shown > full + 2:
                assert part == full
                assert start + side <= 64


def test_places_are_spread() -> None:
    crops = [view.source for view in draw(Augment(scale=(2, 2), aspect=1, view_probability=1))]
    left, top = np.array(crops)[:, :2].T
    assert (left.min(), left.max(), top.min(), top.max()) == (0, 49, 0, 29)  # half the image has so many places
    assert left.mean() == pytest.approx(24.5, abs=1.5)
    right = [view.target[0] + view.target[2] for view in draw(Augment(scale=(0.5, 0.5), aspect=1, view_probability=1))]
    assert (min(right), max(right)) == (32, 64)


@pytest.mark.parametrize("fit", ["squash", "letterbox"])
@pytest.mark.parametrize("image", [(1, 1), (1, 50), (50, 1), (3, 150)])
def test_tiny_and_extreme_images(fit: Fit, image: tuple[int, int]) -> None:
    pixels = torch.zeros(*image, 3, dtype=torch.uint8).permute(2, 0, 1)
    for view in draw(Augment(fit, view_probability=0.9), image, count=60):
        assert view.image(pixels).shape == (3, *SIZE)
        assert view.mask(pixels[0]).shape == SIZE


def test_the_global_seed_decides() -> None:
    augment, pixels = Augment(), torch.arange(3 * 60, dtype=torch.uint8).reshape(3, 6, 10)

    def once() -> tuple[View, Tensor]:
        torch.manual_seed(7)
        return augment.view(IMAGE, SIZE), augment.recolour(pixels)

    (first, bright), (again, as_bright) = once(), once()
    assert first == again
    assert torch.equal(bright, as_bright)
    assert len({*draw(augment, count=20)}) > 10


def test_colour_jitter() -> None:
    torch.manual_seed(0)
    pixels = torch.tensor((180, 60, 40), dtype=torch.uint8)[:, None, None].repeat(1, 4, 5)
    assert Augment(colour=0).recolour(pixels) is pixels
    seen = torch.stack([Augment().recolour(pixels)[:, 0, 0] for _ in range(200)]).int()
    assert seen.float().std(0).min() > 5
    assert (seen[:, 0] > seen[:, 1:].amax(1) + 20).all()  # red stays red: channels are not exchanged
    strong = Augment(colour=2).recolour(pixels)
    assert (strong.dtype, strong.shape) == (torch.uint8, pixels.shape)


CROP = View.window((100, 100), (20, 20, 40, 40), (80, 80))  # twice as large


@pytest.mark.parametrize(
    ("box", "seen", "target"),
    [
        ((30, 30, 50, 50), [20, 20, 60, 60], True),
        ((20, 20, 60, 60), [0, 0, 80, 80], True),
        ((0, 30, 40, 50), [0, 20, 40, 60], True),
        ((13, 30, 23, 50), [0, 20, 6, 60], True),
        ((12, 30, 22, 50), [0, 20, 4, 60], False),
        ((0, 0, 100, 100), [0, 0, 80, 80], False),
        ((59.8, 30, 60, 50), [79.6, 20, 80, 60], False),
        ((59.5, 30, 60, 50), [79, 20, 80, 60], True),
        ((0, 0, 20, 100), None, None),
        ((60, 0, 100, 100), None, None),
        ((70, 70, 80, 80), None, None),
    ],
    ids=[
        "inside",
        "all of it",
        "half",
        "exactly 30 %",
        "20 %: a region",
        "16 %, though it fills the view: a region",
        "thinner than a pixel: a region",
        "one pixel",
        "touches the left edge",
        "touches the right edge",
        "outside",
    ],
)
def test_boxes_in_view(box: tuple[float, ...], seen: list[float] | None, target: bool | None) -> None:
    boxes, kept, targets = boxes_in_view(CROP, torch.tensor([box], dtype=torch.float32), 0.3)
    assert kept.tolist() == ([] if seen is None else [0])
    assert targets.tolist() == ([] if target is None else [target])
    torch.testing.assert_close(boxes, torch.tensor([seen] if seen else []).float().reshape(-1, 4), atol=1e-4, rtol=0)


def test_boxes_do_not_reach_into_the_padding() -> None:
    view = replace(View.window((10, 10), (-10, 0, 20, 10), (10, 20)), flip=True)
    boxes, kept, targets = boxes_in_view(view, torch.tensor([[-5.0, 2, 5, 8]]), 0.3)  # half of it outside the image
    assert (boxes.tolist(), kept.tolist(), targets.tolist()) == ([[5, 2, 10, 8]], [0], [True])


def test_no_boxes() -> None:
    boxes, kept, targets = boxes_in_view(CROP, torch.zeros(0, 4), 0.3)
    assert (boxes.shape, kept.shape, targets.shape) == ((0, 4), (0,), (0,))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.sampled_from(["squash", "letterbox"]))
def test_whatever_is_visible_is_kept(seed: int, count: int, fit: Fit) -> None:
    torch.manual_seed(seed)
    corners = torch.rand(count, 2, 2) * torch.tensor((100.0, 60.0))
    boxes = torch.cat((corners.amin(1), corners.amax(1)), 1)
    view = Augment(fit, view_probability=1).view(IMAGE, SIZE)
    moved, kept, targets = boxes_in_view(view, boxes, 0.3)
    assert len(moved) == len(kept) == len(targets)
    x, y, width, height = view.source
    left, top = boxes[:, :2].maximum(torch.tensor((x, y))).T
    right, bottom = boxes[:, 2:].minimum(torch.tensor((x + width, y + height))).T
    overlap = torch.minimum(right - left, bottom - top)
    assert {*kept.tolist()} >= {*(overlap > 1e-3).nonzero()[:, 0].tolist()}  # as target or as region, never lost
    assert {*kept.tolist()} <= {*(overlap > -1e-3).nonzero()[:, 0].tolist()}
    seen = (right - left) * (bottom - top) / (boxes[:, 2:] - boxes[:, :2]).prod(1)
    assert (seen[kept][targets] > 0.3 - 1e-3).all()
    wide = ((moved[:, 2:] - moved[:, :2]) > 1.001).all(1)
    assert targets[wide & (seen[kept] > 0.3 + 1e-3)].all()
