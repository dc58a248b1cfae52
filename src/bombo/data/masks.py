"""Semantic masks that are decoded when they are needed: from files of values or colours, and from object outlines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from bombo.data.image_io import read_mask_pixels
from bombo.data.label_space import BACKGROUND, VOID, LabelSpace
from bombo.errors import DataError

_NO_CLASS = -1
Colour = tuple[int, int, int]


class MaskCodes:
    """What the stored values or colours of mask files mean, as mask values of a label space.

    Value 0 and black are background, 255 is void, unless they are given another name.

    Args:
        space: The label space to map to, by name.
        values: Stored value → name, None if files hold no values.
        colours: RGB colour → name, None if files hold no colours.
        fix: What the user can do about a value or colour that has no name.
        binary: Refuse masks of 0 and 255 only: with one class this is how tools write object masks, and its value 255
            would then silently be void.
    """

    def __init__(
        self,
        space: LabelSpace,
        *,
        values: Mapping[int, str] | None = None,
        colours: Mapping[Colour, str] | None = None,
        fix: str,
        binary: bool = False,
    ) -> None:
        self._fix, self._binary = fix, binary
        self._of_value: np.ndarray | None = None
        self._of_colour: tuple[np.ndarray, np.ndarray] | None = None
        if values is not None:
            self._of_value = np.full(256, _NO_CLASS, np.int16)
            self._of_value[[0, 255]] = BACKGROUND, VOID
            for value, name in values.items():
                self._of_value[value] = space.mask_value(name)
        if colours is not None:
            named = {_pack(np.array(colour)).item(): space.mask_value(name) for colour, name in colours.items()}
            named.setdefault(0, BACKGROUND)
            packed = sorted(named)
            self._of_colour = np.array(packed), np.array([named[colour] for colour in packed], np.int16)

    def translate(self, pixels: np.ndarray, where: str, *, unnamed_is_void: bool = False) -> np.ndarray:
        """Maps stored pixels (H, W) or (H, W, 3) uint8 to the label space's mask values (H, W) uint8.

        Args:
            pixels: As stored.
            where: The file.
            unnamed_is_void: What has no name is void, instead of being an error.

        Raises:
            DataError: The file holds values where colours are expected or the reverse, or something without a name.
        """
        mapped = self._translate_values(pixels, where) if pixels.ndim == 2 else self._translate_colours(pixels, where)
        unknown = mapped == _NO_CLASS
        if unnamed_is_void:
            mapped = np.where(unknown, VOID, mapped)
        elif unknown.any():
            stored = np.unique(pixels[unknown], axis=0)
            shown = ", ".join(str(value) for value in stored[:4].tolist()) + (", ..." if len(stored) > 4 else "")
            kind = "value" if pixels.ndim == 2 else "colour"
            raise DataError(f"{kind} {shown} ({unknown.sum():,} px) is no class", where=where, fix=self._fix)
        return mapped.astype(np.uint8)

    def expects(self, pixels: np.ndarray) -> bool:
        """Whether files hold what these pixels are: values (H, W), or colours (H, W, 3)."""
        return (self._of_value if pixels.ndim == 2 else self._of_colour) is not None

    def unnamed(self, pixels: np.ndarray) -> dict[str, int]:
        """Stored values or colours that have no name → their number of pixels, the most frequent first.

        Args:
            pixels: (H, W) or (H, W, 3) uint8, as `expects` says.
        """
        named = self._of_value[pixels] if pixels.ndim == 2 and self._of_value is not None else None
        mapped = self._translate_colours(pixels, "") if named is None else named
        stored, counts = np.unique(pixels[mapped == _NO_CLASS], axis=0, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return {str(value): int(count) for value, count in zip(stored[order].tolist(), counts[order], strict=True)}

    def _translate_values(self, pixels: np.ndarray, where: str) -> np.ndarray:
        if self._of_value is None:
            raise DataError(
                "the mask holds values (grey or palette indices), but `colours` were given",
                where=where,
                fix="map the values instead, `names: {1: cat, 2: dog}`",
            )
        if self._binary and (pixels == 255).any() and np.isin(pixels, (0, 255)).all():
            raise DataError(
                "the mask holds only 0 and 255, and 255 means void",
                where=where,
                fix="if 255 is the object write `names: {255: cat}`; if it is void, `names: {1: cat, 255: void}`",
            )
        mapped: np.ndarray = self._of_value[pixels]
        return mapped

    def _translate_colours(self, pixels: np.ndarray, where: str) -> np.ndarray:
        if self._of_colour is None:
            raise DataError("the mask holds RGB colours, values were expected", where=where, fix=self._fix)
        colours, values = self._of_colour
        packed = _pack(pixels)
        position = np.searchsorted(colours, packed).clip(max=len(colours) - 1)
        return np.where(colours[position] == packed, values[position], _NO_CLASS)


@dataclass(frozen=True, eq=False)
class MaskFile:
    """A mask stored as an image file."""

    path: Path
    codes: MaskCodes

    def load(self, size: tuple[int, int]) -> np.ndarray:
        """See `MaskAnnotation`."""
        pixels = read_mask_pixels(self.path)
        if pixels.shape[:2] != size:
            raise DataError(
                f"the mask is {pixels.shape[1]} x {pixels.shape[0]} pixels, its image {size[1]} x {size[0]}",
                where=str(self.path),
                fix="replace it by a mask of the image's size",
            )
        return self.codes.translate(pixels, str(self.path))


@dataclass(frozen=True, eq=False)
class Outline:
    """One object's region, as annotated.

    Args:
        value: Mask value to paint.
        shape: Polygons, each (2 * points,) float64 x, y, ... in pixels; or a COCO RLE dictionary.
        crowd: The region stands for several objects and may overlap others; it goes below them.
        where: Place of the annotation, for messages.
    """

    value: int
    shape: list[np.ndarray] | dict[str, object]
    crowd: bool
    where: str


@dataclass(frozen=True, eq=False)
class OutlineMask:
    """A semantic mask painted from objects: the smallest on top, crowds below all, the rest background.

    Args:
        outlines: The objects, in pixels of an image of `size`.
        size: (height, width) the coordinates belong to.
        where: Place of the annotation, for messages.
    """

    outlines: tuple[Outline, ...]
    size: tuple[int, int]
    where: str

    def load(self, size: tuple[int, int]) -> np.ndarray:
        """See `MaskAnnotation`."""
        if size != self.size:
            raise DataError(
                f"annotated for an image of {self.size[1]} x {self.size[0]} pixels, the file has {size[1]} x {size[0]}",
                where=self.where,
                fix="replace the image, or correct the declared size",
            )
        canvas = np.full(size, BACKGROUND, np.uint8)
        regions = [(outline, encoded(outline, size)) for outline in self.outlines]
        regions.sort(key=lambda region: (region[0].crowd, int(coco_mask.area(region[1]))), reverse=True)
        for outline, rle in regions:
            try:
                canvas[coco_mask.decode(rle) == 1] = outline.value
            except ValueError as error:
                raise _unreadable(outline, error) from None
        return canvas


def encoded(outline: Outline, size: tuple[int, int]) -> dict[str, Any]:
    """An outline as a COCO RLE dictionary.

    Args:
        outline: Its polygons are filled, parts of one object together.
        size: (height, width) of the image.

    Raises:
        DataError: It cannot be decoded.
    """
    shape = outline.shape
    try:
        if isinstance(shape, list):
            return coco_mask.merge(coco_mask.frPyObjects(shape, *size))  # type: ignore[no-any-return]
        return coco_mask.frPyObjects(shape, *size) if isinstance(shape["counts"], list) else shape
    except (ValueError, TypeError) as error:
        raise _unreadable(outline, error) from None


def _unreadable(outline: Outline, error: Exception) -> DataError:
    return DataError(
        f"the segmentation cannot be decoded ({error})", where=outline.where, fix="correct or remove the annotation"
    )


def _pack(rgb: np.ndarray) -> np.ndarray:
    return rgb.astype(np.int32) @ np.array((1 << 16, 1 << 8, 1), np.int32)  # type: ignore[no-any-return]
