from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bombo.data.label_space import ANY_CLASS
from bombo.engine.colours import class_colours, luminance, mask_palette
from bombo.engine.drawing import draw, side_by_side
from bombo.engine.placing import place_labels

NO_BOXES = np.zeros((0, 4)), np.zeros(0, dtype=np.int64)


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 128, dtype=np.uint8)


def test_class_colours_are_distinct_and_never_change() -> None:
    every = class_colours(254)
    assert every.shape == (254, 3)
    assert every.dtype == np.uint8
    assert len(np.unique(every, axis=0)) == 254
    assert np.array_equal(class_colours(7), every[:7])
    assert every[:6].tolist() == [
        [38, 132, 255],
        [255, 112, 41],
        [255, 214, 0],
        [0, 240, 255],
        [210, 30, 165],
        [45, 180, 135],
    ]
    every[:] = 0
    assert class_colours(1).any()  # a copy: nobody can spoil the colours of everybody


@pytest.mark.parametrize("missing", ["none", "red", "green"])
def test_first_colours_can_be_told_apart(missing: str) -> None:
    # oracle: dichromats confuse colours that differ along one line only; Viénot, Brettel, Mollon 1999 as a second model
    to_lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
    drop = {
        "none": np.eye(3),
        "red": np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]]),
        "green": np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]]),
    }[missing]
    light = (class_colours(8) / 255) ** 2.2
    seen = np.clip(light @ (np.linalg.inv(to_lms) @ drop @ to_lms).T, 0, 1) ** (1 / 2.2)
    distance = np.linalg.norm(seen[:, None] - seen[None], axis=2) + np.eye(8)
    assert distance.min() > 0.15  # black to white is 1.73


def test_letters_contrast_with_every_class_colour() -> None:
    for colour in class_colours(254):
        shade = float(luminance(colour))
        text = 0.0 if shade > 0.179 else 1.0
        assert (max(shade, text) + 0.05) / (min(shade, text) + 0.05) >= 4.5  # WCAG 2, level AA


def test_luminance_of_known_colours() -> None:
    known = luminance(np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [128, 128, 128]]))
    assert known == pytest.approx([0, 1, 0.2126, 0.21586], abs=1e-4)


def test_mask_palette() -> None:
    palette = mask_palette(2)
    assert palette[0].tolist() == [0, 0, 0]
    assert np.array_equal(palette[1:3], class_colours(2))
    assert palette[3].tolist() == [128, 128, 128]
    assert palette[255].tolist() == [224, 224, 192]
    assert mask_palette(254)[254].tolist() == class_colours(254)[253].tolist()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((64, 64), (512, 512)),
        ((1, 1), (480, 480)),
        ((479, 481), (962, 958)),
        ((480, 480), (480, 480)),
        ((900, 1200), (1200, 900)),
    ],
    ids=["tiny", "one pixel", "just too small", "just large enough", "large"],
)
def test_small_images_grow_by_a_whole_factor(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert draw(grey(*size), *NO_BOXES, None, None, ("cat",)).size == expected


def test_frame_lies_on_the_edges_of_the_box() -> None:
    picture = np.asarray(draw(grey(600, 600), np.array([[100, 200, 400, 500]]), np.array([0]), None, None, ("cat",)))
    blue = np.all(picture == class_colours(1)[0], axis=2)
    assert blue[200, 150:350].all()  # first row inside the upper edge
    assert blue[499, 150:350].all()  # last row inside the lower edge
    assert blue[250:450, 100].all()
    assert blue[250:450, 399].all()
    assert not blue[500:].any()
    assert not blue[:, 400:].any()
    assert np.all(picture[250:450, 150:350] == 128)  # nothing inside


def test_enlarged_box_fits_the_enlarged_pixels() -> None:
    picture = np.asarray(draw(grey(64, 64), np.array([[16, 16, 48, 48]]), np.array([0]), None, None, ("cat",)))
    blue = np.all(picture == class_colours(1)[0], axis=2)
    assert np.flatnonzero(blue[256])[0] == 16 * 8
    assert np.flatnonzero(blue[256])[-1] == 48 * 8 - 1


def test_mask_is_tinted_inside_and_strong_at_its_border() -> None:
    mask = np.zeros((600, 600), dtype=np.uint8)
    mask[200:400, 200:400] = 2
    picture = np.asarray(draw(grey(600, 600), *NO_BOXES, None, mask, ("cat", "dog"))).astype(int)
    colour = class_colours(2)[1].astype(int)
    away = np.abs(picture - colour).sum(axis=2)
    assert np.all(picture[mask == 0] == 128)  # background keeps its pixels
    assert away[200, 300] < away[300, 300] < away[100, 100]
    assert picture[300, 300].tolist() == pytest.approx((128 + (colour - 128) * 90 / 255).tolist(), abs=1.5)


def test_void_is_hatched_in_grey() -> None:
    picture = np.asarray(draw(grey(600, 600), *NO_BOXES, None, np.full((600, 600), 255, np.uint8), ("cat",)))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 2
    assert np.all(picture == picture[..., :1])


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 600, 600),
        (-50, -50, 700, 700),
        (0, 0, 5, 5),
        (595, 595, 600, 600),
        (300, 300, 300, 300),
        (599, 0, 600, 600),
    ],
    ids=["whole image", "beyond the image", "first corner", "last corner", "empty", "sliver"],
)
def test_every_box_is_seen(box: tuple[int, ...]) -> None:
    picture = np.asarray(draw(grey(600, 600), np.array([box]), np.array([0]), np.array([0.5]), None, ("cat",)))
    assert np.all(picture == class_colours(1)[0], axis=2).sum() > 300  # at the least its label


