"""Draws the documentation's pictures: generated scenes, what is made of their annotation, and what a network sees.

    python docs/make_pictures.py RUN

RUN is a network trained on 800 other scenes, for 1,000 steps of 16 images (see `_TRAINING`).
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from bombo.box_for_mask.providers import provider_called
from bombo.box_for_mask.weak_mask import WeakMask
from bombo.data.sample import Sample
from bombo.data.scenes import Scene, label_space, make_scene
from bombo.engine.checkpoint import load
from bombo.engine.drawing import draw
from bombo.engine.model import Model
from bombo.engine.refined import confirmed_boxes, refined_mask
from bombo.mask_for_box.components import components

_TRAINING = """\
write_demo(Path("beach"), seed=1, train=800, val=40)
bombo train --data beach/data.yaml --backbone mobilenetv2_100 --size 128 --channels 96 --segmentation-channels 48 \
--head-depth 1 --batch-size 16 --steps 1000 --eval-every 0 --dice 1 --pseudo-boxes weighted
"""
FOLDER = Path(__file__).parent / "pictures"
PANEL, CAPTION, GAP = 420, 24, 8  # pixels
# seeds of scenes that no network has seen, chosen for what they show: touching objects, curved outlines
BOXED, MASKED, CURVED, TOUCHING = 7_000_005, 7_000_003, 7_000_006, 7_000_009
SPACE = label_space()
NOTHING = np.zeros((0, 4)), np.zeros(0, dtype=np.int64)


def main() -> None:
    """Draws all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog=_TRAINING)
    parser.add_argument("run", type=Path, help="the run whose network judges and predicts")
    model = load(parser.parse_args().run)
    FOLDER.mkdir(exist_ok=True)
    _save("overview", _overview(make_scene(BOXED), make_scene(MASKED), model))
    _save("masks-of-boxes", _masks_of_boxes(make_scene(CURVED), model))
    _save("boxes-of-mask", _boxes_of_mask(make_scene(TOUCHING), model))


def _overview(boxed: Scene, masked: Scene, model: Model) -> dict[str, Image.Image]:
    return {
        "annotated: boxes": _with_boxes(boxed, boxed.boxes, boxed.labels),
        "annotated: a mask": _with_mask(masked, masked.mask),
        "seen": model.predict(boxed.image, min_score=0.5).plot(),
        "seen ": model.predict(masked.image, min_score=0.5).plot(),
    }


def _masks_of_boxes(scene: Scene, model: Model) -> dict[str, Image.Image]:
    crowd = np.zeros(len(scene.labels), dtype=bool)
    made: dict[str, WeakMask] = {}
    for name in ("fill", "ellipse", "inner", "grabcut"):
        provider = provider_called(name)
        assert not isinstance(provider, Path)
        made[name] = provider(scene.image, scene.boxes, scene.labels, crowd, SPACE)
    made["grabcut, refined"] = refined_mask(_sample(scene), made["grabcut"], model)
    panels = {"the boxes": _with_boxes(scene, scene.boxes, scene.labels)}
    return panels | {name: _with_mask(scene, mask.values) for name, mask in made.items()}


def _boxes_of_mask(scene: Scene, model: Model) -> dict[str, Image.Image]:
    found = components(scene.mask, SPACE.num_things)
    refined, labels, weights = confirmed_boxes(
        _sample(scene), torch.from_numpy(found.boxes), torch.from_numpy(found.labels), model
    )
    return {
        "the mask": _with_mask(scene, scene.mask),
        "its components": _with_boxes(scene, found.boxes, found.labels),
        "refined, with weights": _with_boxes(scene, refined.numpy(), labels.numpy(), weights.numpy()),
        "the true boxes": _with_boxes(scene, scene.boxes, scene.labels),
    }


def _sample(scene: Scene) -> Sample:
    labels = torch.from_numpy(scene.labels)
    image = torch.from_numpy(scene.image).permute(2, 0, 1)
    boxes, mask = torch.from_numpy(scene.boxes), torch.from_numpy(scene.mask)
    return Sample(image, boxes, labels, torch.ones_like(labels, dtype=torch.bool), mask)


def _with_boxes(scene: Scene, boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray | None = None) -> Image.Image:
    return draw(scene.image, boxes, labels, scores, None, SPACE.names)


def _with_mask(scene: Scene, mask: np.ndarray) -> Image.Image:
    return draw(scene.image, *NOTHING, None, mask, SPACE.names)


def _save(name: str, panels: dict[str, Image.Image]) -> None:
    """Writes panels in two columns, each under its caption, legible on a telephone as well."""
    font = ImageFont.load_default(CAPTION)
    height, step = CAPTION + 2 * GAP, PANEL + GAP
    sheet = Image.new("RGB", (2 * step - GAP, math.ceil(len(panels) / 2) * (PANEL + height) - GAP), "white")
    for number, (caption, panel) in enumerate(panels.items()):
        left, top = number % 2 * step, number // 2 * (PANEL + height)
        ImageDraw.Draw(sheet).text((left, top), caption.strip(), fill=(30, 30, 30), font=font)
        sheet.paste(panel.convert("RGB").resize((PANEL, PANEL), Image.Resampling.LANCZOS), (left, top + height - GAP))
    sheet.save(FOLDER / f"{name}.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    main()
