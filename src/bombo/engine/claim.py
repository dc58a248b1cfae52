"""A run's folder belongs to the process that trains in it: two in one folder would spoil both."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import IO

from bombo.errors import BomboError

try:
    import fcntl
except ImportError:  # Windows: nobody is kept out
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"


def claim(folder: Path) -> IO[str] | None:
    """Keeps other processes out of a folder until what is returned is given to `release`, or this process ends.

    A lock of POSIX, which a process that was killed leaves to others, and which the same process may take again.

    Returns:
        What holds the folder; None where that cannot be done.

    Raises:
        BomboError: Another process has it.
    """
    if fcntl is None:
        return None
    try:
        file = (folder / LOCK).open("w")
    except OSError:  # whoever reads or writes there next says what is wrong
        return None
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            return None  # a network's file system without locks
        raise BomboError(
            "another process is training there",
            where=str(folder),
            fix="wait until it has ended, stop it (Ctrl-C, or kill: it saves first), or choose another --out",
        ) from None
    return file


def release(file: IO[str] | None) -> None:
    """Lets others into the folder again."""
    if file is not None:
        Path(file.name).unlink(missing_ok=True)
        file.close()
