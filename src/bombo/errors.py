"""Errors that repair: what was found, where, what was expected, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BomboError(Exception):
    """An error a user can mend; the command line prints it as one message, without a traceback.

    Args:
        message: What was found and what was expected.
        where: File (and line, or key) it was found in.
        fix: What to type or change.
    """

    def __init__(self, message: str, *, where: str = "", fix: str = "") -> None:
        self.message, self.where, self.fix = message, where, fix
        super().__init__(message, where, fix)

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n  fix: {self.fix}" if self.fix else text

    def __reduce__(self) -> tuple[object, ...]:
        # keyword-only arguments do not survive pickling, and data-loading workers pickle their errors
        return (_rebuild, (type(self), self.message, self.where, self.fix))


def _rebuild(kind: type[BomboError], message: str, where: str, fix: str) -> BomboError:
    return kind(message, where=where, fix=fix)


class DataError(BomboError):
    """A file of the data set is missing, unreadable or inconsistent."""


class MissingFileError(DataError):
    """A file of the data set is not there."""


class ConfigError(BomboError):
    """A setting is unknown or has a value that cannot be used."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Names the closest known word, or lists them all when none is close."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"Did you mean `{close[0]}`?" if close else f"Known: {', '.join(known)}."
