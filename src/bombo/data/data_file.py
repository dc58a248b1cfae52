"""The data file: which sources make up train, val and test, and what of each may be read."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from bombo.data import coco, folder, voc, yolo
from bombo.data.annotation_io import Mend
from bombo.data.label_space import BACKGROUND_NAMES, VOID_NAMES, LabelSpace
from bombo.data.labelled import as_labelled, labelled_classes
from bombo.data.sample import Problems, Record
from bombo.data.sources import CocoSource, FolderSource, Source, VocSource, YoloSource
from bombo.data.yaml_file import YamlFile
from bombo.errors import ConfigError, DataError, did_you_mean

Split = Literal["train", "val", "test"]
_MODELS: dict[object, type[BaseModel]] = {
    "voc": VocSource,
    "coco": CocoSource,
    "yolo": YoloSource,
    "folder": FolderSource,
}


@dataclass(frozen=True)
class DataSet:
    """One split, read.

    Args:
        records: The images, with distinct names.
        problems: What was left out with `skip_bad`, one error for each image.
    """

    records: list[Record]
    problems: list[DataError]


class DataFile(BaseModel):
    """A validated data file.

    Args:
        classes: Classes to use, None for all the sources know.
        stuff: Which classes only masks know.
        others: What pixels and boxes of other classes become.
        train: Sources to learn from.
        val: Sources to validate on.
        test: Sources to report on in the end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: list[str] | None = Field(default=None, min_length=1)
    stuff: list[str] | None = None
    others: Literal["background", "void"] = "background"
    train: list[Source] = Field(min_length=1, description="list the sources to learn from")
    val: list[Source] = []
    test: list[Source] = []
    _yaml: YamlFile | None = PrivateAttr(None)

    @property
    def path(self) -> Path:
        """Where the data file lies; the root of its first source, if it is no file."""
        return self.train[0].root if self._yaml is None else self._yaml.path

    def where(self, *keys: object) -> str:
        """Names a place in the file, `pets.yaml, line 7, train[1].use`."""
        return str(self.path) if self._yaml is None else self._yaml.where(*keys)


def load_data_file(path: Path) -> DataFile:
    """Reads and checks a data file. Paths in it start at its own folder.

    Raises:
        ConfigError: The file is missing or no YAML, a key is unknown or missing, or a value cannot be used.
    """
    yaml = YamlFile(path)
    _refuse_ultralytics(yaml)
    _refuse_coco(yaml)
    try:
        data = DataFile.model_validate(yaml.content, context={"folder": path.parent})
    except ValidationError as error:
        raise _as_config_error(error, yaml) from None
    data._yaml = yaml
    return data


def named_classes(data: DataFile) -> list[str]:
    """What the sources of all splits call their classes, in their order, without background and void.

    Raises:
        DataError: A file that names them is missing or malformed.
    """
    found = dict.fromkeys(name for source in (*data.train, *data.val, *data.test) for name in class_names(source))
    return [name for name in found if name.lower() not in BACKGROUND_NAMES + VOID_NAMES]


def label_space(data: DataFile) -> LabelSpace:
    """Makes the label space from `classes`, `stuff`, `others` and the names the sources of all splits know.

    Raises:
        ConfigError: A chosen class is in none of the sources, or the names cannot be classes.
        DataError: A file that names a source's classes is missing or malformed.
    """
    classes = named_classes(data)
    for split in get_args(Split):
        for number, source in enumerate(getattr(data, split)):
            for name in source.labelled_classes or ():
                if name not in classes:
                    where = data.where(split, number, "labelled_classes")
                    raise ConfigError(f"class {name!r} is in no source. {did_you_mean(name, classes)}", where=where)
    try:
        return LabelSpace.choose(classes, classes=data.classes, stuff=data.stuff, others=data.others)
    except ConfigError as error:
        where = data.where("classes" if data.classes else "stuff")
        raise ConfigError(error.message, where=where, fix=error.fix) from None


def read_split(
    data: DataFile,
    split: Split,
    space: LabelSpace,
    *,
    skip_bad: bool = False,
    partial: bool = False,
    as_annotated: bool = False,
    mend: Mend | None = None,
) -> DataSet:
    """Reads what the sources of one split know of their images. No pixel is decoded yet.

    Args:
        data: The data file.
        split: Which of its lists.
        space: Label space to map to, by name.
        skip_bad: Leave out images whose files are missing, unreadable or inconsistent, instead of raising.
        partial: What an image lacks (a mask, a label file, the outline of an object) counts as not annotated, instead
            of being an error; an image without any annotation still is one.
        as_annotated: Also give what is marked of classes that were not looked for; otherwise it is taken back.
        mend: Mends what the files of boxes say, before it is judged.

    Raises:
        ConfigError: The data file has no sources for this split.
        DataError: Images cannot be used (all of them with `skip_bad`), or a file that concerns a whole source.
    """
    sources: list[Source] = getattr(data, split)
    if not sources:
        fix = f"add sources under `{split}:`"
        raise ConfigError(f"there are no sources for `{split}`", where=str(data.path), fix=fix)
    problems = Problems()
    try:
        parts = [read_source(source, split, space, problems, partial=partial, mend=mend) for source in sources]
    finally:
        coco.forget_files()
    records = _with_distinct_names(parts)
    if not as_annotated:
        records = [as_labelled(record) for record in records]
    problems.raise_unless(skip_bad, len(records) + len(problems.errors))
    return DataSet(records, problems.errors)


