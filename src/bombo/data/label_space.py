"""The ordered classes, and how names become box labels and mask values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bombo.errors import ConfigError, did_you_mean

BACKGROUND, VOID = 0, 255
ANY_CLASS = -1  # label of a region that must not count as negative for any class

BACKGROUND_NAMES = ("background", "_background_", "__background__", "bg")
VOID_NAMES = ("void", "ignore", "unlabeled", "unlabelled")


@dataclass(frozen=True)
class LabelSpace:
    """Ordered classes: things (box and mask) first, then stuff (mask only).

    A class has one index in both tasks: label `c` of a box is mask value `c + 1`. Since things come first, the
    detection head's column `c` is class `c` as well.

    Args:
        things: Names of the countable classes.
        stuff: Names of the classes that only masks know.
        others: What pixels and boxes of all other classes become.

    Raises:
        ConfigError: A name stands twice, is reserved, or there are more than 254 classes.
    """

    things: tuple[str, ...]
    stuff: tuple[str, ...] = ()
    others: Literal["background", "void"] = "background"

    def __post_init__(self) -> None:
        names = self.names
        twice = sorted({name for name in names if names.count(name) > 1})
        reserved = [name for name in names if name.lower() in BACKGROUND_NAMES + VOID_NAMES]
        if twice:
            raise ConfigError(
                f"class {twice[0]!r} is listed twice", fix="list every class once, as a thing or as stuff"
            )
        if reserved:
            raise ConfigError(
                f"{reserved[0]!r} is not a class",
                fix="leave it out: background is mask value 0 and void is 255 already",
            )
        if not 1 <= len(names) <= 254:
            raise ConfigError(f"{len(names)} classes; a mask of 8 bits holds 1 to 254", fix="choose `classes:`")

    @property
    def names(self) -> tuple[str, ...]:
        """All class names; position = class index."""
        return self.things + self.stuff

    @property
    def num_things(self) -> int:
        """Number of columns of the detection head."""
        return len(self.things)

    @property
    def num_mask_values(self) -> int:
        """Number of channels of the segmentation head: background and every class."""
        return len(self.names) + 1

    def label(self, name: str) -> int | None:
        """Box label of a class name.

        Returns:
            The class index; `ANY_CLASS` for a class outside the space when `others` is void; None where the box is to
            be left out (stuff, or another class that counts as background).
        """
        if name in self.things:
            return self.things.index(name)
        if name in self.stuff or self.others == "background":
            return None
        return ANY_CLASS

    def mask_value(self, name: str) -> int:
        """Mask value of a class name: 0 for background, 255 for void, `others` for a class outside the space."""
        if name in self.names:
            return self.names.index(name) + 1
        if name.lower() in BACKGROUND_NAMES:
            return BACKGROUND
        if name.lower() in VOID_NAMES:
            return VOID
        return BACKGROUND if self.others == "background" else VOID

    @classmethod
    def choose(
        cls,
        found: list[str],
        *,
        classes: list[str] | None,
        stuff: list[str] | None,
        others: Literal["background", "void"],
    ) -> LabelSpace:
        """Makes the label space of a data file from the names its sources know.

        Args:
            found: Class names in the order of the sources, without duplicates, without background.
            classes: The classes to use (things, or things and stuff), None for all that were found.
            stuff: Which of them are stuff.
            others: What the rest becomes.

        Raises:
            ConfigError: A chosen class is in none of the sources.
        """
        stuff = stuff or []
        for listed in (classes or [], stuff):
            if twice := [name for name in listed if listed.count(name) > 1]:
                raise ConfigError(f"class {twice[0]!r} is listed twice", where="classes", fix="list every class once")
        chosen = list(dict.fromkeys([*(found if classes is None else classes), *stuff]))
        unknown = [name for name in chosen if name not in found]
        if unknown:
            raise ConfigError(
                f"class {unknown[0]!r} is in no source. {did_you_mean(unknown[0], found)}", where="classes"
            )
        things = tuple(name for name in chosen if name not in stuff)
        return cls(things, tuple(name for name in chosen if name in stuff), others)
