"""Images in memory, and networks that say what a test wants them to say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, one_hot

from bombo.data.label_space import LabelSpace
from bombo.data.sample import BoxAnnotation, Record
from bombo.engine.model import Model
from bombo.models.network import Predictions


@dataclass(frozen=True)
class Mask:
    values: np.ndarray

    def load(self, size: tuple[int, int]) -> np.ndarray:
        assert self.values.shape == size
        return self.values


@dataclass(frozen=True)
class Says(Model):
    """A network whose detections (every box of `boxes`, with its chances by class) and mask logits are given."""

    boxes: Tensor
    chances: Tensor
    mask_logits: Tensor

    def forward(self, inputs: Tensor) -> Predictions:
        logits = self.chances.clamp(1e-4, 1 - 1e-4).logit()
        return Predictions(logits[None], torch.zeros(1, len(self.boxes), 4), self.boxes, self.mask_logits[None])


@pytest.fixture
def judge() -> Callable[..., Model]:
    """A model for images of one size, which sees these boxes (N, 4), labels and scores, and this mask."""

    def make(
        space: LabelSpace,
        size: tuple[int, int],
        boxes: Any = (),
        labels: Any = (),
        scores: Any = None,
        mask: np.ndarray | None = None,
        logits: Tensor | None = None,
    ) -> Model:
        seen = torch.as_tensor(np.asarray(boxes, np.float32)).reshape(-1, 4)
        known = torch.as_tensor(np.asarray(labels, np.int64)).reshape(-1)
        sure = torch.full((len(seen),), 0.95) if scores is None else torch.as_tensor(scores).float()
        if logits is None:
            logits = torch.zeros(space.num_mask_values, *size)
            if mask is not None:
                logits = 8 * one_hot(torch.from_numpy(mask).long(), space.num_mask_values).permute(2, 0, 1).float()
        logits = interpolate(logits[None], size=(size[0] // 4, size[1] // 4), mode="area")[0]
        chances = one_hot(known, space.num_things) * sure[:, None]
        return Says(space, size, "squash", seen, chances, logits)

    return make


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Record]:
    """Writes an image, and says what of its annotation is known."""

    def make(
        image: np.ndarray,
        boxes: BoxAnnotation | None = None,
        mask: np.ndarray | None = None,
        name: str = "image",
    ) -> Record:
        path = tmp_path / f"{name}.png"
        Image.fromarray(image).save(path)
        return Record(path, boxes, None if mask is None else Mask(mask), name)

    return make
