"""What the runs of an ablation say together: means, spreads, the share of the gap that an arm closes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, stdev
from typing import Any

from bombo.engine.ladder import ORACLE, SKIP
from bombo.losses.method import method_of

FIGURES = ("mAP50", "mAP50-95", "mIoU")
CLASS_FIGURES = ("AP50-95", "IoU")
COSTS = ("seconds", "cpu_seconds", "memory")
_NAN = float("nan")
Results = Mapping[str, Sequence[Mapping[str, Any]]]  # arm → its runs


@dataclass(frozen=True)
class Figure:
    """One figure of one arm.

    Args:
        values: One for each seed.
        mean: Their mean.
        spread: Half their range for two seeds, their standard deviation from three on, NaN for one.
        gap_closed: Share of the way from `skip` to `oracle` over the seeds that all three have, NaN without these or
            where `oracle` is not above `skip`.
    """

    values: list[float]
    mean: float
    spread: float
    gap_closed: float


@dataclass(frozen=True)
class ClassFigures:
    """One figure of all arms, class by class; means over the seeds.

    Args:
        classes: Class → arm → figure.
        mean: Arm → mean over the classes.
        gap_closed: Arm → share of the gap between the means.
        dominating: The class in which `oracle` is furthest above `skip`, None without these.
        mean_without: Arm → mean over the other classes.
        gap_closed_without: Arm → share of the gap between those.
    """

    classes: dict[str, dict[str, float]]
    mean: dict[str, float]
    gap_closed: dict[str, float]
    dominating: str | None
    mean_without: dict[str, float]
    gap_closed_without: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """All arms, in order.

    Args:
        seeds: Arm → seeds that finished, at least one.
        figures: Arm → `mAP50`, `mAP50-95`, `mIoU`, from 0 to 1.
        per_class: `AP50-95` and `IoU` (background included) by class.
        cost: Arm → mean `seconds` and `cpu_seconds` per step, and `memory`, the largest peak in bytes.
        on_cpu: Whether all runs computed on CPUs, so that CPU seconds are the fairer ones.
    """

    seeds: dict[str, list[int]]
    figures: dict[str, dict[str, Figure]]
    per_class: dict[str, ClassFigures]
    cost: dict[str, dict[str, float]]
    on_cpu: bool

    @property
    def has_gap(self) -> bool:
        """Whether both ends of the gap are there."""
        return {SKIP, ORACLE} <= self.seeds.keys()


def compare(results: Results) -> Comparison:
    """Compares arms. What an arm was not trained for (no annotation, or a loss of weight 0) counts as not measured.

    Args:
        results: Arm → the results of its runs, as `ArmRun.result` makes them; at least one for each.
    """
    return Comparison(
        seeds={arm: [run["seed"] for run in runs] for arm, runs in results.items()},
        figures=_figures(results),
        per_class={name: _class_figures(results, name) for name in CLASS_FIGURES},
        cost={arm: _cost(runs) for arm, runs in results.items()},
        on_cpu=all(run["device"] == "cpu" for runs in results.values() for run in runs),
    )


def spread(values: Sequence[float]) -> float:
    """Half the range of two values, the standard deviation (of the sample) of three or more, NaN for one."""
    if len(values) < 2 or any(map(math.isnan, values)):
        return _NAN
    return (max(values) - min(values)) / 2 if len(values) == 2 else stdev(values)


def gap_closed(means: Mapping[str, float]) -> dict[str, float]:
    """(arm - skip) / (oracle - skip) for each arm, NaN where there is no gap to close.

    Args:
        means: Arm → figure.
    """
    low, high = means.get(SKIP, _NAN), means.get(ORACLE, _NAN)
    return {arm: (mean - low) / (high - low) if high > low else _NAN for arm, mean in means.items()}


def _figures(results: Results) -> dict[str, dict[str, Figure]]:
    figures: dict[str, dict[str, Figure]] = {arm: {} for arm in results}
    for name in FIGURES:
        values = {arm: [_figure(run, run["figures"], name) for run in runs] for arm, runs in results.items()}
        closed = _paired_gaps(results, partial(_mean_figures, name=name))
        for arm, own in values.items():
            figures[arm][name] = Figure(own, fmean(own), spread(own), closed[arm])
    return figures


def _mean_figures(results: Results, name: str) -> dict[str, float]:
    return {arm: fmean(_figure(run, run["figures"], name) for run in runs) for arm, runs in results.items()}


def _class_figures(results: Results, name: str) -> ClassFigures:
    classes = _by_class(results, name)
    gaps = {each: own.get(ORACLE, _NAN) - own.get(SKIP, _NAN) for each, own in classes.items()}
    known = {each: gap for each, gap in gaps.items() if gap > 0}
    dominating = max(known, key=known.__getitem__) if known else None

    def means(some: Results, without: str | None = None) -> dict[str, float]:
        return _means(some, {each: own for each, own in _by_class(some, name).items() if each != without})

    return ClassFigures(
        classes,
        means(results),
        _paired_gaps(results, means),
        dominating,
        means(results, dominating),
        _paired_gaps(results, lambda some: means(some, dominating)),
    )


def _paired_gaps(results: Results, means: Callable[[Results], Mapping[str, float]]) -> dict[str, float]:
    """Arm → share of the gap it closes, over the seeds it shares with both ends: what differs then is the arm."""
    closed = {}
    for arm in results:
        three = {each: results.get(each, ()) for each in (SKIP, ORACLE, arm)}
        common = set.intersection(*({run["seed"] for run in runs} for runs in three.values()))
        some = {each: [run for run in runs if run["seed"] in common] for each, runs in three.items()}
        closed[arm] = gap_closed(means(some))[arm] if common else _NAN
    return closed


def _by_class(results: Results, name: str) -> dict[str, dict[str, float]]:
    """Class → arm → figure, background first where there is one."""
    classes: dict[str, dict[str, float]] = {}
    for arm, runs in results.items():
        if name == "IoU":
            classes.setdefault("background", {})[arm] = fmean(
                _figure(run, run["figures"], "IoU_background") for run in runs
            )
        for each, figures in runs[0]["per_class"].items():
            if name in figures:
                classes.setdefault(each, {})[arm] = fmean(_figure(run, run["per_class"][each], name) for run in runs)
    return classes


def _means(arms: Mapping[str, Any], classes: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Arm → mean over the classes that could be measured."""
    known = {arm: [own[arm] for own in classes.values() if not math.isnan(own.get(arm, _NAN))] for arm in arms}
    return {arm: fmean(values) if values else _NAN for arm, values in known.items()}


def _cost(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    measured = {name: [value for run in runs if (value := run["cost"][name]) is not None] for name in COSTS}
    return {name: (max if name == "memory" else fmean)(own) if own else _NAN for name, own in measured.items()}


def _figure(run: Mapping[str, Any], figures: Mapping[str, float | None], name: str) -> float:
    """A figure of a run, NaN where nothing taught its head: no annotation of its task, nor a weak loss on the other."""
    settings, seen = run["settings"], run["seen"]
    weights = method_of(settings["method"], settings["losses"] or {}).weights
    if "IoU" in name:
        taught = settings["segmentation_weight"] and (seen["masks"] or (seen["boxes"] and weights.any("b4m")))
    else:
        taught = settings["detection_weight"] and (seen["boxes"] or (seen["masks"] and weights.any("m4b")))
    return _number(figures[name]) if taught else _NAN


def _number(value: float | None) -> float:
    return _NAN if value is None else value
