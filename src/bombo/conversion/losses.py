"""What a conversion did to the annotation, counted as it goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_EXAMPLES = 3


@dataclass
class Note:
    """One kind of loss: how often, and the first places."""

    count: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass
class Losses:
    """Counts.

    Args:
        dropped: Why objects are not in the target.
        changed: What is in the target, but not as it was in the source.
        voided: Pixels of masks that became void, since the format cannot say them.
    """

    dropped: dict[str, Note] = field(default_factory=dict)
    changed: dict[str, Note] = field(default_factory=dict)
    voided: int = 0

    def drop(self, why: str, where: str, count: int = 1) -> None:
        """Notes objects that cannot be written.

        Args:
            why: The reason, as a sentence after "dropped: ".
            where: The image.
            count: How many.
        """
        _note(self.dropped, why, where, count)

    def change(self, what: str, where: str, count: int = 1) -> None:
        """Notes what is written otherwise than it was read.

        Args:
            what: What happened, after a number.
            where: The image.
            count: How many.
        """
        _note(self.changed, what, where, count)

    @property
    def num_dropped(self) -> int:
        """Objects that are not in the target."""
        return sum(note.count for note in self.dropped.values())

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        """Plain types."""
        return {
            "dropped": [
                {"why": why, "count": note.count, "examples": note.examples} for why, note in _items(self.dropped)
            ],
            "changed": [
                {"what": why, "count": note.count, "examples": note.examples} for why, note in _items(self.changed)
            ],
        }


def _note(notes: dict[str, Note], why: str, where: str, count: int) -> None:
    if count:
        note = notes.setdefault(why, Note())
        note.count += count
        if len(note.examples) < _EXAMPLES and where not in note.examples:
            note.examples.append(where)


def _items(notes: dict[str, Note]) -> Iterator[tuple[str, Note]]:
    yield from sorted(notes.items(), key=lambda item: -item[1].count)
