"""Reader of COCO instances: boxes, and semantic masks painted from the objects' segmentations."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np

from bombo.data.annotation_io import Content, Mend, clip_box, is_cut, read_list, read_text, require_file
from bombo.data.label_space import VOID, VOID_NAMES, LabelSpace
from bombo.data.masks import Outline, OutlineMask
from bombo.data.sample import BoxAnnotation, Problems, Record
from bombo.data.sources import CocoSource
from bombo.errors import DataError
from bombo.files import is_file

_FLOAT_BITS = 1024
_LONGEST = 2**31 - 1  # pixels of a side


def class_names(source: CocoSource) -> list[str]:
    """Names the categories, in the order of the file.

    Raises:
        DataError: The JSON is missing or malformed.
    """
    return list(dict.fromkeys(_categories(source).values()))


def forget_files() -> None:
    """Drops the parsed JSON files, which are kept so that a file named by several sources is parsed once."""
    _parse.cache_clear()


def read(
    source: CocoSource, space: LabelSpace, problems: Problems, *, partial: bool = False, mend: Mend | None = None
) -> list[Record]:
    """Reads the images of a source; an image without annotations is annotated and empty.

    Categories count by name, never by id. Boxes are cut to the image. Crowds keep their class and are flagged; in
    masks their pixels are void, except where another object lies. `ignore`, as converters of VOC write it, is its
    `difficult`.

    Args:
        source: The source.
        space: Label space to map to, by name.
        problems: Takes the errors of single images and annotations.
        partial: An image with an object without segmentation counts as not annotated for segmentation, instead of
            being an error.
        mend: Mends what the JSON says.

    Raises:
        DataError: The JSON or the list is missing or malformed, or an image id stands twice. Errors of single images
            and annotations go to `problems`.
    """
    reader = _CocoReader(source, space, partial=partial, mend=mend)
    records = []
    for image in reader.listed(problems):
        try:
            records.append(reader.read(image))
        except DataError as error:
            problems.add(error)
    return records


class _CocoReader:
    def __init__(
        self, source: CocoSource, space: LabelSpace, *, partial: bool = False, mend: Mend | None = None
    ) -> None:
        self.source, self.space, self.path, self.partial = source, space, source.annotations, partial
        self.categories = _categories(source)
        content = parsed(source) if mend is None else mend.coco(parsed(source), source)
        self.images: dict[Any, dict[str, Any]] = {}
        for image in content["images"]:
            number = _id(image, "id", self.path, "an image")
            if number in self.images:
                fix = "give every image its own id"
                raise DataError(f"image id {number} stands twice", where=str(self.path), fix=fix)
            self.images[number] = image
        self.annotations: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for item in content["annotations"]:
            number = _id(item, "image_id", self.path, f"annotation {item.get('id')}")
            self.annotations[number].append(item)

    def listed(self, problems: Problems) -> list[dict[str, Any]]:
        """Entries of the images to use; annotations that belong to no image are noted as problems."""
        for number in self.annotations.keys() - self.images.keys():
            place = self._place(self.annotations[number][0])
            fix = "remove the annotation, or add its image"
            problems.add(DataError(f"there is no image with id {number}", where=place, fix=fix))
        if self.source.list_file is None:
            return list(self.images.values())
        by_name = {image.get("file_name"): image for image in self.images.values()}
        chosen = []
        for name, line in read_list(self.source.list_file).items():
            if name in by_name:
                chosen.append(by_name[name])
            else:
                place = f"{self.source.list_file}, line {line}"
                fix = "write file names as the JSON does"
                problems.add(DataError(f"{self.path} has no image {name!r}", where=place, fix=fix))
        return chosen

    def read(self, image: dict[str, Any]) -> Record:
        where = f"{self.path}, image id {image['id']}"
        file_name, size = image.get("file_name"), declared_size(image)
        if not isinstance(file_name, str):
            raise DataError(f"file_name is {file_name}", where=where, fix="write the name of the image file")
        if size is None:
            found = f"{image.get('width')} x {image.get('height')}"
            raise DataError(f"{found} is no image size", where=where, fix="write its width and height")
        path = self._image(file_name)
        items = self.annotations.get(image["id"], [])
        outlines = [self._outline(item, size) for item in items] if self.source.use_masks else None
        boxes = self._boxes(items, size, outlines) if self.source.use_boxes else None
        whole = None if outlines is None or None in outlines else tuple(one for one in outlines if one is not None)
        mask = None if whole is None else OutlineMask(whole, size, where)
        return Record(path, boxes, mask, Path(file_name).stem, size, where, entry=file_name)

    def _image(self, file_name: str) -> Path:
        """Path of an image; if it is missing, looks where the tools' exports let file names start."""
        path, root = self.source.images / file_name, self.source.root
        if not is_file(path):
            subset = self.path.stem.removeprefix("instances_")
            starts = (root, self.path.parent, self.source.images / subset, root / subset)
            start = next((folder for folder in starts if is_file(folder / file_name)), None)
            if start is not None:
                written = start.relative_to(root) if start.is_relative_to(root) else start
                require_file(path, "the image", f"the JSON's names start at {start}: write `images: {written}`")
        require_file(path, "the image")
        return path

    def _boxes(
        self, items: list[dict[str, Any]], size: tuple[int, int], outlines: list[Outline | None] | None
    ) -> BoxAnnotation:
        boxes, labels, crowd, difficult, areas, kept = [], [], [], [], [], list[Outline | None]()
        cut = left_out = 0
        for item, outline in zip(items, outlines or [None] * len(items), strict=True):
            name, box = self._name(item), item.get("bbox")
            if not (isinstance(box, list) and len(box) == 4 and all(map(is_number, box))):
                fix = "write [x, y, width, height]"
                raise DataError(f"bbox is {box}, four numbers were expected", where=self._place(item), fix=fix)
            x, y, width, height = map(float, box)
            whole = (x, y, x + width, y + height)
            x1, y1, x2, y2 = clip_box(whole, size, self._place(item))
            cut += is_cut(whole, (x1, y1, x2, y2))
            # void, as `bombo convert` writes it, is no region: its rectangle may hold the whole image
            void = bool(item.get("iscrowd")) and name.lower() in VOID_NAMES
            label = None if void else self.space.label(name)
            left_out += label is None and outline is None and not void
            if label is not None:
                boxes.append((x1, y1, x2, y2))
                labels.append(label)
                crowd.append(bool(item.get("iscrowd", 0)))
                difficult.append(bool(item.get("ignore", 0)) and not crowd[-1])
                kept.append(outline)
                area = item.get("area")
                known = isinstance(area, int | float) and is_number(area) and 0 < area < math.inf
                areas.append(float(cast(float, area)) if known else (x2 - x1) * (y2 - y1))
        return BoxAnnotation.build(
            boxes,
            labels,
            difficult=difficult,
            crowd=crowd,
            areas=areas,
            outlines=None if outlines is None else kept,
            cut=cut,
            left_out=left_out,
        )

    def _outline(self, item: dict[str, Any], size: tuple[int, int]) -> Outline | None:
        name, crowd, segmentation = self._name(item), bool(item.get("iscrowd", 0)), item.get("segmentation")
        if self.partial and not segmentation:
            return None
        value = VOID if crowd and name in self.space.names else self.space.mask_value(name)
        return Outline(value, shape_of(segmentation, size, self._place(item)), crowd, self._place(item))

    def _name(self, item: dict[str, Any]) -> str:
        number = item.get("category_id")
        if not isinstance(number, int | str) or number not in self.categories:
            fix = "correct the annotation, or add the category"
            raise DataError(f"there is no category with id {number}", where=self._place(item), fix=fix)
        return self.categories[number]

    def _place(self, item: dict[str, Any]) -> str:
        return f"{self.path}, annotation {item.get('id')}"


