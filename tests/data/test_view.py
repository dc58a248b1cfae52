"""One oracle for all geometry: draw rectangles whose boxes are known, look at them through a view, and measure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d, one_hot

from bombo.data.augment import Augment
from bombo.data.label_space import VOID
from bombo.data.view import FILL, Fit, View

fits = st.sampled_from(["squash", "letterbox"])
sides = st.integers(1, 70)
sizes = st.tuples(sides, sides)


@st.composite
def windows(draw: st.DrawFn, inside: bool = False) -> tuple[tuple[int, int], View]:
    """(height, width) of an image, and a view of a window of it."""
    image, size, flip = draw(sizes), draw(sizes), draw(st.booleans())
    window = []
    for side in (image[1], image[0]):
        shown = draw(st.floats(min(1.0, side), side if inside else 3.0 * side))
        low, high = sorted((0.0, side - shown))
        window.append((draw(st.floats(low, high)), shown))
    (x, width), (y, height) = window
    return image, View.window(image, (x, y, width, height), size, flip)


@st.composite
def views(draw: st.DrawFn) -> tuple[tuple[int, int], View]:
    if draw(st.booleans()):
        return draw(windows())
    image, size = draw(sizes), draw(sizes)
    return image, replace(View.whole(image, size, draw(fits)), flip=draw(st.booleans()))


def extent(inside: Tensor) -> list[float]:
    """xyxy edges of the True pixels."""
    rows, columns = inside.any(1).nonzero(), inside.any(0).nonzero()
    return [columns.min().item(), rows.min().item(), columns.max().item() + 1, rows.max().item() + 1]


COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


def draw_scene(rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Red, green and blue rectangles on black, apart from each other: image, boxes and mask (values 1, 2, 3)."""
    height, width = (int(side) for side in rng.integers(24, 200, 2))
    image, mask = np.zeros((3, height, width), np.uint8), np.zeros((height, width), np.uint8)
    cells = rng.permutation(4)[:3]
    boxes = []
    for value, (cell, colour) in enumerate(zip(cells, COLOURS, strict=True), start=1):
        x0, y0, w, h = width // 2 * (cell % 2), height // 2 * (cell // 2), width // 2, height // 2
        x1, x2 = sorted(int(x) for x in x0 + 2 + rng.choice(w - 4, 2, replace=False))
        y1, y2 = sorted(int(y) for y in y0 + 2 + rng.choice(h - 4, 2, replace=False))
        image[:, y1:y2, x1:x2] = np.array(colour)[:, None, None]
        mask[y1:y2, x1:x2] = value
        boxes.append((x1, y1, x2, y2))
    return torch.from_numpy(image), torch.tensor(boxes, dtype=torch.float32), torch.from_numpy(mask)


@pytest.mark.parametrize("fit", ["squash", "letterbox"])
@pytest.mark.parametrize(
    "augment",
    [
        Augment(view_probability=0),
        Augment(scale=(1.0, 3.0), view_probability=1),
        Augment(scale=(0.3, 1.0), view_probability=1),
        Augment(scale=(0.4, 2.5), aspect=3.0, view_probability=1),
    ],
    ids=["whole", "crop", "expand", "stretch"],
)
def test_boxes_mask_and_pixels_agree(fit: Fit, augment: Augment) -> None:
    torch.manual_seed(0)
    rng, measured, flips = np.random.default_rng(0), 0, 0
    for _ in range(60):
        image, boxes, mask = draw_scene(rng)
        size = (int(rng.integers(16, 200)), int(rng.integers(16, 200)))
        view = replace(augment, fit=fit).view(tuple(mask.shape), size)
        flips += view.flip
        x1, y1, x2, y2 = view.visible_rectangle()
        clipped = view.boxes(boxes).clamp(torch.tensor((x1, y1, x1, y1)), torch.tensor((x2, y2, x2, y2)))
        seen, values = view.image(image), view.mask(mask)
        assert seen.shape == (3, *size)
        assert values.shape == size
        for value, (box, colour) in enumerate(zip(clipped, COLOURS, strict=True), start=1):
            if (box[2:] - box[:2]).min() < 3:
                continue  # too small to be measured
            coloured = ((seen >= 128) == (torch.tensor(colour)[:, None, None] > 0)).all(0)
            assert extent(values == value) == pytest.approx(box.tolist(), abs=1)
            assert extent(coloured) == pytest.approx(box.tolist(), abs=1)
            measured += 1
    assert measured > 50  # the oracle has spoken
    assert 15 < flips < 45


