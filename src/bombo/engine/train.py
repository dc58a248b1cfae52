"""Trains one network from images annotated with boxes, with masks, or with both.

bombo train --data pets.yaml
bombo train --data pets.yaml --backbone mobilenetv2_100 --size 160 --steps 800
torchrun --nproc-per-node 8 -m bombo train --data pets.yaml
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from bombo import distributed
from bombo.data.augment import Augment
from bombo.data.batch import Batch
from bombo.data.data_file import DataSet, label_space, load_data_file, read_split
from bombo.data.dataset import TrainingBatches, ready
from bombo.data.derived import Derive
from bombo.data.label_space import LabelSpace
from bombo.data.sample import Record
from bombo.data.sampler import BalancedBatches
from bombo.data.statistics import statistics
from bombo.engine import overview
from bombo.engine.checkpoint import load_state
from bombo.engine.deriving import chosen_method, make_derive, usual_rates
from bombo.engine.device import choose_device
from bombo.engine.evaluate import Evaluation
from bombo.engine.following import follow
from bombo.engine.interrupt import leave_to_main
from bombo.engine.loggers import listening, require
from bombo.engine.loop import Schedule, Training, fit, validation_of
from bombo.engine.model import Model, TorchModel
from bombo.engine.optimiser import make_optimiser
from bombo.engine.progress import TrainingProgress
from bombo.engine.pseudo_labels import Labeller
from bombo.engine.report import report_at_end
from bombo.engine.run_folder import RunFolder
from bombo.engine.settings import TrainSettings
from bombo.engine.training_plots import plot_labels, plot_losses, with_pictures
from bombo.errors import ConfigError
from bombo.losses.criterion import Criterion
from bombo.models.ema import Teacher
from bombo.models.network import SIZE_MULTIPLE, Network, NetworkConfig
from bombo.models.precision import choose_precision, widen_strided_depthwise


@dataclass(frozen=True)
class Run:
    """A run that has ended.

    Args:
        path: Its folder.
        model: The network (averaged weights of the last step), ready to predict.
        evaluation: The last evaluation, None without validation images.
        stopped: `finished`, `out of time`, `no longer improving` or `interrupted`.
    """

    path: Path
    model: Model
    evaluation: Evaluation | None
    stopped: str

    def to_json(self) -> dict[str, Any]:
        """Plain types; the network is in the folder."""
        evaluation = None if self.evaluation is None else self.evaluation.to_json()
        return {"path": str(self.path), "stopped": self.stopped, "evaluation": evaluation}


def train(**given: Any) -> Run:
    """Train one network from images annotated with boxes, with masks, or with both.

    The parameters are the fields of `TrainSettings`, one for one the options of `bombo train`; `help(bombo.train)`
    lists them.

    Raises:
        BomboError: A setting, a file or a loss cannot be used; the message says what to do.
    """
    settings = TrainSettings.resolve(given)
    require(settings.loggers)
    device, device_reason = choose_device(settings.device)
    dtype, dtype_reason = choose_precision(settings.precision, device)
    distributed.start(device)
    torch.manual_seed(settings.seed)

    space, train_set, val_set = read_data(settings)
    network = make_network(settings, space).to(device)
    teacher = Teacher(network, settings.ema)
    if device.type == "cpu" and dtype == torch.bfloat16:
        widen_strided_depthwise(network)
    model = TorchModel(space, (settings.size, settings.size), settings.fit, teacher.network, device, dtype)

    kinds = [record.kind for record in train_set.records]
    places = BalancedBatches(kinds, settings.batch_size, [model.size]).places()
    schedule = make_schedule(settings, len(kinds))
    training = Training(
        network=network,
        teacher=teacher,
        model=model,
        optimiser=make_optimiser(
            network,
            settings.optimiser,
            lr=settings.lr,
            backbone_lr=settings.backbone_lr,
            weight_decay=settings.weight_decay,
        ),
        scaler=torch.amp.GradScaler(device.type, enabled=dtype == torch.float16),
        criterion=make_criterion(settings, train_set.records, space, device),
        schedule=schedule,
        clip=settings.clip,
        per_step={
            kind: settings.accumulate * (places.get(kind, 0) + places.get("both", 0)) for kind in ("boxes", "masks")
        },
        skipped={problem.where: str(problem) for problem in (*train_set.problems, *val_set.problems)},
    )
    folder = (
        RunFolder.of(Path(settings.resume))
        if settings.resume
        else RunFolder.create(settings.out, Path(str(settings.data)).stem, settings.overwrite)
    )
    with folder:
        return _train_in(folder, settings, training, space, train_set, val_set, f"{device_reason}; {dtype_reason}")


train.__signature__ = TrainSettings.signature()  # type: ignore[attr-defined]


def _train_in(
    folder: RunFolder,
    settings: TrainSettings,
    training: Training,
    space: LabelSpace,
    train_set: DataSet,
    val_set: DataSet,
    reason: str,
) -> Run:
    """The run, from its first line to its report; `reason` says why this device and precision."""
    console = Console(quiet=not distributed.is_main())
    model, schedule, device = training.model, training.schedule, training.model.device
    if settings.resume:
        training.restore(load_state(folder.path))
        folder.forget_after(training.step)
    folder.describe(settings.model_dump(mode="json"), space, {"device": str(device), "precision": str(model.dtype)})
    if distributed.is_main():
        counts = statistics(train_set.records, space)
        overview.show(console, settings, space, counts, val_set, training, folder.path, reason)
        folder.describe_data(counts.to_json(space), len(val_set.records))
        plot_labels(folder.path, space, counts)

    derive = make_derive(settings, train_set.records, space, console)
    batches = load_batches(settings, train_set.records, schedule, training.step, device, derive)
    if distributed.is_main() and training.step == 0:
        batches = with_pictures(batches, folder.path, space.names)
    validation = validation_of(val_set.records, settings.batch_size, worker_count(settings, device), settings.skip_bad)
    labeller = Labeller(training.criterion.method, model)
    following = follow(derive, labeller, train_set, val_set, folder.path, console)
    loggers = settings.loggers if distributed.is_main() else []
    with (
        TrainingProgress(console, schedule.steps, training.step, quiet=not distributed.is_main()) as progress,
        listening(folder.path, loggers, settings.model_dump(mode="json"), training.step) as folder.loggers,
    ):
        forward = make_forward(settings, training.network, device)
        stopped = fit(training, forward, batches, validation, following, folder, progress)
    written = None
    if distributed.is_main():
        plot_losses(folder.path)
        if stopped != "interrupted":
            kept = () if training.evaluation is None else (model, val_set, training.evaluation, training.step)
            written = report_at_end(folder.path, console, *kept)
    overview.finish(console, training, folder.path, stopped, written)
    return Run(folder.path, model, training.evaluation, stopped)


def read_data(settings: TrainSettings) -> tuple[LabelSpace, DataSet, DataSet]:
    """Reads the data file: classes, training images, validation images (none is fine)."""
    file = load_data_file(Path(str(settings.data)))
    space = label_space(file)
    train_set = read_split(file, "train", space, skip_bad=settings.skip_bad)
    val_set = read_split(file, "val", space, skip_bad=settings.skip_bad) if file.val else DataSet([], [])
    return space, train_set, val_set


def make_network(settings: TrainSettings, space: LabelSpace) -> Network:
    """Builds the network; a resumed run gets its weights from the saved state, not from the hub again.

    Raises:
        ConfigError: There is no such backbone, or it cannot take images of this size.
    """
    config = NetworkConfig(
        backbone=settings.backbone,
        num_things=space.num_things,
        num_mask_values=space.num_mask_values,
        channels=settings.channels,
        segmentation_channels=settings.segmentation_channels,
        head_depth=settings.head_depth,
    )
    with _silent("timm"):  # it warns of layers in the file that no pyramid needs, such as the classifier
        network = Network(config, "none" if settings.resume else settings.weights)
    network.backbone.require_size(settings.size)
    if settings.freeze_stem:
        network.backbone.freeze_stem()
    if settings.freeze_norm:
        network.backbone.freeze_norm()
    return network


def make_schedule(settings: TrainSettings, images: int) -> Schedule:
    """Turns epochs into steps; an epoch is as many steps as it takes to draw as many images as there are."""
    epoch = max(1, math.ceil(images / (settings.batch_size * settings.accumulate)))
    return Schedule(
        steps=settings.steps or settings.epochs * epoch,
        epoch=epoch,
        evaluate=settings.eval_every,
        warmup=settings.warmup,
        accumulate=settings.accumulate,
        patience=settings.patience,
        max_seconds=settings.max_seconds,
    )


def make_forward(settings: TrainSettings, network: Network, device: torch.device) -> nn.Module:
    """The network as the loop calls it: in the chosen memory layout, compiled, spread over processes."""
    if settings.channels_last or (settings.channels_last is None and device.type == "cuda"):
        network.to(memory_format=torch.channels_last)
    forward: nn.Module = network
    if distributed.world() > 1:
        if device.type == "cuda":
            convert_sync_batchnorm(network)
        elif not settings.freeze_norm and any(isinstance(m, nn.BatchNorm2d) for m in network.modules()):
            raise ConfigError(
                f"{settings.backbone} normalises over the batch, which torch synchronises on GPUs only",
                where="freeze_norm",
                fix="add --freeze-norm, or start one process",
            )
        forward = DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)
    if settings.compile:
        forward = torch.compile(forward)  # type: ignore[assignment]
    return forward


def make_criterion(
    settings: TrainSettings, records: Sequence[Record], space: LabelSpace, device: torch.device
) -> Criterion:
    """The losses as the settings ask for them."""
    method = chosen_method(settings)
    rates = usual_rates(records, space) if method.weights.b4m_fill else None
    return Criterion(
        box_loss=settings.box_loss,
        detection=settings.detection_weight,
        segmentation=settings.segmentation_weight,
        dice=settings.dice,
        method=method,
        rates=None if rates is None else (rates[0].to(device), rates[1].to(device)),
    )


def load_batches(
    settings: TrainSettings,
    records: Sequence[Record],
    schedule: Schedule,
    step: int,
    device: torch.device,
    derive: Derive | None,
) -> Iterator[Batch]:
    """Batches from a step on to the end of the run.

    Raises:
        DataError: An image cannot be used.
    """
    sides = [settings.size]
    if settings.multi_scale:
        low, high = (round(settings.size * share / SIZE_MULTIPLE) for share in (0.75, 1.25))
        sides = [SIZE_MULTIPLE * number for number in range(max(1, low), high + 1)]
    draws = BalancedBatches(
        [record.kind for record in records],
        settings.batch_size,
        [(side, side) for side in sides],
        seed=settings.seed,
        start=step * schedule.accumulate,
        stop=schedule.steps * schedule.accumulate,
        rank=distributed.rank(),
        world=distributed.world(),
    )
    images = TrainingBatches(
        records,
        Augment(fit=settings.fit, scale=(1 / settings.zoom, settings.zoom), colour=settings.colour),
        settings.skip_bad,
        derive,
    )
    loader = DataLoader(
        images,
        batch_size=None,
        sampler=draws,
        num_workers=worker_count(settings, device),
        pin_memory=device.type == "cuda",
        worker_init_fn=leave_to_main,
        generator=torch.Generator(),  # otherwise it draws from the global one, which a resumed run goes on with
    )
    return (ready(batch) for batch in loader)


def worker_count(settings: TrainSettings, device: torch.device) -> int:
    """Decoding processes: as asked, or one beside a CPU that computes, or as many as the cores feed a GPU with."""
    if settings.workers is not None:
        return settings.workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, max(1, cores // distributed.world() - 1)) if device.type != "cpu" else min(1, cores - 1)


@contextmanager
def _silent(package: str) -> Iterator[None]:
    """Lets a package log errors only."""
    logger = logging.getLogger(package)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
