"""Reader of the VOC devkit layout: XML boxes (1-based, inclusive pixel indices) and palette PNG masks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder  # trees only: the parser is defusedxml's

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from bombo.data.annotation_io import Box, Mend, clip_box, is_cut, read_bytes, read_list, read_text, require_file
from bombo.data.label_space import BACKGROUND_NAMES, LabelSpace
from bombo.data.masks import Colour, MaskCodes, MaskFile
from bombo.data.sample import BoxAnnotation, Problems, Record
from bombo.data.sources import VocSource
from bombo.errors import DataError, MissingFileError, did_you_mean
from bombo.files import is_file

# fmt: off
VOC_CLASSES = [  # in the order of the development kit: mask value = position + 1
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
]
# fmt: on
_VOID_COLOUR: Colour = (224, 224, 192)  # the rim around objects, where a mask is stored as colours
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


def class_names(source: VocSource) -> list[str]:
    """Names the source's classes, in the order of its mask values from 1.

    Raises:
        DataError: `labelmap.txt` is there and malformed.
    """
    return source.names or list(_label_map(source)) or VOC_CLASSES


def read(
    source: VocSource, space: LabelSpace, problems: Problems, *, partial: bool = False, mend: Mend | None = None
) -> list[Record]:
    """Reads the images of a source; masks are decoded later.

    Coordinates of VOC count pixels from 1 and include the last one, so the box's edges are (xmin - 1, ymin - 1, xmax,
    ymax); they may be fractional. Boxes are cut to the image. An object whose class the source does not know is an
    error, since leaving it out would call it background.

    Args:
        source: The source.
        space: Label space to map to, by name.
        problems: Takes the errors of single images.
        partial: An image without an XML or without a mask counts as not annotated for that task, instead of being an
            error; one without both still is.
        mend: Mends what the XML files say.

    Raises:
        DataError: The list or `labelmap.txt` is missing or malformed. Errors of single images go to `problems`.
    """
    reader = VocReader(source, space, partial=partial, mend=mend)
    records = []
    for name, where in reader.listed():
        try:
            records.append(reader.read(name, where))
        except DataError as error:
            problems.add(error)
    return records


class VocReader:
    """Reads the images of one source, one at a time."""

    def __init__(
        self, source: VocSource, space: LabelSpace, *, partial: bool = False, mend: Mend | None = None
    ) -> None:
        self.source, self.space, self.known, self.partial, self.mend = source, space, class_names(source), partial, mend
        colours = {colour: name for name, colour in _label_map(source).items()}
        self.codes = MaskCodes(
            space,
            values=dict(enumerate(self.known, start=1)),
            colours={_VOID_COLOUR: "void", **colours} if colours else None,
            fix=f"classes are values 1 to {len(self.known)}: repair the mask, or list all classes, in the order of "
            "their values, under `names:` of this source or with their colours in labelmap.txt",
        )

    def listed(self) -> list[tuple[str, str]]:
        """Image ids, and the place each is named at."""
        if self.source.list_file is None:
            folder = self.source.root / "JPEGImages"
            ids = sorted(path.stem for path in folder.glob("*") if path.suffix.lower() in _IMAGE_SUFFIXES)
            if not ids:
                fix = "point `root` at the folder that holds JPEGImages, such as VOCdevkit/VOC2012"
                raise DataError("there are no images here", where=str(folder), fix=fix)
            return [(name, str(folder)) for name in ids]
        images = []
        for row, line in read_list(self.source.list_file).items():
            name, _, flag = row.rpartition(" ")
            # in lists of one class (cat_train.txt) a second column says: 1 holds it, 0 only difficult ones, -1 does not
            if flag not in ("-1", "0", "1") or not name or self.file(row) is not None:
                name, flag = row, "1"  # an image's name may hold spaces, and even end in " 1"
            if flag != "-1":
                images.append((name.strip(), f"{self.source.list_file}, line {line}"))
        return images

    def read(self, name: str, listed: str) -> Record:
        """Reads one image.

        Raises:
            DataError: A file of it is missing or malformed.
        """
        image = self._image(name, listed)
        boxes, mask, size = None, None, None
        annotation = path = self.source.root / "Annotations" / f"{name}.xml"
        mask_file = self.source.root / "SegmentationClass" / f"{name}.png"
        if self.source.use_boxes and (is_file(annotation) or not (self.partial and is_file(mask_file))):
            size, boxes = self._boxes(annotation)
        if self.source.use_masks and (is_file(mask_file) or not (self.partial and boxes is not None)):
            path = mask_file
            require_file(path, "the mask", "name a `list` of images that have masks, or write `use: boxes`")
            mask = MaskFile(path, self.codes)
        return Record(image, boxes, mask, name, size, where=str(path), entry=name)

    def _image(self, name: str, listed: str) -> Path:
        path = self.file(name)
        if path is None:
            missing = self.source.root / "JPEGImages" / f"{name}.jpg"
            raise MissingFileError(
                f"image {missing} is missing", where=listed, fix="restore it, or take it off the list"
            )
        return path

    def file(self, name: str) -> Path | None:
        """Path of an image, None if there is none."""
        paths = (self.source.root / "JPEGImages" / f"{name}{suffix}" for suffix in _IMAGE_SUFFIXES)
        return next((path for path in paths if is_file(path)), None)

    def _boxes(self, path: Path) -> tuple[tuple[int, int], BoxAnnotation]:
        annotation = parse(path)
        if self.mend is not None:
            self.mend.voc(annotation, path)
        size = _size(annotation, path)
        boxes, labels, difficult, cut, left_out = [], [], [], 0, 0
        for item in annotation.findall("object"):
            name = _text(item, "name", path)
            if name not in self.known:
                raise DataError(
                    f"object {name!r} is no class of this source. {did_you_mean(name, self.known)}",
                    where=place_of(item, path),
                    fix="correct the name, or list the source's classes under `names:`",
                )
            whole = _box(item, path)
            box = clip_box(whole, size, place_of(item.find("bndbox"), path))
            cut += is_cut(whole, box)
            label = self.space.label(name)
            left_out += label is None
            if label is not None:
                boxes.append(box)
                labels.append(label)
                difficult.append(item.findtext("difficult", "0").strip() == "1")
        return size, BoxAnnotation.build(boxes, labels, difficult=difficult, cut=cut, left_out=left_out)


def _box(item: Element, path: Path) -> Box:
    corners = item.find("bndbox")
    if corners is None:
        raise DataError("the object has no <bndbox>", where=place_of(item, path), fix="add it, or remove the object")
    xmin, ymin, xmax, ymax = (_number(corners, tag, path) for tag in ("xmin", "ymin", "xmax", "ymax"))
    for low, high, axis in ((xmin, xmax, "x"), (ymin, ymax, "y")):
        if high < low:
            raise DataError(
                f"<{axis}max> {high:g} is smaller than <{axis}min> {low:g}",
                where=place_of(corners, path),
                fix="correct or remove the box",
            )
    return xmin - 1, ymin - 1, xmax, ymax


def _size(annotation: Element, path: Path) -> tuple[int, int]:
    item = annotation.find("size")
    if item is None:
        raise DataError("<size> is missing", where=place_of(annotation, path), fix="add the image's width and height")
    height, width = (_number(item, tag, path) for tag in ("height", "width"))
    if height < 1 or width < 1:
        raise DataError(
            f"<size> says {width:g} x {height:g} pixels", where=place_of(item, path), fix="write the image's size"
        )
    return int(height), int(width)


def _number(parent: Element, tag: str, path: Path) -> float:
    text = _text(parent, tag, path)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        place = place_of(parent.find(tag), path)
        raise DataError(f'<{tag}> is "{text}", a finite number was expected', where=place, fix="correct it")
    return value


def _text(parent: Element, tag: str, path: Path) -> str:
    text = parent.findtext(tag, "").strip()
    if not text:
        place = place_of(parent, path)
        raise DataError(f"<{parent.tag}> has no <{tag}>", where=place, fix=f"add <{tag}>")
    return text


class _NumberedTree(TreeBuilder):
    """Notes on every element the line it starts on."""

    parser: DefusedXMLParser

    def start(self, tag: str, attrs: dict[Any, Any], /) -> Element:
        return super().start(tag, {**attrs, "line": str(self.parser.parser.CurrentLineNumber)})


def place_of(item: Element | None, path: Path) -> str:
    """Names an element by file and line."""
    return str(path) if item is None else f"{path}, line {item.get('line')}"


def parse(path: Path) -> Element:
    """Reads an annotation; `place_of` names where its elements stand.

    Raises:
        DataError: It is missing, no XML, or holds entities.
    """
    tree = _NumberedTree()
    tree.parser = parser = DefusedXMLParser(target=tree)
    try:
        parser.feed(read_bytes(path))
        root: Element = parser.close()
    except ParseError as error:
        line = f"{path}, line {error.position[0]}"
        raise DataError(f"is not valid XML ({error})", where=line, fix="repair or re-export the file") from None
    except DefusedXmlException as error:
        fix = "remove the DOCTYPE and its entities"
        raise DataError(
            f"XML entities are not read, they can be an attack ({error})", where=str(path), fix=fix
        ) from None
    return root


def _label_map(source: VocSource) -> dict[str, Colour]:
    """Class name → colour from `labelmap.txt` (`name:r,g,b:parts:actions`), background left out; empty without one."""
    path = source.root / "labelmap.txt"
    if not is_file(path):
        return {}
    colours: dict[str, Colour] = {}
    for number, text in enumerate(read_text(path).splitlines(), start=1):
        if not text.strip() or text.startswith("#"):
            continue
        name, _, rest = text.partition(":")
        try:
            red, green, blue = (int(part) for part in rest.partition(":")[0].split(","))
        except ValueError:
            fix = "write `cat:64,0,0::`"
            raise DataError(f"{text!r} is no `name:r,g,b::`", where=f"{path}, line {number}", fix=fix) from None
        if name.lower() not in BACKGROUND_NAMES:
            colours[name] = (red, green, blue)
    return colours
