from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from bombo.data.sample import BoxAnnotation, Problems, Record, Sample
from bombo.errors import DataError

IMAGE = torch.zeros(3, 4, 6, dtype=torch.uint8)
BOXES, LABELS, TARGETS = torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64), torch.ones(2, dtype=torch.bool)
MASK = torch.zeros(4, 6, dtype=torch.uint8)


def test_box_annotation_fills_in_flags_and_areas() -> None:
    annotation = BoxAnnotation.build([(1, 2, 4, 6), (0, 0, 0.5, 1)], [3, 0])
    assert annotation.boxes.dtype == annotation.areas.dtype == np.float32
    assert annotation.areas.tolist() == [12, 0.5]
    assert annotation.labels.dtype == np.int64
    assert annotation.difficult.tolist() == annotation.crowd.tolist() == [False, False]
    assert len(annotation) == 2
    given = BoxAnnotation.build([(1, 2, 4, 6)], [3], difficult=[True], crowd=[True], areas=[5.0])
    assert (given.difficult.item(), given.crowd.item(), given.areas.item()) == (True, True, 5.0)


def test_no_boxes_are_an_annotation_too() -> None:
    annotation = BoxAnnotation.build([], [])
    assert annotation.boxes.shape == (0, 4)
    assert [len(annotation.labels), len(annotation.difficult), len(annotation.crowd), len(annotation.areas)] == [0] * 4
    assert Record(Path("a.jpg"), annotation, None, "a").kind == "boxes"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((IMAGE, BOXES, None, None, None), "all given or all None"),
        ((IMAGE, None, LABELS, None, None), "all given or all None"),
        ((IMAGE, BOXES, LABELS, None, None), "all given or all None"),
        ((IMAGE, BOXES, LABELS[:1], TARGETS, None), "differ in length"),
        ((IMAGE, BOXES, LABELS, TARGETS[:1], None), "differ in length"),
        ((IMAGE, None, None, None, MASK.T), "does not fit"),
        ((IMAGE, None, None, None, MASK.long()), "expected uint8"),
    ],
)
def test_inconsistent_samples(given: tuple[torch.Tensor, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sample(*given)


ERRORS = [DataError(f"is broken {i}", where=f"{i}.png", fix="repair it") for i in range(6)]


def test_problems_name_the_first_and_some_more() -> None:
    problems = Problems()
    problems.raise_unless(False, 10)
    for error in ERRORS:
        problems.add(error)
    with pytest.raises(DataError) as caught:
        problems.raise_unless(False, 10)
    text = str(caught.value)
    assert text.startswith("0.png: is broken 0. 6 of 10 images cannot be used.")
    assert "3.png: is broken 3" in text
    assert "4.png" not in text
    assert "fix: repair it; or run with --skip-bad" in text
    problems.raise_unless(True, 10)


def test_nothing_left_is_an_error_even_with_skip_bad() -> None:
    with pytest.raises(DataError, match="1 of 1 images"):
        Problems(ERRORS[:1]).raise_unless(True, 1)


def test_errors_survive_the_way_between_processes() -> None:
    back = pickle.loads(pickle.dumps(ERRORS[0]))
    assert type(back) is DataError
    assert str(back) == str(ERRORS[0]) == "0.png: is broken 0\n  fix: repair it"
