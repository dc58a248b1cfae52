"""Writes one self-contained HTML file about a run, or about several side by side.

bombo report runs/pets-1
bombo report runs/pets-1 runs/pets-2 --out both.html
bombo report runs/ablation
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator
from rich.console import Console
from typer import Argument, Option

from bombo.command import checked
from bombo.data.data_file import DataFile, DataSet, label_space, load_data_file, read_split
from bombo.data.statistics import statistics
from bombo.engine.checkpoint import LAST, load
from bombo.engine.evaluate import Evaluation, measure, require_classes
from bombo.engine.gallery import draw_gallery
from bombo.engine.ladder import ORACLE, SKIP
from bombo.engine.model import Model
from bombo.engine.run_folder import EVALUATION, REPORT, RunFolder
from bombo.errors import BomboError, ConfigError
from bombo.files import atomic_write
from bombo.reporting.gather import AblationFacts, RunFacts, is_ablation, names, read_ablation, read_run, run_before
from bombo.reporting.page import LINES, render
from bombo.wording import typed

_FEW = 4  # arms of an ablation that are all shown


@dataclass(frozen=True)
class Report:
    """A report that was written.

    Args:
        path: The file.
        runs: Folders of the runs it shows.
        missing: Folder of a run → what its folder lacks, each with the command that makes it.
    """

    path: Path
    runs: list[Path]
    missing: dict[Path, list[str]]

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        missing = {str(run): what for run, what in self.missing.items()}
        return {"path": str(self.path), "runs": [str(run) for run in self.runs], "missing": missing}


@checked
def report(
    runs: Annotated[
        list[Path],
        BeforeValidator(lambda value: [value] if isinstance(value, (str, Path)) else value),
        Argument(help="Folders of runs, side by side; or of an ablation."),
    ],
    out: Annotated[
        Path | None, Option(help="The file; by default report.html in the run's folder, or here for several runs.")
    ] = None,
    data: Annotated[
        Path | None, Option(help="Data file: measure and draw what the runs' folders lack on its `val` images.")
    ] = None,
    device: Annotated[str, Option(help="What measures: auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    overwrite: Annotated[bool, Option("--overwrite", help="Replace the file given by --out.")] = False,
) -> Report:
    """Write one HTML file on what a run was fed, how it learned, where it is good and bad, with pictures.

    The file needs no network. What a run's folder lacks is left out, and the page says how to make it. A run inside an
    ablation, or an ablation itself, is compared with its arms `skip` and `oracle`.

    Raises:
        BomboError: A folder is none of a run, a file in it is damaged, or the file to write is there already.
    """
    facts, ablation = _gather(runs)
    file = None if data is None else load_data_file(data)
    path = out or (runs[0] / REPORT if len(runs) == 1 else Path(REPORT))
    if path.exists() and not overwrite and (out is not None or len(runs) > 1):
        raise BomboError("is there already", where=str(path), fix="choose another --out, or add --overwrite")
    if file is not None:
        facts = [_completed(run, file, device) for run in facts]
    is_whole = len(runs) == 1 and is_ablation(runs[0])
    title = f"Ablation on {Path(str(facts[0].config.get('data', runs[0]))).name}" if is_whole else ""
    before = run_before(facts[0]) if len(facts) == 1 else None
    atomic_write(path, render(facts, ablation, before, title))
    return Report(path, [run.path for run in facts], {run.path: run.missing for run in facts if run.missing})


def keep_for_report(folder: Path, model: Model, val_set: DataSet, evaluation: Evaluation, step: int) -> None:
    """Keeps what a report needs of a network and cannot be had from its figures: curves, confusion, pictures.

    Raises:
        BomboError: A file cannot be written, or an image not be read.
    """
    content = {"step": step, **evaluation.to_json(details=True)}
    atomic_write(folder / EVALUATION, json.dumps(content) + "\n")
    draw_gallery(folder, model, val_set.records, evaluation.quality)


def report_at_end(folder: Path, console: Console, model: Model | None = None, *given: Any) -> Path | None:
    """Writes the report of what has just ended; a failure is told, and costs nothing but the report.

    Args:
        folder: Of the run or the ablation.
        console: Where a failure is told.
        model: The network, to keep pictures of.
        given: The other arguments of `keep_for_report`.

    Returns:
        The file, None where it could not be written.
    """
    try:
        if model is not None:
            keep_for_report(folder, model, *given)
        return report([folder]).path  # type: ignore[no-any-return]
    except Exception as error:  # whatever it is, the run is worth more than its report
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        text = f"report    could not be written ({reason}); try again:   bombo report {typed(folder)}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        return None


def describe(written: Report) -> str:
    """What was written, what is missing, in lines for a terminal."""
    lines = [f"report    {len(written.runs)} {'run' if len(written.runs) == 1 else 'runs side by side'}"]
    for run, missing in written.missing.items():
        lines.append(f"missing   {run}: {'; '.join(missing)}")
        facts = read_run(run)
        how = "its data file has no `val`; once it has:" if facts.has_no_val else "make them:"
        lines.append(f"          {how}   {facts.remedy}")
    return "\n".join([*lines, f"wrote     {written.path}"])


def _gather(folders: Sequence[Path]) -> tuple[list[RunFacts], AblationFacts | None]:
    """The runs, an ablation's own among them, and the ablation they belong to."""
    paths: list[Path] = []
    ablations: dict[Path, AblationFacts] = {}
    for folder in folders:
        if is_ablation(folder):
            found = ablations[folder.resolve()] = read_ablation(folder)
            paths += [found.run(arm) for arm in _telling(found)]
            continue
        paths.append(folder)
        if is_ablation(around := folder.resolve().parent.parent):
            ablations.setdefault(around, read_ablation(around))
    if not paths:
        raise ConfigError("there is no run to report on", where="runs", fix="bombo report runs/pets-1")
    unique = {path.resolve(): path for path in paths}
    if len(unique) > LINES:
        fix = "give fewer; an ablation's folder alone stands for its most telling arms"
        raise ConfigError(f"{len(unique)} runs: more than {LINES} lines cannot be told apart", where="runs", fix=fix)
    if len(ablations) > 1:
        where = ", ".join(str(ablation.path) for ablation in ablations.values())
        raise ConfigError("these are several ablations", where=where, fix="write a report for each")
    facts = [read_run(path, name) for path, name in zip(unique.values(), names(list(unique)), strict=True)]
    return facts, next(iter(ablations.values()), None)


