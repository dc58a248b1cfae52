"""The main job on a generated world: generate, train on boxes and masks, evaluate, predict, show."""

from __future__ import annotations

import io
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from typer import Option

from bombo.command import checked
from bombo.data.data_file import label_space, load_data_file, read_split
from bombo.data.dataset import load
from bombo.data.writers import write_demo
from bombo.engine.drawing import draw, side_by_side
from bombo.engine.model import Model
from bombo.engine.train import Run, train
from bombo.files import atomic_write

TRAIN_IMAGES, VAL_IMAGES, PICTURES = 400, 60, 6
# a network small enough to learn from nothing in two minutes on two cores
SETTINGS: dict[str, Any] = {
    "backbone": "test_resnet",
    "weights": "none",
    "channels": 64,
    "segmentation_channels": 48,
    "head_depth": 1,
    "size": 128,
    "batch_size": 16,
    "steps": 700,
    "eval_every": 0,
    "lr": 2e-3,
    "backbone_lr": 1.0,
    "dice": 1.0,
    "workers": 0,  # images this small are decoded faster than they are handed over
}
_INTRODUCTION = """\
A beach seen from above: six kinds of things, and water. Half of the images show the network only boxes,
the other half only masks, which do not tell touching things apart. It has to learn both from that.
"""
_EXPLANATION = """
AP50, AP50-95   how well things are found and boxed: 100 = every one, and nothing invented. AP50 is content with half
                an overlap, AP50-95 asks for ever better ones. Water is no thing: it has a mask but no boxes.
IoU             how well pixels are named: the overlap of the predicted and the true area.
next            describe your own images in a data file (README, "Your own data"), then   bombo train --data FILE"""


@checked
def demo(
    out: Annotated[
        Path, Option(help="Folder for the data, the run and the pictures; what it held is replaced.")
    ] = Path("demo"),
    seed: Annotated[int, Option(min=0, help="Seed of the world and of the training.")] = 0,
) -> Run:
    """Generate a small world, train on it from boxes and masks, evaluate, predict.

    Raises:
        BomboError: The folder cannot be written.
    """
    console = Console(soft_wrap=True, highlight=False)
    console.print(_INTRODUCTION)
    data = write_demo(out, seed=seed, train=TRAIN_IMAGES, val=VAL_IMAGES)
    run = train(data=data, out=out / "run", overwrite=True, seed=seed, **SETTINGS)
    pictures = _draw(run.model, data, out / "pictures")
    console.print(f"pictures  what was there and what the one network sees:   {pictures}/*.png")
    console.print(_EXPLANATION)
    return run


def _draw(model: Model, data: Path, folder: Path) -> Path:
    """Writes image, annotation and prediction side by side for a few validation images."""
    file = load_data_file(data)
    records = read_split(file, "val", label_space(file)).records
    for record in islice(records, PICTURES):
        sample = load(record)
        assert sample.boxes is not None
        assert sample.labels is not None
        assert sample.mask is not None
        image, names = sample.image.permute(1, 2, 0).numpy(), model.space.names
        boxes, labels = sample.boxes.numpy(), sample.labels.numpy()
        panels = {
            "image": draw(image, boxes[:0], labels[:0], None, None, names),
            "truth": draw(image, boxes, labels, None, sample.mask.numpy(), names),
            "prediction": model.predict(sample.image).plot(),
        }
        buffer = io.BytesIO()
        side_by_side(list(panels.values()), list(panels)).save(buffer, "PNG")
        atomic_write(folder / f"{record.name}.png", buffer.getvalue())
    return folder
