"""Pictures of what is derived of a few training images as a network learns; a run keeps them for its report."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bombo.data.dataset import load
from bombo.data.sample import Record
from bombo.engine.deriving import Deriver
from bombo.engine.drawing import draw
from bombo.engine.model import Model
from bombo.engine.pseudo_labels import Half, Labeller, spread
from bombo.engine.run_folder import PSEUDO_LABELS
from bombo.errors import DataError
from bombo.files import atomic_write

INDEX, GIVEN = "index.json", "given"
_EACH, _POINTS, _SIDE = 2, 8, 224  # images of each kind, points in time, pixels of the longer side
_TRIED = 8  # images of each kind, should some of them be unreadable


@dataclass(frozen=True)
class Shown:
    """A training image whose pseudo-labels are drawn."""

    name: str
    half: Half
    image: np.ndarray
    scale: float

    @classmethod
    def of(cls, record: Record, derive: Deriver, model: Model) -> Shown:
        """Reads an image.

        Raises:
            DataError: It cannot be read.
        """
        half, image = Half.of(record, derive, model), load(record).image.permute(1, 2, 0).numpy()
        scale = _SIDE / max(image.shape[:2])
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
        return cls(record.name, half, small, scale)

    @property
    def carries(self) -> str:
        """`boxes` or `mask`."""
        return "mask" if self.half.sample.boxes is None else "boxes"

    def given(self, classes: Sequence[str]) -> Image.Image:
        """With its own annotation."""
        sample = self.half.sample
        if sample.boxes is None or sample.labels is None:
            assert sample.mask is not None
            return self._drawn(classes, mask=sample.mask.numpy())
        return self._drawn(classes, (self.half.view.boxes_to_source(sample.boxes).numpy(), sample.labels.numpy()))

    def derived(self, labeller: Labeller, progress: float) -> Image.Image:
        """With what is made of it at a point of the schedule."""
        (opinion,), classes = labeller.opinions([self.half], progress), labeller.teacher.space.names
        if self.carries == "boxes":
            return self._drawn(classes, mask=labeller.mask(self.half, progress, opinion))
        return self._drawn(classes, labeller.boxes(self.half, opinion))

    def _drawn(
        self, classes: Sequence[str], boxes: tuple[np.ndarray, np.ndarray] | None = None, mask: np.ndarray | None = None
    ) -> Image.Image:
        found, labels = boxes or (np.zeros((0, 4)), np.zeros(0, dtype=np.int64))
        if mask is not None:
            x1, y1, x2, y2 = self.half.view.visible_rectangle()
            size = self.image.shape[1], self.image.shape[0]
            mask = np.asarray(Image.fromarray(mask[y1:y2, x1:x2]).resize(size, Image.Resampling.NEAREST))
        return draw(self.image, found * self.scale, labels, None, mask, classes, enlarge=False)


def shown_images(records: Sequence[Record], derive: Deriver, model: Model) -> list[Shown]:
    """Reads two training images with boxes and two with a mask; an unreadable one is left to training, which names it.

    Args:
        records: The training images.
        derive: As training derives.
        model: For its input size.
    """
    shown = []
    for kind, wanted in (("boxes", derive.masks is not None), ("masks", derive.boxes)):
        candidates = [record for record in records if record.kind == kind and wanted and _shows(record)]
        readable: list[Shown] = []
        for record in spread(candidates, _EACH) + candidates[:_TRIED]:
            if len(readable) == _EACH:
                break
            try:
                readable += [] if record.name in {s.name for s in readable} else [Shown.of(record, derive, model)]
            except DataError:
                continue
        shown += readable
    return shown


def draw_pseudo_labels(folder: Path, images: Sequence[Shown], labeller: Labeller, step: int, progress: float) -> None:
    """Writes `pseudo_labels/`: what the images carry, what is made of it after this step, and `index.json`.

    Of many steps some are kept, evenly; those after this one, of a run that was resumed from it, go.
    """
    into = folder / PSEUDO_LABELS
    for number, image in enumerate(images, start=1):
        if not (into / f"{number}-{GIVEN}.jpg").is_file():
            _save(image.given(labeller.teacher.space.names), into / f"{number}-{GIVEN}.jpg")
        _save(image.derived(labeller, progress), into / f"{number}-{step}.jpg")
        drawn = {int(s): f for f in into.glob(f"{number}-*.jpg") if (s := f.stem.partition("-")[2]).isdigit()}
        kept = thinned([s for s in drawn if s <= step])
        for other, file in drawn.items():
            if other not in kept:
                file.unlink()
    if images:
        index = [{"name": image.name, "carries": image.carries} for image in images]
        atomic_write(into / INDEX, json.dumps(index, indent=1) + "\n")


def thinned(steps: Sequence[int], most: int = _POINTS) -> list[int]:
    """At most so many steps, the first and the last among them; what goes is what leaves the smallest gap."""
    kept = sorted(steps)
    while len(kept) > max(2, most):
        del kept[min(range(1, len(kept) - 1), key=lambda i: kept[i + 1] - kept[i - 1])]
    return kept


def _shows(record: Record) -> bool:
    """Whether there is an object to see, as far as can be told without reading the image."""
    return record.boxes is None or len(record.boxes) > 0


def _save(picture: Image.Image, file: Path) -> None:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=75)
    atomic_write(file, buffer.getvalue())