@settings(max_examples=150, deadline=None)
@given(views())
def test_padding_is_exactly_what_lies_outside_the_visible_rectangle(case: tuple[tuple[int, int], View]) -> None:
    image, view = case
    x1, y1, x2, y2 = view.visible_rectangle()
    inside = torch.zeros(view.size, dtype=torch.bool)
    inside[y1:y2, x1:x2] = True
    assert inside.any()
    assert torch.equal(view.mask(torch.zeros(image, dtype=torch.uint8)) != VOID, inside)
    shown = view.image(torch.zeros(*image, 3, dtype=torch.uint8).permute(2, 0, 1))  # the layout of decoded images
    assert torch.equal(shown, torch.where(inside, 0, torch.tensor(FILL)[:, None, None]).to(torch.uint8))


@settings(max_examples=150, deadline=None)
@given(views(), st.integers(0, 2**32 - 1))
def test_masks_get_no_new_values(case: tuple[tuple[int, int], View], seed: int) -> None:
    image, view = case
    mask = torch.from_numpy(np.random.default_rng(seed).choice([0, 1, 7, 200], image).astype(np.uint8))
    seen = view.mask(mask)
    assert seen.dtype == torch.uint8
    assert set(seen.unique().tolist()) <= {*mask.unique().tolist(), VOID}


@pytest.mark.parametrize("size", [(12, 18), (7, 30), (1, 1), (5, 3)])
def test_masks_take_the_value_under_the_middle_of_each_pixel(size: tuple[int, int]) -> None:
    mask = torch.arange(60, dtype=torch.uint8).reshape(6, 10)
    rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(size, (6, 10), strict=True))
    assert np.array_equal(View.whole((6, 10), size, "squash").mask(mask), mask[rows][:, columns])


def test_reducing_an_image_averages() -> None:
    stripes = torch.tensor([0, 0, 0, 255], dtype=torch.uint8).repeat(3, 64, 16)  # two neighbours average to 0 or 127
    seen = View.whole((64, 64), (8, 8), "squash").image(stripes)
    assert ((seen > 50) & (seen < 80)).all()


@settings(max_examples=100, deadline=None)
@given(views(), st.integers(0, 2**32 - 1))
def test_flip_mirrors_image_boxes_and_mask_alike(case: tuple[tuple[int, int], View], seed: int) -> None:
    image, view = case
    rng = np.random.default_rng(seed)
    pixels = torch.from_numpy(rng.integers(0, 256, (*image, 3), dtype=np.uint8)).permute(2, 0, 1)
    boxes = torch.from_numpy(rng.uniform(-5, 75, (4, 4)).astype(np.float32))
    plain, flipped = replace(view, flip=False), replace(view, flip=True)
    assert torch.equal(flipped.image(pixels), plain.image(pixels).flip(-1))
    assert torch.equal(flipped.mask(pixels[0]), plain.mask(pixels[0]).flip(-1))
    x1, y1, x2, y2 = plain.boxes(boxes).T
    torch.testing.assert_close(flipped.boxes(boxes), torch.stack((view.size[1] - x2, y1, view.size[1] - x1, y2), 1))
    torch.testing.assert_close(flipped.boxes_to_source(flipped.boxes(boxes)), plain.boxes_to_source(plain.boxes(boxes)))


