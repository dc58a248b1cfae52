"""What `bombo convert --repair` does beyond reading: mends masks, leaves out what cannot be used or would mislead."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from bombo.checks.examine import Examined, examine_all
from bombo.checks.finding import Hit
from bombo.checks.mask_file import ALL_VOID
from bombo.checks.mended_mask import MENDABLE, MendedMask
from bombo.checks.mending import Mending
from bombo.checks.source import Task
from bombo.checks.twins import LEAK_CONTENT, LEAK_FILE, LEAK_NEAR, Seen, repeats
from bombo.conversion.losses import Losses
from bombo.conversion.reading import Content, Part
from bombo.conversion.report import Conversion
from bombo.data.data_file import Split
from bombo.data.masks import MaskFile
from bombo.data.sample import Record
from bombo.engine.check import progress_bar
from bombo.errors import DataError

_LEAKS = (LEAK_FILE, LEAK_CONTENT, LEAK_NEAR)
_GIVES_WAY: tuple[Split, ...] = ("test", "val", "train")  # a later one, to what stands in an earlier one
Image = tuple[Split, Record]


def repaired(content: Content, mending: Mending, result: Conversion) -> Content:
    """Goes through all images as the check does, and acts on what is found.

    Masks are mended where they can be. Left out are images that cannot be decoded, masks that are void everywhere, and
    images of train that stand in val or test, of val that stand in test. An image that stands in a list twice, once
    with boxes and once with a mask, becomes one with both.

    Args:
        content: What was read, its boxes mended.
        mending: What was done to these.
        result: Takes note of all that is done.

    Raises:
        DataError: No image is left.
    """
    losses = result.losses
    for hit, left_out in dict.fromkeys(mending.done):
        _note(losses, hit, left_out)
        result.objects["in"] += left_out
    images: list[Image] = []
    for split in _GIVES_WAY:
        listed = (record for part in content.parts if part.split == split for record in part.records)
        images += [(split, record) for record in _merged(listed, losses)]
    with progress_bar(len(images)) as progress:
        examined = examine_all([Task(record.image, record, None) for _, record in images], content.space, progress)
    leaking = _leaking(images, examined, losses)
    kept = []
    for index, ((split, record), found) in enumerate(zip(images, examined, strict=True)):
        if found.print is None:
            result.skipped[str(record.image)] = found.hits[0].detail or found.hits[0].defect.one
        elif index not in leaking and (usable := _with_sound_mask(record, found, result)) is not None:
            kept.append((split, usable))
    if not kept:
        raise DataError("no image is left", where=result.source, fix="see what is wrong: bombo check")
    groups: dict[tuple[Split, str], list[Record]] = {}
    for split, record in kept:
        groups.setdefault((split, record.kind), []).append(record)
    parts = [Part(split, kind, records) for (split, kind), records in reversed(groups.items())]  # type: ignore[arg-type]
    return replace(content, parts=parts)


def _merged(records: Iterable[Record], losses: Losses) -> list[Record]:
    """Every image once, with the annotation of all its records; of two of one kind, the first one's."""
    known: dict[tuple[Path, tuple[bool, ...] | None], Record] = {}
    for record in records:
        # where other classes were looked for, annotation cannot be joined
        key = record.image.resolve(), record.labelled
        first = known.setdefault(key, record)
        if first is record:
            continue
        if first.boxes is not None and record.boxes is not None:
            losses.drop("boxes of images that have some from an earlier source", record.name, len(record.boxes))
        losses.change("images stood twice in a list", first.name)
        known[key] = replace(
            first,
            boxes=record.boxes if first.boxes is None else first.boxes,
            mask=record.mask if first.mask is None else first.mask,
            size=first.size or record.size,
        )
    return list(known.values())


def _leaking(images: list[Image], examined: list[Examined], losses: Losses) -> set[int]:
    """Positions of images that give way to one of another list."""
    seen = [(index, found.print) for index, found in enumerate(examined) if found.print is not None]
    hits = repeats([Seen(images[index][0], images[index][1].image, print_) for index, print_ in seen])
    leaking = set()
    for row, earlier, defect in hits:
        if defect in _LEAKS:
            index, other = seen[row][0], images[seen[earlier][0]]
            leaking.add(index)
            split, record = images[index]
            losses.change(f"images left out of {split}: they stand in {other[0]}, too", record.name)
    return leaking


def _with_sound_mask(record: Record, found: Examined, result: Conversion) -> Record | None:
    """The record with a mask that can be used, without one if it is void everywhere; None if nothing is left."""
    for hit in found.hits:
        if hit.defect == ALL_VOID:
            result.losses.change("masks left out: void everywhere", record.name)
            return None if record.boxes is None else replace(record, mask=None)
        if hit.defect in MENDABLE and isinstance(record.mask, MaskFile):
            _note(result.losses, hit, left_out=False)
            record = replace(record, mask=MendedMask(record.mask))
    return record


def _note(losses: Losses, hit: Hit, left_out: bool) -> None:
    where = Path(hit.where).name
    if left_out:
        losses.drop(hit.defect.many, where)
    else:
        losses.change(f"mended: {hit.defect.many}", where)
