"""What a network sees in an image much larger than those it was trained on: window by window, put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bombo.data.view import View
from bombo.errors import ConfigError
from bombo.models.postprocess import Detected, detect
from bombo.models.tiling import MIN_TILE, Window, merge, taper, windows

if TYPE_CHECKING:
    from bombo.engine.model import Model


class _Tile(NamedTuple):
    window: Window
    view: View
    found: Detected  # in pixels of the image
    mask_logits: Tensor  # (K, h, w)


def check_tile(tile: int | None) -> None:
    """Refuses tiles too small to see anything in.

    Raises:
        ConfigError: The side is below 32 pixels.
    """
    if tile is not None and tile < MIN_TILE:
        raise ConfigError(
            f"{tile} is no side for a tile: the network sees one at a time, so it takes {MIN_TILE} pixels at least",
            where="tile",
            fix="give about the size of your training images in pixels, such as --tile 640; "
            "without --tile the network sees every image whole",
        )


def see_in_tiles(
    model: Model, image: np.ndarray, tile: int, *, min_score: float, batch_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Looks at an image in overlapping windows, each as if it were an image of its own.

    Boxes are merged as `models/tiling.py` says. Mask logits are averaged, each window's with a weight that falls
    towards its borders, before the best class is chosen. Only the logits of one or two rows of windows are held, at the
    network's resolution: beyond image and class map, memory grows with the image's width, not with its height or the
    number of classes.

    Args:
        model: Any.
        image: (H, W, 3) uint8.
        tile: Side of a window in pixels of the image.
        min_score: Lower detections are left out.
        batch_size: Windows per forward pass.

    Returns:
        Boxes, scores, labels and mask, as `Model.see` gives them.

    Raises:
        ConfigError: The tile is too small.
    """
    check_tile(tile)
    height, width = image.shape[:2]
    places = windows((height, width), tile)
    if len(places) == 1:
        view, shown = _shown(model, image, places[0])
        return next(model.see(torch.stack([shown]), [view], min_score=min_score))  # memory order as `stream` has it
    mask = np.empty((height, width), dtype=np.uint8)
    seen: list[tuple[Window, Detected]] = []
    held: list[_Tile] = []  # the windows that show a part of the band of rows in question
    ends = [*sorted({place.y for place in places})[1:], height]
    rows = groupby(_looked_at(model, image, places, min_score, batch_size), key=lambda tile: tile.window.y)
    for (top, row), end in zip(rows, ends, strict=True):
        held = [tile for tile in held if tile.window.y + tile.window.height > top] + list(row)
        seen += [(tile.window, tile.found) for tile in held if tile.window.y == top]
        mask[top:end] = _best_class(held, top, end, width).cpu().numpy()
    found = merge(seen, (height, width))
    return found.boxes.numpy(), found.scores.numpy(), found.labels.numpy(), mask


def _looked_at(
    model: Model, image: np.ndarray, places: Sequence[Window], min_score: float, batch_size: int
) -> Iterator[_Tile]:
    for start in range(0, len(places), batch_size):
        part = places[start : start + batch_size]
        views, shown = zip(*(_shown(model, image, place) for place in part), strict=True)
        predictions = model.forward(torch.stack(shown))
        detected = detect(predictions, model.size, min_score=min_score)
        for place, view, found, logits in zip(part, views, detected, predictions.mask_logits, strict=True):
            boxes = view.boxes_to_source(found.boxes)
            moved = boxes + boxes.new_tensor((place.x, place.y, place.x, place.y))
            yield _Tile(place, view, Detected(moved, found.scores, found.labels), logits.float())


def _shown(model: Model, image: np.ndarray, place: Window) -> tuple[View, Tensor]:
    x, y, width, height = place
    view = View.whole((height, width), model.size, model.fit)
    patch = image[y : y + height, x : x + width].copy()  # read-only pixels would make torch warn
    return view, view.image(torch.from_numpy(patch).permute(2, 0, 1))


def _best_class(tiles: Sequence[_Tile], top: int, end: int, width: int) -> Tensor:
    """(end - top, width) uint8 class of a band of rows, one class at a time: K maps would not fit into memory."""
    device = tiles[0].mask_logits.device
    weight = taper(tiles[0].window).to(device)
    best = torch.full((end - top, width), -torch.inf, device=device)
    chosen = torch.zeros((end - top, width), dtype=torch.uint8, device=device)
    for value in range(len(tiles[0].mask_logits)):
        total = torch.zeros_like(best)
        for (x, y, across, down), view, _, logits in tiles:
            weighted = view.scores_to_source(logits[value : value + 1])[0] * weight
            part = weighted[top - y : min(end - y, down)]
            total[: len(part), x : x + across] += part
        better = total > best
        best = total.where(better, best)
        chosen.masked_fill_(better, value)
    return chosen
