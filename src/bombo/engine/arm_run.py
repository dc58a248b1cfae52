"""One run of an ablation: its folder, the command that makes it, and what came out."""

from __future__ import annotations

import json
import math
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bombo.engine.checkpoint import STATE
from bombo.engine.run_folder import CONFIG, START, read_config
from bombo.engine.settings import TrainSettings
from bombo.engine.training_plots import read_metrics
from bombo.errors import ConfigError
from bombo.files import atomic_write

RESULT, LOG = "result.json", "log.txt"
_LAST_LINES = 6


@dataclass(frozen=True)
class ArmRun:
    """A run of `bombo train`, to be made or made already.

    Args:
        arm: Name of the arm.
        seed: Seed of the run.
        settings: The arm's settings, the seed aside.
        folder: Folder of the arm.
    """

    arm: str
    seed: int
    settings: TrainSettings
    folder: Path

    @property
    def path(self) -> Path:
        """Folder of the run."""
        return self.folder / f"seed-{self.seed}"

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"{self.arm} seed {self.seed}"

    @property
    def is_finished(self) -> bool:
        """Whether the last step is reached and evaluated; there is no other evaluation."""
        return any("val" in line for line in self._metrics())

    @property
    def is_begun(self) -> bool:
        """Whether there is something to go on with."""
        return not self.is_finished and (self.path / STATE).is_file()

    @property
    def command(self) -> list[str]:
        """The words that repeat the run, after `bombo`."""
        return ["train", "--config", str(self._config), "--seed", str(self.seed), "--out", str(self.path)]

    @property
    def next_command(self) -> list[str]:
        """The words that bring the run to its end from where it is, after `bombo`."""
        if self.is_begun:
            return [*self.command[:-2], "--resume", str(self.path)]
        return [*self.command, "--overwrite"]

    @property
    def last_lines(self) -> list[str]:
        """What it said last, without empty lines."""
        file = self.path / LOG
        lines = file.read_text(errors="replace").splitlines() if file.is_file() else []
        return [line for line in lines if line.strip()][-_LAST_LINES:]

    @property
    def state(self) -> str:
        """Where it is, as far as its log tells: `skip seed 0 at 240/700, 1:10 left`."""
        line = next((line for line in reversed(self.last_lines) if " left  " in line), "")
        where = re.search(r"(\d+/\d+)  loss .*  (\S+(?: s)? left)  ", line)
        return f"{self.name} at {where[1]}, {where[2]}" if where else f"{self.name} begins"

    def check(self) -> None:
        """Compares the run that is there, if any, with what is asked for now.

        Raises:
            ConfigError: They disagree.
        """
        file = self.path / CONFIG
        if not file.is_file():
            return
        there, asked = _plain(TrainSettings.resolve({"config": file, "resume": None})), _plain(self.settings)
        asked["seed"] = self.seed
        if differing := [name for name in asked if asked[name] != there[name]]:
            described = "; ".join(f"`{name}` is {there[name]} there and {asked[name]} now" for name in differing)
            raise ConfigError(
                f"the run there was made with other settings: {described}",
                where=f"arm {self.arm}, {file}",
                fix=f"ask for the same again, choose another --out, or delete {self.path} to train it anew",
            )

    def prepare(self) -> None:
        """Writes the arm's settings, which the command reads, and forgets an earlier result."""
        content = {name: value for name, value in _plain(self.settings).items() if name != "seed"}
        atomic_write(self._config, yaml.safe_dump(content, sort_keys=False))
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / RESULT).unlink(missing_ok=True)

    def result(self) -> dict[str, Any]:
        """Figures, cost, and what is needed to repeat the run; written to the run's folder the first time.

        Cost is per optimiser step: seconds by the clock and of the CPU (the training process without those that decode
        for it); `memory` is the peak in bytes, of the GPU where there is one.
        """
        file = self.path / RESULT
        if file.is_file():
            return dict(json.loads(file.read_text()))
        lines = self._metrics()
        steps = [line for line in lines if "seconds" in line]
        last, evaluation = steps[-1], next(line["val"] for line in reversed(lines) if "val" in line)
        environment = json.loads((self.path / "environment.json").read_text())
        result = {
            "arm": self.arm,
            "seed": self.seed,
            "figures": evaluation["figures"],
            "per_class": evaluation["per_class"],
            "images": evaluation["images"],
            "seen": {kind: last[f"images_with_{kind}"] for kind in ("boxes", "masks")},
            "cost": {
                "steps": last["step"],
                "seconds": _share(last["seconds"], last["step"]),
                "cpu_seconds": _share(last.get("cpu_seconds"), last["step"]),
                "memory": max((line.get("memory") or 0 for line in steps), default=0) or None,
            },
            "device": environment["device"],
            "versions": {"python": environment["python"], **environment["packages"]},
            "commit": environment.get("commit"),
            "command": shlex.join(["bombo", *self.command]),
            "settings": {
                name: value if not isinstance(value, float) or math.isfinite(value) else str(value)
                for name, value in read_config(self.path / CONFIG).items()
            },
        }
        atomic_write(file, json.dumps(result, indent=1) + "\n")
        return result

    @property
    def _config(self) -> Path:
        return self.folder / "settings.yaml"

    def _metrics(self) -> list[dict[str, Any]]:
        return read_metrics(self.path)


def _plain(settings: TrainSettings) -> dict[str, Any]:
    return settings.model_dump(mode="json", exclude=START)


def _share(total: float | None, steps: int) -> float | None:
    return None if total is None else round(total / steps, 4)
