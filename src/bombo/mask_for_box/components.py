"""Connected components of a semantic mask: the first guess at the boxes of its objects."""

from __future__ import annotations

from typing import Literal, NamedTuple

import cv2
import numpy as np

from bombo.data.label_space import VOID

VoidPolicy = Literal["joins", "separates"]

_HALF_RIM = 128  # VOC's rims are 2 × 2 px at a longest side of 256 px; with more, hardly anything else joins


class Components(NamedTuple):
    """The components of one mask, class by class.

    Attributes:
        boxes: (M, 4) float32 xyxy, edges in mask pixels.
        labels: (M,) int64 class index.
        areas: (M,) float32 number of pixels of the class, without void.
    """

    boxes: np.ndarray
    labels: np.ndarray
    areas: np.ndarray


def components(mask: np.ndarray, num_things: int, *, min_area: int = 32, void: VoidPolicy = "joins") -> Components:
    """Finds the 8-connected components of every thing class, at the resolution of the mask.

    A component is a lower bound on what is there: touching objects of a class are one, an occluded object is several.
    It says nothing else about which pixels belong together, and so neither may void: an annotator's void rim between
    two touching objects gives away that they are two. Hence the default, under which void pixels near a class connect
    its pixels: near means within half a rim, a 128th of the longest side (rounded up) along both axes. Objects farther
    apart than a whole rim stay apart, whatever lies between them. Blobs of void (void that two rims do not fill, such
    as a crowd, and its ragged edge) count for nothing.

    The edge of an object lies inside its rim. Under both policies a rectangle therefore takes in the void within half a
    rim of its component's pixels; where there is no void it is tight.

    Args:
        mask: (H, W) uint8, class index + 1; 0 is background, 255 void. Stuff values are passed over.
        num_things: Number of thing classes.
        min_area: Components with fewer pixels of the class are left out: most are splinters.
        void: `separates` leaves void out of connectivity. On masks with void rims this leaks instance identity.

    Returns:
        The components, class by class.
    """
    return component_map(mask, num_things, min_area=min_area, void=void)[0]


def component_map(
    mask: np.ndarray, num_things: int, *, min_area: int = 32, void: VoidPolicy = "joins"
) -> tuple[Components, np.ndarray]:
    """As `components`, and (H, W) int32: the row of the component a pixel belongs to, + 1; 0 = to none."""
    reach = -(-max(mask.shape) // _HALF_RIM)
    near, blob = (np.ones((side, side), np.uint8) for side in (2 * reach + 1, 4 * reach + 1))
    void_pixels = (mask == VOID).astype(np.uint8)
    blobs = cv2.dilate(cv2.morphologyEx(void_pixels, cv2.MORPH_OPEN, blob), near)
    rims = void_pixels & (1 - blobs)
    boxes, labels, areas = list[list[int]](), list[int](), list[int]()
    rows = np.zeros(mask.shape, np.int32)
    for label in np.unique(mask[(mask > 0) & (mask <= num_things)]).astype(int) - 1:
        own = (mask == label + 1).astype(np.uint8)
        connected = own | (rims & cv2.dilate(own, near)) if void == "joins" else own
        _, parts, statistics, _ = cv2.connectedComponentsWithStats(connected, connectivity=8)
        sizes = np.bincount(parts[own == 1], minlength=len(statistics))
        for part in np.flatnonzero(sizes >= max(min_area, 1)):
            x, y, width, height = statistics[part, :4]
            left, top = max(x - reach, 0), max(y - reach, 0)
            window = np.s_[top : y + height + reach, left : x + width + reach]
            body = own[window] & (parts[window] == part)
            x, y, width, height = cv2.boundingRect(body | (rims[window] & cv2.dilate(body, near)))
            boxes.append([left + x, top + y, left + x + width, top + y + height])
            labels.append(label)
            areas.append(sizes[part])
            rows[window][body == 1] = len(labels)
    return (
        Components(np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64), np.array(areas, np.float32)),
        rows,
    )
