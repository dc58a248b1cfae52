"""Where things lie: the instance map, and the rule that nothing is hidden too much."""

from __future__ import annotations

import numpy as np

Window = tuple[slice, slice]

_VISIBLE_SHARE, _VISIBLE_PIXELS = 0.3, 40


def clip(shape: tuple[int, ...], top: int, left: int, size: int) -> tuple[Window, Window]:
    """The part of a patch at (top, left) that lies in the picture: slices of the picture, slices of the patch."""
    rows, columns = (max(top, 0), min(top + shape[0], size)), (max(left, 0), min(left + shape[1], size))
    picture = slice(rows[0], max(rows)), slice(columns[0], max(columns))
    patch = slice(rows[0] - top, max(rows) - top), slice(columns[0] - left, max(columns) - left)
    return picture, patch


class Layout:
    """Grows by one silhouette at a time, later ones on top.

    Args:
        size: Side of the picture in pixels.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.instances = np.zeros((size, size), dtype=np.uint16)
        self._needed: list[float] = []  # pixels of every object that have to stay visible

    def hides(self, silhouette: np.ndarray, top: int, left: int) -> np.ndarray:
        """(N + 1,) pixels the silhouette would cover: of free ground, then of every object."""
        picture, patch = clip(silhouette.shape, top, left, self.size)
        return np.bincount(self.instances[picture][silhouette[patch]], minlength=len(self._needed) + 1)

    def accepts(self, hidden: np.ndarray, whole: int) -> bool:
        """Whether all objects keep enough visible pixels if one of `whole` pixels is put down.

        Args:
            hidden: What `hides` says of its place.
            whole: Pixels of its silhouette, those outside the picture included.
        """
        left_over = np.bincount(self.instances.ravel(), minlength=len(hidden))[1:] - hidden[1:]
        return bool(hidden.sum() >= _needed(whole) and np.all(left_over >= self._needed))

    def put(self, silhouette: np.ndarray, top: int, left: int) -> None:
        """Adds an object on top of the others."""
        picture, patch = clip(silhouette.shape, top, left, self.size)
        self._needed.append(_needed(int(silhouette.sum())))
        self.instances[picture][silhouette[patch]] = len(self._needed)

    def beside(self, silhouette: np.ndarray, neighbour: int, direction: complex, overlap: int) -> tuple[int, int]:
        """(top, left) of a silhouette pushed towards an object until it covers `overlap` of its pixels."""
        rows, columns = np.nonzero(self.instances == neighbour)
        height, width = silhouette.shape
        top, left = (rows.min() + rows.max() + 1 - height) / 2, (columns.min() + columns.max() + 1 - width) / 2
        reach = (np.ptp(rows) + np.ptp(columns) + height + width) // 2
        for distance in range(int(reach), 0, -1):
            place = round(top + direction.imag * distance), round(left + direction.real * distance)
            if self.hides(silhouette, *place)[neighbour] >= overlap:
                return place
        return round(top), round(left)

    def boxes(self) -> np.ndarray:
        """(N, 4) float32 xyxy edges around the visible pixels."""
        boxes = np.zeros((len(self._needed), 4), dtype=np.float32)
        for index in range(len(boxes)):
            rows, columns = np.nonzero(self.instances == index + 1)
            boxes[index] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        return boxes


def _needed(whole: int) -> float:
    return max(_VISIBLE_SHARE * whole, _VISIBLE_PIXELS)
