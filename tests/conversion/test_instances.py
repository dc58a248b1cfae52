from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bombo.conversion.annotated import AnnotatedImage, AnnotatedObject
from bombo.conversion.instances import outlined, owners
from bombo.data.scenes import make_scene


def picture(*rows: str) -> np.ndarray:
    return np.array([[0 if c == "." else 255 if c == "#" else int(c) for c in row] for row in rows], np.uint8)


ROWS = {
    "one box takes its component whole, also what sticks out of it": (
        picture("11111.", "......"),
        [(0, 0, 3, 1, 0)],
        picture("11111.", "......"),
        0,
    ),
    "components go to their own boxes, though another box holds them": (
        picture("1...11", "1....1", "111111"),
        [(0, 0, 6, 3, 0)],
        picture("1...11", "1....1", "111111"),
        0,
    ),
    "a small component in the rectangle of a large one": (
        picture("1.....", "1.....", "1...11", "1...11", "1.....", "111111"),
        [(0, 0, 6, 6, 0), (4, 2, 6, 4, 0)],
        picture("1.....", "1.....", "1...22", "1...22", "1.....", "111111"),
        0,
    ),
    "touching objects are cut": (
        picture("111111", "111111"),
        [(0, 0, 3, 2, 0), (3, 0, 6, 2, 0)],
        picture("111222", "111222"),
        2,
    ),
    "classes do not mix": (picture("1122", "...."), [(0, 0, 4, 1, 1), (0, 0, 4, 1, 0)], picture("2211", "...."), 0),
    "what no box of the class touches is nobody's": (
        picture("1...", "...1"),
        [(0, 0, 1, 1, 0)],
        picture("1...", "...."),
        0,
    ),
    "an object in two parts": (
        picture(
            "11..11",
        ),
        [(0, 0, 6, 1, 0)],
        picture(
            "11..11",
        ),
        0,
    ),
}


@pytest.mark.parametrize(("mask", "boxes", "expected", "shared"), ROWS.values(), ids=ROWS)
def test_owners(mask: np.ndarray, boxes: list[tuple[int, ...]], expected: np.ndarray, shared: int) -> None:
    table = np.array(boxes)
    found = owners(mask, table[:, :4].astype(float), table[:, 4])
    assert np.array_equal(found.rows, expected)
    assert len(found.shared) == shared


def test_the_objects_of_scenes_are_found_again() -> None:
    right = total = 0
    for seed in range(12):
        scene = make_scene(seed, 64)
        rows = owners(scene.mask, scene.boxes, scene.labels).rows
        things = scene.instances > 0
        assert np.array_equal(rows > 0, things)  # every pixel of a thing is in a box of its class
        right, total = right + int((rows == scene.instances)[things].sum()), total + int(things.sum())
    assert right / total > 0.95  # many touch: the rest is a guess


def test_outlines_that_are_known_stay() -> None:
    mask = picture("1111", "1111")
    left = np.zeros((2, 4), bool)
    left[:, :1] = True
    objects = (AnnotatedObject(0, (0, 0, 3, 2), left), AnnotatedObject(0, (1, 0, 4, 2)))
    (known, made), _ = outlined(AnnotatedImage(Path("a.png"), (2, 4), "a", objects, mask))
    assert known.shape is left
    assert np.array_equal(np.asarray(made.shape), ~left)


def test_a_crowd_without_outline_is_the_void_in_its_box() -> None:
    mask = picture("1#.#", "1#..")
    crowd = AnnotatedObject(0, (1, 0, 3, 2), crowd=True)
    (made,), _ = outlined(AnnotatedImage(Path("a.png"), (2, 4), "a", (crowd,), mask))
    assert np.argwhere(np.asarray(made.shape)).tolist() == [[0, 1], [1, 1]]
