"""What is known of one image: as paths and parsed annotation (`Record`), and decoded (`Sample`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bombo.data.masks import Outline
from bombo.errors import DataError


class MaskAnnotation(Protocol):
    """A semantic mask that is decoded when it is needed, never earlier."""

    def load(self, size: tuple[int, int]) -> np.ndarray:
        """Decodes the mask.

        Args:
            size: (height, width) of the image as shown, EXIF orientation applied.

        Returns:
            (H, W) uint8 in the values of the label space: 0 background, class index + 1, 255 void.

        Raises:
            DataError: The file is missing, unreadable, of another size, or holds values that are no class.
        """
        ...


@dataclass(frozen=True)
class BoxAnnotation:
    """The boxes of one image. Zero boxes means: annotated, and there is nothing.

    Args:
        boxes: (N, 4) float32, xyxy in pixels of the image as shown; edges, so that width = x2 - x1.
        labels: (N,) int64 class index, or `ANY_CLASS` for a region no class may treat as negative.
        difficult: (N,) bool, VOC's flag; never counted in evaluation.
        crowd: (N,) bool, COCO's iscrowd: a region with several objects.
        areas: (N,) float32 object area in pixels, as COCO's size classes use it; box area where none is known.
        outlines: N outlines, None for an object without; empty where the source was read without its masks.
        cut: How many boxes reached outside their image and were cut to it.
        left_out: How many were of stuff or of no class, with no outline that a mask shows.
    """

    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    outlines: tuple[Outline | None, ...] = ()
    cut: int = 0
    left_out: int = 0

    @classmethod
    def build(
        cls,
        boxes: list[tuple[float, float, float, float]],
        labels: list[int],
        *,
        difficult: list[bool] | None = None,
        crowd: list[bool] | None = None,
        areas: list[float] | None = None,
        outlines: list[Outline | None] | None = None,
        cut: int = 0,
        left_out: int = 0,
    ) -> BoxAnnotation:
        """Makes the arrays from lists; flags default to False and areas to the boxes' areas."""
        array = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
        box_areas = (array[:, 2] - array[:, 0]) * (array[:, 3] - array[:, 1])
        return cls(
            array,
            np.asarray(labels, dtype=np.int64),
            np.asarray(difficult if difficult is not None else [False] * len(array), dtype=bool),
            np.asarray(crowd if crowd is not None else [False] * len(array), dtype=bool),
            np.asarray(areas, dtype=np.float32) if areas is not None else box_areas,
            tuple(outlines or ()),
            cut,
            left_out,
        )

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True)
class Record:
    """One image on disk and what was annotated on it; cheap, made once for the whole data set.

    Args:
        image: Path of the image file.
        boxes: None = not annotated for detection.
        mask: None = not annotated for segmentation.
        name: Short unique name for messages and output files.
        size: (height, width) the annotation declares, None if it does not say; checked when the image is read.
        where: File (and line or id) of the annotation, for messages.
        entry: How a list file of its source names the image.
        labelled: Whether each class of the label space was looked for; None = all were.
    """

    image: Path
    boxes: BoxAnnotation | None
    mask: MaskAnnotation | None
    name: str
    size: tuple[int, int] | None = None
    where: str = ""
    entry: str = ""
    labelled: tuple[bool, ...] | None = None

    @property
    def kind(self) -> str:
        """One of `boxes`, `masks`, `both`, `none`."""
        return {(True, True): "both", (True, False): "boxes", (False, True): "masks", (False, False): "none"}[
            self.boxes is not None, self.mask is not None
        ]


@dataclass(frozen=True)
class Sample:
    """One decoded image with what is known of it.

    Args:
        image: (3, H, W) uint8.
        boxes: (N, 4) float32 xyxy pixels, or None: not annotated for detection.
        labels: (N,) int64, None exactly when boxes is.
        is_target: (N,) bool; False rows are regions: they are no detection target but never count as negative, and
            they stay in the candidate sets (crowds, boxes a crop cut down to a sliver, padding).
        mask: (H, W) uint8, or None: not annotated for segmentation.
        labelled: (C,) bool, whether each class was looked for, or None: all were.

    Raises:
        ValueError: Shapes disagree.
    """

    image: Tensor
    boxes: Tensor | None
    labels: Tensor | None
    is_target: Tensor | None
    mask: Tensor | None
    labelled: Tensor | None = None

    def __post_init__(self) -> None:
        if (self.boxes is None) != (self.labels is None) or (self.boxes is None) != (self.is_target is None):
            raise ValueError("boxes, labels and is_target are all given or all None")
        if self.boxes is not None and not len(self.boxes) == len(self.labels) == len(self.is_target):  # type: ignore[arg-type]
            raise ValueError("boxes, labels and is_target differ in length")
        if self.mask is not None and self.mask.shape != self.image.shape[-2:]:
            raise ValueError(f"mask {tuple(self.mask.shape)} does not fit image {tuple(self.image.shape[-2:])}")
        if self.mask is not None and self.mask.dtype != torch.uint8:
            raise ValueError(f"mask is {self.mask.dtype}, expected uint8")


@dataclass
class Problems:
    """Collects the errors of single files, so that one run names them all instead of the first only."""

    errors: list[DataError] = field(default_factory=list)

    def add(self, error: DataError) -> None:
        """Notes one file that could not be used."""
        self.errors.append(error)

    def raise_unless(self, skip_bad: bool, total: int) -> None:
        """Raises for the collected errors.

        Raises:
            DataError: There are errors and `skip_bad` is False, or nothing is left without the bad files.
        """
        if not self.errors or (skip_bad and len(self.errors) < total):
            return
        first = self.errors[0]
        count = f"{len(self.errors):,} of {total:,} images cannot be used"
        more = (
            ""
            if len(self.errors) == 1
            else "\n  also: " + "\n        ".join(f"{error.where}: {error.message}" for error in self.errors[1:4])
        )
        fix = first.fix or "repair the file"
        raise DataError(
            f"{first.message}. {count}.{more}",
            where=first.where,
            fix=f"{fix}; or run with --skip-bad (bad files are then left out and listed in the run's folder)",
        )