def test_region_of_any_class_is_grey() -> None:
    picture = np.asarray(
        draw(grey(600, 600), np.array([[100, 100, 400, 400]]), np.array([ANY_CLASS]), None, None, ("cat",))
    )
    assert np.all(picture[399, 200] == 150)


def test_scores_are_written_only_where_there_are_scores() -> None:
    box, label = np.array([[100, 100, 400, 400]]), np.array([0])
    widths = [
        np.all(np.asarray(draw(grey(600, 600), box, label, scores, None, ("cat",)))[:99] == class_colours(1)[0], axis=2)
        .any(axis=0)
        .sum()
        for scores in (None, np.array([0.5]))
    ]
    assert widths[1] > widths[0] + 10


def test_the_image_is_not_changed() -> None:
    image = grey(500, 500)
    draw(image, np.array([[10, 10, 100, 100]]), np.array([0]), None, np.ones((500, 500), np.uint8), ("cat",))
    assert np.all(image == 128)


corner = st.integers(0, 400)
some_boxes = st.lists(st.tuples(corner, corner, st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=15)


@settings(max_examples=40, deadline=None)
@given(some_boxes)
def test_labels_stay_inside(rows: list[tuple[int, ...]]) -> None:
    boxes = np.array([(x, y, min(400, x + w), min(400, y + h)) for x, y, w, h in rows])
    places = place_labels(boxes, np.tile((60, 15), (len(boxes), 1)), (401, 401))
    assert places.shape == (len(boxes), 4)
    assert np.all(places[:, :2] >= 0)
    assert np.all(places[:, 2:] <= 401)
    assert np.all(places[:, 2:] - places[:, :2] == (60, 15))


@pytest.mark.parametrize(
    "boxes",
    [
        [(100, 100, 200, 200)] * 8,
        [(0, 0, 400, 400)] * 8,
        [(x, 200, x + 10, 210) for x in range(100, 300, 20)],
        [(380, 380, 399, 399)] * 6,
    ],
    ids=["same box", "whole picture", "a row of small ones", "all in a corner"],
)
def test_labels_do_not_hide_each_other(boxes: list[tuple[int, ...]]) -> None:
    places = place_labels(np.array(boxes), np.tile((60, 15), (len(boxes), 1)), (400, 400))
    taken = np.zeros((400, 400), dtype=int)
    for x1, y1, x2, y2 in places:
        taken[y1:y2, x1:x2] += 1
    assert taken.max() == 1


def test_a_lone_label_sits_on_its_box() -> None:
    assert place_labels(np.array([[50, 60, 90, 99]]), np.array([[30, 10]]), (100, 100)).tolist() == [[50, 50, 80, 60]]


def test_label_wider_than_the_picture_starts_at_its_edge() -> None:
    assert place_labels(np.array([[5, 5, 9, 9]]), np.array([[30, 10]]), (20, 40))[0, 0] == 0


def test_side_by_side() -> None:
    panels = [Image.new("RGB", (200, 100), "red"), Image.new("L", (50, 50), 0), Image.new("RGB", (10, 400), "blue")]
    row = side_by_side(panels, ["image", "a caption that is much longer than its picture", ""])
    pixels = np.asarray(row)
    assert np.all(pixels[0] == 255)
    assert np.all(pixels[:, 0] == 255)
    assert np.all(pixels == (255, 0, 0), axis=2).sum() == 800 * 400  # 200 × 100, four times as tall
    assert np.all(pixels == (0, 0, 255), axis=2).sum() == 10 * 400


@pytest.mark.parametrize(("pictures", "captions"), [(0, 0), (2, 1)], ids=["none", "a caption is missing"])
def test_side_by_side_needs_a_caption_for_each(pictures: int, captions: int) -> None:
    with pytest.raises(ValueError, match="captions"):
        side_by_side([Image.new("RGB", (9, 9))] * pictures, ["x"] * captions)