@settings(max_examples=200, deadline=None)
@given(views(), st.lists(st.tuples(*[st.floats(0, 1)] * 4), max_size=5))
def test_boxes_go_and_come_back(case: tuple[tuple[int, int], View], corners: list[tuple[float, ...]]) -> None:
    _, view = case
    x, y, width, height = view.source
    boxes = torch.tensor(corners).reshape(-1, 4) * torch.tensor((width, height, width, height)) + torch.tensor(
        (x, y) * 2
    )
    torch.testing.assert_close(view.boxes_to_source(view.boxes(boxes)), boxes, atol=1e-3, rtol=1e-4)
    moved = view.boxes(torch.tensor([[x, y, x + width, y + height]], dtype=torch.float32))
    torch.testing.assert_close(moved, torch.tensor([view.visible_rectangle()], dtype=torch.float32), atol=1e-3, rtol=0)


def test_boxes_outside_the_source_are_clipped_on_the_way_back() -> None:
    view = View((10, 20, 30, 40), (5, 5, 60, 80), (90, 70))
    back = view.boxes_to_source(torch.tensor([[-100.0, -100.0, 100.0, 100.0], [5.0, 5.0, 35.0, 45.0]]))
    assert back.tolist() == [[10, 20, 40, 60], [10, 20, 25, 40]]


@pytest.mark.parametrize(
    ("image", "size", "fit", "target"),
    [
        ((50, 100), (64, 64), "squash", (0, 0, 64, 64)),
        ((50, 100), (64, 64), "letterbox", (0, 16, 64, 32)),
        ((100, 50), (64, 64), "letterbox", (16, 0, 32, 64)),
        ((10, 10), (64, 32), "letterbox", (0, 16, 32, 32)),
        ((1, 50), (64, 64), "letterbox", (0, 31, 64, 1)),
        ((1000, 20), (64, 64), "letterbox", (31, 0, 1, 64)),
        ((1000, 1), (64, 64), "letterbox", (31, 0, 1, 64)),
        ((1, 1), (33, 65), "letterbox", (16, 0, 33, 33)),
        ((7, 3), (5, 5), "letterbox", (1, 0, 2, 5)),
    ],
)
def test_whole(image: tuple[int, int], size: tuple[int, int], fit: Fit, target: tuple[int, int, int, int]) -> None:
    assert View.whole(image, size, fit) == View((0, 0, image[1], image[0]), target, size)


@pytest.mark.parametrize(
    ("window", "source", "target"),
    [
        ((0, 0, 100, 60), (0, 0, 100, 60), (0, 0, 50, 30)),
        ((20, 10, 50, 30), (20, 10, 50, 30), (0, 0, 50, 30)),
        ((20.3, 10.7, 50, 30), (20, 10, 51, 31), (0, 0, 50, 30)),
        ((-50, -30, 200, 120), (0, 0, 100, 60), (12, 8, 26, 14)),  # 12.5 and 37.5 round to even
        ((-100, 0, 200, 60), (0, 0, 100, 60), (25, 0, 25, 30)),
        ((50, 30, 100, 60), (50, 30, 50, 30), (0, 0, 25, 15)),
        ((99.9, 0, 100, 60), (99, 0, 1, 60), (0, 0, 1, 30)),
    ],
    ids=["all", "crop", "crop between pixels", "expand", "expand to the left", "beyond a corner", "hardly anything"],
)
def test_window(
    window: tuple[float, float, float, float], source: tuple[int, int, int, int], target: tuple[int, int, int, int]
) -> None:
    assert View.window((60, 100), window, (30, 50)) == View(source, target, (30, 50))


@settings(max_examples=200, deadline=None)
@given(windows())
def test_a_window_stays_in_image_and_input(case: tuple[tuple[int, int], View]) -> None:
    image, view = case
    for (x, y, width, height), (rows, columns) in ((view.source, image), (view.target, view.size)):
        assert 0 <= x < x + width <= columns
        assert 0 <= y < y + height <= rows


@settings(max_examples=200, deadline=None)
@given(windows(inside=True))
def test_a_window_inside_the_image_has_no_padding(case: tuple[tuple[int, int], View]) -> None:
    _, view = case
    assert view.target == (0, 0, view.size[1], view.size[0])


