"""A trained network with everything needed to use it: classes, input size, and what computes its forward pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bombo.data.image_io import as_rgb, read_image
from bombo.data.label_space import LabelSpace
from bombo.data.view import Fit, View
from bombo.engine.result import Result
from bombo.engine.tiles import see_in_tiles
from bombo.models.network import Network, Predictions
from bombo.models.postprocess import detect

ImageLike = str | Path | Image.Image | np.ndarray | Tensor


@dataclass(frozen=True)
class Model(ABC):
    """A network ready to use, whatever computes it.

    Args:
        space: Its classes.
        size: (height, width) of its input.
        fit: How images are brought to that size.
    """

    space: LabelSpace
    size: tuple[int, int]
    fit: Fit

    @overload
    def predict(
        self, source: ImageLike, *, min_score: float = ..., batch_size: int = ..., tile: int | None = ...
    ) -> Result: ...
    @overload
    def predict(
        self, source: list[ImageLike], *, min_score: float = ..., batch_size: int = ..., tile: int | None = ...
    ) -> list[Result]: ...
    def predict(
        self,
        source: ImageLike | list[ImageLike],
        *,
        min_score: float = 0.3,
        batch_size: int = 8,
        tile: int | None = None,
    ) -> Result | list[Result]:
        """Detects and segments.

        Args:
            source: A path, PIL image, (H, W, 3) uint8 array, (3, H, W) uint8 tensor, or a list of them. A path of a
                folder gives a list, too.
            min_score: Lower detections are left out.
            batch_size: Images (with `tile`, windows of one image) per forward pass.
            tile: Look at large images in overlapping windows of this many of their pixels; None: at each image whole.

        Raises:
            DataError: A file cannot be read.
            ConfigError: The tile is too small.
        """
        if isinstance(source, (str, Path)) and Path(source).is_dir():
            from bombo.engine.predict import find_images

            source = list(find_images(str(source)))
        if isinstance(source, (str, Path, Image.Image, np.ndarray, Tensor)):
            return next(self.stream([source], min_score=min_score, batch_size=batch_size, tile=tile))
        return list(self.stream(source, min_score=min_score, batch_size=batch_size, tile=tile))

    def stream(
        self, source: Iterable[ImageLike], *, min_score: float = 0.3, batch_size: int = 8, tile: int | None = None
    ) -> Iterator[Result]:
        """As `predict`, one result at a time; memory does not grow with the number of images."""
        items = iter(source)
        if tile is not None:
            for item in items:
                image, name = _as_array(item)
                boxes, scores, labels, mask = see_in_tiles(
                    self, image, tile, min_score=min_score, batch_size=batch_size
                )
                yield Result(image, boxes, labels, scores, mask, self.space.names, name, tile)
            return
        while part := list(islice(items, batch_size)):
            images = [_as_array(item) for item in part]
            views = [View.whole(image.shape[:2], self.size, self.fit) for image, _ in images]
            inputs = [
                view.image(torch.from_numpy(image.copy()).permute(2, 0, 1))
                for view, (image, _) in zip(views, images, strict=True)
            ]
            seen = self.see(torch.stack(inputs), views, min_score=min_score)
            for (image, name), (boxes, scores, labels, mask) in zip(images, seen, strict=True):
                yield Result(image, boxes, labels, scores, mask, self.space.names, name)

    def see(
        self, inputs: Tensor, views: Sequence[View], *, min_score: float
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Runs inputs (B, 3, *size) uint8 and gives boxes, scores, labels and mask of each, in pixels of its source."""
        predictions = self.forward(inputs)
        found = detect(predictions, self.size, min_score=min_score)
        for view, detected, scores in zip(views, found, predictions.mask_logits, strict=True):
            yield (
                view.boxes_to_source(detected.boxes).cpu().numpy(),
                detected.scores.cpu().numpy(),
                detected.labels.cpu().numpy(),
                view.classes_to_source(scores.float()).cpu().numpy(),
            )

    @abstractmethod
    def forward(self, inputs: Tensor) -> Predictions:
        """Raw predictions for inputs (B, 3, *size) uint8."""


@dataclass(frozen=True)
class TorchModel(Model):
    """A network that PyTorch computes.

    Args:
        network: In evaluation mode, on `device`.
        device: Where it computes.
        dtype: Number format of the forward pass.
    """

    network: Network
    device: torch.device
    dtype: torch.dtype

    @torch.inference_mode()
    def forward(self, inputs: Tensor) -> Predictions:
        """As `Model.forward`."""
        with autocast(self.device, self.dtype):
            return self.network(inputs.to(self.device, non_blocking=True))  # type: ignore[no-any-return]


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[Any]:
    """Autocast to a half-precision type; does nothing for float32."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def _as_array(item: ImageLike) -> tuple[np.ndarray, str]:
    match item:
        case str() | Path():
            return read_image(Path(item)), Path(item).name
        case Image.Image():
            return as_rgb(item), ""
        case Tensor() if item.ndim == 3 and item.shape[0] == 3 and item.dtype == torch.uint8:
            return item.cpu().permute(1, 2, 0).numpy(), ""
        case np.ndarray() if item.ndim == 3 and item.shape[2] == 3 and item.dtype == np.uint8:
            return item, ""
    found = f"{tuple(item.shape)} {item.dtype}" if hasattr(item, "shape") else type(item).__name__
    raise TypeError(
        f"cannot predict on {found}: expected a path, a PIL image, (H, W, 3) uint8 or a (3, H, W) uint8 tensor"
    )
