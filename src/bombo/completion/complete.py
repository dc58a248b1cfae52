"""One image after the other: what is missing is worked out, what is there stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from bombo.box_for_mask.weak_mask import LabelProvider
from bombo.completion.completed import Completed, given
from bombo.completion.of_boxes import with_mask
from bombo.completion.of_mask import with_boxes
from bombo.conversion.annotated import AnnotatedImage
from bombo.conversion.instances import outlined
from bombo.conversion.shapes import to_rle
from bombo.data.dataset import load
from bombo.data.sample import BoxAnnotation, Record, Sample
from bombo.engine.model import Model


def completed(record: Record, model: Model, provider: LabelProvider) -> Completed:
    """An image with both annotations.

    Args:
        record: What is known of it; with neither annotation, both are predicted.
        model: Judges what is made of either annotation.
        provider: Makes masks from boxes.

    Raises:
        DataError: A file cannot be read, or annotation and image disagree.
    """
    sample = load(record)
    if record.mask is not None:
        return with_boxes(record, sample, model) if record.boxes is None else _as_it_is(record, sample, model)
    if record.boxes is not None:
        return with_mask(record, sample, record.boxes, model, provider)
    return _predicted(record, sample, model, provider)


def _as_it_is(record: Record, sample: Sample, model: Model) -> Completed:
    assert sample.mask is not None
    mask = sample.mask.numpy()
    size = (mask.shape[0], mask.shape[1])
    image = AnnotatedImage(record.image, size, record.name, given(record, mask, model.space), mask)
    objects = tuple(
        replace(item, shape=to_rle(item.shape, size)) if isinstance(item.shape, np.ndarray) else item
        for item in outlined(image)[0]
    )
    return Completed(record, replace(image, objects=objects), "nothing")


def _predicted(record: Record, sample: Sample, model: Model, provider: LabelProvider) -> Completed:
    """Detections stand in for boxes that a person would have drawn."""
    seen = model.predict(sample.image)
    boxes = BoxAnnotation.build(seen.boxes.tolist(), seen.labels.tolist())
    drawn = torch.from_numpy(seen.boxes), torch.from_numpy(seen.labels), torch.ones(len(seen), dtype=torch.bool)
    made = with_mask(record, Sample(sample.image, *drawn, None), boxes, model, provider)
    objects = tuple(
        replace(item, score=float(score) * (item.score or 0))
        for item, score in zip(made.image.objects or (), seen.scores, strict=True)
    )
    return replace(made, image=replace(made.image, objects=objects), filled="both")
