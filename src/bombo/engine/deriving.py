"""From settings to weak targets: which method, which provider, and where its masks are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from rich.console import Console
from torch import Tensor

from bombo.box_for_mask.filling_rate import filling_rates
from bombo.box_for_mask.weak_mask import LabelProvider
from bombo.data.dataset import load
from bombo.data.derived import Derive, Derived
from bombo.data.label_space import LabelSpace
from bombo.data.sample import Record, Sample
from bombo.engine.settings import TrainSettings
from bombo.errors import ConfigError
from bombo.losses.method import Method, method_of
from bombo.mask_for_box.components import VoidPolicy, components

_MASKS_READ = 1000  # for filling rates


@dataclass(frozen=True)
class Deriver:
    """Weak targets of a sample: a mask from its boxes, or boxes from its mask; nothing where it carries both.

    Args:
        space: The label space.
        masks: Makes masks of boxes; None = nothing asks for them.
        boxes: Whether something asks for boxes made of masks.
        void: Whether void joins or separates objects.
    """

    space: LabelSpace
    masks: LabelProvider | None
    boxes: bool
    void: VoidPolicy

    def __call__(self, record: Record, sample: Sample) -> Derived:
        """See `Derive`."""
        derived = Derived.nothing(sample.image)
        if record.kind == "boxes" and self.masks is not None and record.boxes is not None:
            image = sample.image.permute(1, 2, 0).numpy()
            made = self.masks(image, record.boxes.boxes, record.boxes.labels, record.boxes.crowd, self.space)
            return replace(derived, masks=torch.from_numpy(made.values), weights=torch.from_numpy(made.weights))
        if record.kind == "masks" and self.boxes and sample.mask is not None:
            found = components(sample.mask.numpy(), self.space.num_things, void=self.void)
            return replace(derived, boxes=torch.from_numpy(found.boxes), labels=torch.from_numpy(found.labels))
        return derived


def chosen_method(settings: TrainSettings) -> Method:
    """The method with its weights, of the heads that are trained."""
    return method_of(
        settings.method,
        settings.losses or {},
        detection=settings.detection_weight > 0,
        segmentation=settings.segmentation_weight > 0,
    )


def usual_rates(records: Sequence[Record], space: LabelSpace) -> tuple[Tensor, Tensor]:
    """Filling rates of the thing classes, from the masks of the first images that have one."""
    masked = [record for record in records if record.mask is not None][:_MASKS_READ]
    masks = (mask.numpy() for record in masked if (mask := load(record).mask) is not None)
    return filling_rates(masks, space.num_things)


def make_derive(
    settings: TrainSettings, records: Sequence[Record], space: LabelSpace, console: Console
) -> Derive | None:
    """What works out the weak targets of training images; None when no weak loss has a weight."""
    method = chosen_method(settings)
    if method.weights.b4m_label or method.weights.b4m_dice:
        raise ConfigError(
            "nothing makes masks of boxes yet", where="method", fix="choose m4b, ssl or skip, or set b4m_label to 0"
        )
    return Deriver(space, None, method.weights.any("m4b"), settings.void) if method.weights.any() else None
