"""The training loop: `fit`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bombo import distributed
from bombo.data.batch import Batch
from bombo.data.sample import Record
from bombo.engine import checkpoint
from bombo.engine.device import memory_in_use
from bombo.engine.evaluate import Evaluation, measure
from bombo.engine.interrupt import Interrupt
from bombo.engine.model import Model, TorchModel, autocast
from bombo.engine.optimiser import learning_rate, set_learning_rate
from bombo.engine.progress import TrainingProgress
from bombo.engine.run_folder import RunFolder
from bombo.errors import BomboError, ConfigError
from bombo.losses.criterion import Criterion
from bombo.losses.term import Term
from bombo.models.ema import Teacher
from bombo.models.network import Network, Predictions


@dataclass(frozen=True)
class Schedule:
    """When things happen, in optimiser steps.

    Args:
        steps: Length of the run.
        epoch: Steps of an epoch.
        evaluate: Epochs between evaluations; 0 = only at the end.
        warmup: Share of the run in which the learning rate rises.
        accumulate: Batches per step.
        patience: Evaluations without a better score after which training stops; None = never.
        max_seconds: Time after which `fit` stops; None = never.
    """

    steps: int
    epoch: int
    evaluate: int = 1
    warmup: float = 0.05
    accumulate: int = 1
    patience: int | None = None
    max_seconds: float | None = None

    @property
    def epochs(self) -> int:
        """Number of epochs, the last perhaps shorter."""
        return math.ceil(self.steps / self.epoch)

    def ends_epoch(self, step: int) -> bool:
        """Whether an epoch (or the run) ends with step number `step`, counted from 1."""
        return step % self.epoch == 0 or step == self.steps

    def evaluates(self, step: int) -> bool:
        """Whether the network is evaluated after step number `step`."""
        epoch = math.ceil(step / self.epoch)
        return step == self.steps or (step % self.epoch == 0 and self.evaluate > 0 and epoch % self.evaluate == 0)


@dataclass
class Training:
    """Everything that changes while a network is trained, and what it is trained with.

    `per_step` is the number of images with `boxes` and with `masks` that one step sees, over all processes; `losses`
    is the running mean of each, `spoke_for` that of how many things each was computed from in a step of this process;
    `seconds` and `cpu_seconds` (of this process) were spent in steps.
    """

    network: Network
    teacher: Teacher
    model: TorchModel
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    criterion: Criterion
    schedule: Schedule
    clip: float
    per_step: dict[str, int]
    step: int = 0
    best: float = -math.inf
    stale: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)
    spoke_for: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    evaluation: Evaluation | None = None

    @property
    def progress(self) -> float:
        """Share of the schedule behind us, 0 to 1."""
        return self.step / self.schedule.steps

    @property
    def seen(self) -> dict[str, int]:
        """Images with `boxes` and with `masks` seen so far."""
        return {kind: self.step * number for kind, number in self.per_step.items()}

    def state(self) -> dict[str, Any]:
        """Tensors and plain types from which `restore` continues as if nothing had happened."""
        device = self.model.device
        return {
            "classes": list(self.model.space.names),
            "step": self.step,
            "best": self.best,
            "stale": self.stale,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "losses": self.losses,
            "spoke_for": self.spoke_for,
            "skipped": self.skipped,
            "network": self.network.state_dict(),
            "teacher": self.teacher.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "optimiser_kind": type(self.optimiser).__name__,
            "scaler": self.scaler.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Puts a saved state back; learning rates and weight decay stay as they were asked for now.

        Raises:
            ConfigError: The state is that of another network, optimiser or list of classes.
        """
        classes = list(self.model.space.names)
        if state["classes"] != classes:
            raise ConfigError(
                f"the run was trained on {', '.join(state['classes'])}; the data has {', '.join(classes)}",
                where="resume",
                fix="give the data file of that run, or start a new one",
            )
        asked = [{k: v for k, v in group.items() if k != "params"} for group in self.optimiser.param_groups]
        try:
            if state["optimiser_kind"] != type(self.optimiser).__name__:
                raise ValueError("the optimisers keep different things")
            self.network.load_state_dict(state["network"])
            self.teacher.network.load_state_dict(state["teacher"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, ValueError):
            raise ConfigError(
                "the run was trained with another network or optimiser",
                where="resume",
                fix="leave out settings that change them, or start a new run",
            ) from None
        for group, settings in zip(self.optimiser.param_groups, asked, strict=True):
            group.update(settings)
        if state["scaler"]:  # empty after a run in another precision
            self.scaler.load_state_dict(state["scaler"])
        self.step, self.best, self.stale = state["step"], state["best"], state["stale"]
        self.seconds, self.losses, self.skipped = state["seconds"], state["losses"], state["skipped"]
        self.cpu_seconds = state.get("cpu_seconds", math.nan)  # older runs did not count it
        self.spoke_for = state.get("spoke_for", {})  # nor this
        torch.set_rng_state(state["rng"])
        if state["cuda_rng"] is not None and self.model.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"], self.model.device)


def fit(
    training: Training,
    forward: nn.Module,
    batches: Iterator[Batch],
    validation: Callable[[Model], Evaluation] | None,
    follow: Callable[[int, float], dict[str, Any]] | None,
    folder: RunFolder,
    progress: TrainingProgress,
) -> str:
    """The training loop.

    Args:
        training: What to train; changed in place.
        forward: The network as it is called: itself, compiled, or wrapped for several processes.
        batches: Endless batches from the first step on.
        validation: Measures the teacher, None without validation images.
        follow: Given step and share of the schedule, tells how right the pseudo-labels are; None = nobody asks.
        folder: Where to save.
        progress: Where to show.

    Returns:
        Why it stopped: `finished`, `out of time`, `no longer improving` or `interrupted`.

    Raises:
        BomboError: A loss is not finite.
    """
    schedule, device = training.schedule, training.model.device
    start = time.monotonic()
    forward.train()
    with Interrupt() as interrupt:
        while training.step < schedule.steps:
            began, cpu_began = time.monotonic(), time.process_time()
            set_learning_rate(training.optimiser, learning_rate(training.step, schedule.steps, schedule.warmup))
            parts = []
            for part in range(schedule.accumulate):
                batch = next(batches)
                synchronised = part == schedule.accumulate - 1 or not isinstance(forward, DistributedDataParallel)
                with nullcontext() if synchronised else forward.no_sync():  # type: ignore[operator]
                    terms = _backward(training, forward, batch.to(device))
                parts.append(_finite(terms, batch, training.step + 1, folder))
                training.skipped |= dict(batch.skipped)
            _update(training, folder)
            training.step += 1
            training.seconds += time.monotonic() - began
            training.cpu_seconds += time.process_time() - cpu_began

            losses = {name: fmean(values[name] for values, _ in parts) for name in parts[0][0]}
            training.losses = _running(training.losses, losses)
            spoke_for = {name: math.fsum(numbers[name] for _, numbers in parts) for name in losses}
            training.spoke_for = _running(training.spoke_for, spoke_for)
            epoch = f"epoch {math.ceil(training.step / schedule.epoch)}/{schedule.epochs}"
            images = len(batch) * schedule.accumulate * distributed.world()
            progress.show(training.step, epoch, training.losses, images, training.seen, memory_in_use(device))
            if schedule.ends_epoch(training.step) or training.step % 20 == 0:
                _log(training, folder)

            stop = _reason_to_stop(training, interrupt, time.monotonic() - start)
            if validation is not None and (schedule.evaluates(training.step) or stop == "out of time"):
                _evaluate(training, validation, follow, epoch, folder, progress)
                forward.train()
                if schedule.patience is not None and training.stale >= schedule.patience:
                    stop = stop or "no longer improving"
            if stop or schedule.ends_epoch(training.step):
                save(training, folder)
            if stop and training.step < schedule.steps:
                return stop
    return "finished"


def save(training: Training, folder: RunFolder) -> None:
    """Writes the teacher's weights and everything needed to go on; all processes call it."""
    for part in distributed.gather(training.skipped):
        training.skipped |= part
    if distributed.is_main():
        checkpoint.save_model(folder.path / checkpoint.LAST, training.model, step=training.step)
        checkpoint.save_state(folder.path / checkpoint.STATE, training.state())
        folder.note_skipped(training.skipped)


def _backward(training: Training, forward: nn.Module, batch: Batch) -> dict[str, Term]:
    with autocast(training.model.device, training.model.dtype):
        predictions = forward(batch.images)
        teacher = _opinion(training, batch)
    terms = training.criterion(predictions, batch, teacher, training.progress)
    total = sum((term.value for term in terms.values()), start=predictions.zero())
    training.scaler.scale(total / training.schedule.accumulate).backward()
    return terms


@torch.no_grad()
def _opinion(training: Training, batch: Batch) -> Predictions | None:
    """The teacher's predictions on the images in their own colours, when a loss asks for them."""
    if batch.derived is None or not training.criterion.method.asks_teacher(training.progress):
        return None
    return training.teacher.network(batch.derived.plain)  # type: ignore[no-any-return]


def _update(training: Training, folder: RunFolder) -> None:
    training.scaler.unscale_(training.optimiser)
    parameters: list[Tensor] = [p for group in training.optimiser.param_groups for p in group["params"]]
    norm = nn.utils.clip_grad_norm_(parameters, training.clip)
    if not training.scaler.is_enabled() and not norm.isfinite():  # the scaler expects that now and then, and skips
        raise BomboError(
            f"the gradient is not finite at step {training.step + 1}, although the losses are",
            where=str(folder.path),
            fix=f"lower --lr or try --precision 32, then --resume {folder.path}",
        )
    training.scaler.step(training.optimiser)
    training.scaler.update()
    training.optimiser.zero_grad()
    training.teacher.update(training.network, training.step + 1)


def _running(before: dict[str, float], values: dict[str, float]) -> dict[str, float]:
    return {name: 0.95 * before.get(name, value) + 0.05 * value for name, value in values.items()}


def _finite(
    terms: dict[str, Term], batch: Batch, step: int, folder: RunFolder
) -> tuple[dict[str, float], dict[str, float]]:
    """The losses, and what they spoke for, as numbers.

    Stops on a loss that is no number, and keeps the batch so that it can be looked at.
    """
    scalars = [scalar.detach().float() for term in terms.values() for scalar in term]
    plain = torch.stack(scalars).tolist()  # one wait for the device
    values, numbers = dict(zip(terms, plain[::2], strict=True)), dict(zip(terms, plain[1::2], strict=True))
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    if bad:
        evidence = folder.path / f"bad_batch_{distributed.rank()}.pt"
        checkpoint.save_state(evidence, {"step": step, "losses": values, "names": list(batch.names), **batch.tensors()})
        raise BomboError(
            f"the loss {bad[0]} is {values[bad[0]]} at step {step} (images {', '.join(batch.names[:4])}, ...)",
            where=str(folder.path),
            fix=f"lower --lr or try --precision 32, then --resume {folder.path}; the batch is in {evidence.name}",
        )
    return values, numbers


def _log(training: Training, folder: RunFolder) -> None:
    rate = max(group["lr"] for group in training.optimiser.param_groups)
    losses = {name: round(value, 5) for name, value in training.losses.items()}
    folder.log(
        step=training.step,
        epoch=round(training.step / training.schedule.epoch, 3),
        lr=rate,
        **losses,
        spoke_for={name: round(number, 1) for name, number in training.spoke_for.items()},
        images_with_boxes=training.seen["boxes"],
        images_with_masks=training.seen["masks"],
        seconds=round(training.seconds, 1),
        cpu_seconds=round(training.cpu_seconds, 1),
        memory=memory_in_use(training.model.device),
    )


def _evaluate(
    training: Training,
    validation: Callable[[Model], Evaluation],
    follow: Callable[[int, float], dict[str, Any]] | None,
    epoch: str,
    folder: RunFolder,
    progress: TrainingProgress,
) -> None:
    began = time.monotonic()
    evaluation = training.evaluation = validation(training.model)
    training.skipped |= evaluation.skipped
    figures = evaluation.figures
    better = evaluation.score > training.best
    training.best, training.stale = (evaluation.score, 0) if better else (training.best, training.stale + 1)
    if better and distributed.is_main():
        kept = {name: evaluation.to_json()["figures"][name] for name in ("mAP50", "mAP50-95", "mIoU")}
        checkpoint.save_model(folder.path / checkpoint.BEST, training.model, step=training.step, **kept)
    folder.log(
        step=training.step,
        epoch=round(training.step / training.schedule.epoch, 3),
        val=evaluation.to_json(),
        **({} if follow is None else follow(training.step, training.progress)),
    )
    progress.say(
        f"{epoch:<12}  mAP50 {percent(figures['mAP50'])}   mAP50-95 {percent(figures['mAP50-95'])}   "
        f"mIoU {percent(figures['mIoU'])}{'   ← best so far' if better else ''}"
    )
    progress.pause(time.monotonic() - began)


def _reason_to_stop(training: Training, interrupt: Interrupt, seconds: float) -> str:
    limit = training.schedule.max_seconds
    late = limit is not None and seconds >= limit and training.step < training.schedule.steps
    asked, late = distributed.any_process((interrupt.asked, late), training.model.device)
    return "interrupted" if asked else "out of time" if late else ""


def percent(share: float) -> str:
    """A share as percent with one digit, or a dash."""
    return "   –" if math.isnan(share) else f"{100 * share:4.1f}"


def validation_of(
    records: Sequence[Record], batch_size: int, workers: int, skip_bad: bool
) -> Callable[[Model], Evaluation] | None:
    """Measures a model on the validation images; None when there are none."""
    if not records:
        return None
    return lambda model: measure(model, records, batch_size=batch_size, workers=workers, skip_bad=skip_bad)
