"""What stands in README.md and docs/ to be typed, read or run."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from quick import QUICK

ROOT = Path(__file__).parents[2]
SMALL = QUICK | {"epochs": 1}
PAGES = ["README.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r'^( *)```(?:\{\.)?(\w*)(?: title="([^"\n]*)")?\}?\n(.*?)^\1```$', re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block; one whose title begins with `needs` asks for something a test does not have."""

    language: str
    title: str
    text: str

    @property
    def runs(self) -> bool:
        return not self.title.startswith("needs ")

    @property
    def lines(self) -> list[str]:
        """Without comments; a line that ends in a backslash goes on."""
        joined = self.text.replace("\\\n", " ").splitlines()
        return [line.strip() for line in joined if line.strip() and not line.lstrip().startswith("#")]


def blocks(page: str, language: str) -> list[Block]:
    found = [Block(m[2], m[3] or "", dedent(m[4])) for m in _FENCE.finditer((ROOT / page).read_text())]
    return [block for block in found if block.language == language]


def typed(command: str) -> list[str]:
    """The words of a command, with training cut down to a size for tests (of repeated options the last one counts)."""
    words = shlex.split(command, comments=True)[1:]
    if words[0] == "train":
        words += [word for name, value in SMALL.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return words
