"""Looks a data set over, before any GPU is paid: what it holds, and what is wrong with it.

bombo check pets.yaml
bombo check pets.yaml --strict --out check.json
"""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from typer import Argument, Option

from bombo.checks.classes import NO_VAL, balance, count, empty_images, names
from bombo.checks.examine import Examined, examine_all
from bombo.checks.finding import REPAIR, Hit, gather
from bombo.checks.naming import with_lines
from bombo.checks.report import CheckReport
from bombo.checks.source import UNREADABLE, Part, class_problems, read_part, unlisted
from bombo.checks.twins import Seen, twins
from bombo.command import checked
from bombo.data import coco
from bombo.data.data_file import DataFile, Split, label_space, load_data_file, named_classes
from bombo.data.label_space import LabelSpace
from bombo.data.statistics import Statistics
from bombo.errors import ConfigError, DataError
from bombo.files import atomic_write, next_free

SPLITS: tuple[Split, ...] = ("train", "val", "test")
_PLAIN_EVERY = 15.0  # seconds between plain lines where there is no terminal


@checked
def check(
    data: Annotated[Path, Argument(help="Data file that names the images.")],
    out: Annotated[Path | None, Option(help="File for the whole report as JSON, with every example.")] = None,
    strict: Annotated[bool, Option("--strict", help="Warnings count as errors.")] = False,
) -> CheckReport:
    """Look a data set over, before any GPU is paid.

    Every file that the data file lets be read is read to its end: annotation that a reader would refuse or cut, files
    that are missing or damaged, masks that hold no classes, images that stand in train and val, boxes and masks that
    contradict each other, classes that one kind of annotation does not know.

    An existing `out` is replaced only if it is such a report.

    Returns:
        What was found; its `exit_code` is 1 if there are errors.

    Raises:
        ConfigError: The data file cannot be used, or `out` exists and is something else.
        BomboError: The classes cannot be known, because no source that names them can be read.
    """
    _spare(out)
    began = time.monotonic()
    file, hits = _readable(load_data_file(data))
    try:
        space = label_space(file)
    except ConfigError:
        if not hits:
            raise
        raise DataError(hits[-1].detail, where=hits[-1].where, fix=hits[-1].fix) from None
    try:
        parts = [read_part(source, split, space) for split in SPLITS for source in getattr(file, split)]
    finally:
        coco.forget_files()
    tasks = [task for part in parts for task in part.tasks]
    with progress_bar(len(tasks)) as progress:
        examined = examine_all(tasks, space, progress)
    report = _report(data, file, space, parts, examined, hits, began, strict)
    if out is not None:
        atomic_write(out, json.dumps(report.to_json(), indent=1) + "\n")
    return report


def _report(
    data: Path,
    file: DataFile,
    space: LabelSpace,
    parts: list[Part],
    examined: list[Examined],
    hits: list[Hit],
    began: float,
    strict: bool,
) -> CheckReport:
    tasks = [(part.split, task) for part in parts for task in part.tasks]
    hits = [*hits, *(hit for part in parts for hit in part.hits)]
    looked_at = iter(examined)
    for part, place in zip(parts, _places(file), strict=True):
        met = [hit for found in islice(looked_at, len(part.tasks)) for hit in found.hits]
        masks = sum(task.record is not None and task.record.mask is not None for task in part.tasks)
        hits += with_lines(met, part.source, place, masks)
    explained = {hit.where for hit in hits if hit.defect.severity == "error"}
    hits += [hit for part in parts for hit in part.refused if hit.where not in explained]
    pairs = zip(tasks, examined, strict=True)
    hits += twins([Seen(split, task.image, found.print) for (split, task), found in pairs if found.print is not None])
    counts: dict[str, Statistics] = {}
    refused: dict[str, int] = {}
    for split in SPLITS:
        if getattr(file, split):
            own = [(task, found) for (s, task), found in zip(tasks, examined, strict=True) if s == split]
            listed, looked = [task for task, _ in own], [found for _, found in own]
            counts[split] = count(listed, looked, space)
            refused[split] = sum(task.record is None for task in listed)
            hits += empty_images(split, listed, looked, bool(file.classes))
    if "train" in counts:
        hits += balance(counts, space)
    hits += names(named_classes(file), space)
    if not file.val:
        hits.append(Hit(NO_VAL, str(data)))
    if all(hit.defect != UNREADABLE for hit in hits):  # what cannot be read may name them
        hits += unlisted(task.image for _, task in tasks)
    words = _words(data, file)
    findings = gather(hits, words, _legible(file))
    repair = REPAIR.format(**words)
    return CheckReport(data, space, counts, refused, findings, len(tasks), time.monotonic() - began, repair, strict)


def _words(data: Path, file: DataFile) -> dict[str, str]:
    """What commands name: the data file, a folder that is free, and the format that all sources have, else COCO."""
    formats = {source.format for split in SPLITS for source in getattr(file, split)}
    fixed = Path(f"{data.stem}-fixed")
    fixed = next_free(fixed.parent, fixed.name) if fixed.exists() else fixed
    to = formats.pop() if len(formats) == 1 else "coco"
    return {"data": shlex.quote(str(data)), "fixed": shlex.quote(str(fixed)), "to": to}


def _places(file: DataFile) -> list[str]:
    """Where the data file describes each source, in the order they are read."""
    return [file.where(split, number) for split in SPLITS for number in range(len(getattr(file, split)))]


def _readable(file: DataFile) -> tuple[DataFile, list[Hit]]:
    """The data file without the sources whose classes cannot be read, and what is wrong with those."""
    hits: list[Hit] = []
    kept: dict[str, list[object]] = {}
    for split in SPLITS:
        for source in getattr(file, split):
            wrong = class_problems(source)
            hits += wrong
            if not wrong:
                kept.setdefault(split, []).append(source)
    return file.model_copy(update={split: kept.get(split, []) for split in SPLITS}), hits


def _legible(file: DataFile) -> Callable[[str], str]:
    """Shortens roots that were reached over `..`, so that what is printed can be typed."""
    roots = {source.root for split in SPLITS for source in getattr(file, split) if ".." in source.root.parts}
    shorter = {str(root): os.path.relpath(root.resolve()) for root in sorted(roots, key=lambda r: -len(str(r)))}

    def legible(text: str) -> str:
        for long, short in shorter.items():
            text = text.replace(long, short)
        return text

    return legible


def _spare(out: Path | None) -> None:
    if out is None or not out.exists():
        return
    try:
        if "checked" in json.loads(out.read_text(encoding="utf-8")):
            return
    except (OSError, ValueError, TypeError):
        pass
    raise ConfigError("exists and is no report of a check", where=str(out), fix="choose another name for --out")


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, else a line now and then; on stderr, so that stdout holds the result alone."""
    console, began = Console(stderr=True), time.monotonic()
    columns = (TextColumn("checking"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"))
    bar = Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)
    task, spoke = bar.add_task("", total=total, speed=""), began

    def update(done: int) -> None:
        nonlocal spoke
        now = time.monotonic()
        speed = f"{done / max(now - began, 1e-6):,.0f} images/s"
        bar.update(task, completed=done, speed=speed)
        if bar.disable and now - spoke > _PLAIN_EVERY:
            spoke = now
            console.print(f"checking  {done:,} of {total:,}   {speed}", highlight=False, soft_wrap=True)

    with bar:
        yield update