def _telling(ablation: AblationFacts) -> list[str]:
    """The arms that are shown side by side: all where they are few, else the best one between the ends of the gap."""
    arms = [arm for arm in ablation.arms if ablation.run(arm).is_dir()]
    if len(arms) <= _FEW:
        return arms
    between = [arm for arm in arms if arm not in (SKIP, ORACLE)]

    def score(arm: str) -> float:
        return sum(ablation.mean(arm, name) or 0 for name in ("mAP50-95", "mIoU"))

    return [arm for arm in arms if arm in (SKIP, ORACLE, max(between, key=score))]


def _completed(run: RunFacts, file: DataFile, device: str) -> RunFacts:
    """Makes what the run's folder lacks, with the weights of its last step."""
    if not run.missing:
        return run
    space = label_space(file)
    val_set = read_split(file, "val", space)
    folder = RunFolder(run.path)
    if run.data is None:
        counted = statistics(read_split(file, "train", space).records, space)
        folder.describe_data(counted.to_json(space), len(val_set.records))
    if run.gallery is None or run.evaluation is None or not run.evaluation.get("confusion"):
        model = load(run.path / LAST, device=device)
        require_classes(model, space, file.path)
        keep_for_report(run.path, model, val_set, measure(model, val_set.records), run.steps)
    return read_run(run.path, run.name)
