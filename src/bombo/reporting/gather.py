"""Reads what a run or an ablation has left in its folder; whatever is not there is None or empty."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

from bombo.engine.progress import clock
from bombo.engine.run_folder import CONFIG, DATA, EVALUATION, GALLERY, METRICS, SKIPPED, is_ours, read_config
from bombo.engine.training_plots import read_metrics
from bombo.errors import BomboError, ConfigError
from bombo.losses.method import METHODS, Method, method_of
from bombo.reporting.words import TERMS
from bombo.wording import typed

RESULTS, PLOT = "results.json", "ablation.svg"  # of an ablation
_NO_LOSS = {"step", "epoch", "lr", "seconds", "cpu_seconds", "memory", "images_with_boxes", "images_with_masks"}


@dataclass(frozen=True)
class RunFacts:
    """A run as its folder tells it.

    Args:
        path: The folder.
        name: What a person calls it.
        config: Its settings.
        classes: Class names, things first.
        things: How many of them are things.
        environment: Command, versions, device.
        data: Counts of the training images by kind and class.
        val_images: Number of validation images.
        entries: The lines of metrics.jsonl.
        kept: Content of evaluation.json.
        gallery: Content of gallery/index.json.
        skipped: Images left out, and why.
    """

    path: Path
    name: str
    config: dict[str, Any]
    classes: list[str]
    things: int
    environment: dict[str, Any]
    data: dict[str, Any] | None
    val_images: int | None
    entries: list[dict[str, Any]]
    kept: dict[str, Any] | None
    gallery: dict[str, Any] | None
    skipped: list[dict[str, str]]

    @cached_property
    def losses(self) -> list[dict[str, Any]]:
        """The lines about training."""
        return [entry for entry in self.entries if "lr" in entry]

    @cached_property
    def loss_names(self) -> list[str]:
        """Losses in the order in which they are known, others after them."""
        found = dict.fromkeys(
            name
            for entry in self.losses
            for name, value in entry.items()
            if name not in _NO_LOSS and isinstance(value, (int, float))
        )
        return sorted(found, key=lambda name: list(TERMS).index(name) if name in TERMS else len(TERMS))

    @cached_property
    def measured(self) -> list[tuple[int, dict[str, Any]]]:
        """Steps after which it was evaluated, with what came out."""
        return [(entry["step"], entry["val"]) for entry in self.entries if "val" in entry]

    @cached_property
    def followed(self) -> list[tuple[int, dict[str, Any]]]:
        """Steps after which its pseudo-labels were scored, with what came out."""
        return [(entry["step"], entry["pseudo_labels"]) for entry in self.entries if "pseudo_labels" in entry]

    @cached_property
    def steps(self) -> int:
        """Steps done."""
        return max((entry["step"] for entry in self.entries), default=0)

    @property
    def duration(self) -> str:
        """Time spent in steps, as the terminal says it; empty where it was not logged."""
        seconds = self.losses[-1].get("seconds") if self.losses else None
        return "" if seconds is None else clock(seconds)

    @cached_property
    def planned(self) -> int:
        """Steps asked for; those done where that is not known."""
        if self.config.get("steps"):
            return int(self.config["steps"])
        last = self.losses[-1] if self.losses else {}
        if not last.get("epoch") or not self.config.get("epochs"):
            return self.steps
        steps: float = self.config["epochs"] * last["step"] / last["epoch"]
        return round(steps)

    @cached_property
    def evaluation(self) -> dict[str, Any] | None:
        """The last evaluation, with curves and confusion matrices where they were kept for it."""
        last_step, last = self.measured[-1] if self.measured else (None, None)
        if self.kept is not None and (last is None or self.kept.get("step") in (None, last_step, self.steps)):
            return self.kept
        return last

    @cached_property
    def method(self) -> Method:
        """Which weak losses it was trained with."""
        try:
            return method_of(
                self.config.get("method", "skip"),
                self.config.get("losses") or {},
                pseudo_boxes=self.config.get("pseudo_boxes", "hard"),
                detection=self.config.get("detection_weight", 1.0) > 0,
                segmentation=self.config.get("segmentation_weight", 1.0) > 0,
            )
        except (ConfigError, KeyError):  # made by another version
            return METHODS["skip"]

    @property
    def command(self) -> str:
        """What was typed, without the place where the program lies."""
        words = str(self.environment.get("command", "the command was not kept")).split(" ")
        return " ".join(["bombo" if is_ours(words[0]) else Path(words[0]).name, *words[1:]])

    def figure(self, name: str) -> float | None:
        """A figure of the last evaluation."""
        return self.evaluation["figures"].get(name) if self.evaluation else None

    @cached_property
    def missing(self) -> list[str]:
        """What the report cannot show, in words."""
        parts = {
            "counts of the training data": self.data,
            "figures": self.evaluation,
            "precision-recall curves and confusion": self.evaluation and self.evaluation.get("confusion"),
            "pictures of the validation images": self.gallery,
        }
        return [what for what, there in parts.items() if not there]

    @property
    def has_no_val(self) -> bool:
        """Whether its data file named no validation images, so that only another one can mend what is missing."""
        return self.val_images == 0

    @cached_property
    def remedy(self) -> str:
        """The command that makes what is missing."""
        return f"bombo report {typed(self.path)} --data {typed(self.config.get('data', 'FILE'))}"


@dataclass(frozen=True)
class AblationFacts:
    """An ablation as its folder tells it.

    Args:
        path: The folder.
        results: Content of results.json.
    """

    path: Path
    results: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.resolve().name

    @property
    def arms(self) -> list[str]:
        """Names of the arms, in order."""
        return list(self.results["comparison"]["figures"])

    @property
    def plot(self) -> Path | None:
        """Its picture."""
        file = self.path / PLOT
        return file if file.is_file() else None

    def mean(self, arm: str, figure: str) -> float | None:
        """Mean over the seeds."""
        value: float | None = self.results["comparison"]["figures"].get(arm, {}).get(figure, {}).get("mean")
        return value

    def by_seed(self, arm: str, figure: str) -> dict[int, float]:
        """Seed → figure, of the seeds that have one."""
        comparison = self.results["comparison"]
        values = comparison["figures"].get(arm, {}).get(figure, {}).get("values") or ()
        seeds = comparison["seeds"].get(arm, ())
        return {seed: value for seed, value in zip(seeds, values, strict=True) if value is not None}

    def run(self, arm: str) -> Path:
        """Folder of an arm's first seed."""
        return self.path / arm / f"seed-{self.results['comparison']['seeds'][arm][0]}"


