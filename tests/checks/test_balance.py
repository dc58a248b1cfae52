from __future__ import annotations

import numpy as np
import pytest

from bombo.checks.classes import balance
from bombo.data.label_space import LabelSpace
from bombo.data.statistics import Statistics

SPACE = LabelSpace(("cat", "dog"), ("grass",))


def counts(boxes: list[int], with_boxes: list[int], with_pixels: list[int]) -> Statistics:
    kinds = {"boxes": 500, "masks": 400, "both": 0, "none": 0}
    arrays = (np.array(boxes), np.array(with_boxes), np.full(4, 0.25), np.array(with_pixels))
    return Statistics(kinds, *arrays, masks_read=400, masks=400, unlabelled=np.zeros(3, dtype=int))


EVEN = counts([300, 300, 0], [200, 200, 0], [150, 150, 90])
# what train and val hold → code and class of every hit
CASES = {
    "even": (EVEN, EVEN, set()),
    "no val": (EVEN, None, set()),
    "no pixels": (counts([300, 300, 0], [200, 200, 0], [150, 0, 90]), None, {("class-without-pixels", "dog")}),
    "no boxes": (counts([300, 0, 0], [200, 0, 0], [150, 150, 90]), None, {("class-without-boxes", "dog")}),
    "neither": (counts([300, 0, 0], [200, 0, 0], [150, 0, 90]), None, {("class-without-annotation", "dog")}),
    "stuff without pixels": (
        counts([300, 300, 0], [200, 200, 0], [150, 150, 0]), None, {("class-without-annotation", "grass")},
    ),
    "rare": (counts([300, 12, 0], [200, 9, 0], [150, 7, 90]), None, {("class-rare", "dog")}),
    "just not rare": (counts([300, 12, 0], [200, 10, 0], [150, 8, 90]), None, set()),
    "rare in masks alone": (counts([300, 300, 0], [200, 200, 0], [150, 15, 90]), None, {("class-uneven", "dog")}),
    "just not uneven": (counts([300, 300, 0], [200, 200, 0], [150, 16, 90]), None, set()),
    "rare in boxes alone": (counts([300, 9, 0], [200, 9, 0], [150, 150, 90]), None, {("class-uneven", "dog")}),
    "not in val": (EVEN, counts([9, 0, 0], [9, 0, 0], [9, 0, 9]), {("class-not-in-val", "dog")}),
    "only masks in val": (EVEN, counts([0, 0, 0], [0, 0, 0], [9, 9, 9]), set()),
}  # fmt: skip


@pytest.mark.parametrize(("train", "val", "expected"), CASES.values(), ids=CASES)
def test_classes_that_one_kind_of_annotation_knows_little_of(
    train: Statistics, val: Statistics | None, expected: set[tuple[str, str]]
) -> None:
    lists = {"train": train} if val is None else {"train": train, "val": val}
    assert {(hit.defect.code, hit.where) for hit in balance(lists, SPACE)} == expected
