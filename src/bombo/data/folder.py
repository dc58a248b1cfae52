"""Reader of a folder of images with a folder of masks."""

from __future__ import annotations

from pathlib import Path

from bombo.data.annotation_io import read_list
from bombo.data.image_io import IMAGE_SUFFIXES
from bombo.data.label_space import LabelSpace
from bombo.data.masks import MaskCodes, MaskFile
from bombo.data.sample import Problems, Record
from bombo.data.sources import FolderSource
from bombo.errors import DataError, MissingFileError


def class_names(source: FolderSource) -> list[str]:
    """Names the classes in the order the data file gives them."""
    if source.colours is not None:
        return list(source.colours)
    return list(_values(source).values())


def read(source: FolderSource, space: LabelSpace, problems: Problems) -> list[Record]:
    """Pairs images and masks by file name without suffix; masks are decoded later.

    Raises:
        DataError: A folder or list is empty. Errors of single images go to `problems`.
    """
    codes = MaskCodes(
        space,
        values=None if source.colours is not None else _values(source),
        colours=None if source.colours is None else {rgb: name for name, rgb in source.colours.items()},
        fix="name all its classes under `names:` (values) or `colours:` (RGB) of this source; "
        "what is no class can be mapped to `background` or `void`",
        binary=isinstance(source.names, list) and len(source.names) == 1,
    )
    images, masks = by_stem(source.images), by_stem(source.masks)
    records = []
    for stem, where in listed(source, images):
        try:
            records.append(_pair(stem, where, source, images, masks, codes))
        except DataError as error:
            problems.add(error)
    return records


def _pair(
    stem: str,
    where: str,
    source: FolderSource,
    images: dict[str, list[Path]],
    masks: dict[str, list[Path]],
    codes: MaskCodes,
) -> Record:
    if stem not in images:
        raise MissingFileError(f"there is no image {stem!r} in {source.images}", where=where, fix="correct the list")
    if stem not in masks:
        fix = "add it, or leave the image out with a `list`"
        raise MissingFileError(
            f"there is no mask {stem}.png for it in {source.masks}", where=str(images[stem][0]), fix=fix
        )
    for paths in (images[stem], masks[stem]):
        if len(paths) > 1:
            fix = "rename one: images and masks are paired by name without suffix"
            raise DataError(f"{paths[1].name} has the same name but for its suffix", where=str(paths[0]), fix=fix)
    return Record(images[stem][0], None, MaskFile(masks[stem][0], codes), stem, where=str(masks[stem][0]), entry=stem)


def listed(source: FolderSource, images: dict[str, list[Path]]) -> list[tuple[str, str]]:
    """Names without suffix, and the place each is named at."""
    if source.list_file is None:
        return [(stem, str(source.images)) for stem in images]
    lines = read_list(source.list_file)
    return [(_stem(entry), f"{source.list_file}, line {line}") for entry, line in lines.items()]


def by_stem(folder: Path) -> dict[str, list[Path]]:
    """The images of a folder by their names without suffix.

    Raises:
        DataError: There are none.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            found.setdefault(path.stem, []).append(path)
    if not found:
        raise DataError("there are no images in this folder", where=str(folder), fix="check `images` and `masks`")
    return found


def _stem(entry: str) -> str:
    path = Path(entry)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name


def _values(source: FolderSource) -> dict[int, str]:
    if isinstance(source.names, dict):
        return dict(source.names)
    return dict(enumerate(source.names or [], start=1))