def blocks(rng: np.random.Generator, image: tuple[int, int]) -> Tensor:
    """A mask of values 0 to 3 in blocks of 5 pixels."""
    coarse = rng.integers(0, 4, (image[0] // 5 + 1, image[1] // 5 + 1))
    return torch.from_numpy(np.kron(coarse, np.ones((5, 5), int))[: image[0], : image[1]].astype(np.uint8))


def scores(mask: Tensor) -> Tensor:
    """(4, H, W) one-hot; nothing is said where the mask is void."""
    known = one_hot(torch.where(mask == VOID, 4, mask).long(), 5)[..., :4]
    return known.permute(2, 0, 1).float()


def near_border(mask: Tensor) -> Tensor:
    """Pixels with another value among their eight neighbours."""
    values = mask.float()[None, None]
    return (max_pool2d(values, 3, 1, 1) != -max_pool2d(-values, 3, 1, 1))[0, 0]


ODD_SIZES = [((37, 53), (64, 64)), ((1, 1), (32, 32)), ((1, 50), (64, 64)), ((50, 1), (64, 64)), ((2, 100), (128, 101))]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("fit", ["squash", "letterbox"])
@pytest.mark.parametrize(("image", "size"), ODD_SIZES)
def test_classes_come_back(image: tuple[int, int], size: tuple[int, int], fit: Fit, flip: bool) -> None:
    mask = blocks(np.random.default_rng(1), image)
    view = replace(View.whole(image, size, fit), flip=flip)
    back = view.classes_to_source(scores(view.mask(mask)))
    assert back.dtype == torch.uint8
    assert torch.equal(back.where(~near_border(mask), mask), mask)


@settings(max_examples=60, deadline=None)
@given(sizes, st.tuples(st.integers(0, 120), st.integers(0, 120)), fits, st.booleans(), st.integers(0, 2**32 - 1))
def test_classes_come_back_from_any_larger_input(
    image: tuple[int, int], more: tuple[int, int], fit: Fit, flip: bool, seed: int
) -> None:
    view = replace(View.whole(image, (image[0] + more[0], image[1] + more[1]), fit), flip=flip)
    mask = blocks(np.random.default_rng(seed), image)
    back = view.classes_to_source(scores(view.mask(mask)))
    assert torch.equal(back.where(~near_border(mask), mask), mask)


@pytest.mark.parametrize("fit", ["squash", "letterbox"])
@pytest.mark.parametrize("image", [(1000, 20), (20, 1000), (777, 333)])
def test_classes_of_a_reduced_image_have_its_size(image: tuple[int, int], fit: Fit) -> None:
    view = View.whole(image, (64, 64), fit)
    mask = torch.zeros(image, dtype=torch.uint8)
    mask[image[0] // 2 :] = 2
    back = view.classes_to_source(scores(view.mask(mask)))
    assert back.shape == image
    wrong = (back != mask).any(1).nonzero()
    scale = view.target[3] / image[0]
    assert all(abs(row - image[0] / 2) * scale <= 1 for row in wrong.flatten().tolist())


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("fit", ["squash", "letterbox"])
def test_classes_from_scores_at_a_quarter_of_the_input(fit: Fit, flip: bool) -> None:
    image, size = (90, 160), (64, 64)
    mask = torch.zeros(image, dtype=torch.uint8)
    mask[:, 100:] = 3
    view = replace(View.whole(image, size, fit), flip=flip)
    coarse = interpolate(scores(view.mask(mask))[None], size=(16, 16), mode="area")[0]
    wrong = (view.classes_to_source(coarse) != mask).any(0).nonzero().flatten()
    assert len(wrong) == 0 or (wrong - 100).abs().max() <= 160 / 64 * 4 / 2  # half a cell


@settings(max_examples=40, deadline=None)
@given(sizes, sizes, st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_best_class_is_the_argmax_of_upsampled_scores(
    image: tuple[int, int], size: tuple[int, int], classes: int, seed: int
) -> None:
    logits = torch.randn(classes, *size, generator=torch.Generator().manual_seed(seed))
    expected = interpolate(logits[None], size=image, mode="bilinear", align_corners=False)[0].argmax(0)
    assert torch.equal(View.whole(image, size, "squash").classes_to_source(logits), expected.to(torch.uint8))