def is_ablation(folder: Path) -> bool:
    """Whether an ablation has left its results there."""
    return (folder / RESULTS).is_file()


def read_ablation(folder: Path) -> AblationFacts:
    """Reads the results of an ablation.

    Raises:
        BomboError: They cannot be read.
    """
    results = _json(folder / RESULTS, dict)
    if not isinstance(results.get("comparison"), dict):
        raise BomboError("holds no comparison", where=str(folder / RESULTS), fix="run the same `bombo ablate` again")
    return AblationFacts(folder, results)


def read_run(folder: Path, name: str = "") -> RunFacts:
    """Reads a run's folder.

    Args:
        folder: The folder.
        name: What to call it; by default its name, with the arm of an ablation before the seed.

    Raises:
        BomboError: It is no run's folder, or a file in it is damaged.
    """
    if not (folder / CONFIG).is_file() and not (folder / METRICS).is_file():
        what = "is no folder of a run" if folder.exists() else "there is no such folder"
        fix = "give a run's folder, for instance runs/pets-1, or that of an ablation"
        raise BomboError(what, where=str(folder), fix=fix)
    table = _json(folder / "classes.json", dict).get("classes", [])
    data = _json(folder / DATA, dict)
    return RunFacts(
        path=folder,
        name=name or _own_name(folder),
        config=read_config(folder / CONFIG) if (folder / CONFIG).is_file() else {},
        classes=[str(row["name"]) for row in table],
        things=sum(row["kind"] == "thing" for row in table),
        environment=_json(folder / "environment.json", dict),
        data=data.get("train"),
        val_images=data.get("val_images"),
        entries=read_metrics(folder),
        kept=_json(folder / EVALUATION, dict) or None,
        gallery=_json(folder / GALLERY / "index.json", dict) or None,
        skipped=_json(folder / SKIPPED, list),
    )


def names(folders: Sequence[Path]) -> list[str]:
    """What tells folders apart: their paths without the parts that all begin and all end with."""
    parts = [folder.resolve().parts for folder in folders]
    if len(parts) == 1:
        return [_own_name(folders[0])]
    first = next(i for i, column in enumerate(zip_longest(*parts)) if len(set(column)) > 1)
    last = next(i for i, column in enumerate(zip_longest(*(own[::-1] for own in parts))) if len(set(column)) > 1)
    short = ["/".join(own[first : len(own) - last]) for own in parts]
    return short if all(short) else ["/".join(own[first - 1 :]) for own in parts]


def run_before(run: RunFacts) -> RunFacts | None:
    """The numbered run before this one, of the same name, classes and data: `runs/pets-2` for `runs/pets-3`."""
    path = run.path.resolve()
    stem, dash, number = path.name.rpartition("-")
    if not dash or not number.isdigit() or not stem or stem == "seed":
        return None
    for earlier in range(int(number) - 1, 0, -1):
        folder = path.parent / f"{stem}-{earlier}"
        if not (folder / METRICS).is_file():
            continue
        try:
            other = read_run(folder)
        except BomboError:  # damaged: no loss to a report about another run
            continue
        if other.evaluation and (other.classes, other.config.get("data")) == (run.classes, run.config.get("data")):
            return other
    return None


def _own_name(folder: Path) -> str:
    path = folder.resolve()
    return f"{path.parent.name}/{path.name}" if re.fullmatch(r"seed-\d+", path.name) else path.name


def _json(file: Path, kind: type[Any]) -> Any:
    """Content of a file; an empty `kind` where there is none.

    Raises:
        BomboError: It is damaged.
    """
    if not file.is_file():
        return kind()
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, kind):
            raise ValueError(f"expected a JSON {'object' if kind is dict else 'list'}")
    except (OSError, ValueError) as error:
        raise BomboError(
            f"cannot be read ({error})", where=str(file), fix="delete the file: the report says how to make it again"
        ) from None
    return content
