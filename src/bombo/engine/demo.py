"""The main job on a generated world: generate, train with and without weak losses, compare, predict, show."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import yaml
from rich.console import Console
from typer import Option

from bombo.command import checked
from bombo.data.data_file import label_space, load_data_file, read_split
from bombo.data.dataset import load as load_sample
from bombo.data.writers import write_demo
from bombo.engine.ablate import Ablation, ablate
from bombo.engine.checkpoint import load
from bombo.engine.drawing import draw, side_by_side
from bombo.engine.ladder import SKIP
from bombo.engine.model import Model
from bombo.errors import ConfigError
from bombo.files import atomic_write

ARMS = (SKIP, "bombo")
TRAIN_IMAGES, VAL_IMAGES, PICTURES = 200, 100, 6
# a network small enough to learn from nothing in two minutes on two cores
SETTINGS: dict[str, Any] = {
    "backbone": "test_resnet",
    "weights": "none",
    "channels": 64,
    "segmentation_channels": 48,
    "head_depth": 1,
    "size": 128,
    "batch_size": 16,
    "steps": 500,
    "eval_every": 0,
    "lr": 2e-3,
    "backbone_lr": 1.0,
    "dice": 1.0,
    "workers": 0,  # images this small are decoded faster than they are handed over
}
_SETTINGS_OF_DEMO = "# bombo demo wrote this, and replaces what is in this folder when it is run again\n"
_INTRODUCTION = """\
A beach seen from above: six kinds of things, and water. Half of the images show the network only boxes,
the other half only masks, which do not tell touching things apart. Two networks learn both tasks from that:
one skips what is not annotated (skip), in the other each kind of annotation teaches the other task, too (bombo).
"""
_EXPLANATION = """
mAP50, mAP50-95 how well things are found and boxed: 100 = every one, and nothing invented. AP50 is content with half
                an overlap, AP50-95 asks for ever better ones. Water is no thing: it has a mask but no boxes.
mIoU            how well pixels are named: the overlap of the predicted and the true area.
next            describe your own images in a data file (README, "Your own data"), then   bombo train --data FILE"""


@checked
def demo(
    out: Annotated[
        Path, Option(help="Folder for the data, the runs and the pictures; those of an earlier demo are replaced.")
    ] = Path("demo"),
    seed: Annotated[int, Option(min=0, help="Seed of the world and of the training.")] = 0,
) -> Ablation:
    """Generate a small world, train on it with and without weak losses, compare, predict.

    Raises:
        BomboError: The folder cannot be written.
        ConfigError: It holds something else than an earlier demo.
    """
    settings = out / "settings.yaml"
    if not out.is_dir() or not any(out.iterdir()):
        atomic_write(settings, _SETTINGS_OF_DEMO)
    elif not settings.is_file() or not settings.read_text(errors="replace").startswith(_SETTINGS_OF_DEMO):
        raise ConfigError(
            "holds something else than an earlier demo, which would be lost", where=str(out), fix="choose another --out"
        )
    console = Console(soft_wrap=True, highlight=False)
    console.print(_INTRODUCTION)
    data = write_demo(out, seed=seed, train=TRAIN_IMAGES, val=VAL_IMAGES)
    atomic_write(settings, _SETTINGS_OF_DEMO + yaml.safe_dump({**SETTINGS, "cache": str(out / "masks")}))
    runs = out / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    ablation = ablate(data=data, config=settings, arms=ARMS, seeds=[seed], out=runs, parallel=len(ARMS))
    if ablation.failed or ablation.interrupted:
        return ablation
    models = {arm: load(runs / arm / f"seed-{seed}") for arm in ARMS}
    pictures = _draw(models, data, out / "pictures")
    console.print(f"pictures  what was there and what the two networks see:   {pictures}/*.png")
    console.print(_EXPLANATION)
    return ablation


def _draw(models: Mapping[str, Model], data: Path, folder: Path) -> Path:
    """Writes image, annotation and predictions side by side for a few validation images."""
    file = load_data_file(data)
    space = label_space(file)
    for record in islice(read_split(file, "val", space).records, PICTURES):
        sample = load_sample(record)
        assert sample.boxes is not None
        assert sample.labels is not None
        assert sample.mask is not None
        image, boxes, labels = sample.image.permute(1, 2, 0).numpy(), sample.boxes.numpy(), sample.labels.numpy()
        panels = {
            "image": draw(image, boxes[:0], labels[:0], None, None, space.names),
            "truth": draw(image, boxes, labels, None, sample.mask.numpy(), space.names),
            **{arm: model.predict(sample.image).plot() for arm, model in models.items()},
        }
        buffer = io.BytesIO()
        side_by_side(list(panels.values()), list(panels)).save(buffer, "PNG")
        atomic_write(folder / f"{record.name}.png", buffer.getvalue())
    return folder
