"""From records to annotated images: what is derived, what is counted, and which part each image goes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import compress

from rich.console import Console
from rich.progress import Progress

from bombo.conversion.annotated import AnnotatedImage
from bombo.conversion.deriving import BoxMaker, MaskMaker
from bombo.conversion.extras import note_voc
from bombo.conversion.reading import (
    Content,
    Kind,
    Part,
    check_size,
    objects_of,
    said_by_outlines,
    upright,
)
from bombo.conversion.report import Conversion
from bombo.conversion.target import Destination, Format
from bombo.conversion.to_yolo import can_be_a_row
from bombo.data.data_file import Split
from bombo.data.label_space import VOID
from bombo.data.masks import OutlineMask
from bombo.data.sample import Problems, Record
from bombo.errors import ConfigError, DataError


@dataclass
class Work:
    """One conversion.

    Args:
        to: The format to write.
        content: What was read.
        result: Takes the counts.
        skip_bad: Leave out images that cannot be used.
        boxes: Makes boxes for images with masks only; None = they stay without.
        masks: Makes masks for images with boxes only; None = they stay without.
        upright: Save images that their EXIF orientation turns as they are shown.
    """

    to: Format
    content: Content
    result: Conversion
    skip_bad: bool
    boxes: BoxMaker | None = None
    masks: MaskMaker | None = None
    upright: bool = False

    def require_something_to_do(self, where: str) -> None:
        """Checks that what was asked for can be done.

        Raises:
            ConfigError: No image lacks what is to be made, or nothing is left to write.
        """
        kinds = {part.kind for part in self.content.parts}
        if not kinds:
            raise ConfigError("there are no images", where=where, fix="check that this is what you meant to convert")
        for maker, have, make in ((self.boxes, "masks", "boxes"), (self.masks, "boxes", "masks")):
            if maker is not None and have not in kinds:
                fix = f"leave the option out; or write a data file with `use: {have}`, so that {make} are not read"
                raise ConfigError(f"no image has {have} only: there are no {make} to make", where=where, fix=fix)
        if self.to == "folder" and kinds == {"boxes"} and self.masks is None:
            fix = "make masks of them: --masks-from-boxes grabcut"
            raise ConfigError("only boxes were found, and a folder of masks cannot say boxes", where=where, fix=fix)

    def parts(self) -> list[tuple[Destination, list[Record]]]:
        """What will be written, with the images of each part; images that the format cannot say are counted as lost."""
        groups: dict[tuple[Split, Kind, tuple[bool, ...] | None], list[Record]] = {}
        for part in self.content.parts:
            if (use := self._use(part)) is None:
                self._leave_out(part)
            else:
                for record in part.records:
                    groups.setdefault((part.split, use, record.labelled), []).append(record)
        splits = Counter(split for split, _, _ in groups)
        kinds = Counter((split, use) for split, use, _ in groups)
        # the lists of one YAML of Ultralytics, which are those of one use and choice of classes, share its `masks_dir`
        files = {(use, labelled) for (_, use, labelled), records in groups.items() if self._masks_as_files(records)}
        number: Counter[tuple[Split, Kind]] = Counter()
        parts = []
        for (split, use, labelled), records in groups.items():
            number[split, use] += 1
            name = split if splits[split] == 1 else f"{split}_{use}"
            name += f"_{number[split, use]}" if kinds[split, use] > 1 else ""
            known = None if labelled is None else tuple(compress(self.content.space.names, labelled))
            parts.append((Destination(name, split, use, (use, labelled) in files, labelled=known), records))
        return parts

    def stream(self, records: list[Record], part: Destination) -> Iterator[AnnotatedImage]:
        """Annotated images, one after the other.

        Raises:
            DataError: Images cannot be used.
        """
        problems, console = Problems(), Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            for record in progress.track(records, description=part.name):
                try:
                    image = self._image(record)
                except DataError as error:
                    problems.add(error)
                    self.result.skipped[error.where] = error.message
                    continue
                yield self._counted(image, record, part)
        problems.raise_unless(self.skip_bad, len(records))

    def finish(self) -> None:
        """Works out the totals, when all was written."""
        objects, small = self.result.objects, 0
        if self.boxes is not None:
            small = self.boxes.small
            made = {"components": self.boxes.found, "from_masks": self.boxes.made}
            objects |= made | {"split": self.boxes.split, "merged": self.boxes.merged}
            self.result.look_like_several = self.boxes.look_like_several()
        self.result.masks["void_out"] += self.result.losses.voided
        objects["out"] = objects["in"] + objects["from_masks"] - (self.result.losses.num_dropped - small)

    def _use(self, part: Part) -> Kind | None:
        """What images of a part will carry, None if the format cannot say it."""
        made = {"both": None, "masks": self.boxes, "boxes": self.masks}[part.kind]
        use: Kind = part.kind if made is None else "both"
        if self.to == "folder":
            return None if use == "boxes" else "masks"
        return use

    def _leave_out(self, part: Part) -> None:
        why = "boxes of images without a mask: a folder of masks cannot say them"
        for record in part.records:
            count = 0 if record.boxes is None else len(record.boxes) + record.boxes.left_out
            self.result.losses.drop(why, record.name, count)
            self.result.losses.change("images without a mask left out", record.name)
            self.result.images[record.kind] += 1
            self.result.objects["in"] += count

    def _masks_as_files(self, records: list[Record]) -> bool:
        """Whether masks are written as files; in YOLO, polygon rows may say it all."""
        if self.to == "yolo":
            return any(
                (record.mask is not None or self.masks is not None) and not _said_by_rows(record) for record in records
            )
        return self.to != "coco"

    def _image(self, record: Record) -> AnnotatedImage:
        size, pixels = upright(record) if self.upright else (check_size(record), None)
        mask = None if record.mask is None else record.mask.load(size)
        image = AnnotatedImage(record.image, size, record.name, objects_of(record, mask), mask, pixels)
        if self.masks is not None and image.mask is None:
            return self.masks(image)
        if self.boxes is not None and image.objects is None:
            return self.boxes(image)
        return image

    def _counted(self, image: AnnotatedImage, record: Record, part: Destination) -> AnnotatedImage:
        """Counts an image; its mask goes on only where outlines do not say it."""
        images, objects, masks = self.result.images, self.result.objects, self.result.masks
        images[record.kind] += 1
        images["out"] += 1
        if record.boxes is not None:
            left_out = record.boxes.left_out
            objects["in"] += len(record.boxes) + left_out
            self.result.losses.drop(
                "boxes of stuff, of void or of background: only masks know these", record.name, left_out
            )
            self.result.losses.change("boxes cut to their image", record.name, record.boxes.cut)
            note_voc(record, self.result.losses)
        if image.mask is not None:
            void = int((image.mask == VOID).sum())
            masks["out"] += 1
            masks["pixels"] += image.mask.size
            masks["void_out"] += void
            masks["in" if record.mask is not None else "from_boxes"] += 1
            masks["void_in"] += void if record.mask is not None else 0
        said = said_by_outlines(record) if self.to == "coco" else not part.masks
        return replace(image, mask=None) if said else image


def _said_by_rows(record: Record) -> bool:
    """Whether polygon rows say the mask of an image; a crowd, whose pixels are void, has none."""
    mask = record.mask
    if not (said_by_outlines(record) and isinstance(mask, OutlineMask)):
        return False
    try:
        return not any(outline.crowd or not can_be_a_row(outline.shape, mask.size) for outline in mask.outlines)
    except DataError:
        return True  # told when it is the image's turn
