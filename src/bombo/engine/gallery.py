"""Pictures of validation images that a run keeps for its report: the best, the worst, and some drawn by lot."""

from __future__ import annotations

import io
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from bombo.data.dataset import load
from bombo.data.image_io import image_size
from bombo.data.label_space import VOID
from bombo.data.sample import Record
from bombo.engine.drawing import draw
from bombo.engine.model import Model
from bombo.engine.run_folder import GALLERY
from bombo.files import atomic_write
from bombo.metrics.box_confusion import MIN_SCORE

INDEX = "index.json"
VIEWS = ("image", "annotation", "prediction")
_EACH, _SIDE = 8, 320  # pictures of each group, pixels of the longer side


def draw_gallery(folder: Path, model: Model, records: Sequence[Record], quality: Mapping[str, float]) -> None:
    """Writes `gallery/`: JPEG files of image, annotation and prediction, and `index.json` that says which is which.

    Args:
        folder: The run's folder.
        model: What predicts.
        records: The validation images.
        quality: Image → how well it went; see `Evaluation`.

    Raises:
        DataError: An image cannot be read.
    """
    named = {record.name: record for record in records}
    groups = choose(quality, lambda name: _shows_something(named[name]))
    images = {}
    for number, name in enumerate(dict.fromkeys(name for names in groups.values() for name in names), start=1):
        pictures = _pictures(named[name], model)
        for view, picture in zip(VIEWS, pictures, strict=True):
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=85)
            atomic_write(folder / GALLERY / f"{number:02}-{view}.jpg", buffer.getvalue())
        carries = {"boxes": "boxes", "masks": "mask", "both": "boxes and mask"}[named[name].kind]
        images[name] = {
            "number": number,
            "size": pictures[0].size,
            "annotation": carries,
            "quality": round(quality[name], 4),
        }
    atomic_write(folder / GALLERY / INDEX, json.dumps({"groups": groups, "images": images}, indent=1) + "\n")


def choose(
    quality: Mapping[str, float], shows_something: Callable[[str], bool], each: int = _EACH
) -> dict[str, list[str]]:
    """Names of the best images, the worst, and some drawn by lot.

    The best are those that show something: where nothing is there, seeing nothing is no feat. The lot depends on the
    names alone, so runs with the same validation images show the same ones.

    Args:
        quality: Image → how well it went; NaN where nothing is annotated: such images are not shown.
        shows_something: Whether an object or a pixel of a class is annotated on an image; asked for the best ones only.
        each: Size of a group, at most; few images are dealt evenly.
    """
    ranked = sorted((name for name, value in quality.items() if not math.isnan(value)), key=lambda n: (-quality[n], n))
    number = min(each, math.ceil(len(ranked) / 3))
    best = list(islice(filter(shows_something, ranked), number))
    worst = [name for name in reversed(ranked) if name not in best][:number]
    by_lot = sorted(random.Random(0).sample(sorted(ranked), number))
    return {"best": best, "worst": worst, "random": by_lot}


def _shows_something(record: Record) -> bool:
    if record.boxes is not None and len(record.boxes.boxes):
        return True
    if record.mask is None:
        return False
    mask = record.mask.load(image_size(record.image))
    return bool(((mask > 0) & (mask < VOID)).any())


def _pictures(record: Record, model: Model) -> tuple[Image.Image, Image.Image, Image.Image]:
    sample = load(record)
    image = sample.image.permute(1, 2, 0).numpy()
    boxes = np.zeros((0, 4), dtype=np.float32) if sample.boxes is None else sample.boxes.numpy()
    labels = np.zeros(0, dtype=np.int64) if sample.labels is None else sample.labels.numpy()
    mask = None if sample.mask is None else sample.mask.numpy()
    seen = model.predict(image, min_score=MIN_SCORE)

    scale = _SIDE / max(image.shape[:2])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    small = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)

    def drawn(boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray | None, mask: np.ndarray | None) -> Image.Image:
        """Drawn at the size at which it is shown: so the letters can be read."""
        shrunk = None if mask is None else np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        return draw(np.asarray(small), boxes * scale, labels, scores, shrunk, model.space.names, enlarge=False)

    return small, drawn(boxes, labels, None, mask), drawn(seen.boxes, seen.labels, seen.scores, seen.mask)
