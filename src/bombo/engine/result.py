"""What the network sees in one image, and the forms people want it in."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bombo.data.label_space import VOID
from bombo.engine.colours import mask_palette
from bombo.engine.drawing import draw
from bombo.errors import BomboError
from bombo.files import atomic_write


@dataclass(frozen=True, repr=False, eq=False)
class Result:
    """What the network sees in one image.

    Args:
        image: (H, W, 3) uint8, as shown.
        boxes: (N, 4) float32 xyxy pixels of the image.
        labels: (N,) int64 class index.
        scores: (N,) float32 in 0 to 1, descending.
        mask: (H, W) uint8 class map, 0 background, class index + 1.
        classes: All class names; label `c` is mask value `c + 1`.
        name: File name, or nothing.
        tile: Side in pixels of the windows the image was seen in; None if it was seen whole.

    Raises:
        ValueError: Shapes disagree, or a label or mask value is no class.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    mask: np.ndarray
    classes: tuple[str, ...]
    name: str = ""
    tile: int | None = None

    def __post_init__(self) -> None:
        number = len(self.boxes)
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(f"image is {self.image.shape} {self.image.dtype}, expected (H, W, 3) uint8")
        if self.mask.shape != self.image.shape[:2] or self.mask.dtype != np.uint8:
            raise ValueError(f"mask is {self.mask.shape} {self.mask.dtype}, expected {self.image.shape[:2]} uint8")
        if self.boxes.shape != (number, 4):
            raise ValueError(f"boxes are {self.boxes.shape}, expected (N, 4)")
        if self.labels.shape != (number,) or self.scores.shape != (number,):
            raise ValueError(f"{number} boxes with labels {self.labels.shape} and scores {self.scores.shape}")
        if np.any((self.labels < 0) | (self.labels >= len(self.classes))):
            raise ValueError(f"labels go from {self.labels.min()} to {self.labels.max()}; {len(self.classes)} classes")
        if np.any((self.mask > len(self.classes)) & (self.mask != VOID)):
            raise ValueError(f"mask holds {np.unique(self.mask).tolist()}; {len(self.classes)} classes")
        if np.any(np.diff(self.scores) > 0):
            raise ValueError("scores are not in descending order")

    def __len__(self) -> int:
        return len(self.boxes)

    def __repr__(self) -> str:
        height, width = self.mask.shape
        counts = np.bincount(self.labels, minlength=len(self.classes))
        shares = np.bincount(self.mask.ravel(), minlength=256)[1 : len(self.classes) + 1] / max(1, self.mask.size)
        objects = [f"{counts[c]} {self.classes[c]}" for c in np.argsort(-counts, kind="stable") if counts[c]]
        regions = [f"{self.classes[c]} {_percent(shares[c])}" for c in np.argsort(-shares, kind="stable") if shares[c]]
        return (
            f"{self.name or f'image of {width} by {height}'}: {', '.join(objects) or 'no objects'}; "
            f"mask: {', '.join(regions) or 'background only'}"
        )

    def plot(self, *, boxes: bool = True, mask: bool = True) -> Image.Image:
        """Draws boxes with names and scores, and the mask as a tint; small images are enlarged to be readable.

        Args:
            boxes: Whether to draw the boxes.
            mask: Whether to draw the mask.
        """
        shown = len(self) if boxes else 0
        return draw(
            self.image,
            self.boxes[:shown],
            self.labels[:shown],
            self.scores[:shown],
            self.mask if mask else None,
            self.classes,
            tile=self.tile,
        )

    def to_supervision(self) -> Any:
        """The boxes as `supervision.Detections`, class names in `data["class_name"]`.

        Raises:
            BomboError: The package `supervision` is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise BomboError(
                f"the package `supervision` cannot be imported ({error})", fix="pip install supervision"
            ) from error
        return supervision.Detections(
            xyxy=self.boxes,
            confidence=self.scores,
            class_id=self.labels,
            data={"class_name": np.array(self.classes)[self.labels]},
        )

    def to_coco(self, image_id: int | str) -> list[dict[str, Any]]:
        """The boxes as entries of a COCO results file, ready for JSON.

        Args:
            image_id: The image's id in the annotation file, or its name where there is none.

        Returns:
            One entry a box: `bbox` is x, y, width, height in pixels, `category_id` the class index + 1.
        """
        return [
            {
                "image_id": image_id,
                "category_id": int(label) + 1,
                "category_name": self.classes[label],
                "bbox": [round(float(value), 2) for value in (x1, y1, x2 - x1, y2 - y1)],
                "score": float(score),
            }
            for (x1, y1, x2, y2), label, score in zip(
                self.boxes.astype(np.float64), self.labels, self.scores, strict=True
            )
        ]

    def save_mask(self, path: Path | str) -> None:
        """Writes the mask as a palette PNG: indices are the mask values, colours those of `plot`.

        Raises:
            BomboError: The file cannot be written.
        """
        picture = Image.fromarray(self.mask)
        picture.putpalette(mask_palette(len(self.classes)).tobytes())
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG", optimize=True)
        atomic_write(Path(path), buffer.getvalue())


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %") if share >= 0.005 else "< 1 %"
