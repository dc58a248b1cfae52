from __future__ import annotations

import numpy as np
import pytest

from bombo.checks.contradictions import contradictions
from bombo.data.label_space import ANY_CLASS, LabelSpace
from bombo.data.sample import BoxAnnotation

SPACE = LabelSpace(("cat", "dog"), ("grass",))
CAT, DOG, GRASS, VOID = 1, 2, 3, 255
Square = tuple[int, int, int, int]
AT, FAR = (10, 10, 30, 30), (50, 50, 70, 70)

# mask: value → square; boxes: label, square → codes in order
CASES: dict[str, tuple[dict[int, Square], list[tuple[int, Square]], list[str]]] = {
    "agree": ({CAT: AT}, [(0, AT)], []),
    "nothing at all": ({}, [], []),
    "box a little small": ({CAT: AT}, [(0, (13, 13, 27, 29))], []),
    "box much too small": ({CAT: AT}, [(0, (10, 10, 22, 22))], ["component-without-box"]),
    "two boxes share a component": ({CAT: AT}, [(0, (10, 10, 20, 30)), (0, (20, 10, 30, 30))], []),
    "another class": ({CAT: AT}, [(1, AT)], ["box-without-pixels", "component-without-box"]),
    "a box too many": ({CAT: AT}, [(0, AT), (1, FAR)], ["box-without-pixels"]),
    "a box too few": ({CAT: AT, DOG: FAR}, [(0, AT)], ["component-without-box"]),
    "small component": ({CAT: AT, DOG: (50, 50, 55, 56)}, [(0, AT)], []),
    "box on void": ({VOID: AT}, [(0, AT)], []),
    "box on a little void": ({VOID: (10, 10, 12, 30)}, [(0, AT)], ["box-without-pixels"]),
    "region of unknown class": ({CAT: AT}, [(ANY_CLASS, AT)], []),
    "stuff has no boxes": ({GRASS: AT}, [], []),
}


@pytest.mark.parametrize(("squares", "listed", "expected"), CASES.values(), ids=CASES)
def test_boxes_and_masks_that_cannot_both_be_right(
    squares: dict[int, Square], listed: list[tuple[int, Square]], expected: list[str]
) -> None:
    mask = np.zeros((100, 100), np.uint8)
    for value, (x1, y1, x2, y2) in squares.items():
        mask[y1:y2, x1:x2] = value
    boxes = BoxAnnotation.build([tuple(map(float, box)) for _, box in listed], [label for label, _ in listed])  # type: ignore[misc]
    assert [hit.defect.code for hit in contradictions("a.jpg", boxes, mask, SPACE)] == expected


def test_what_is_said_names_class_and_place() -> None:
    mask = np.zeros((100, 100), np.uint8)
    mask[10:30, 10:30] = CAT
    boxes = BoxAnnotation.build([(50.2, 50, 70, 99.6)], [1], difficult=[True])
    said = [str(hit) for hit in contradictions("a.jpg", boxes, mask, SPACE)]
    assert said == ["a.jpg: dog (50, 50, 70, 100), marked difficult", "a.jpg: cat, 400 px within (10, 10, 30, 30)"]
