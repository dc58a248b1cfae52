"""From records to samples: decoding, checking against the image, augmenting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from bombo.data.augment import Augment, boxes_in_view
from bombo.data.batch import Batch, collate
from bombo.data.derived import Derive, Derived
from bombo.data.image_io import read_image
from bombo.data.sample import Record, Sample
from bombo.data.sampler import Draw
from bombo.data.view import Fit, View
from bombo.errors import DataError


def require_declared_size(record: Record, size: tuple[int, int]) -> None:
    """Checks that an image has the size its annotation says.

    Raises:
        DataError: It has another.
    """
    if record.size is not None and record.size != size:
        raise DataError(
            f"the annotation ({record.where}) says {record.size[1]}×{record.size[0]} pixels, "
            f"the image as shown has {size[1]}×{size[0]}",
            where=str(record.image),
            fix="annotate the image as it is shown (EXIF orientation applied), or save it with its rotation baked in",
        )


def load(record: Record) -> Sample:
    """Decodes a record as it is on disk, without augmentation.

    All boxes are targets here except crowds and boxes without a class; `difficult` ones are trained on, as they are
    real objects.

    Raises:
        DataError: A file cannot be read, or annotation and image disagree.
    """
    image = torch.from_numpy(read_image(record.image).copy()).permute(2, 0, 1)
    size = (image.shape[1], image.shape[2])
    require_declared_size(record, size)
    mask = None if record.mask is None else torch.from_numpy(record.mask.load(size))
    labelled = None if record.labelled is None else torch.tensor(record.labelled)
    if record.boxes is None:
        return Sample(image, None, None, None, mask, labelled)
    annotated = record.boxes
    limits = torch.tensor((size[1], size[0], size[1], size[0]), dtype=torch.float32)
    boxes = torch.minimum(torch.from_numpy(annotated.boxes).clamp(min=0), limits)
    labels = torch.from_numpy(annotated.labels)
    return Sample(image, boxes, labels, (labels >= 0) & ~torch.from_numpy(annotated.crowd), mask, labelled)


def seen_through(sample: Sample, view: View) -> Sample:
    """The sample as a view shows it: image, boxes and mask moved together; cut-off boxes stay as regions."""
    image = view.image(sample.image)
    mask = None if sample.mask is None else view.mask(sample.mask)
    if sample.boxes is None or sample.labels is None or sample.is_target is None:
        return replace(sample, image=image, mask=mask)
    boxes, kept, enough = boxes_in_view(view, sample.boxes)
    labels, is_target = sample.labels[kept], sample.is_target[kept] & enough
    return replace(sample, image=image, boxes=boxes, labels=labels, is_target=is_target, mask=mask)


@dataclass(frozen=True)
class TrainingBatches(torch.utils.data.Dataset[Batch | DataError]):
    """Makes one batch from the draws of a sampler; deterministic in them, whatever the worker.

    Args:
        records: The images.
        augment: Random views and colours.
        skip_bad: Replace a file that cannot be read by the next image of its kind, and say so in the batch.
        derive: Works out weak targets; None = the batches carry none.
    """

    records: Sequence[Record]
    augment: Augment
    skip_bad: bool = False
    derive: Derive | None = None

    def __getitem__(self, draws: list[Draw]) -> Batch | DataError:
        try:
            return self._batch(draws)
        except DataError as error:
            return error  # raised by `ready`: an error that crosses from a worker is wrapped in that worker's traceback

    def _batch(self, draws: list[Draw]) -> Batch:
        samples: list[Sample] = []
        derived: list[Derived] = []
        names: list[str] = []
        skipped: list[tuple[str, str]] = []
        for draw in draws:
            record, sample, weak = self._load(draw.image, skipped)
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(draw.seed)  # torch.manual_seed would seed the GPUs too
                view = self.augment.view(_size(sample.image), draw.size)
                sample = seen_through(sample, view)
                image = self.augment.recolour(sample.image)
            if weak is not None:
                derived.append(weak.seen_through(view, sample.image))
            samples.append(replace(sample, image=image))
            names.append(record.name)
        return collate(samples, tuple(names), tuple(skipped), derived if self.derive is not None else None)

    def _load(self, index: int, skipped: list[tuple[str, str]]) -> tuple[Record, Sample, Derived | None]:
        kind = self.records[index].kind
        for step in range(len(self.records)):
            record = self.records[(index + step) % len(self.records)]
            if record.kind != kind:
                continue
            try:
                sample = load(record)
                return record, sample, None if self.derive is None else self.derive(record, sample)
            except DataError as error:
                if not self.skip_bad:
                    raise
                skipped.append((record.name, str(error)))
        raise DataError(
            f"none of the images with `use: {kind}` can be read",
            where=self.records[index].where,
            fix="repair or restore the files",
        )


@dataclass(frozen=True)
class WholeImages(torch.utils.data.Dataset[tuple[int, Tensor, View, Sample] | DataError]):
    """Whole images for evaluation: (index, input (3, *size) uint8, view, the sample at source size)."""

    records: Sequence[Record]
    size: tuple[int, int]
    fit: Fit

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[int, Tensor, View, Sample] | DataError:
        try:
            sample = load(self.records[index])
        except DataError as error:
            return error
        view = View.whole(_size(sample.image), self.size, self.fit)
        return index, view.image(sample.image), view, sample


Item = TypeVar("Item")


def ready(item: Item | DataError) -> Item:
    """Raises an error that came out of a loader in place of its item."""
    if isinstance(item, DataError):
        raise item
    return item


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]
