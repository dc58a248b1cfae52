"""The instances JSON as a whole: ids that do not fit together, and its boxes as written."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any, cast

from bombo.checks.finding import REPAIR, Defect, Hit
from bombo.checks.raw_boxes import CORNERS, DUPLICATE, RawBox, faults, hold_corners
from bombo.data import coco
from bombo.data.annotation_io import Box, Content, read_list
from bombo.data.sources import CocoSource

IMAGE_TWICE = Defect(
    "image-id-duplicate", "error", "image id stands twice", "image ids stand twice",
    "annotations cannot tell the two apart: give each its own id if you know whose they are; the command leaves these "
    "images out", REPAIR,
)  # fmt: skip
CATEGORY_TWICE = Defect(
    "category-id-duplicate", "error", "category id stands twice", "category ids stand twice",
    "give each its own id, and correct the category_id of its annotations: only who wrote them knows which is whose",
)  # fmt: skip
ANNOTATION_TWICE = Defect(
    "annotation-id-duplicate", "warning", "annotation id stands twice", "annotation ids stand twice",
    "BoMBo reads both, but COCO's own tools keep only the last; the command numbers them anew", REPAIR,
)  # fmt: skip
NAME_TWICE = Defect(
    "category-name-duplicate", "warning", "category name has two ids", "category names have two ids",
    "both count as one class here; the command writes them as one. Rename one if they are not the same", REPAIR,
)  # fmt: skip
NO_IMAGE = Defect(
    "annotation-without-image", "error", "annotation belongs to no image", "annotations belong to no image",
    "add the images to the JSON, or let the command leave the annotations out", REPAIR,
)  # fmt: skip
NO_CATEGORY = Defect(
    "annotation-without-category", "error", "annotation belongs to no category", "annotations belong to no category",
    "correct category_id, or name the category; the command leaves these images out", REPAIR,
)  # fmt: skip
GAPS = Defect(
    "category-id-gaps", "note", "file has gaps in its category ids", "files have gaps in their category ids",
    "nothing has to be done: classes are matched by name. Tools that take ids for indices would shift the classes; the "
    "command counts them from 1", REPAIR,
)  # fmt: skip


def inspect(source: CocoSource) -> list[Hit]:
    """Looks through the file, boxes included where they may be used.

    Raises:
        DataError: It is missing or no instances JSON.
    """
    content = coco.parsed(source)
    path = source.annotations
    categories = {key_of(item, "id"): item.get("name") for item in content["categories"]}
    images = {key_of(item, "id"): item for item in content["images"]}
    ids = [number for number in categories if isinstance(number, int)]
    hits = [Hit(IMAGE_TWICE, f"{path}, image id {number}") for number in twice(content["images"], "id")]
    hits += [
        Hit(CATEGORY_TWICE, f"{path}, category id {number}", _names(content["categories"], number))
        for number in twice(content["categories"], "id")
    ]
    hits += [Hit(NAME_TWICE, str(path), f"{name!r}") for name in twice(content["categories"], "name")]
    hits += [Hit(ANNOTATION_TWICE, f"{path}, annotation {number}") for number in twice(content["annotations"], "id")]
    if ids and max(ids) - min(ids) >= len(ids):
        hits.append(Hit(GAPS, str(path), f"{len(ids)} categories, ids from {min(ids)} to {max(ids)}"))
    for item in content["annotations"]:
        where = f"{path}, annotation {item.get('id')}"
        if key_of(item, "image_id") not in images:
            hits.append(Hit(NO_IMAGE, where, f"there is no image with id {item.get('image_id')}"))
        if key_of(item, "category_id") not in categories:
            number = item.get("category_id")
            fix = (
                f'correct category_id, or add  {{"id": {number}, "name": "..."}}  to `categories` in {path}; '
                "the command leaves these images out"
            )
            hits.append(Hit(NO_CATEGORY, where, f"there is no category with id {number}", fix))
    return hits + (_faulty(source, content) if source.use_boxes else [])


def listed(source: CocoSource, content: Content) -> list[dict[str, Any]]:
    """Entries of the images that the source's list names, of all without a list.

    Args:
        source: Whose list counts.
        content: Images, annotations and categories.

    Raises:
        DataError: The file or the list is missing or malformed.
    """
    names = None if source.list_file is None else read_list(source.list_file)
    return [entry for entry in content["images"] if names is None or key_of(entry, "file_name") in names]


def raw_boxes(source: CocoSource, content: Content) -> tuple[dict[Any, list[tuple[int, RawBox]]], Hit | None]:
    """Boxes of four numbers in listed images of a known size; the reader names all others.

    Args:
        source: Whose list counts.
        content: Its images, annotations and categories.

    Returns:
        Image id → position of the annotation and box; and whether the file holds corners: the boxes are then read as
        such.

    Raises:
        DataError: The list is missing or malformed.
    """
    names = {key_of(entry, "id"): str(entry.get("name")) for entry in content["categories"]}
    chosen = {key_of(entry, "id"): entry for entry in listed(source, content)}
    by_image: dict[Any, list[tuple[int, RawBox]]] = defaultdict(list)
    for position, item in enumerate(content["annotations"]):
        number, numbers = key_of(item, "image_id"), item.get("bbox")
        size = coco.declared_size(chosen.get(number, {}))
        if not (isinstance(numbers, list) and len(numbers) == 4 and all(map(coco.is_number, numbers))):
            continue
        if size is not None:
            x, y, width, height = map(float, numbers)
            name = names.get(key_of(item, "category_id"), str(item.get("category_id")))
            box = RawBox(
                f"{source.annotations}, annotation {item.get('id')}",
                name,
                (x, y, width, height),
                (x, y, x + width, y + height),
                size,
            )
            by_image[number].append((position, box))
    boxes = [box for own in by_image.values() for _, box in own]
    if not hold_corners(boxes):
        return by_image, None
    detail = f"{len(boxes):,} boxes; as x1, y1, x2, y2 they fit their images, as x, y, width, height they do not"
    as_corners = {
        number: [(position, replace(box, box=cast(Box, box.numbers))) for position, box in own]
        for number, own in by_image.items()
    }
    return as_corners, Hit(CORNERS, str(source.annotations), detail)


def _faulty(source: CocoSource, content: Content) -> list[Hit]:
    by_image, corners = raw_boxes(source, content)
    found = [hit for own in by_image.values() for _, hit in faults([box for _, box in own])]
    return found if corners is None else [corners, *(hit for hit in found if hit.defect == DUPLICATE)]


def twice(entries: list[dict[str, Any]], key: str) -> list[Any]:
    """Values of a key that several entries have."""
    counts = Counter(number for entry in entries if (number := key_of(entry, key)) is not None)
    return [number for number, times in counts.items() if times > 1]


def _names(categories: list[dict[str, Any]], number: Any) -> str:
    return " and ".join(repr(entry.get("name")) for entry in categories if key_of(entry, "id") == number)


def key_of(entry: dict[str, Any], key: str) -> int | str | None:
    """An id that can be looked up: a JSON may hold lists and mappings in its place."""
    value = entry.get(key)
    return value if isinstance(value, int | str) else None
