"""Masks made from boxes, kept on disk: making them is slow, and every run wants the same ones."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from bombo.box_for_mask.weak_mask import LabelProvider, WeakMask
from bombo.data.image_io import read_image
from bombo.data.label_space import LabelSpace
from bombo.data.sample import Record
from bombo.errors import DataError
from bombo.files import atomic_write

_STEPS = 255  # weights are kept as bytes
_RULES = 2  # counts up when boxes are painted otherwise, so that masks made before are made anew
_WORTH_A_POOL = 100  # images: each process imports torch first, which takes seconds


@dataclass(frozen=True)
class Cached:
    """A label provider that remembers, in one small PNG per image: values in one channel, weights in the other.

    The file's name is made of everything the mask depends on: the provider's name, the pixels, the boxes with their
    labels, and the label space. So what changes is made anew, and what is damaged as well.

    Args:
        provider: Makes the masks.
        folder: Where they are kept; may be shared by any number of data sets, runs and processes.
    """

    provider: LabelProvider
    folder: Path

    @property
    def name(self) -> str:
        """See `LabelProvider`."""
        return self.provider.name

    def __call__(
        self, image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, crowd: np.ndarray, space: LabelSpace
    ) -> WeakMask:
        """See `LabelProvider`."""
        return self.look_up(image, boxes, labels, crowd, space)[0]

    def look_up(
        self, image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, crowd: np.ndarray, space: LabelSpace
    ) -> tuple[WeakMask, bool]:
        """The mask, and whether it had to be made."""
        file = self.folder / f"{self._key(image, boxes, labels, crowd, space)}.png"
        kept = _read(file, (image.shape[0], image.shape[1]))
        if kept is not None:
            return kept, False
        made = self.provider(image, boxes, labels, crowd, space)
        made = WeakMask(made.values, np.round(made.weights * _STEPS).astype(np.uint8) / np.float32(_STEPS))
        atomic_write(file, _encoded(made))
        return made, True

    def _key(
        self, image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, crowd: np.ndarray, space: LabelSpace
    ) -> str:
        digest = hashlib.blake2b(digest_size=16)
        digest.update(repr((_RULES, self.provider.name, space.num_things, bool(space.stuff), image.shape)).encode())
        for array in (image, boxes, labels, crowd):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def prepare(
    records: Sequence[Record], cached: Cached, space: LabelSpace, processes: int, progress: Callable[[int], None]
) -> int:
    """Makes the masks of all records that have boxes, several at a time; those that are there cost a look.

    Files that cannot be read are left to the training run, which names them.

    Args:
        records: The images.
        cached: What makes and keeps their masks.
        space: The label space.
        processes: How many at the same time; for few images, all are made in this process.
        progress: Called with the number of images done.

    Returns:
        How many were not there before.
    """
    made = 0
    tasks = [(record, cached, space) for record in records if record.boxes is not None]
    if processes <= 1 or len(tasks) < _WORTH_A_POOL:
        for done, task in enumerate(tasks, start=1):
            made += _make(task)
            progress(done)
        return made
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        for done, is_new in enumerate(pool.map(_make, tasks, chunksize=4), start=1):
            made += is_new
            progress(done)
    return made


def default_folder() -> Path:
    """The user's cache: `$XDG_CACHE_HOME/bombo/masks`, usually ~/.cache/bombo/masks."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bombo" / "masks"


def _make(task: tuple[Record, Cached, LabelSpace]) -> bool:
    record, cached, space = task
    if record.boxes is None:
        return False
    try:
        image = read_image(record.image)
    except DataError:
        return False
    return cached.look_up(image, record.boxes.boxes, record.boxes.labels, record.boxes.crowd, space)[1]


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _encoded(mask: WeakMask) -> bytes:
    channels = np.stack((mask.values, np.round(mask.weights * _STEPS).astype(np.uint8)), axis=-1)
    file = io.BytesIO()
    Image.fromarray(channels).save(file, "PNG", compress_level=3)  # two channels: mode LA
    return file.getvalue()


def _read(file: Path, size: tuple[int, int]) -> WeakMask | None:
    try:
        content = file.read_bytes()
        Image.open(io.BytesIO(content)).verify()  # decoding alone lets wrong bits pass
        channels = np.asarray(Image.open(io.BytesIO(content)))
    except (OSError, SyntaxError, ValueError):  # missing, cut off or damaged: Pillow raises any of these
        return None
    if channels.shape != (*size, 2):
        return None
    return WeakMask(channels[..., 0].copy(), channels[..., 1] / np.float32(_STEPS))
