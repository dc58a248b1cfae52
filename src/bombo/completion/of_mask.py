"""A mask gets boxes that respect it."""

from __future__ import annotations

import numpy as np
import torch

from bombo.completion.completed import Completed
from bombo.conversion.annotated import AnnotatedImage, AnnotatedObject
from bombo.conversion.objects import extent, nearest, objects_in_boxes
from bombo.conversion.shapes import to_rle
from bombo.data.label_space import BACKGROUND
from bombo.data.sample import Record, Sample
from bombo.engine.model import Model
from bombo.engine.refined import judged_boxes
from bombo.mask_for_box.components import component_map
from bombo.mask_for_box.pseudo_boxes import ALONE, PseudoBoxes, area, intersection

_IN_BOX = 0.5  # share of the smaller of component and box that both have, for the box to have a say there


def with_boxes(record: Record, sample: Sample, model: Model) -> Completed:
    """Makes the boxes of an image that has a mask, as training does, and says which pixels each of them has.

    Components are kept, split or joined as the network sees objects; each box is then the extent of its own pixels, so
    it is tight whatever the network's resolution. Every component ends up in a box; splinters under 32 pixels get none
    of their own.

    Args:
        record: What is known of the image.
        sample: The image, decoded, with its mask.
        model: Judges the components.

    Returns:
        The image; the confidence of an object is that of its box.
    """
    assert sample.mask is not None
    mask = sample.mask.numpy()
    found, parts = component_map(mask, model.space.num_things)
    judged = judged_boxes(sample, torch.from_numpy(found.boxes), torch.from_numpy(found.labels), model)
    owners = _owners(judged, found.boxes, found.labels)
    rows = np.zeros(mask.shape, np.int32)
    boxes: dict[int, np.ndarray] = {}  # by slot of the judgement, in the order of the result
    for part, slots in enumerate(owners, start=1):
        ys, xs = np.nonzero(parts == part)
        chosen = nearest(ys, xs, judged.boxes[0, slots].numpy()) if len(slots) > 1 else np.zeros(len(ys), np.int64)
        for place in np.unique(chosen):
            own_y, own_x, slot = ys[chosen == place], xs[chosen == place], slots[place]
            box = extent(own_y, own_x) if len(slots) > 1 else found.boxes[part - 1]
            boxes[slot] = _around(boxes.get(slot, box), box)
            rows[own_y, own_x] = list(boxes).index(slot) + 1
    slots = list(boxes)
    splinters = np.where(parts == 0, mask, BACKGROUND)
    labels = judged.labels[0, slots].numpy()
    rows += objects_in_boxes(splinters, np.array(list(boxes.values())).reshape(-1, 4), labels)
    size = (mask.shape[0], mask.shape[1])
    objects = tuple(
        AnnotatedObject(
            int(label), (x1, y1, x2, y2), to_rle(rows == row, size), score=float(judged.weights[0, slot]) or ALONE
        )
        for row, (slot, label, (x1, y1, x2, y2)) in enumerate(
            zip(slots, labels, (box.tolist() for box in boxes.values()), strict=True), start=1
        )
    )
    image = AnnotatedImage(record.image, size, record.name, objects, mask)
    return Completed(record, image, "boxes", split=sum(len(slots) > 1 for slots in owners))


def _owners(judged: PseudoBoxes, boxes: np.ndarray, labels: np.ndarray) -> list[list[int]]:
    """For every component the slots of the boxes that have its pixels: itself, or the predictions in its place."""
    used, predicted = judged.weights[0] > 0, judged.boxes[0, len(boxes) :]
    first = torch.from_numpy(boxes)
    shared = intersection(first[None], predicted[None])[0]
    smaller = torch.minimum(area(first)[:, None], area(predicted))
    same = torch.from_numpy(labels)[:, None] == judged.labels[0, len(boxes) :]
    says = same & used[len(boxes) :] & (shared >= _IN_BOX * smaller)
    return [
        [part] if used[part] or not says[part].any() else [len(boxes) + int(slot) for slot in says[part].nonzero()]
        for part in range(len(boxes))
    ]


def _around(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.concatenate((np.minimum(one[:2], other[:2]), np.maximum(one[2:], other[2:])))