def class_names(source: Source) -> list[str]:
    """Names the classes of one source.

    Raises:
        ConfigError, DataError: A file that names them is missing or malformed.
    """
    match source:
        case VocSource():
            return voc.class_names(source)
        case CocoSource():
            return coco.class_names(source)
        case YoloSource():
            return yolo.class_names(source)
        case FolderSource():
            return folder.class_names(source)


def read_source(
    source: Source,
    split: Split,
    space: LabelSpace,
    problems: Problems,
    *,
    partial: bool = False,
    mend: Mend | None = None,
) -> list[Record]:
    """Reads the images of one source as annotated; errors of single images go to `problems`, others are raised."""
    records = _read(source, split, space, problems, partial, mend)
    names = class_names(source) if source.labelled_classes is None else source.labelled_classes
    labelled = labelled_classes(names, space, masks=source.use_masks)
    return records if labelled is None else [replace(record, labelled=labelled) for record in records]


def _read(
    source: Source, split: Split, space: LabelSpace, problems: Problems, partial: bool, mend: Mend | None
) -> list[Record]:
    match source:
        case VocSource():
            return voc.read(source, space, problems, partial=partial, mend=mend)
        case CocoSource():
            return coco.read(source, space, problems, partial=partial, mend=mend)
        case YoloSource():
            return yolo.read(source, space, problems, split, partial=partial, mend=mend)
        case FolderSource():
            return folder.read(source, space, problems)


def _with_distinct_names(parts: list[list[Record]]) -> list[Record]:
    """Names that stand in several places get their source's number in front (and a count where that is not enough)."""
    count = Counter(record.name for records in parts for record in records)
    taken = {name for name, times in count.items() if times == 1}
    distinct = []
    for number, records in enumerate(parts):
        for record in records:
            name = record.name
            if count[record.name] > 1:
                stem, again = f"{number}-{record.name}", 1
                name = stem
                while name in taken:
                    again += 1
                    name = f"{stem}-{again}"
                taken.add(name)
            distinct.append(replace(record, name=name))
    return distinct


def _refuse_ultralytics(yaml: YamlFile) -> None:
    train = yaml.content.get("train")
    if "names" not in yaml.content or not (
        isinstance(train, str) or (isinstance(train, list) and all(isinstance(item, str) for item in train))
    ):
        return
    source = f"  - {{format: yolo, root: ., yaml: {yaml.path.name}, use: boxes}}  # or masks, or both"
    splits = [split for split in ("train", "val", "test") if yaml.content.get(split)]
    lines = "\n".join(f"{split}:\n{source}" for split in splits)
    raise ConfigError(
        "this is a data set description of Ultralytics, not a data file",
        where=str(yaml.path),
        fix=f"write these lines into a file beside it, say bombo.yaml, and give that instead:\n{lines}",
    )


def _refuse_coco(yaml: YamlFile) -> None:
    if not {"images", "annotations", "categories"} <= yaml.content.keys():
        return
    line = (
        f"train:\n  - {{format: coco, root: ., annotations: {yaml.path.name}, images: ., use: boxes}}  # or masks, both"
    )
    raise ConfigError(
        "these are the annotations of COCO instances, not a data file",
        where=str(yaml.path),
        fix=f"write these lines into a file beside it, say data.yaml, and give that instead:\n{line}",
    )


def _as_config_error(error: ValidationError, yaml: YamlFile) -> ConfigError:
    """The first mistake as the error, the others as further lines."""
    mistakes = [(yaml.where(*found["loc"]), _explain(found)) for found in error.errors(include_url=False)]
    (where, message), *more = mistakes
    return ConfigError("\n  also: ".join([message, *(f"{place}: {text}" for place, text in more)]), where=where)


def _explain(found: Any) -> str:
    """Says what is wrong in the words of the data file; `found` is one of pydantic's error dictionaries."""
    loc, value, context = found["loc"], found["input"], found.get("ctx", {})
    # the second step below a list is the format, which pydantic adds when it chooses the model
    model = _MODELS.get(loc[2], DataFile) if len(loc) > 2 else DataFile
    key = next((step for step in reversed(loc) if isinstance(step, str)), "")
    match found["type"]:
        case "extra_forbidden":
            known = [field.alias or name for name, field in model.model_fields.items()]
            return f"key `{key}` is unknown. {did_you_mean(key, known)}"
        case "missing":
            description = next((f.description for n, f in model.model_fields.items() if key in (n, f.alias)), None)
            return f"`{key}` is missing" + (f": {description}" if description else "")
        case "literal_error":
            return _not_one_of(key, value, context["expected"])
        case "union_tag_invalid":
            return _not_one_of("format", context["tag"], context["expected_tags"])
        case "union_tag_not_found":
            return f"`format` is missing: one of {', '.join(map(str, _MODELS))}"
        case "list_type" | "too_short":
            return f"`{key}` must be a list of at least one entry (each starts with a dash)"
        case "value_error":
            return str(context["error"])
        case _:
            shown = f"`{key}: {value}`" if isinstance(value, str | int | float | bool | None) else f"`{key}`"
            return f"{shown}: {found['msg'][:1].lower()}{found['msg'][1:]}"


def _not_one_of(key: str, value: object, expected: str) -> str:
    known = re.findall(r"'([^']*)'", expected)
    return f"`{key}: {value}` is not one of {', '.join(known)}. {did_you_mean(str(value), known)}"
