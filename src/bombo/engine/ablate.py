"""Trains arms that differ in a few settings, with several seeds each, and compares them.

bombo ablate --data pets.yaml --config small.yaml --seeds 0,1 --parallel 2
bombo ablate --data pets.yaml --ladder ladder.yaml --arms skip,mine,oracle
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator
from rich.console import Console
from rich.live import Live
from rich.text import Text
from typer import Option

from bombo.command import checked
from bombo.data.data_file import DataFile, label_space, load_data_file, read_split
from bombo.data.sample import Record
from bombo.data.sampler import places
from bombo.engine import side_runs
from bombo.engine.ablation_tables import arms_sheet, caption, class_sheets
from bombo.engine.arm_run import LOG, ArmRun
from bombo.engine.comparison import FIGURES, Comparison, compare
from bombo.engine.ladder import DEFAULT_LADDER, ORACLE, SINGLE, choose, read_ladder, resolve
from bombo.engine.loop import percent
from bombo.engine.report import report_at_end
from bombo.engine.settings import TrainSettings
from bombo.engine.train import make_schedule
from bombo.engine.views import full_view, single_view
from bombo.errors import ConfigError, DataError
from bombo.files import atomic_write, without_nan

_WIDE = 1000  # a narrow terminal folds a long row, which is better than cutting it
_PLAIN_EVERY = 30.0  # seconds between lines where there is no terminal
_Listed = BeforeValidator(lambda value: value.split(",") if isinstance(value, str) else value)


@dataclass(frozen=True)
class Ablation:
    """An ablation that has ended.

    Args:
        path: Its folder.
        comparison: What the finished runs say, None where none finished.
        failed: Folder of each run that failed → its last lines.
        interrupted: Whether it was stopped; the same call goes on.
    """

    path: Path
    comparison: Comparison | None
    failed: dict[Path, str]
    interrupted: bool

    def to_json(self) -> dict[str, Any]:
        """Plain types, NaN as None."""
        plain = {
            "path": str(self.path),
            "comparison": None if self.comparison is None else asdict(self.comparison),
            "failed": {str(path): lines for path, lines in self.failed.items()},
            "interrupted": self.interrupted,
        }
        return dict(without_nan(plain))


@checked
def ablate(
    data: Annotated[Path | None, Option(help="Data file; by default the configuration's.")] = None,
    config: Annotated[Path | None, Option(help="YAML file with the settings all arms start from.")] = None,
    ladder: Annotated[
        Path | None, Option(help="YAML file `arms: {NAME: {SETTING: VALUE}}`; by default the built-in one.")
    ] = None,
    arms: Annotated[
        Sequence[str] | None, _Listed, Option(help="Only these of its arms, A,B.", parser=str, metavar="NAMES")
    ] = None,
    oracle: Annotated[
        Path | None, Option(help="Data file of the arm `oracle`; by default the same, every source with `use: both`.")
    ] = None,
    seeds: Annotated[Sequence[int], _Listed, Option(help="Seeds of each arm.", parser=str, metavar="N,N")] = (0, 1, 2),
    out: Annotated[Path, Option(help="Folder for the runs and the results.")] = Path("runs/ablation"),
    parallel: Annotated[int, Option(min=1, help="Runs side by side; they share out the cores.")] = 1,
    per_class: Annotated[bool, Option("--per-class", help="Show the figures of each class, too.")] = False,
) -> Ablation:
    """Train arms that differ in a few settings, with several seeds each, and compare them.

    Every run is one of `bombo train`, in OUT/ARM/seed-N. What is finished is not made again, what was interrupted goes
    on. Figures are those of the last step: no run is chosen or stopped by the validation images. Writes results.json,
    ablation.md, ablation.png, ablation.svg and report.html to OUT, and result.json to each run's folder.

    Raises:
        BomboError: A setting or file cannot be used, or a run that is there was made with other settings. A run that
            fails raises nothing; see `Ablation.failed`.
    """
    console = Console(soft_wrap=True, highlight=False, width=_WIDE)
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ConfigError("seeds are different numbers from 0 on", where="seeds", fix="for instance --seeds 0,1,2")
    base = {name: value for name, value in (("data", data), ("config", config)) if value is not None}
    known = read_ladder(ladder) if ladder else DEFAULT_LADDER
    changes = _with_views(choose(known, arms), base, oracle, out, is_asked=bool(arms or ladder), console=console)
    settings = {arm: resolve(arm, own, base) for arm, own in changes.items()}
    for arm, own in settings.items():
        if not load_data_file(Path(str(own.data))).val:
            raise ConfigError("there is nothing to validate on", where=f"arm {arm}, {own.data}", fix="add `val:`")
    runs = [ArmRun(arm, seed, own, out / arm) for arm, own in settings.items() for seed in seeds]
    for run in runs:
        run.check()

    failed, interrupted = _make(runs, parallel, console)
    results = {arm: [run.result() for run in runs if run.arm == arm and run.is_finished] for arm in settings}
    comparison = compare(some) if (some := {arm: own for arm, own in results.items() if own}) else None
    if comparison is not None:
        _report(comparison, changes, results, failed, out, per_class=per_class, console=console)
    if failed:
        console.print(f"failed    {', '.join(str(path) for path in failed)}", style="red", markup=False)
    if interrupted:
        console.print("stopped   everything is saved; the same command goes on", markup=False)
    return Ablation(out, comparison, failed, interrupted)


def _with_views(
    arms: dict[str, dict[str, Any]],
    base: Mapping[str, Any],
    oracle: Path | None,
    out: Path,
    *,
    is_asked: bool,
    console: Console,
) -> dict[str, dict[str, Any]]:
    """Gives arms their data: the oracle both annotations of all images, a network for one task that task's images.

    The latter sees as many of them per step as the others do, and none trains for longer than the others. What nobody
    asked for by name is left out where the annotation does not suffice.
    """
    complete: dict[str, dict[str, Any]] = {}
    for arm, changes in arms.items():
        complete[arm] = changes
        given = oracle if arm == ORACLE else None
        if ("data" in changes and given is None) or arm not in (ORACLE, *SINGLE):
            continue
        settings = resolve(arm, changes, base)
        file = load_data_file(Path(str(settings.data)))
        try:
            complete[arm] = changes | ({"data": given} if given else _own_data(arm, file, settings, out))
        except (ConfigError, DataError) as error:
            if is_asked and arm == ORACLE:
                raise ConfigError(
                    f"not every training image has both annotations ({error.message})",
                    where=f"arm {arm}, {file.path}",
                    fix="give a data file where they have: --oracle FILE; or leave it out of --arms",
                ) from None
            if is_asked:
                raise
            del complete[arm]
            hint = " (give one with --oracle FILE)" if arm == ORACLE else ""
            console.print(f"no {arm}{hint}: {error}", markup=False)
            continue
        if settings.steps is None and (given or arm in SINGLE):  # an epoch of these may be shorter, or longer
            complete[arm]["steps"] = make_schedule(settings, len(_training_records(file))).steps
    return complete


def _own_data(arm: str, file: DataFile, settings: TrainSettings, out: Path) -> dict[str, Any]:
    if arm == ORACLE:
        return {"data": full_view(file, out / "oracle.yaml", skip_bad=settings.skip_bad)}
    task = SINGLE[arm]
    view = single_view(file, task, out / f"{arm}.yaml")
    shared = places(Counter(record.kind for record in _training_records(file)), settings.batch_size)
    return {"data": view, "batch_size": shared.get(task, 0) + shared.get("both", 0)}


def _training_records(file: DataFile) -> list[Record]:
    return read_split(file, "train", label_space(file), skip_bad=True).records


def _make(runs: Sequence[ArmRun], parallel: int, console: Console) -> tuple[dict[Path, str], bool]:
    """Makes what is not finished; returns the runs that failed with their last lines, and whether it was stopped."""
    waiting = [run for run in runs if not run.is_finished]
    console.print(
        f"{len(runs)} runs: {len(runs) - len(waiting)} finished already, {sum(run.is_begun for run in waiting)} to go "
        f"on with; {parallel} at a time; each writes {LOG} in its folder"
    )
    failed: dict[Path, str] = {}

    def ended(run: ArmRun, last_lines: str) -> None:
        if last_lines:
            failed[run.path] = last_lines
            console.print(f"{run.name}: failed\n{last_lines}", style="red", markup=False)
            return
        figures = run.result()["figures"]
        shown = "   ".join(f"{name} {percent(math.nan if (v := figures[name]) is None else v)}" for name in FIGURES)
        console.print(f"{run.name}: {shown}", markup=False)

    with _Watch(console) as watch:
        return failed, side_runs.make(waiting, parallel, ended, watch)


class _Watch:
    """Says where the runs are: in a line that changes on a terminal, in one every half minute elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console, self.spoke = console, time.monotonic()
        self.live = Live(console=console, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live:
            self.live.stop()

    def __call__(self, runs: Sequence[ArmRun]) -> None:
        text = "      ".join(run.state for run in runs)
        if self.live:
            self.live.update(Text(text))
        elif time.monotonic() - self.spoke > _PLAIN_EVERY:
            self.spoke = time.monotonic()
            self.console.print(text, markup=False)


def _report(
    comparison: Comparison,
    changes: Mapping[str, Mapping[str, Any]],
    results: Mapping[str, Sequence[Mapping[str, Any]]],
    failed: Mapping[Path, str],
    out: Path,
    *,
    per_class: bool,
    console: Console,
) -> None:
    """Prints the tables and writes them, the plot and everything as JSON."""
    from bombo.engine.ablation_plot import plot  # matplotlib takes a second, and no other verb needs it

    sheets = [arms_sheet(comparison), *(class_sheets(comparison) if per_class else [])]
    note = caption(comparison)
    for sheet in sheets:
        console.print()
        console.print(sheet.for_terminal(), soft_wrap=False)
    console.print(f"\n{note}", markup=False)
    markdown = [sheets[0].to_markdown(), note + "\n", "![](ablation.svg)\n", *(s.to_markdown() for s in sheets[1:])]
    atomic_write(out / "ablation.md", "\n".join(markdown))
    plot(comparison, out / "ablation")
    everything = {
        "arms": changes,
        "note": note,
        "comparison": asdict(comparison),
        "runs": [result for own in results.values() for result in own],
        "failed": {str(path): lines for path, lines in failed.items()},
    }
    atomic_write(out / "results.json", json.dumps(without_nan(everything), indent=1, default=str) + "\n")
    written = [out / name for name in ("results.json", "ablation.md", "ablation.png")]
    page = report_at_end(out, console)
    console.print("wrote     " + "   ".join(map(str, [*written, *([page] if page else [])])), markup=False)
