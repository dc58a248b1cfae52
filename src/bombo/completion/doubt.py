"""How doubtful each completed image is, and why: what a person looks at first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bombo.completion.completed import Completed, Filled
from bombo.data.label_space import LabelSpace
from bombo.data.sample import Record
from bombo.mask_for_box.pseudo_boxes import ALONE

USUAL = 3.0  # times the median area of its class, from which a component may be several objects
_MERGED = 0.5  # chance that such a component is one object after all
_MENTIONED = 0.1  # shares and doubts from which a reason is worth a word


@dataclass(frozen=True, eq=False)
class Facts:
    """What the review needs of a completed image, without pixels.

    Args:
        record: What was known of the image.
        filled: Which annotation was worked out.
        boxes: (N, 4) float32 xyxy pixels of the objects, crowds and regions left out.
        labels: (N,) int64 class index.
        confidence: (N,) 0 to 1; 1 where a person said it.
        areas: (N,) area of the boxes as shares of the image.
        unlabelled: Share of the pixels in boxes that stay void.
        changed: Share of the pixels in boxes where network and colours disagree.
        split: Number of components that the network took apart.
    """

    record: Record
    filled: Filled
    boxes: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray
    areas: np.ndarray
    unlabelled: float
    changed: float
    split: int

    @classmethod
    def of(cls, done: Completed, space: LabelSpace) -> Facts:
        """The facts of one image."""
        known = len(space.names)
        objects = [item for item in done.image.objects or () if item.label < known and not item.crowd]
        boxes = np.array([item.box for item in objects], np.float32).reshape(-1, 4)
        height, width = done.image.size
        return cls(
            done.record,
            done.filled,
            boxes,
            np.array([item.label for item in objects], np.int64),
            np.array([1.0 if item.score is None else item.score for item in objects]),
            (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) / (height * width),
            done.unlabelled,
            done.changed,
            done.split,
        )


@dataclass(frozen=True, eq=False)
class Doubt:
    """One row of the review.

    Args:
        facts: The image.
        doubt: 0 to 1, the chance that something in it needs a correction, as far as the network can tell.
        merged: Number of components that look like several objects.
        why: The reasons in words, the most important one first.
    """

    facts: Facts
    doubt: float
    merged: int
    why: tuple[str, ...]

    @property
    def lowest(self) -> float:
        """The lowest confidence of an object; 1 where there is none."""
        return float(self.facts.confidence.min(initial=1))


def ranked(images: Sequence[Facts], space: LabelSpace) -> list[Doubt]:
    """The images in which something was completed, the most doubtful first; equal ones as they came.

    An image is right if every object, the pixels left open, and the pixels two witnesses disagree on are: the doubt is
    one minus the product of these chances. A component with three times the usual area of its class that no prediction
    confirms as one object counts as one with a chance of one half.

    Args:
        images: All images, those that were complete before as well: they too say how large a class usually is.
        space: The classes.
    """
    usual = _usual_areas(images, space.num_things)
    doubts = [_doubt(facts, usual, space) for facts in images if facts.filled != "nothing"]
    return sorted(doubts, key=lambda each: -each.doubt)


def _doubt(facts: Facts, usual: np.ndarray, space: LabelSpace) -> Doubt:
    confidence, labels = facts.confidence, facts.labels
    unconfirmed = np.isclose(confidence, ALONE) & (facts.filled == "boxes")
    merged = int((unconfirmed & (facts.areas > USUAL * usual[labels])).sum())
    reasons: list[tuple[float, str]] = []
    if len(confidence) and confidence.min() < 1 - _MENTIONED:
        lowest = int(confidence.argmin())
        name = space.names[labels[lowest]]
        reasons.append((1 - float(confidence[lowest]), f"least sure: {name} ({confidence[lowest]:.2f})"))
    if merged:
        regions = "a region looks" if merged == 1 else f"{merged} regions look"
        reasons.append((1 - _MERGED**merged, f"{regions} like several objects"))
    if facts.split:
        regions = "a region was" if facts.split == 1 else f"{facts.split} regions were"
        reasons.append((_MENTIONED, f"{regions} taken apart"))
    if facts.unlabelled >= _MENTIONED:
        reasons.append((facts.unlabelled, f"{_percent(facts.unlabelled)} of the pixels in boxes left open"))
    if facts.changed >= _MENTIONED:
        reasons.append(
            (facts.changed, f"network and colours disagree on {_percent(facts.changed)} of the pixels in boxes")
        )
    right = math.prod(confidence.tolist()) * _MERGED**merged * (1 - facts.unlabelled) * (1 - facts.changed)
    return Doubt(facts, 1 - right, merged, tuple(why for _, why in sorted(reasons, key=lambda reason: -reason[0])))


def _usual_areas(images: Sequence[Facts], num_things: int) -> np.ndarray:
    """(num_things,) median area of each class; infinite where there is no object."""
    labels = np.concatenate([np.zeros(0, np.int64), *(facts.labels for facts in images)])
    areas = np.concatenate([np.zeros(0), *(facts.areas for facts in images)])
    own = [areas[labels == label] for label in range(num_things)]
    return np.array([np.median(each) if len(each) else np.inf for each in own])


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
