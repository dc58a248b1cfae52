"""Reader of data sets as Ultralytics writes them: a YAML, images, and a text file of rows for each image.

Format: https://docs.ultralytics.com/datasets/detect, /segment and /semantic.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import numpy as np

from bombo.data.annotation_io import Box, Mend, clip_box, is_cut, read_list, read_text, require_file
from bombo.data.image_io import IMAGE_SUFFIXES, image_size
from bombo.data.label_space import VOID, LabelSpace
from bombo.data.masks import MaskCodes, MaskFile, Outline, OutlineMask
from bombo.data.sample import BoxAnnotation, MaskAnnotation, Problems, Record
from bombo.data.sources import YoloSource
from bombo.data.yaml_file import YamlFile
from bombo.errors import ConfigError, DataError, MissingFileError
from bombo.files import is_file

_MASK_SUFFIXES = (".png", ".PNG", ".bmp", ".tif")
Row = tuple[str, str, np.ndarray]  # place, class name, normalised numbers
_OUTSIDE = 1e-3  # how far rounding may carry a normalised coordinate over the image's edge


def class_names(source: YoloSource) -> list[str]:
    """Names the classes in the order of their indices.

    Raises:
        ConfigError: The YAML is missing or its `names` are neither a list nor a mapping index: name.
    """
    return list(_names(YamlFile(source.yaml)).values())


def read(
    source: YoloSource,
    space: LabelSpace,
    problems: Problems,
    split: Literal["train", "val", "test"],
    *,
    partial: bool = False,
    mend: Mend | None = None,
) -> list[Record]:
    """Reads the images of a source; masks are painted or decoded later.

    A missing label file is an error, although Ultralytics takes it for an image without objects; an empty one says
    that there are none. A polygon row gives a box (its extent) as well. With `masks_dir` masks are files, whose value
    is the class index; without it they are painted from polygon rows.

    Args:
        source: The source.
        space: Label space to map to, by name.
        problems: Takes the errors of single images.
        split: Key of the YAML to read where the source names none.
        partial: An image without a label file, without a mask file or with a box row among its polygons counts as not
            annotated for that task, instead of being an error; one that is then annotated for none still is.
        mend: Mends what the label files say.

    Raises:
        ConfigError: The YAML is missing or malformed.
        DataError: The split's folder or list is missing or empty.
    """
    reader = YoloReader(source, space, partial=partial, mend=mend)
    records = []
    for image in reader.listed(source.split or split):
        try:
            records.append(reader.read(image))
        except DataError as error:
            problems.add(error)
    return records


class YoloReader:
    """Reads the images of one source, one at a time."""

    def __init__(
        self, source: YoloSource, space: LabelSpace, *, partial: bool = False, mend: Mend | None = None
    ) -> None:
        self.source, self.space, self.partial, self.mend = source, space, partial, mend
        self.yaml = YamlFile(source.yaml)
        self.names = _names(self.yaml)
        masks_dir = self.yaml.content.get("masks_dir")
        self.masks_dir = str(masks_dir) if masks_dir else None
        self.codes = MaskCodes(
            space,
            values={index: name for index, name in self.names.items() if index < VOID},
            fix=f"values are class indices and 255 void: repair the mask, or complete `names` in {source.yaml}",
        )
        self.base = self._base()

    def _base(self) -> Path:
        beside, path = self.source.yaml.parent, str(self.yaml.content.get("path") or "")
        entries = self._entries() if Path(path).is_absolute() else []
        if entries and all((beside / entry).exists() for entry in entries):
            return beside  # an absolute path stays as it was when a data set is copied or moved
        # `path` may be a name inside Ultralytics' own data folder; the files are then where the user said
        return beside / path if (beside / path).is_dir() else self.source.root

    def _entries(self, first: str = "train") -> list[str]:
        """What the YAML names for all splits, those of one split first."""
        splits = sorted(("train", "val", "test"), key=lambda split: split != first)
        return [str(entry) for split in splits for entry in _listed(self.yaml.content.get(split))]

    def listed(self, split: str) -> list[Path]:
        """Paths of the images of a split, or of the source's list."""
        if self.source.list_file is not None:
            return self._listed_in(self.source.list_file, [self.base / entry for entry in self._entries(split)])
        entries = self.yaml.content.get(split)
        if not entries:
            fix = "add it, or choose another with `split:`"
            raise ConfigError(f"there is no `{split}`", where=str(self.source.yaml), fix=fix)
        images: list[Path] = []
        for entry in _listed(entries):
            place = self._place_of(str(entry))
            if place.is_dir():
                files = sorted(path for path in place.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
                if not files:
                    raise DataError("there are no images here", where=str(place), fix="check the path in the YAML")
                images += files
            else:
                images += self._listed_in(place)
        return images

    def _place_of(self, entry: str) -> Path:
        # exports of Roboflow say ../train/images for ./train/images, and Ultralytics reads that
        tries = [self.base / entry, self.base / entry.removeprefix("../")]
        found = [place for place in tries if place.exists()]
        if not found:
            fix = f"correct `path` or the entry in {self.source.yaml}"
            raise DataError(f"{tries[0]} does not exist", where=self.yaml.where(), fix=fix)
        return found[0]

    def _listed_in(self, path: Path, folders: Sequence[Path] = ()) -> list[Path]:
        """Images of a text list: `./x` starts at the list's folder, `x` at the data set's, the list's or one given."""
        images = []
        for entry in read_list(path):
            places = [path.parent] if entry.startswith("./") else [path.parent, *folders, self.base]
            images.append(next((place / entry for place in places if is_file(place / entry)), places[-1] / entry))
        return images

    def read(self, image: Path) -> Record:
        """Reads one image.

        Raises:
            DataError: A file of it is missing or malformed.
        """
        require_file(image, "the image")
        size = image_size(image)
        label_file = self.label_file(image)
        paint = self.source.use_masks and self.masks_dir is None
        boxes: BoxAnnotation | None = None
        mask: MaskAnnotation | None = None
        where = str(label_file)
        if self.source.use_masks and self.masks_dir is not None:
            try:
                mask_file = _mask_file(image, self.masks_dir)
                mask, where = MaskFile(mask_file, self.codes), str(mask_file)
            except MissingFileError:
                if not self.partial:
                    raise
        if (self.source.use_boxes or paint) and (is_file(label_file) or not (self.partial and mask is not None)):
            rows = self._rows(label_file, size)
            outlines = self._outlines(rows, size) if self.source.use_masks else None
            boxes = self._boxes(rows, size, outlines) if self.source.use_boxes else None
            if paint:
                mask = self._painted(rows, outlines or [], size, where)
        entry = image.relative_to(self.base) if image.is_relative_to(self.base) else image
        return Record(image, boxes, mask, image.stem, size, where, entry=entry.as_posix())

    def label_file(self, image: Path) -> Path:
        """Where the rows of an image stand, whether the file is there or not."""
        return _parallel(image, "labels").with_suffix(".txt")

    def _rows(self, path: Path, size: tuple[int, int]) -> list[Row]:
        """(place, class name, normalised numbers) of every row."""
        require_file(path, "the label file", "create an empty .txt if there is nothing in the image")
        texts = read_text(path).splitlines()
        if self.mend is not None:
            texts = self.mend.yolo(texts, path, size)
        rows = []
        for number, text in enumerate(texts, start=1):
            if text.strip():
                place = f"{path}, line {number}"
                rows.append((place, *self._row(text.split(), place)))
        return rows

    def _row(self, words: list[str], place: str) -> tuple[str, np.ndarray]:
        if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
            fix = "write `class cx cy width height`, or `class x1 y1 x2 y2 x3 y3 ...`"
            raise DataError(f"the row has {len(words)} columns", where=place, fix=fix)
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            raise DataError("the row holds words that are no numbers", where=place, fix="correct the row") from None
        outside = [value for value in numbers[1:] if not -_OUTSIDE <= value <= 1 + _OUTSIDE]  # NaN is outside too
        if outside:
            fix = "divide x by the image's width and y by its height"
            raise DataError(f"{outside[0]:g} is no normalised coordinate (0 to 1)", where=place, fix=fix)
        if numbers[0] not in self.names:
            indices = f"{min(self.names)} to {max(self.names)}"
            fix = f"correct the row, or complete `names` in {self.source.yaml}"
            raise DataError(f"{words[0]} is no class index, classes are {indices}", where=place, fix=fix)
        return self.names[int(numbers[0])], np.array(numbers[1:])

    def _boxes(self, rows: list[Row], size: tuple[int, int], outlines: list[Outline | None] | None) -> BoxAnnotation:
        boxes, labels, areas, kept, cut, left_out = [], [], [], list[Outline | None](), 0, 0
        for (place, name, numbers), outline in zip(rows, outlines or [None] * len(rows), strict=True):
            whole = _extent(numbers, size)
            box = clip_box(whole, size, place)
            cut += is_cut(whole, box)
            label = self.space.label(name)
            left_out += label is None and outline is None
            if label is not None:
                boxes.append(box)
                labels.append(label)
                kept.append(outline)
                box_area = (box[2] - box[0]) * (box[3] - box[1])
                areas.append(box_area if len(numbers) == 4 else _polygon_area(numbers, size))
        known = None if outlines is None else kept
        return BoxAnnotation.build(boxes, labels, areas=areas, outlines=known, cut=cut, left_out=left_out)

    def _outlines(self, rows: list[Row], size: tuple[int, int]) -> list[Outline | None]:
        """The polygon of every row, None for a row that is a box."""

        def outline(place: str, name: str, numbers: np.ndarray) -> Outline:
            scale = np.tile((size[1], size[0]), len(numbers) // 2)
            return Outline(self.space.mask_value(name), [numbers * scale], False, place)

        return [None if len(numbers) == 4 else outline(place, name, numbers) for place, name, numbers in rows]

    def _painted(
        self, rows: list[Row], outlines: list[Outline | None], size: tuple[int, int], where: str
    ) -> OutlineMask | None:
        whole = tuple(outline for outline in outlines if outline is not None)
        if len(whole) < len(outlines):
            if self.partial:
                return None
            fix = "write `use: boxes` for these images, or give `masks_dir`"
            place = rows[outlines.index(None)][0]
            raise DataError("this row is a box, and a box is no mask", where=place, fix=fix)
        return OutlineMask(whole, size, where)


def _listed(entries: object) -> list[object]:
    return entries if isinstance(entries, list) else [entries] if entries else []


def _extent(numbers: np.ndarray, size: tuple[int, int]) -> Box:
    height, width = size
    if len(numbers) == 4:
        cx, cy, w, h = numbers
        x1, y1, x2, y2 = cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2
    else:
        xs, ys = numbers[0::2], numbers[1::2]
        x1, y1, x2, y2 = xs.min(), ys.min(), xs.max(), ys.max()
    return float(x1 * width), float(y1 * height), float(x2 * width), float(y2 * height)


def _polygon_area(numbers: np.ndarray, size: tuple[int, int]) -> float:
    x, y = numbers[0::2] * size[1], numbers[1::2] * size[0]
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)  # shoelace formula


def _parallel(image: Path, folder: str) -> Path:
    """The path beside an image's, its last `images` folder replaced; unchanged without such a folder."""
    parts = list(image.parts)
    places = [place for place, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = folder
    return Path(*parts)


def _mask_file(image: Path, masks_dir: str) -> Path:
    stem = _parallel(image, masks_dir)
    tries = [stem.with_suffix(suffix) for suffix in _MASK_SUFFIXES]
    for path in tries:
        if is_file(path) and path != image:
            return path
    raise MissingFileError("the mask is missing", where=str(tries[0]), fix="restore it, or take the image off the list")


def _names(yaml: YamlFile) -> dict[int, str]:
    names = yaml.content.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not (isinstance(names, dict) and names and all(isinstance(index, int) for index in names)):
        fix = "write `names: [cat, dog]` or `names: {0: cat, 1: dog}`"
        raise ConfigError(
            "`names` is missing, or no list and no mapping index: name", where=yaml.where("names"), fix=fix
        )
    return {index: str(name) for index, name in sorted(cast(dict[int, object], names).items())}
