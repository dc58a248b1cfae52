"""The instances JSON as a whole: ids that do not fit together, and its boxes as written."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from bombo.checks.finding import Defect, Hit
from bombo.checks.raw_boxes import CORNERS, RawBox, duplicates, hold_corners, judge
from bombo.data import coco
from bombo.data.annotation_io import read_list
from bombo.data.sources import CocoSource

IMAGE_TWICE = Defect(
    "image-id-duplicate", "error", "image id stands twice", "image ids stand twice",
    "give every image its own id: annotations cannot tell the two apart",
)  # fmt: skip
CATEGORY_TWICE = Defect(
    "category-id-duplicate", "error", "category id stands twice", "category ids stand twice",
    "give every category its own id",
)  # fmt: skip
ANNOTATION_TWICE = Defect(
    "annotation-id-duplicate", "warning", "annotation id stands twice", "annotation ids stand twice",
    "number the annotations anew; BoMBo reads both, but COCO's own tools keep only the last",
)  # fmt: skip
NAME_TWICE = Defect(
    "category-name-duplicate", "warning", "category name has two ids", "category names have two ids",
    "both count as one class here; rename one if they are not",
)  # fmt: skip
NO_IMAGE = Defect(
    "annotation-without-image", "error", "annotation belongs to no image", "annotations belong to no image",
    "add the images to the JSON, or remove the annotations",
)  # fmt: skip
NO_CATEGORY = Defect(
    "annotation-without-category", "error", "annotation belongs to no category", "annotations belong to no category",
    "correct category_id, or add the category",
)  # fmt: skip
GAPS = Defect(
    "category-id-gaps", "note", "file has gaps in its category ids", "files have gaps in their category ids",
    "nothing to do: classes are matched by name. Tools that use the ids as indices would shift the classes",
)  # fmt: skip


def inspect(source: CocoSource) -> list[Hit]:
    """Looks through the file, boxes included where they may be used.

    Raises:
        DataError: It is missing or no instances JSON.
    """
    content = coco.parsed(source)
    path = source.annotations
    categories = {_key(item, "id"): item.get("name") for item in content["categories"]}
    images = {_key(item, "id"): item for item in content["images"]}
    ids = [number for number in categories if isinstance(number, int)]
    hits = [Hit(IMAGE_TWICE, f"{path}, image id {number}") for number in _twice(content["images"], "id")]
    hits += [Hit(CATEGORY_TWICE, f"{path}, category id {number}") for number in _twice(content["categories"], "id")]
    hits += [Hit(NAME_TWICE, str(path), f"{name!r}") for name in _twice(content["categories"], "name")]
    hits += [Hit(ANNOTATION_TWICE, f"{path}, annotation {number}") for number in _twice(content["annotations"], "id")]
    if ids and max(ids) - min(ids) >= len(ids):
        hits.append(Hit(GAPS, str(path), f"{len(ids)} categories, ids from {min(ids)} to {max(ids)}"))
    for item in content["annotations"]:
        where = f"{path}, annotation {item.get('id')}"
        if _key(item, "image_id") not in images:
            hits.append(Hit(NO_IMAGE, where, f"there is no image with id {item.get('image_id')}"))
        if _key(item, "category_id") not in categories:
            hits.append(Hit(NO_CATEGORY, where, f"there is no category with id {item.get('category_id')}"))
    return hits + (_boxes(source, images, categories) if source.use_boxes else [])


def listed(source: CocoSource) -> list[dict[str, Any]]:
    """Entries of the images that the source's list names, of all without a list.

    Raises:
        DataError: The file or the list is missing or malformed.
    """
    names = None if source.list_file is None else read_list(source.list_file)
    return [entry for entry in coco.parsed(source)["images"] if names is None or _key(entry, "file_name") in names]


def _boxes(source: CocoSource, images: dict[Any, dict[str, Any]], categories: dict[Any, Any]) -> list[Hit]:
    chosen = {_key(entry, "id") for entry in listed(source)}
    by_image: dict[Any, list[RawBox]] = defaultdict(list)
    for number, box in _raw(source, images, categories):
        if number in chosen:
            by_image[number].append(box)
    boxes = [box for own in by_image.values() for box in own]
    hits = [hit for own in by_image.values() for hit in duplicates(own)]
    if hold_corners(boxes):
        detail = f"{len(boxes):,} boxes; as x1, y1, x2, y2 they fit their images, as x, y, width, height they do not"
        return [*hits, Hit(CORNERS, str(source.annotations), detail)]
    return hits + [hit for box in boxes if (hit := judge(box)) is not None]


def _raw(
    source: CocoSource, images: dict[Any, dict[str, Any]], categories: dict[Any, Any]
) -> Iterator[tuple[Any, RawBox]]:
    """Boxes of four numbers in images of a known size; the reader names all others."""
    for item in coco.parsed(source)["annotations"]:
        number, numbers = _key(item, "image_id"), item.get("bbox")
        image = images.get(number, {})
        size = (image.get("height"), image.get("width"))
        if not (isinstance(numbers, list) and len(numbers) == 4 and all(map(coco.is_number, numbers))):
            continue
        if isinstance(size[0], int) and isinstance(size[1], int):
            x, y, width, height = map(float, numbers)
            name = str(categories.get(_key(item, "category_id"), item.get("category_id")))
            where = f"{source.annotations}, annotation {item.get('id')}"
            yield (
                number,
                RawBox(where, name, (x, y, width, height), (x, y, x + width, y + height), (size[0], size[1])),
            )


def _twice(entries: list[dict[str, Any]], key: str) -> list[Any]:
    counts = Counter(number for entry in entries if (number := _key(entry, key)) is not None)
    return [number for number, times in counts.items() if times > 1]


def _key(entry: dict[str, Any], key: str) -> int | str | None:
    """An id that can be looked up: a JSON may hold lists and mappings in its place."""
    value = entry.get(key)
    return value if isinstance(value, int | str) else None
