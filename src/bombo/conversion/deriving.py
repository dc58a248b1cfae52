"""Boxes out of masks, masks out of boxes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from bombo.box_for_mask.providers import provider_called
from bombo.box_for_mask.weak_mask import LabelProvider
from bombo.conversion.annotated import AnnotatedImage, AnnotatedObject
from bombo.conversion.instances import owners
from bombo.conversion.losses import Losses
from bombo.conversion.shapes import paint
from bombo.data.image_io import read_image
from bombo.data.label_space import BACKGROUND, VOID, LabelSpace
from bombo.data.sample import Sample
from bombo.engine.model import Model
from bombo.engine.refined import confirmed_boxes
from bombo.errors import ConfigError
from bombo.mask_for_box.components import components

SMALLEST = 32  # pixels of a component: most smaller ones are splinters
DOUBTFUL = 0.6  # least weight of a pixel that is labelled: 94 % of those in VOC's boxes, and all that `fill` says
_SEVERAL = 3  # times the median area of its class: a component that looks like several objects


@dataclass
class BoxMaker:
    """Makes the boxes of masks, and counts.

    Args:
        space: The classes of the masks.
        judge: Splits, merges and confirms components; None = every component is an object.
        losses: Takes note of what is left out.
    """

    space: LabelSpace
    judge: Model | None
    losses: Losses
    found: int = 0
    small: int = 0
    made: int = 0
    split: int = 0
    merged: int = 0
    _areas: dict[int, list[tuple[float, str]]] = field(default_factory=lambda: defaultdict(list))

    def __call__(self, image: AnnotatedImage) -> AnnotatedImage:
        """The image with a box for every object of its mask, scored where a network was asked."""
        assert image.mask is not None
        parts = components(image.mask, self.space.num_things, min_area=1)
        self.found += len(parts.boxes)
        large = parts.areas >= SMALLEST
        self.small += int((~large).sum())
        self.losses.drop(f"components under {SMALLEST} px", image.name, int((~large).sum()))
        boxes, labels = parts.boxes[large], parts.labels[large]
        for label, area in zip(labels.tolist(), parts.areas[large].tolist(), strict=True):
            self._areas[label].append((area, image.name))
        objects = [_object(box, label, None) for box, label in zip(boxes, labels, strict=True)]
        if self.judge is not None:
            objects = self._judged(image, boxes, labels, self.judge)
        self.made += len(objects)
        return replace(image, objects=tuple(objects))

    def look_like_several(self) -> list[str]:
        """Image and class of components over three times as large as the median of their class, the largest first."""
        suspects = []
        for label, areas in self._areas.items():
            median = float(np.median([area for area, _ in areas]))
            named = ((area / median, f"{name}: {self.space.names[label]}, {area:,.0f} px") for area, name in areas)
            suspects += [(ratio, text) for ratio, text in named if ratio > _SEVERAL]
        return [text for _, text in sorted(suspects, reverse=True)]

    def _judged(
        self, image: AnnotatedImage, boxes: np.ndarray, labels: np.ndarray, judge: Model
    ) -> list[AnnotatedObject]:
        assert image.mask is not None
        table = np.zeros(256, np.uint8)
        table[VOID] = VOID
        table[1 : len(self.space.names) + 1] = [judge.space.mask_value(name) for name in self.space.names]
        own = table[labels + 1].astype(np.int64) - 1
        known = (own >= 0) & (own < judge.space.num_things)
        pixels = torch.from_numpy(read_image(image.image).copy()).permute(2, 0, 1)
        sample = Sample(pixels, None, None, None, torch.from_numpy(table[image.mask]))
        asked = torch.from_numpy(boxes[known]), torch.from_numpy(own[known])
        sure = [part.numpy() for part in confirmed_boxes(sample, *asked, judge)]
        self._count(boxes[known], sure[0], own[known], sure[1])
        back = [self.space.names.index(judge.space.names[label]) for label in sure[1]]
        limits = np.array((image.size[1], image.size[0]) * 2, np.float32)
        objects = [
            _object(box.clip(0, limits), label, float(weight))
            for box, label, weight in zip(sure[0], back, sure[2], strict=True)
        ]
        return objects + [_object(box, label, None) for box, label in zip(boxes[~known], labels[~known], strict=True)]

    def _count(self, before: np.ndarray, after: np.ndarray, old: np.ndarray, new: np.ndarray) -> None:
        low = np.maximum(before[:, None, :2], after[None, :, :2])
        common = (np.minimum(before[:, None, 2:], after[None, :, 2:]) - low).clip(min=0).prod(-1)
        common = common * (old[:, None] == new[None])
        areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1).clip(min=1e-6) for boxes in (before, after)]
        covered = common >= 0.8 * areas[0][:, None]
        self.merged += int(covered.sum(0)[covered.sum(0) > 1].sum())
        within = (common >= 0.5 * areas[1][None]) & ~(covered.sum(0) > 1)
        self.split += int((within.sum(1) > 1).sum())


@dataclass(frozen=True)
class MaskMaker:
    """Makes the masks of boxes.

    Args:
        space: The classes.
        provider: Says which pixels of a box are object.
    """

    space: LabelSpace
    provider: LabelProvider

    def __call__(self, image: AnnotatedImage) -> AnnotatedImage:
        """The image with a mask: void where the provider is not sure; objects that have outlines keep theirs."""
        assert image.objects is not None
        boxes = np.array([item.box for item in image.objects], np.float32).reshape(-1, 4)
        labels = np.array([item.label for item in image.objects], np.int64)
        crowd = np.array([item.crowd for item in image.objects], bool)
        values, weights = self.provider(read_image(image.image), boxes, labels, crowd, self.space)
        mask = np.where(weights < DOUBTFUL, VOID, values).astype(np.uint8)
        known = [row for row, item in enumerate(image.objects) if item.shape is not None]
        if known:
            rows = owners(mask, boxes, labels).rows
            mask[np.isin(rows, np.array(known) + 1)] = VOID if self.space.stuff else BACKGROUND
            painted = paint(image.objects, image.size)
            mask = np.where(painted > 0, painted, mask)
        return replace(image, mask=mask)


def mask_maker(word: str, space: LabelSpace) -> MaskMaker:
    """The maker of masks by the name of its provider.

    Raises:
        ConfigError: There is no such provider.
    """
    provider = provider_called(word)
    if isinstance(provider, Path):
        raise ConfigError(
            f"{word} is a folder of masks, which need not be made",
            where="masks_from_boxes",
            fix="choose grabcut, ellipse, fill, inner, or the agreement of two such as grabcut+ellipse",
        )
    return MaskMaker(space, provider)


def require_common_classes(judge: Model, space: LabelSpace) -> list[str]:
    """The thing classes a network does not know.

    Raises:
        ConfigError: It knows none.
    """
    unknown = [name for name in space.things if name not in judge.space.things]
    if len(unknown) == len(space.things):
        raise ConfigError(
            f"the network knows {', '.join(judge.space.things)}; the masks have {', '.join(space.things)}",
            where="model",
            fix="give a run trained on these classes, or leave --model out",
        )
    return unknown


def _object(box: np.ndarray, label: int, score: float | None) -> AnnotatedObject:
    x1, y1, x2, y2 = (float(edge) for edge in box)
    return AnnotatedObject(int(label), (x1, y1, x2, y2), score=score)
