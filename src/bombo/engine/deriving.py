"""From settings to weak targets: which method, which provider, and where its masks are kept."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from bombo import distributed
from bombo.box_for_mask.cache import Cached, default_folder, prepare
from bombo.box_for_mask.filling_rate import filling_rates
from bombo.box_for_mask.mask_file import MaskFile
from bombo.box_for_mask.painting import union
from bombo.box_for_mask.providers import provider_called
from bombo.box_for_mask.weak_mask import LabelProvider
from bombo.data.dataset import load
from bombo.data.derived import Derived
from bombo.data.label_space import ANY_CLASS, LabelSpace
from bombo.data.sample import Record, Sample
from bombo.engine.settings import TrainSettings
from bombo.errors import DataError
from bombo.losses.method import Method, method_of
from bombo.mask_for_box.components import VoidPolicy, components

_MASKS_READ = 1000  # for filling rates


@dataclass(frozen=True)
class Deriver:
    """Weak targets of a sample: a mask from its boxes, or boxes from its mask; nothing where it carries both.

    Args:
        space: The label space.
        masks: Makes masks of boxes, or the folder where they lie; None = nothing asks for them.
        boxes: Whether something asks for boxes made of masks.
        void: Whether void joins or separates objects.
    """

    space: LabelSpace
    masks: LabelProvider | Path | None
    boxes: bool
    void: VoidPolicy

    def makes_mask(self, record: Record) -> bool:
        """Whether a mask can be had of a record's boxes: a folder has those that lie in it."""
        return self.masks is not None and (not isinstance(self.masks, Path) or _mask_of(record, self.masks).is_file())

    def __call__(self, record: Record, sample: Sample) -> Derived:
        """See `Derive`."""
        derived = Derived.nothing(sample.image)
        if record.kind == "boxes" and record.boxes is not None and record.boxes.crowd.any():
            crowds = union(record.boxes.boxes[record.boxes.crowd], (sample.image.shape[1], sample.image.shape[2]))
            derived = replace(derived, visible=torch.from_numpy(~crowds))
        if record.kind == "boxes" and self.masks is not None and record.boxes is not None:
            image = sample.image.permute(1, 2, 0).numpy()
            provider = MaskFile(_mask_of(record, self.masks)) if isinstance(self.masks, Path) else self.masks
            made = provider(image, record.boxes.boxes, record.boxes.labels, record.boxes.crowd, self.space)
            foreign = union(record.boxes.boxes[record.boxes.labels == ANY_CLASS], made.values.shape)
            return replace(
                derived,
                masks=torch.from_numpy(made.values),
                weights=torch.from_numpy(made.weights),
                visible=derived.visible & torch.from_numpy(~foreign | (made.weights > 0)),
            )
        if record.kind == "masks" and self.boxes and sample.mask is not None:
            found = components(sample.mask.numpy(), self.space.num_things, void=self.void)
            boxes, labels = torch.from_numpy(found.boxes), torch.from_numpy(found.labels)
            return replace(derived, boxes=boxes, labels=labels, is_target=torch.ones(len(boxes), dtype=torch.bool))
        return derived


def chosen_method(settings: TrainSettings) -> Method:
    """The method with its weights, of the heads that are trained."""
    return method_of(
        settings.method,
        settings.losses or {},
        pseudo_boxes=settings.pseudo_boxes,
        detection=settings.detection_weight > 0,
        segmentation=settings.segmentation_weight > 0,
    )


def usual_rates(records: Sequence[Record], space: LabelSpace) -> tuple[Tensor, Tensor]:
    """Filling rates of the thing classes, from the masks of the first images that have one.

    Files that cannot be read are left to the training run, which names them.
    """
    masked = [record for record in records if record.mask is not None][:_MASKS_READ]
    return filling_rates(_readable_masks(masked), space.num_things)


def _readable_masks(records: Sequence[Record]) -> Iterator[np.ndarray]:
    for record in records:
        with suppress(DataError):
            if (mask := load(record).mask) is not None:
                yield mask.numpy()


def make_derive(
    settings: TrainSettings, records: Sequence[Record], space: LabelSpace, console: Console
) -> Deriver | None:
    """What works out the weak targets of training images; None when no weak loss has a weight, or no image needs any.

    Masks that a provider has to make are made here, once for all runs, by all processes together.

    Raises:
        DataError: A folder lacks the mask of an image.
    """
    method = chosen_method(settings)
    if not method.weights.any() or not {record.kind for record in records} & {"boxes", "masks"}:
        return None
    boxed = [record for record in records if record.kind == "boxes"]
    masks: LabelProvider | Path | None = None
    if (method.weights.b4m_label or method.weights.b4m_dice) and boxed:
        masks = provider_called(settings.mask_provider)
        if isinstance(masks, Path):
            _look_for_all(boxed, masks)
        else:
            masks = Cached(masks, settings.cache or default_folder())
            make_masks(boxed, masks, space, console)
    return Deriver(space, masks, method.weights.any("m4b"), settings.void)


def make_masks(records: Sequence[Record], cached: Cached, space: LabelSpace, console: Console) -> None:
    """Makes the masks of images with boxes and keeps them, by all processes together."""
    own, began = records[distributed.rank() :: distributed.world()], time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("masks of boxes", total=len(own))
        made = prepare(own, cached, space, _processes(), lambda done: progress.update(task, completed=done))
    made = sum(distributed.gather(made))  # where all have made theirs, each can read all
    seconds = time.monotonic() - began
    told = f"{made:,} made in {seconds:.0f} s, " if made else ""
    there = f"{len(records) - made:,} from earlier runs, " if made < len(records) else ""
    console.print(f"masks     of boxes: {told}{there}kept in {cached.folder}", markup=False, soft_wrap=True)


def _look_for_all(records: Sequence[Record], folder: Path) -> None:
    missing = [file for record in records if not (file := _mask_of(record, folder)).is_file()]
    if missing:
        raise DataError(
            f"{len(missing):,} of {len(records):,} images with boxes have no mask there",
            where=str(missing[0]),
            fix="give each mask the name of its image, or choose --mask-provider grabcut",
        )


def _mask_of(record: Record, folder: Path) -> Path:
    return folder / f"{record.image.stem}.png"


def _processes() -> int:
    """Every process of a run makes its share, with its share of the cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, int(os.environ.get("OMP_NUM_THREADS") or cores)) // distributed.world())
