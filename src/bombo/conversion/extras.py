"""What a source says that no target hears of: fields that BoMBo does not read, ids that change."""

from __future__ import annotations

from collections import Counter
from xml.etree.ElementTree import Element

from bombo.conversion.losses import Losses
from bombo.data import coco
from bombo.data.sample import Record
from bombo.data.sources import CocoSource
from bombo.data.voc import parse

_KNOWN = {
    "images": {"id", "file_name", "width", "height"},
    "annotations": {"id", "image_id", "category_id", "bbox", "area", "iscrowd", "ignore", "segmentation"},
    "categories": {"id", "name"},
}


def note_coco(source: CocoSource, losses: Losses, *, to_coco: bool) -> None:
    """Counts fields of an instances JSON that are not carried over.

    Args:
        source: The source.
        losses: Takes them.
        to_coco: Whether the target has ids, too: those that do not count from 1 change.

    Raises:
        DataError: The JSON is malformed.
    """
    content = coco.parsed(source)
    for part, known in _KNOWN.items():
        extra = Counter(key for entry in content[part] for key in entry if key not in known)
        for key, count in extra.items():
            losses.change(f"`{key}` of {part} not carried over", source.annotations.name, count)
        moved = sum(entry.get("id") != number for number, entry in enumerate(content[part], start=1))
        if to_coco:
            losses.change(f"ids of {part} changed: they count from 1 now", source.annotations.name, moved)


def note_voc(record: Record, losses: Losses) -> None:
    """Counts what a VOC image's XML says of its objects beyond class, box and `difficult`."""
    path = record.image.parent.parent / "Annotations" / f"{record.image.stem}.xml"
    if record.boxes is None or record.image.parent.name != "JPEGImages" or not path.is_file():
        return
    objects = parse(path).findall("object")
    posed = sum(_text(item, "pose") not in ("", "Unspecified") for item in objects)
    losses.change("`pose` of objects not carried over", record.name, posed)
    losses.change(
        "`occluded` of objects not carried over", record.name, sum(_text(o, "occluded") == "1" for o in objects)
    )
    for tag, what in (("part", "parts"), ("actions", "`actions`")):
        count = sum(item.find(tag) is not None for item in objects)
        losses.change(f"{what} of objects not carried over", record.name, count)
    told = sum(_text(item, "truncated") == str(int(not _touches_the_edge(item, record))) for item in objects)
    losses.change("`truncated` of objects not carried over: a box at the image's edge says it", record.name, told)


def _touches_the_edge(item: Element, record: Record) -> bool:
    assert record.size is not None
    try:
        x1, y1, x2, y2 = (float(_text(item, f"bndbox/{tag}")) for tag in ("xmin", "ymin", "xmax", "ymax"))
    except ValueError:  # to be mended
        return False
    return min(x1, y1) <= 1 or x2 >= record.size[1] or y2 >= record.size[0]


def _text(item: Element, tag: str) -> str:
    return (item.findtext(tag) or "").strip()
