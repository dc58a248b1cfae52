"""A run's folder: where everything a run leaves behind is, and nothing is overwritten unasked."""

from __future__ import annotations

import json
import math
import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import torch
import yaml

from bombo import distributed
from bombo.data.label_space import LabelSpace
from bombo.data.yaml_file import YamlFile
from bombo.engine.checkpoint import BEST, LAST, STATE
from bombo.engine.claim import claim, release
from bombo.engine.loggers import TENSORBOARD, WANDB_ID, Logger, flat
from bombo.errors import BomboError
from bombo.files import atomic_write, next_free

CONFIG, DATA, METRICS, SKIPPED = "config.yaml", "data.json", "metrics.jsonl", "skipped.json"
EVALUATION, GALLERY, PSEUDO_LABELS, REPORT = "evaluation.json", "gallery", "pseudo_labels", "report.html"
_RESULTS = (  # what a new run must not find
    *(DATA, METRICS, SKIPPED, EVALUATION, REPORT, STATE, BEST, LAST),
    *("bad_batch_*.pt", "plots/*", f"{GALLERY}/*", f"{PSEUDO_LABELS}/*", WANDB_ID, f"{TENSORBOARD}/*"),
)
START = {"config", "out", "overwrite", "resume"}  # how a run was started is no part of what it is


class RunFolder:
    """Writes the files of one run; only the main process does.

    Args:
        path: The folder.
        claimed: What keeps other processes out, given back when a block `with` this folder is left.
    """

    def __init__(self, path: Path, claimed: IO[str] | None = None) -> None:
        self.path, self.claimed = path, claimed
        self.loggers: list[Logger] = []

    @classmethod
    def create(cls, out: Path | None, stem: str, overwrite: bool) -> RunFolder:
        """Makes the folder of a new run.

        Args:
            out: The folder asked for, None for the next free `runs/STEM-N`.
            stem: Name of the data file.
            overwrite: Whether a folder that holds a run may be used again; its old files go.

        Raises:
            BomboError: The folder holds a run, cannot be made, or another process trains there.
        """
        if not distributed.is_main():
            return cls(Path(distributed.from_main(None)))
        try:
            path = out or _claim(stem)
            path.mkdir(parents=True, exist_ok=True)
            held = [file for name in (CONFIG, *_RESULTS) for file in path.glob(name)]
            if held and not overwrite:
                raise BomboError(
                    f"holds a run already ({held[0].name})",
                    where=str(path),
                    fix=f"go on with it: --resume {path}, replace it: --overwrite, or choose another --out",
                )
            folder = cls(path, claim(path))
            for file in held:
                file.unlink()
        except OSError as error:
            raise BomboError(
                f"cannot be made ({error.strerror})", where=str(out or Path("runs")), fix="choose another --out"
            ) from None
        distributed.from_main(str(path))
        return folder

    @classmethod
    def of(cls, path: Path) -> RunFolder:
        """The folder of a run that goes on.

        Raises:
            BomboError: Another process trains there.
        """
        return cls(path, claim(path) if distributed.is_main() else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        release(self.claimed)

    def describe(self, config: dict[str, Any], space: LabelSpace, facts: dict[str, Any]) -> None:
        """Writes the resolved configuration, the class table and the environment."""
        if not distributed.is_main():
            return
        settings = {name: value for name, value in config.items() if name not in START}
        atomic_write(self.path / CONFIG, yaml.safe_dump(settings, sort_keys=False))
        classes = [
            {
                "name": name,
                "label": index,
                "mask_value": index + 1,
                "kind": "thing" if name in space.things else "stuff",
            }
            for index, name in enumerate(space.names)
        ]
        atomic_write(self.path / "classes.json", json.dumps({"others": space.others, "classes": classes}, indent=1))
        environment = {
            "commit": _commit(),
            "command": shlex.join(["bombo" if is_ours(sys.argv[0]) else sys.argv[0], *sys.argv[1:]]),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "packages": {name: version(name) for name in ("bombo", "torch", "torchvision", "timm", "numpy")},
            "cuda": torch.version.cuda if torch.cuda.is_available() else None,
            "processes": distributed.world(),
            **facts,
        }
        atomic_write(self.path / "environment.json", json.dumps(environment, indent=1))

    def describe_data(self, training: dict[str, Any], validation: int) -> None:
        """Writes what the network is trained on: counts by kind of annotation and class."""
        atomic_write(self.path / DATA, json.dumps({"train": training, "val_images": validation}, indent=1) + "\n")

    def log(self, **entry: Any) -> None:
        """Adds a line to metrics.jsonl, where NaN becomes null, and tells the loggers."""
        if distributed.is_main():
            plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in entry.items()}
            try:
                with (self.path / METRICS).open("a") as file:
                    file.write(json.dumps(plain) + "\n")
            except OSError as error:
                raise BomboError(
                    f"cannot be written ({error.strerror})", where=str(self.path / METRICS), fix="make room"
                ) from None
            figures = {name: value for name, value in flat(plain) if name != "step"}
            for logger in self.loggers:
                logger.log(entry["step"], figures)

    def forget_after(self, step: int) -> None:
        """Drops the lines of metrics.jsonl that lie after `step`: a resumed run writes them again."""
        file = self.path / METRICS
        if distributed.is_main() and file.is_file():
            kept = [line for line in file.read_text().splitlines() if _step(line) <= step]
            atomic_write(file, "".join(f"{line}\n" for line in kept))

    def note_skipped(self, skipped: dict[str, str]) -> None:
        """Lists the files that were left out."""
        if skipped and distributed.is_main():
            entries = [{"image": name, "error": error} for name, error in sorted(skipped.items())]
            atomic_write(self.path / SKIPPED, json.dumps(entries, indent=1) + "\n")


def read_config(file: Path) -> dict[str, Any]:
    """Settings from a YAML file, for instance a run's own.

    Raises:
        ConfigError: The file is missing, or no YAML mapping.
    """
    return {str(name): value for name, value in YamlFile(file).content.items()}


def latest(stem: str, out: Path | None) -> Path | None:
    """The run `--resume auto` goes on with: `out` if it holds state, else the newest `runs/STEM-N` that does."""
    if out is not None:
        return Path(out) if (Path(out) / STATE).is_file() else None
    states = [path for path in Path("runs").glob(f"{stem}-*/{STATE}") if path.parent.name.rpartition("-")[2].isdigit()]
    return max(states, key=lambda path: int(path.parent.name.rpartition("-")[2])).parent if states else None


def is_ours(program: str) -> bool:
    """Whether `bombo` or `python -m bombo` was typed, wherever it is installed."""
    return Path(program).name == "bombo" or Path(program).parts[-2:] == ("bombo", "__main__.py")


def _claim(stem: str) -> Path:
    """Makes the next free `runs/STEM-N`; two runs that start at once get two folders."""
    while True:
        path = next_free(Path("runs"), stem)
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            continue


def _commit() -> str | None:
    """Commit of the checkout this code runs from, marked when files were changed since; None where there is none."""
    file = Path(__file__)

    def git(*words: str) -> str:
        quiet = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
        done = subprocess.run(["git", "-C", file.parent, *words], capture_output=True, text=True, check=True, env=quiet)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", file.name)  # an environment may lie inside some other checkout
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None


def _step(line: str) -> float:
    try:
        return float(json.loads(line).get("step", 0))
    except ValueError:
        return math.inf  # half a line, written when the power went
