"""What a run says at its start and at its end."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text
from torch.utils.flop_counter import FlopCounterMode

from bombo import distributed
from bombo.data.data_file import DataSet
from bombo.data.label_space import LabelSpace
from bombo.data.statistics import Statistics
from bombo.engine.checkpoint import BEST, LAST
from bombo.engine.device import describe
from bombo.engine.evaluate import Evaluation
from bombo.engine.loop import Training, percent
from bombo.engine.progress import clock
from bombo.engine.settings import TrainSettings
from bombo.models.network import Network
from bombo.wording import counted, typed


def show(
    console: Console,
    settings: TrainSettings,
    space: LabelSpace,
    counts: Statistics,
    val_set: DataSet,
    training: Training,
    folder: Path,
    reason: str,
) -> None:
    """Prints what was found and what will be done with it: data, network, losses, device and why, where it goes."""
    schedule, model = training.schedule, training.model
    kinds = counts.images
    line = _line(console)
    line(
        "data",
        f"{counted(sum(kinds.values()), 'training image')}: {kinds['boxes']:,} with boxes only · "
        f"{kinds['masks']:,} with masks only · {kinds['both']:,} with both     {_validation(val_set)}",
    )
    if training.skipped:
        bad = counted(len(training.skipped), "file")
        line("", f"{bad} that cannot be used left out; see {folder / 'skipped.json'}")
    line("classes", f"{len(space.things)} things, {len(space.stuff)} stuff")
    console.print(_class_table(space, counts))
    if counts.unlabelled.any():
        some = (f"{name} on {number:,}" for name, number in zip(space.names, counts.unlabelled, strict=True) if number)
        line("", f"(not looked for, so neither there nor absent: {', '.join(some)} images)")
    if counts.masks_read < counts.masks:
        line("", f"(pixels estimated from {counts.masks_read:,} of {counted(counts.masks, 'mask')})")
    line(
        "network",
        f"{settings.backbone} ({_weights(settings)}) → pyramid → detection head + segmentation head      "
        f"{training.network.num_parameters / 1e6:.1f} M parameters, {_gmac(training.network, settings.size):.1f} GMAC "
        f"at {settings.size} px",
    )
    line(
        "losses",
        f"det_cls {settings.detection_weight:g}   det_box {settings.detection_weight:g} ({settings.box_loss})   "
        f"seg_ce {settings.segmentation_weight:g}"
        + (f"   seg_dice {settings.segmentation_weight * settings.dice:g}" if settings.dice else ""),
    )
    for weight, outputs in ((settings.detection_weight, "boxes"), (settings.segmentation_weight, "masks")):
        if not weight:
            line("", f"(nothing teaches {outputs}: those the network gives mean nothing)")
    weak = {name: weight for name, weight in training.criterion.method.weights.by_name().items() if weight}
    teaches = "   ".join(f"{name} {weight:g}" for name, weight in weak.items())
    line("method", f"{settings.method}: " + (teaches or "what is not annotated is skipped"))
    processes = f", {distributed.world()} processes" if distributed.world() > 1 else ""
    line(
        "device",
        f"{describe(model.device)}, {str(model.dtype).removeprefix('torch.')} ({reason}){processes}; "
        f"seed {settings.seed}",
    )
    per_step = " and ".join(f"{number} with {kind}" for kind, number in training.per_step.items() if number)
    line(
        "schedule",
        f"{counted(schedule.steps, 'step')} of {counted(settings.batch_size * settings.accumulate, 'image')} "
        f"({per_step}), {counted(schedule.epochs, 'epoch')}"
        + (f"; resumed at step {training.step:,}" if training.step else "")
        + ("; nothing is left to do, more --epochs would be" if training.step >= schedule.steps else ""),
    )
    line("run", f"{folder}     stop with Ctrl-C, go on with   bombo train --resume {typed(folder)}")
    console.print()


def finish(console: Console, training: Training, folder: Path, stopped: str, report: Path | None) -> None:
    """Prints how the run ended, where its files are and what to type next."""
    line = _line(console)
    console.print()
    if stopped == "interrupted":
        line("stopped", f"after step {training.step:,} of {training.schedule.steps:,}; everything is saved")
        line("go on", f"bombo train --resume {typed(folder)}")
        return
    end = "done" if stopped == "finished" else "stopped"
    why = "" if stopped == "finished" else f" ({stopped})"
    line(end, f"{counted(training.step, 'step')} in {clock(training.seconds)}{why}")
    if training.evaluation is not None:
        console.print(evaluation_table(training.evaluation))
    names = [name for name in (BEST, LAST) if (folder / name).is_file()]
    if stopped == "out of time":
        line("go on", f"bombo train --resume {typed(folder)}")
    if training.skipped:
        line("left out", f"{counted(len(training.skipped), 'file')} that cannot be used; see {folder / 'skipped.json'}")
    line("wrote", "   ".join(map(str, [*(folder / name for name in names), *([report] if report else [])])))
    line("next", f"bombo predict {typed(folder)} photos/        bombo export {typed(folder)}")


def evaluation_table(evaluation: Evaluation) -> Group:
    """Figures per class and their means, in percent, and what they were measured on."""
    detection, segmentation = evaluation.images["detection"], evaluation.images["segmentation"]
    left_out = f"; left out: {', '.join(evaluation.skipped)}" if evaluation.skipped else ""
    measured = f" percent; measured on {counted(detection, 'image')} with boxes, {segmentation:,} with masks{left_out}"
    table = Table(box=None)
    table.add_column("class")
    for name in ("AP50", "AP50-95", "VOC AP50", "IoU"):
        table.add_column(name, justify="right")
    nan = float("nan")
    table.add_row("background", "", "", "", percent(evaluation.figures["IoU_background"]))
    for name, own in evaluation.per_class.items():
        things = [percent(own[key]) if key in own else "" for key in ("AP50", "AP50-95", "VOC_AP50")]
        table.add_row(Text(name), *things, percent(own.get("IoU", nan)))
    means = [percent(evaluation.figures[key]) for key in ("mAP50", "mAP50-95", "VOC_AP50", "mIoU")]
    table.add_section()
    table.add_row("mean", *means, style="bold")
    return Group(table, Text(measured))


def _line(console: Console):  # type: ignore[no-untyped-def]
    return lambda name, text: console.print(f"{name:<10}{text}", highlight=False, soft_wrap=True, markup=False)


def _class_table(space: LabelSpace, counts: Statistics) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(" " * 10)
    table.add_column("class")
    for name in ("boxes", "images with boxes", "pixels in masks", "images with masks"):
        table.add_column(name, justify="right")
    for index, name in enumerate(space.names):
        thing = index < space.num_things
        share = counts.pixel_share[index + 1]
        table.add_row(
            "",
            Text(name),
            f"{counts.boxes[index]:,}" if thing else "stuff",
            f"{counts.images_with_boxes[index]:,}" if thing else "",
            "–" if math.isnan(share) else f"{100 * share:.1f} %",
            f"{counts.images_with_pixels[index]:,}",
        )
    return table


def _validation(val_set: DataSet) -> str:
    if not val_set.records:
        return "no validation images"
    kinds = {kind: sum(record.kind == kind for record in val_set.records) for kind in ("both", "boxes", "masks")}
    return f"{len(val_set.records):,} for validation ({', '.join(f'{n:,} with {k}' for k, n in kinds.items() if n)})"


def _weights(settings: TrainSettings) -> str:
    if settings.resume:
        return "resumed"
    known = {"imagenet": "ImageNet", "none": "untrained"}
    return known.get(settings.weights, Path(settings.weights).name)


@torch.no_grad()
def _gmac(network: Network, size: int) -> float:
    device = next(network.parameters()).device
    training = network.training
    network.eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, size, size, device=device))
    network.train(training)
    return float(counter.get_total_flops()) / 2e9
