"""The line of a data file that names what mask files hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import yaml

from bombo.checks.finding import Defect, Hit, Value
from bombo.checks.mask_file import BINARY, COLOURS, UNNAMED, UNSAID, VALUES
from bombo.data.label_space import VOID_NAMES
from bombo.data.sources import FolderSource, Source, VocSource, YoloSource
from bombo.data.yaml_file import YamlFile

_BLACK = (0, 0, 0)


def with_lines(hits: Sequence[Hit], source: Source, place: str, masks: int) -> list[Hit]:
    """Gives hits about values and colours the line that names these, in place of their general fix.

    Args:
        hits: All of one source.
        source: The source.
        place: Where the data file describes it.
        masks: How many masks it has: a line changes what all of them mean.
    """
    fixes = {}
    for defect in (UNNAMED, COLOURS, VALUES, BINARY, UNSAID):
        own = [hit for hit in hits if hit.defect == defect]
        stored = sorted({value for hit in own for value in hit.values}, key=str)
        if own and (defect == UNNAMED or len(own) == masks):
            fixes[defect] = _line(defect, source, place, stored)
    return [replace(hit, fix=fix) if (fix := fixes.get(hit.defect, "")) else hit for hit in hits]


def flow(value: Any) -> str:
    """A value as YAML on one line."""
    return str(yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)).strip()


def _line(defect: Defect, source: Source, place: str, stored: Sequence[Value]) -> str:
    match defect, source:
        case _, FolderSource() if defect == UNNAMED:
            return _unnamed(source, place, stored)
        case _, YoloSource() if defect == UNNAMED:
            names = YamlFile(source.yaml).content.get("names")
            known = dict(enumerate(names)) if isinstance(names, list) else dict(names)  # type: ignore[call-overload]
            return _void(f"`names: {flow(known | dict.fromkeys(stored, 'void'))}` in {source.yaml}")
        case _, VocSource() if defect == UNNAMED and len(stored) == 1 and isinstance(stored[0], tuple):
            return _void(f"the line `void:{','.join(map(str, stored[0]))}::` in {source.root / 'labelmap.txt'}")
        case _, FolderSource(names=None, colours=dict(colours)) if defect == VALUES:
            line = f"names: {flow(list(colours))}"
            return f"write `{line}` in place of `colours`, if their values count in this order, at {place}"
        case _, FolderSource(names=names) if names and defect == COLOURS:
            found = [list(value) for value in stored if isinstance(value, tuple) and value != _BLACK]
            line = f"colours: {flow(dict(zip(_classes(names), found, strict=False)))}"
            return f"write `{line}` in place of `names`, each class with its own of these colours, at {place}"
        case _, FolderSource(names=names) if names and defect in (BINARY, UNSAID):
            first = next(iter(_classes(names)))
            thing, rim = flow({255: first}), flow({1: first, 255: "void"})
            return f"write `names: {thing}` if 255 is {first}, `names: {rim}` if it is void, at {place}"
    return ""


def _unnamed(source: FolderSource, place: str, stored: Sequence[Value]) -> str:
    if source.names is not None:
        known = source.names if isinstance(source.names, dict) else dict(enumerate(source.names, start=1))
        return _void(f"`names: {flow(known | dict.fromkeys(stored, 'void'))}` at {place}")
    colours: dict[str, Any] = {name: list(colour) for name, colour in (source.colours or {}).items()}
    free = [name for name in VOID_NAMES if name not in colours]
    if len(stored) > len(free):
        return ""
    added = {name: list(colour) for name, colour in zip(free, stored, strict=False) if isinstance(colour, tuple)}
    return _void(f"`colours: {flow(colours | added)}` at {place}")


def _void(line: str) -> str:
    return f"write {line} (or the name of a class for `void`); the command, too, makes these pixels void"


def _classes(names: list[str] | dict[int, str]) -> Iterable[str]:
    return names if isinstance(names, list) else names.values()
