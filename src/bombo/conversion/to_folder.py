"""Writer of a folder of images and a folder of masks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bombo.conversion.annotated import AnnotatedImage
from bombo.conversion.losses import Losses
from bombo.conversion.placing import linked
from bombo.data.image_io import IMAGE_SUFFIXES
from bombo.data.spelling import mask_png


def write_folder(images: Iterable[AnnotatedImage], root: Path, part: str, losses: Losses | None = None) -> None:
    """Writes `images/<part>` and `masks/<part>`, palette PNGs of class index + 1, 0 background, 255 void.

    Args:
        images: What to write, all with masks; read once.
        root: The folder.
        part: Name of these images' folders.
        losses: Takes note of what cannot be said.
    """
    losses = losses or Losses()
    place = linked(root / "images" / part, IMAGE_SUFFIXES, losses)
    masks = root / "masks" / part
    masks.mkdir(parents=True, exist_ok=True)
    for image in images:
        assert image.mask is not None
        place(image)
        losses.drop("boxes: a folder of masks cannot say them", image.name, len(image.objects or ()))
        (masks / f"{image.name}.png").write_bytes(mask_png(image.mask))
