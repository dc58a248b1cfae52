"""Writing files so that an interruption never leaves half of one, and finding names that are free."""

from __future__ import annotations

import math
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from bombo.errors import BomboError


def is_file(path: Path) -> bool:
    """Whether a file is there; False also for what no file can be called, such as a name that is too long."""
    return os.path.isfile(path)  # noqa: PTH113 - `Path.is_file` raises an OSError for such names


def atomic_write(path: Path, data: bytes | str) -> None:
    """Writes a whole file or nothing: whoever reads `path` sees the old content or the new, never a part.

    Text is written as UTF-8 with line ends as given, the same bytes on every system.

    Raises:
        BomboError: The file cannot be written (disk full, no permission, ...); what `path` held before is untouched.
    """
    with atomic_file(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a file that takes its name when the block is left without an error, as `atomic_write` says.

    The data goes to a temporary file beside `path`, is flushed to the disk and then takes the name. Missing parent
    folders are made.

    Raises:
        BomboError: The file cannot be written; what `path` held before is untouched.
    """
    temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())  # without it a power cut may leave the new name on an empty file
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)  # gone already unless something failed, Ctrl-C included
    except OSError as error:
        raise BomboError(
            f"cannot be written ({error.strerror or error})",
            where=str(path),
            fix="make room or check the permissions there, or write to another folder",
        ) from error


@contextmanager
def appearing_folder(path: Path) -> Iterator[Path]:
    """Opens a folder to write in, which becomes `path` when the block is left without an error.

    It has the same name, but lies in a hidden folder beside `path`; after an error nothing is left of it.

    Raises:
        BomboError: It cannot be written, or `path` is there and not empty.
    """
    place = path.resolve()  # a link stays, and what it leads to is filled
    hidden = place.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        folder = hidden / place.name
        folder.mkdir(parents=True)
        yield folder
        if place.exists():
            place.rmdir()
        folder.rename(place)
    except OSError as error:
        fix = "make room or check the permissions there, or write to another folder"
        raise BomboError(f"cannot be written ({error.strerror or error})", where=str(path), fix=fix) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def next_free(folder: Path, stem: str) -> Path:
    """The next unused numbered name, such as `runs/pets-3` after `pets-1` and `pets-2`; nothing is created.

    Numbers only grow: a gap that a deleted run left is not filled, so a higher number is always a later run. Two
    processes may get the same answer; make the folder with `mkdir(exist_ok=False)` and ask again when it is taken.
    """
    pattern = re.compile(re.escape(stem) + r"-([1-9]\d*)")
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    numbers = [int(match[1]) for name in names if (match := pattern.fullmatch(name))]
    return folder / f"{stem}-{max(numbers, default=0) + 1}"


def without_nan(value: Any) -> Any:
    """The same mappings and lists with None for NaN and infinity: JSON has neither."""
    if isinstance(value, Mapping):
        return {name: without_nan(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
