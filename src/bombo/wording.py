"""How the terminal words what it tells."""

from __future__ import annotations

import shlex


def counted(number: int, noun: str) -> str:
    """A number with what it counts: `1 box`, `0 boxes`, `1,204 images`."""
    ending = "" if number == 1 else "es" if noun.endswith(("s", "x")) else "s"
    return f"{number:,} {noun}{ending}"


def typed(path: object) -> str:
    """A path as it has to be typed in a shell: in quotes where it holds blanks."""
    return shlex.quote(str(path))
