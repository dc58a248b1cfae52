"""Writing data files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from bombo.data.data_file import DataFile
from bombo.data.sources import Source


def data_file_text(file: DataFile, out: Path, cut: Mapping[int, Path] = MappingProxyType({})) -> str:
    """A data file as YAML, its paths relative to the folder where it will lie.

    Args:
        file: What to write.
        out: The folder.
        cut: Position of a training source that was cut → folder of its lists train_boxes.txt and train_masks.txt; it
            stands in the new file twice, once for each kind of annotation.
    """

    def relative(path: Path, start: Path = out) -> str:
        # resolved, since `..` leaves the folder that a link leads to, not the one it lies in
        return Path(os.path.relpath(path.resolve(), start.resolve())).as_posix()

    def entry(source: Source, **changed: str) -> dict[str, Any]:
        own = source.model_dump(by_alias=True, exclude_unset=True)
        starts = {key: out if key in ("root", "list") else source.root for key in own}
        plain = {key: relative(value, starts[key]) if isinstance(value, Path) else value for key, value in own.items()}
        return {"format": source.format, **plain, **changed}

    def part(source: Source, kind: str, folder: Path) -> dict[str, Any]:
        # named from one folder up: `train_boxes.txt` alone could also mean a list that the source has under that name
        path = folder / f"train_{kind}.txt"
        return entry(source, list=f"../{relative(path, out.resolve().parent)}", use=kind)

    content: dict[str, Any] = file.model_dump(mode="json", include={"classes", "stuff", "others"}, exclude_unset=True)
    content["train"] = []
    for index, source in enumerate(file.train):
        if index in cut:
            content["train"] += [part(source, kind, cut[index]) for kind in ("boxes", "masks")]
        else:
            content["train"].append(entry(source))
    for name in ("val", "test"):
        if sources := getattr(file, name):
            content[name] = [entry(source) for source in sources]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
