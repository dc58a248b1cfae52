"""Writing files so that an interruption never leaves half of one, and finding names that are free."""

from __future__ import annotations

import math
import os
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bombo.errors import BomboError


def atomic_write(path: Path, data: bytes | str) -> None:
    """Writes a whole file or nothing: whoever reads `path` sees the old content or the new, never a part.

    The data goes to a temporary file beside `path`, is flushed to the disk and then takes the name. Missing parent
    folders are made. Text is written as UTF-8 with line ends as given, the same bytes on every system.

    Raises:
        BomboError: The file cannot be written (disk full, no permission, ...); what `path` held before is untouched.
    """
    temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
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
