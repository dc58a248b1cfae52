"""GrabCut, box by box, started from what is likely in any tight box."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np

from bombo.box_for_mask import appearance
from bombo.box_for_mask.appearance import Bools, Floats
from bombo.box_for_mask.painting import Claim, Window, paint, union
from bombo.box_for_mask.shapes import RIGHT_ELLIPSE, ellipse
from bombo.box_for_mask.weak_mask import WeakMask
from bombo.data.label_space import LabelSpace

MARGIN, LEAST_MARGIN = 0.4, 4  # surroundings of a box: in its sides, and in pixels
LONGEST = 128  # pixels of the crop's longer side, at most; finer crops gave no better labels, on 256-pixel images
SMALLEST = 4  # pixels of a side below which there is nothing to model
SURE, NEVER = 0.9, 0.05  # probabilities from which GrabCut may not depart
PASSES = 2
TOO_LITTLE = 0.15  # share of the box below which the object was lost
# how often a label was right on VOC's boxes, by the probability it had before GrabCut spoke
BEFORE, RIGHT = (0.0, 0.3, 0.5, 0.7, 0.85, 0.95, 1.0), (0.48, 0.55, 0.64, 0.74, 0.81, 0.89, 0.94)


@dataclass(frozen=True)
class GrabCut:
    """GrabCut (Rother et al. 2004) from a probability instead of a rectangle.

    `object_probability` says how likely each pixel of a box is object; GrabCut refines this with the image's edges.
    Colours outside all boxes are background for certain. A box with a side of less than 4 pixels, and one whose
    object came out smaller than 15 % of it, is labelled by the ellipse. A box without surroundings (the whole image)
    has its corners for background.

    Weights are probabilities, measured on VOC: where GrabCut overrules the colours it is right half of the time.
    """

    @property
    def name(self) -> str:
        """See `LabelProvider`."""
        return f"grabcut-{_fingerprint()}"

    def __call__(
        self, image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, crowd: np.ndarray, space: LabelSpace
    ) -> WeakMask:
        """See `LabelProvider`."""
        size = (image.shape[0], image.shape[1])
        background = ~union(boxes, size)

        def claim(row: int, window: Window) -> Claim:
            return _claim(image, boxes[row], window, background)

        return paint(size, boxes, labels, crowd, space, claim)


def _claim(image: np.ndarray, box: np.ndarray, window: Window, background: np.ndarray) -> Claim:
    oval = ellipse(box, window)
    if min(oval.shape) < SMALLEST:
        return Claim(oval, np.full(oval.shape, RIGHT_ELLIPSE, dtype=np.float32))
    context = _surroundings(window, background.shape)  # type: ignore[arg-type]
    inner = tuple(
        slice(part.start - whole.start, part.stop - whole.start) for part, whole in zip(window, context, strict=True)
    )
    cut, probability = (found[inner] for found in _segment(image[context], box, context, background[context]))
    is_object: Bools = cut > 0.5
    if is_object.mean() < TOO_LITTLE:
        return Claim(oval, np.full(oval.shape, RIGHT_ELLIPSE, dtype=np.float32))
    return Claim(is_object, _certainty(is_object, probability))


def _segment(patch: np.ndarray, box: np.ndarray, context: Window, background: Bools) -> tuple[Floats, Floats]:
    """(h, w) float32 twice, in pixels of the patch: what GrabCut calls object, and how likely it was before."""
    height, width = background.shape
    scale = min(1.0, LONGEST / max(height, width))
    small = (max(2, round(width * scale)), max(2, round(height * scale)))
    crop = np.ascontiguousarray(cv2.resize(patch, small, interpolation=cv2.INTER_AREA))
    outside = cv2.resize(background.astype(np.uint8), small, interpolation=cv2.INTER_NEAREST) > 0
    down = _place(small[1], context[0], box[1], box[3])[:, None]
    across = _place(small[0], context[1], box[0], box[2])[None, :]
    probability = appearance.object_probability(crop, down, across, outside)
    cut = _grabcut(crop, probability)
    return _resized(cut, width, height), _resized(probability, width, height)


def _resized(values: Floats, width: int, height: int) -> Floats:
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR))


def _grabcut(crop: np.ndarray, probability: Floats) -> Floats:
    """(h, w) float32, 1 = object."""
    state = np.where(probability > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    state[probability > SURE] = cv2.GC_FGD
    state[probability < NEVER] = cv2.GC_BGD
    is_object = (state == cv2.GC_FGD) | (state == cv2.GC_PR_FGD)
    if is_object.any() and not is_object.all():  # it needs pixels of both sides to model
        cv2.setRNGSeed(0)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(crop, state, None, *models, PASSES, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
        is_object = (state == cv2.GC_FGD) | (state == cv2.GC_PR_FGD)
    return np.asarray(is_object, dtype=np.float32)


def _certainty(is_object: Bools, probability: Floats) -> Floats:
    before = np.where(is_object, probability, 1 - probability)
    right: Floats = np.interp(before, BEFORE, RIGHT).astype(np.float32)
    return right


def _place(length: int, part: slice, low: float, high: float) -> np.ndarray:
    """(length,) where the pixels of a crop of `part` lie in the box: −1 and 1 are its sides."""
    centres = part.start + (np.arange(length) + 0.5) * ((part.stop - part.start) / length)
    return np.asarray((centres - (low + high) / 2) / ((high - low) / 2))


def _surroundings(window: Window, size: tuple[int, int]) -> Window:
    rows, columns = (
        slice(max(0, part.start - margin), min(length, part.stop + margin))
        for part, length in zip(window, size, strict=True)
        for margin in (max(LEAST_MARGIN, int((part.stop - part.start) * MARGIN)),)
    )
    return rows, columns


def _fingerprint() -> str:
    """Changes with every constant that can change a mask."""
    constants = {
        f"{name}={value!r}"
        for room in (vars(appearance), globals())
        for name, value in room.items()
        if name.isupper() and isinstance(value, int | float | tuple)
    }
    return hashlib.sha256("\n".join(sorted(constants)).encode()).hexdigest()[:8]
