"""The images that files are compared on."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from bombo.data.data_file import label_space, load_data_file, read_split
from bombo.data.image_io import read_image
from bombo.data.scenes import make_scene
from bombo.data.view import Fit, View
from bombo.errors import ConfigError

_NUMBER = 8  # of which two of the generated ones are noise


def generated(size: tuple[int, int], fit: Fit) -> Tensor:
    """Six generated scenes and two images of noise, (8, 3, *size) uint8; always the same."""
    scenes = [torch.from_numpy(make_scene(seed).image) for seed in range(_NUMBER - 2)]
    noise = torch.randint(256, (2, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return torch.stack([*(_shown(scene, size, fit) for scene in scenes), *noise])


def of_validation(data: Path, size: tuple[int, int], fit: Fit) -> Tensor:
    """Up to eight validation images of a data file, spread over its list, (N, 3, *size) uint8.

    Raises:
        ConfigError: The data file names none, or cannot be used.
        DataError: An image cannot be read.
    """
    file = load_data_file(data)
    records = read_split(file, "val", label_space(file)).records
    if not records:
        raise ConfigError("names no validation images", where=str(data), fix="leave --data out: scenes are generated")
    spread = records[:: -(-len(records) // _NUMBER)]
    return torch.stack([_shown(torch.from_numpy(read_image(record.image).copy()), size, fit) for record in spread])


def _shown(image: Tensor, size: tuple[int, int], fit: Fit) -> Tensor:
    """(H, W, 3) source → (3, *size) input."""
    return View.whole((image.shape[0], image.shape[1]), size, fit).image(image.permute(2, 0, 1))
