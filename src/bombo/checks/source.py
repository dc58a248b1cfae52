"""One source of the data file: what its reader makes of it, what it refuses, and which files it names at all."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bombo.checks import coco_file
from bombo.checks.finding import REPAIR, Defect, Hit
from bombo.checks.image_file import MISSING
from bombo.data import coco, folder
from bombo.data.data_file import Split, class_names, read_source
from bombo.data.image_io import IMAGE_SUFFIXES
from bombo.data.label_space import LabelSpace
from bombo.data.sample import Problems, Record
from bombo.data.sources import CocoSource, FolderSource, Source, VocSource, YoloSource
from bombo.data.voc import VocReader
from bombo.data.yolo import YoloReader
from bombo.errors import DataError, MissingFileError
from bombo.files import is_file

UNREADABLE = Defect(
    "source-unreadable", "error", "source cannot be read; its images were not looked at",
    "sources cannot be read; their images were not looked at", "repair the file, then check again",
)  # fmt: skip
UNLISTED = Defect(
    "image-unlisted", "note", "image lies in a folder, but nothing names it",
    "images lie in a folder, but nothing names them",
    "nothing has to be done: they are not used. `bombo predict RUN FOLDER` shows what a trained network sees there",
)  # fmt: skip

# what differs between two errors of one kind: names in quotation marks, lists, numbers
_PARTICULAR = re.compile(r"'[^']*'|\"[^\"]*\"|\([^)]*\)|\[[^]]*\]|-?\d+(?:[.,]\d+)*(?:e[+-]?\d+)?|\bnan\b|\bNone\b")


@dataclass(frozen=True)
class Task:
    """The files of one image that are to be looked into.

    Args:
        image: The image.
        record: What the reader knows of it, None where it refuses it.
        boxes: File of this image's boxes alone (XML, rows), None without.
    """

    image: Path
    record: Record | None
    boxes: Path | None


@dataclass(frozen=True)
class Part:
    """One source under one key of the data file, read.

    Args:
        source: The source.
        split: `train`, `val` or `test`.
        tasks: Its images, those included that the reader refuses.
        hits: What is wrong with its lists and files as a whole.
        refused: What the reader says about images it refuses.
    """

    source: Source
    split: Split
    tasks: list[Task]
    hits: list[Hit]
    refused: list[Hit]

    @property
    def records(self) -> list[Record]:
        """The images that the reader accepts."""
        return [task.record for task in self.tasks if task.record is not None]


def read_part(source: Source, split: Split, space: LabelSpace) -> Part:
    """Reads a source without stopping at a problem.

    Raises:
        ConfigError: A description it needs (the YAML of a YOLO data set) cannot be used.
    """
    hits, problems = _of_the_whole(source), Problems()
    try:
        records = read_source(source, split, space, problems)
        boxes = _named(source, split, space)
    except DataError as error:
        return Part(source, split, [], [*hits, Hit(UNREADABLE, error.where, error.message, error.fix)], [])
    accepted = {record.image for record in records}
    tasks = [Task(record.image, record, boxes.get(record.image)) for record in records]
    tasks += [Task(image, None, own) for image, own in boxes.items() if image not in accepted]
    return Part(source, split, tasks, hits, [refusal(error) for error in problems.errors])


def class_problems(source: Source) -> list[Hit]:
    """What keeps the class names of a source from being known; nothing where they are.

    Raises:
        ConfigError: The YAML of a YOLO data set cannot be used.
    """
    try:
        class_names(source)
    except DataError as error:
        return [*_of_the_whole(source), Hit(UNREADABLE, error.where, error.message, error.fix)]
    return []


def _of_the_whole(source: Source) -> list[Hit]:
    try:
        return coco_file.inspect(source) if isinstance(source, CocoSource) else []
    except DataError:
        return []  # who reads it names that, too


def refusal(error: DataError) -> Hit:
    """An error of a reader as a hit; errors that differ only in names and numbers are of one kind."""
    if isinstance(error, MissingFileError):
        return Hit(MISSING, error.where, error.message, f"{error.fix}; the command leaves these images out")
    kind = _PARTICULAR.sub("…", error.message.split(". ")[0])
    defect = Defect(
        "annotation-refused", "error",
        f"annotation cannot be used: {kind}", f"annotations cannot be used: {kind}",
        "correct them; the command leaves these images out, as `bombo train --skip-bad` does", REPAIR,
    )  # fmt: skip
    fix = f"{error.fix}; the command leaves these images out" if error.fix else ""
    return Hit(defect, error.where, error.message, fix)


def unlisted(images: Iterable[Path]) -> list[Hit]:
    """Images that lie beside those that are named, and are named by nobody."""
    named = {image.parent.resolve() / image.name for image in images}
    hits = []
    for place in sorted({image.parent for image in named}):
        files = (file for file in sorted(place.iterdir()) if file.suffix.lower() in IMAGE_SUFFIXES)
        hits += [Hit(UNLISTED, str(file)) for file in files if file not in named]
    return hits


def _named(source: Source, split: Split, space: LabelSpace) -> dict[Path, Path | None]:
    """Every image that exists and is named, by a list or by lying in the right place → the file of its boxes alone."""
    match source:
        case VocSource():
            devkit = VocReader(source, space)
            found = {devkit.file(name): source.root / "Annotations" / f"{name}.xml" for name, _ in devkit.listed()}
            files = {image: xml for image, xml in found.items() if image is not None}
        case YoloSource():
            rows = YoloReader(source, space)
            files = {image: rows.label_file(image) for image in rows.listed(source.split or split)}
        case CocoSource():
            entries = coco_file.listed(source, coco.parsed(source))
            files = {source.images / str(entry.get("file_name")): Path() for entry in entries}
        case FolderSource():
            stems = folder.by_stem(source.images)
            files = {path: Path() for stem, _ in folder.listed(source, stems) for path in stems.get(stem, [])}
    alone = source.use_boxes and isinstance(source, VocSource | YoloSource)
    return {image: boxes if alone else None for image, boxes in files.items() if is_file(image)}