def shape_of(segmentation: Any, size: tuple[int, int], where: str) -> list[np.ndarray] | dict[str, object]:
    """Checks a segmentation.

    Returns:
        Polygons in float64, or an RLE dictionary as it stands.

    Raises:
        DataError: It is neither.
    """
    if not segmentation:
        raise DataError(
            "the annotation has no segmentation, its object would become background",
            where=where,
            fix="add the segmentation, or write `use: boxes`",
        )
    if isinstance(segmentation, dict):
        counts, declared = segmentation.get("counts"), segmentation.get("size")
        if declared != list(size):
            fix = "write the size as [height, width] of the image"
            raise DataError(f"RLE size {declared} is not the image's {list(size)}", where=where, fix=fix)
        whole = isinstance(counts, str | bytes) or (
            isinstance(counts, list)
            and all(is_number(count) and count >= 0 for count in counts)
            and sum(counts) == size[0] * size[1]
        )
        if not whole:
            raise DataError("the RLE's counts do not add up to the image", where=where, fix="correct the RLE")
        return segmentation
    try:
        polygons = [np.asarray(polygon, np.float64) for polygon in segmentation]
    except (TypeError, ValueError):
        polygons = []
    sound = [p.ndim == 1 and len(p) >= 6 and len(p) % 2 == 0 and bool(np.isfinite(p).all()) for p in polygons]
    if not sound or not all(sound):
        fix = "a polygon is [x1, y1, x2, y2, x3, y3, ...], three points or more"
        raise DataError("the segmentation is no list of polygons", where=where, fix=fix)
    return polygons


def declared_size(image: dict[str, Any]) -> tuple[int, int] | None:
    """(height, width) of an entry of `images`, None where it says no size that an image can have."""
    height, width = image.get("height"), image.get("width")
    sound = all(type(side) is int and 1 <= side <= _LONGEST for side in (height, width))
    return (cast(int, height), cast(int, width)) if sound else None


def is_number(value: Any) -> bool:
    """Whether a value of the JSON is a number that a float can hold; true and false are none."""
    return isinstance(value, float) or (type(value) is int and value.bit_length() < _FLOAT_BITS)


def _id(entry: dict[str, Any], key: str, path: Path, what: str) -> int | str:
    number = entry.get(key)
    if not isinstance(number, int | str):
        raise DataError(f"`{key}` of {what} is {number}", where=str(path), fix="write a number")
    return number


def _categories(source: CocoSource) -> dict[Any, str]:
    categories: dict[Any, str] = {}
    for entry in parsed(source)["categories"]:
        number, name = (_id(entry, key, source.annotations, "a category") for key in ("id", "name"))
        if number in categories:
            fix = "give every category its own id"
            raise DataError(f"category id {number} stands twice", where=str(source.annotations), fix=fix)
        categories[number] = str(name)
    return categories


def parsed(source: CocoSource) -> Content:
    """The file's `images`, `annotations` and `categories`, as they stand.

    Raises:
        DataError: It is missing or no instances JSON.
    """
    return _parse(source.annotations, source.annotations.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _parse(path: Path, modified: int) -> Content:
    """Parses an instances JSON; `modified` makes a changed file another one."""
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        where = f"{path}, line {error.lineno}"
        raise DataError(f"is not valid JSON ({error.msg})", where=where, fix="export the file again") from None
    for key in ("images", "annotations", "categories"):
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            fix = "use an instances file: images, annotations and categories"
            raise DataError(f"`{key}` is missing or no list of entries", where=str(path), fix=fix)
    return content  # type: ignore[no-any-return]
