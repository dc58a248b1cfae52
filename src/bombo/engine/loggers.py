"""Where figures go besides metrics.jsonl: TensorBoard, Weights & Biases."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol
from uuid import uuid4

from bombo.errors import ConfigError

LoggerName = Literal["tensorboard", "wandb"]
_MODULES: Mapping[LoggerName, str] = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}
TENSORBOARD = "tensorboard"
WANDB_ID = "wandb_id.txt"  # a resumed run goes on in the same curve


class Logger(Protocol):
    """Takes the figures of a run as they come."""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Takes finite figures by name, such as `det_cls` or `val/figures/mIoU`, after a step."""
        ...

    def close(self) -> None:
        """The run has ended; what is still buffered goes out."""
        ...


class TensorBoard:
    """Event files in `FOLDER/tensorboard`; look at them with `tensorboard --logdir runs`."""

    def __init__(self, folder: Path, step: int = 0) -> None:
        writer = importlib.import_module(_MODULES["tensorboard"]).SummaryWriter
        self._writer = writer(folder / TENSORBOARD, purge_step=step or None)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """See `Logger`."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """See `Logger`."""
        self._writer.close()


class WeightsAndBiases:
    """A run of the project `bombo`, named as the folder; WANDB_PROJECT, WANDB_MODE and so on are heeded."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        wandb = importlib.import_module(_MODULES["wandb"])
        file = folder / WANDB_ID
        if not file.is_file():
            file.write_text(uuid4().hex[:8])
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "bombo"),
            name=folder.name,
            dir=folder,
            config=dict(settings),
            id=file.read_text().strip(),
            resume="allow",
        )

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """See `Logger`."""
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        """See `Logger`."""
        self._run.finish()


@contextmanager
def listening(
    folder: Path, wanted: Iterable[LoggerName], settings: Mapping[str, Any], step: int
) -> Iterator[list[Logger]]:
    """Opens loggers, and closes them however the run ends.

    Args:
        folder: The run's.
        wanted: Which.
        settings: The run's, for those that show them.
        step: The step it goes on from.
    """
    opened: list[Logger] = []
    try:
        for name in wanted:
            opened.append(TensorBoard(folder, step) if name == "tensorboard" else WeightsAndBiases(folder, settings))
        yield opened
    finally:
        for logger in opened:
            logger.close()


def require(wanted: Iterable[LoggerName]) -> None:
    """Checks that the packages of loggers are installed, before anything is made.

    Raises:
        ConfigError: One is not.
    """
    for name in wanted:
        try:
            importlib.import_module(_MODULES[name])
        except ImportError:
            fix = f"pip install '.[{name}]' in BoMBo's folder, or leave --{name} out"
            raise ConfigError("the package is not installed", where=name, fix=fix) from None


def flat(entry: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a nested entry, `{"val": {"mIoU": 0.5}}` as `("val/mIoU", 0.5)`; all else is left out."""
    for name, value in entry.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{prefix}{name}", value
