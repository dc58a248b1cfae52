from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from bombo.engine.model import TorchModel
from bombo.exported.end_to_end import EndToEnd
from bombo.exported.parity import Parity, compare

Outputs = dict[str, Tensor]


def compared(model: TorchModel, images: Tensor, kind: str, spoil: Callable[[Outputs], Outputs]) -> Parity:
    module = EndToEnd(model.network) if kind == "detections" else model.network

    class File:
        metadata: Any = SimpleNamespace(outputs=kind)

        @torch.no_grad()
        def __call__(self, part: Tensor) -> Outputs:
            return spoil(module(part)._asdict())

    return compare(model, File(), images)


def changed(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[Outputs], Outputs]:
    return lambda outputs: outputs | {name: change(outputs[name].clone())}


def first_pixels(mask: Tensor) -> Tensor:
    mask[:, 0] = 1 - mask[:, 0].clamp(max=1)
    return mask


SPOILT = {
    "more of a class": ("heads", changed("class_logits", lambda x: x + 0.01), "class_logits differs by 0.01"),
    "other boxes": ("heads", changed("box_deltas", lambda x: x + 0.5), "box_deltas differs by 0.5"),
    "other anchors": ("heads", changed("anchors", lambda x: x * 1.01), "anchors differs"),
    "another mask": ("heads", changed("mask_logits", lambda x: x.flip(1)), "of the mask's pixels differ"),
    "no numbers": ("heads", changed("mask_logits", lambda x: x * torch.nan), "mask_logits differs by nan"),
    "boxes two pixels away": ("detections", changed("boxes", lambda x: x + 2), "boxes have no counterpart"),
    "other classes": ("detections", changed("labels", lambda x: 2 - x), "boxes have no counterpart"),
    "other scores": ("detections", changed("scores", lambda x: x * 0.9), "boxes have no counterpart"),
    "fewer boxes": ("detections", changed("scores", lambda x: x * (x > 0.5)), "boxes have no counterpart"),
    "a row of pixels": ("detections", changed("mask", first_pixels), "of the mask's pixels differ"),
}


@pytest.mark.parametrize("kind", ["heads", "detections"])
def test_a_faithful_file_has_no_problems(kind: str, model: TorchModel, images: Tensor) -> None:
    parity = compared(model, images, kind, lambda outputs: outputs)
    assert parity.problems() == []
    assert parity.images == 5
    assert parity.boxes > 100
    assert (parity.lost, parity.pixels) == (0, 0.0)
    assert parity.apart == 0
    assert len(parity.outputs) == (4 if kind == "heads" else 0)


def test_rounding_is_measured_and_allowed(model: TorchModel, images: Tensor) -> None:
    parity = compared(model, images, "detections", changed("boxes", lambda x: x + 0.125))
    assert parity.problems() == []
    assert parity.apart == pytest.approx(0.125, abs=1e-4)


@pytest.mark.parametrize(("kind", "spoil", "message"), SPOILT.values(), ids=SPOILT)
def test_every_difference_is_a_problem(
    kind: str, spoil: Callable[[Outputs], Outputs], message: str, model: TorchModel, images: Tensor
) -> None:
    assert message in "; ".join(compared(model, images, kind, spoil).problems())


def test_a_network_without_things_can_be_compared(segmenter: TorchModel, images: Tensor) -> None:
    for kind in ("heads", "detections"):
        parity = compared(segmenter, images, kind, lambda outputs: outputs)
        assert parity.problems() == []
        assert parity.boxes == 0
