"""What a path holds: a data file, or a data set of some format, which becomes the data file a person would write."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bombo.data.data_file import DataFile, Split, load_data_file
from bombo.data.yaml_file import YamlFile
from bombo.errors import ConfigError

_SPLITS: dict[Split, tuple[str, ...]] = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
_YAMLS = ("bombo.yaml", "data.yaml")


@dataclass(frozen=True)
class Recognised:
    """A data set to read.

    Args:
        data: Its data file; without a list to train on, another one stands in for that.
        splits: The lists that are really there.
        what: What it was taken for.
        whole: Whether every source says what its images must have; otherwise each has what is there.
    """

    data: DataFile
    splits: tuple[Split, ...]
    what: str
    whole: bool


def recognise(src: Path, images: Path | None, names: str | None) -> Recognised:
    """Finds out by its content what lies at a path.

    Args:
        src: A data file, an Ultralytics YAML, a COCO JSON, or a folder that holds one of these, a VOC devkit, or
            `images` and `masks`.
        images: The folder of images of a COCO JSON or of a folder of masks, where it lies elsewhere.
        names: Class names, `cat,dog` for mask values 1, 2 or `255=cat`.

    Raises:
        ConfigError: It is none of these, something of it is missing, or it says `images` or `names` itself.
        DataError: A file of it is malformed.
    """
    if not src.exists():
        raise ConfigError("there is nothing here", where=str(src), fix="check the path")
    if src.suffix.lower() in (".yaml", ".yml"):
        return _yaml(src, images, names)
    if src.suffix.lower() == ".json":
        return _coco({"train": src}, images, names)
    if src.is_dir():
        return _folder(src, images, names)
    raise ConfigError(
        "is neither a data file nor a data set",
        where=str(src),
        fix="give a data file, a COCO .json, an Ultralytics .yaml, or the folder of a data set",
    )


def _yaml(path: Path, images: Path | None, names: str | None) -> Recognised:
    _refuse(f"{path} says it itself", images=images, names=names)
    content = YamlFile(path).content
    train = content.get("train")
    if "names" not in content or (isinstance(train, list) and any(isinstance(item, dict) for item in train)):
        data = load_data_file(path)
        there = tuple(split for split in _SPLITS if getattr(data, split))
        return Recognised(data, there, f"data file {path}", whole=True)
    source = {"format": "yolo", "root": path.parent.resolve(), "yaml": path.name, "use": "both"}
    splits = {split: [source] for split in _SPLITS if content.get(split)}
    return _recognised(splits, path, f"YOLO data set {path}", whole=False)


def _folder(src: Path, images: Path | None, names: str | None) -> Recognised:
    if found := next((src / name for name in _YAMLS if (src / name).is_file()), None):
        return _yaml(found, images, names)
    devkits = [folder for folder in (src, *sorted(src.glob("*/"))) if (folder / "JPEGImages").is_dir()]
    jsons = [path for path in sorted({*src.glob("*.json"), *src.glob("*/*.json")}) if _is_instances(path)]
    if len(devkits) > 1 or (devkits and jsons):
        fix = f"give one of {_listed([*devkits, *jsons])}"
        raise ConfigError("there are several data sets here", where=str(src), fix=fix)
    if devkits:
        _refuse("the images of a VOC devkit are those in JPEGImages", images=images)
        source = {"format": "voc", "root": devkits[0].resolve(), "use": "both"}
        listed = {"names": list(_names(names).values())} if names else {}
        return _recognised({"train": [source | listed]}, src, f"VOC devkit {devkits[0]}", whole=False)
    if jsons:
        return _coco(_by_split(jsons, src), images, names)
    if (src / "masks").is_dir():
        return _masks(src, images, names)
    raise ConfigError(
        "holds no data set that is known here",
        where=str(src),
        fix="expected is JPEGImages (VOC), an instances .json (COCO), a data.yaml (YOLO), or images and masks folders",
    )


def _coco(jsons: dict[Split, Path], images: Path | None, names: str | None) -> Recognised:
    _refuse("the categories of a COCO .json have names", names=names)
    splits: dict[Split, list[dict[str, Any]]] = {}
    for split, path in jsons.items():
        folder = images or _images_of(path)
        source = {"format": "coco", "root": path.parent.resolve(), "annotations": path.name, "use": "both"}
        splits[split] = [source | {"images": folder.resolve()}]
    first, what = next(iter(jsons.values())), f"COCO instances {_listed(jsons.values())}"
    return _recognised(splits, first, what, whole=False)


def _masks(src: Path, images: Path | None, names: str | None) -> Recognised:
    if names is None:
        raise ConfigError(
            "masks hold values, and nothing here says what they mean",
            where=str(src / "masks"),
            fix="name the values 1, 2, ... in order: --names cat,dog  (or  --names 255=cat)",
        )
    source = {"format": "folder", "root": src.resolve(), "use": "masks", "names": _names(names)}
    folder = {} if images is None else {"images": images.resolve()}
    return _recognised({"train": [source | folder]}, src, f"images and masks in {src}", whole=True)


def _names(text: str) -> dict[int, str]:
    words = [word.strip() for word in text.split(",")]
    pairs = [word.rpartition("=") for word in words]
    values = [value.strip() if sign else str(place) for place, (value, sign, _) in enumerate(pairs, start=1)]
    names = [name.strip() for _, _, name in pairs]
    fix = "write  --names cat,dog  or  --names 255=cat"
    if not all(names) or not all(value.isdecimal() and int(value) < 256 for value in values):
        raise ConfigError(f"`{text}` does not name classes", where="names", fix=fix)
    named = dict(zip(map(int, values), names, strict=True))
    if len(named) < len(names) or len(set(names)) < len(names):
        raise ConfigError(f"`{text}` says a class or a value twice", where="names", fix=fix)
    return named


def _images_of(path: Path) -> Path:
    """The folder where the images of an instances JSON lie."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["images"]
        first = str(entries[0]["file_name"])
    except (OSError, ValueError, LookupError, TypeError):
        return path.parent  # the reader says what is wrong
    year = path.stem.rpartition("_")[2]  # instances_val2017.json
    places = [path.parent / "images", path.parent, path.parent.parent / "images"]
    places += [above / year for above in (path.parent, path.parent.parent, places[0], places[2])]
    for place in places:
        if (place / first).is_file():
            return place
    raise ConfigError(
        f"the images are not found; {first} was looked for in {', '.join(map(str, places[:3]))}",
        where=str(path),
        fix="say where they lie: --images FOLDER",
    )


