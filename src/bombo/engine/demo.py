"""The main job on a generated world: generate, train on boxes and masks, evaluate, predict, show."""

from __future__ import annotations

import io
from itertools import islice
from pathlib import Path
from typing import Annotated

from rich.console import Console
from typer import Option

from bombo.command import checked
from bombo.data.data_file import label_space, load_data_file, read_split
from bombo.data.dataset import load
from bombo.data.writers import write_demo
from bombo.engine.drawing import draw, side_by_side
from bombo.engine.model import Model
from bombo.engine.overview import evaluation_table
from bombo.engine.train import Run, train
from bombo.files import atomic_write

_PICTURES = 6


@checked
def demo(
    out: Annotated[Path, Option(help="Folder for the data, the run and the pictures; replaced if it exists.")] = Path(
        "demo"
    ),
    seed: Annotated[int, Option(min=0, help="Seed of the world and of the training.")] = 0,
) -> Run:
    """Generate a small world, train on it from boxes and masks, evaluate, predict."""
    console = Console()
    console.print(
        "A beach from above: six kinds of things, and water. Half of the images will show the network only boxes,"
    )
    console.print("the other half only masks without telling objects apart.\n")
    data = write_demo(out, seed=seed, train=320, val=80)
    run = train(
        data=data,
        out=out / "run",
        overwrite=True,
        backbone="test_resnet",
        weights="none",
        channels=64,
        segmentation_channels=48,
        head_depth=1,
        size=128,
        epochs=30,
        lr=2e-3,
        backbone_lr=1.0,
        eval_every=10,
        seed=seed,
    )
    pictures = _draw(run.model, data, out / "pictures")
    console.print(f"\n[bold]One network, two kinds of annotation.[/] Pictures of what it sees: {pictures}/*.png")
    if run.evaluation is not None:
        console.print(evaluation_table(run.evaluation))
        console.print(_EXPLAINED)
    return run


_EXPLAINED = """
AP50 and AP50-95  how well boxes are found (average precision; 100 = every object found, none invented).
                  AP50 asks for half an overlap, AP50-95 for ever better ones. Water is no object: it has no boxes.
IoU               how well pixels are named (overlap of predicted and true area).
Next              describe your own images in a data file (README, "Your own data") and type  bombo train --data FILE"""


def _draw(model: Model, data: Path, folder: Path) -> Path:
    """Writes image, annotation and prediction side by side for a few validation images."""
    file = load_data_file(data)
    records = read_split(file, "val", label_space(file)).records
    for record in islice(records, _PICTURES):
        sample = load(record)
        result = model.predict(sample.image)
        assert sample.boxes is not None
        assert sample.labels is not None
        assert sample.mask is not None
        image = sample.image.permute(1, 2, 0).numpy()
        truth = draw(image, sample.boxes.numpy(), sample.labels.numpy(), None, sample.mask.numpy(), model.space.names)
        plain = draw(image, sample.boxes[:0].numpy(), sample.labels[:0].numpy(), None, None, model.space.names)
        panels = side_by_side([plain, truth, result.plot()], ["image", "truth", "prediction"])
        buffer = io.BytesIO()
        panels.save(buffer, "PNG")
        atomic_write(folder / f"{record.name}.png", buffer.getvalue())
    return folder
