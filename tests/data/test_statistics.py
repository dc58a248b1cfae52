from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bombo.data import statistics as module
from bombo.data.image_io import read_mask_pixels
from bombo.data.label_space import ANY_CLASS, VOID, LabelSpace
from bombo.data.sample import BoxAnnotation, Record
from bombo.data.statistics import statistics
from bombo.errors import DataError

PETS = LabelSpace(("cat", "dog"), ("grass",))


@dataclass(frozen=True)
class Rows:
    """A mask whose rows each have one value."""

    values: tuple[int, ...]

    def load(self, size: tuple[int, int]) -> np.ndarray:
        assert size == (len(self.values), 5)
        return np.repeat(np.array(self.values, np.uint8)[:, None], 5, axis=1)


@dataclass(frozen=True)
class Broken:
    def load(self, size: tuple[int, int]) -> np.ndarray:
        raise DataError("is broken")


@dataclass(frozen=True)
class File:
    path: Path

    def load(self, size: tuple[int, int]) -> np.ndarray:
        return read_mask_pixels(self.path)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6  # masks are loaded at the size that is shown
    Image.new("L", (4, 5)).save(tmp_path / "a.png", exif=exif)
    return tmp_path / "a.png"


def boxes(*labels: int) -> BoxAnnotation:
    return BoxAnnotation.build([(0, 0, 1, 1)] * len(labels), [*labels])


def test_counts(image: Path) -> None:
    records = [
        Record(image, boxes(0, 0, 1), None, "a"),
        Record(image, boxes(), None, "b"),
        Record(image, boxes(0, ANY_CLASS), Rows((0, 1, 1, VOID)), "c"),
        Record(image, None, Rows((0, 0, 3, 3)), "d"),
        Record(image, None, Rows((VOID,) * 4), "e"),
        Record(image, None, Broken(), "f"),
        Record(image, None, None, "g"),
    ]
    found = statistics(records, PETS)
    assert found.images == {"boxes": 2, "masks": 3, "both": 1, "none": 1}
    assert found.boxes.tolist() == [3, 1, 0]
    assert found.images_with_boxes.tolist() == [2, 1, 0]
    assert found.pixel_share == pytest.approx([3 / 7, 2 / 7, 0, 2 / 7])
    assert found.images_with_pixels.tolist() == [1, 0, 1]
    assert (found.masks_read, found.masks) == (3, 4)


@pytest.mark.parametrize("mask", [None, Rows((VOID,) * 4), Broken()], ids=["no masks", "void only", "unreadable"])
def test_nothing_to_count(image: Path, mask: Rows | Broken | None) -> None:
    found = statistics([Record(image, boxes(1), mask, "a")], PETS)
    assert np.isnan(found.pixel_share).all()
    assert len(found.pixel_share) == 4
    assert found.images_with_pixels.tolist() == [0, 0, 0]


def test_no_images() -> None:
    found = statistics([], PETS)
    assert found.images == {"boxes": 0, "masks": 0, "both": 0, "none": 0}
    assert found.boxes.tolist() == [0, 0, 0]


def test_many_masks_are_sampled_evenly(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MASKS_READ", 10)
    records = [Record(image, None, Rows((i % 2 + 1,) * 4) if i < 50 else Rows((3,) * 4), f"{i}") for i in range(101)]
    found = statistics(records, PETS)
    assert (found.masks_read, found.masks) == (10, 101)
    assert found.pixel_share[3] == pytest.approx(0.5, abs=0.1)
    assert statistics(records[:10], PETS).masks_read == 10


def test_warnings_stay_as_they_were(image: Path) -> None:
    # threads that silence warnings one beside the other would leave them silenced for good
    record = Record(image, None, File(image), "a")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = [*warnings.filters]
        statistics([replace(record, name=f"{i}") for i in range(800)], PETS)
        assert [*warnings.filters] == before