def _is_instances(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys()


def _by_split(jsons: list[Path], src: Path) -> dict[Split, Path]:
    """The instances files of a folder, by the split that their names or folders say."""
    if len(jsons) == 1:
        return {"train": jsons[0]}
    found: dict[Split, Path] = {}
    for path in jsons:
        words = path.relative_to(src).as_posix().lower()
        said = [split for split, marks in _SPLITS.items() if any(mark in words for mark in marks)]
        if len(said) != 1 or said[0] in found:
            fix = f"give one of {_listed(jsons)}"
            raise ConfigError("which files are train, val and test is not clear", where=str(src), fix=fix)
        found[said[0]] = path
    return {split: found[split] for split in _SPLITS if split in found}


def _listed(paths: Iterable[Path]) -> str:
    return ", ".join(map(str, paths))


def _refuse(why: str, **options: object) -> None:
    """Options that would change nothing are slips."""
    for name, value in options.items():
        if value is not None:
            raise ConfigError(f"is not used here: {why}", where=name, fix=f"leave --{name} out")


def _recognised(splits: dict[Split, list[dict[str, Any]]], src: Path, what: str, *, whole: bool) -> Recognised:
    if not splits:
        raise ConfigError("names no images", where=str(src), fix=f"add one of {', '.join(_SPLITS)}")
    stand_in = next(iter(splits.values()))
    try:
        data = DataFile.model_validate({"train": stand_in, **splits}, context={"folder": Path()})
    except ValidationError as error:
        first = error.errors()[0]
        message = str(first.get("ctx", {}).get("error", first["msg"]))  # without pydantic's words around ours
        raise ConfigError(message, where=str(src), fix="check that everything lies in its place") from None
    return Recognised(data, tuple(splits), what, whole)
