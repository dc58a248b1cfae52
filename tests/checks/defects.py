"""Every defect that `bombo check` knows, done to a copy of the small world of `conftest`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

Damage = Callable[[Path], object]


def replace(path: str, old: str, new: str, times: int = 1) -> Damage:
    def damage(root: Path) -> None:
        text = (root / path).read_text()
        assert old in text
        (root / path).write_text(text.replace(old, new, times))

    return damage


def append(path: str, text: str) -> Damage:
    return lambda root: (root / path).open("a").write(text)


def truncate(path: str, keep: float) -> Damage:
    def damage(root: Path) -> None:
        content = (root / path).read_bytes()
        (root / path).write_bytes(content[: int(keep * len(content))])

    return damage


def remove(path: str) -> Damage:
    return lambda root: (root / path).unlink()


def coco(change: Callable[[dict[str, Any]], object], file: str = "coco/train.json") -> Damage:
    def damage(root: Path) -> None:
        content = json.loads((root / file).read_text())
        change(content)
        (root / file).write_text(json.dumps(content))

    return damage


def bbox(*numbers: float, index: int = 0) -> Damage:
    return coco(lambda c: c["annotations"][index].update(bbox=list(numbers)))


def corners(content: dict[str, Any]) -> None:
    for item in content["annotations"]:
        x, y, width, height = item["bbox"]
        item["bbox"] = [x, y, x + width, y + height]


def lying(content: dict[str, Any]) -> None:
    """The first image is declared as it is stored, 48 wide and 64 high, and not as it is shown."""
    content["images"][0].update(width=48)
    for item in content["annotations"]:
        if item["image_id"] == content["images"][0]["id"]:
            item.update(segmentation=[[1, 1, 9, 1, 9, 9]], bbox=[1, 1, 8, 8])


def again(key: str, index: int = 0, **changed: Any) -> Damage:
    return coco(lambda c: c[key].append({**c[key][index], **changed}))


def mask(path: str, change: Callable[[np.ndarray], np.ndarray]) -> Damage:
    def damage(root: Path) -> None:
        pixels = np.array(Image.open(root / path))
        Image.fromarray(change(pixels)).save(root / path)

    return damage


def put(value: int | np.ndarray, size: int = 2) -> Callable[[np.ndarray], np.ndarray]:
    def change(pixels: np.ndarray) -> np.ndarray:
        pixels[:size, :size] = value
        return pixels

    return change


def picture(path: str, change: Callable[[Image.Image], Image.Image], target: str = "", **options: Any) -> Damage:
    def damage(root: Path) -> None:
        with Image.open(root / path) as image:
            image.load()
        change(image).save(root / (target or path), **options)

    return damage


def turned(path: str, orientation: int, size: tuple[int, int]) -> Damage:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return picture(path, lambda image: image.resize(size), exif=exif)


def twin(source: str, target: str) -> Damage:
    """Another picture becomes a copy, with the annotation of the first."""

    def damage(root: Path) -> None:
        for path in ("JPEGImages/{}.jpg", "Annotations/{}.xml", "SegmentationClass/{}.png"):
            shutil.copy(root / "voc" / path.format(source), root / "voc" / path.format(target))

    return damage


def both(*damages: Damage) -> Damage:
    def damage(root: Path) -> None:
        for each in damages:
            each(root)

    return damage


def brighter(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(0.9)


XML = "voc/Annotations/train_00000.xml"
MASK = "voc/SegmentationClass/train_00000.png"
ROWS = "yolo/labels/train/train_00000.txt"
PLAIN = "folder/train/masks/0.png"
BOX = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"


def voc_box(*numbers: float, name: str = "starfish") -> Damage:
    return replace(XML, "</annotation>", BOX.format(name, *numbers) + "</annotation>")


def emptied(pixels: np.ndarray) -> np.ndarray:
    return np.zeros_like(pixels)


def renumbered(root: Path) -> None:
    """One class of the palette image, number 2, moved to value 1 with its colour."""
    with Image.open(root / MASK) as image:
        colours = image.getpalette()
    assert colours is not None
    small = Image.fromarray((np.arange(64 * 64).reshape(64, 64) < 999).astype(np.uint8))
    small.putpalette(colours[:3] + colours[6:9])
    small.save(root / MASK)


def nothing_left(root: Path) -> None:
    for number in range(6):
        (root / f"yolo/labels/train/train_0000{number}.txt").write_text("")
        mask(f"yolo/masks/train/train_0000{number}.png", lambda pixels: np.full_like(pixels, 7))(root)


NINE = np.arange(60, 69, dtype=np.uint8).reshape(3, 3)  # values without a name

# name: format, damage, code, severity, what the first examples say
DEFECTS: dict[str, tuple[str, Damage, str, str, str]] = {
    # files
    "image gone (voc)": ("voc", remove("voc/JPEGImages/train_00001.jpg"), "file-missing", "error", "train_00001.jpg"),
    "image gone (coco)": ("coco", remove("coco/images/train_00001.jpg"), "file-missing", "error", "train_00001.jpg"),
    "XML gone": ("voc", remove(XML), "file-missing", "error", "train_00000.xml"),
    "mask gone (voc)": ("voc", remove(MASK), "file-missing", "error", "train_00000.png"),
    "mask gone (folder)": ("folder", remove(PLAIN), "file-missing", "error", "no mask 0.png"),
    "label file gone": ("yolo", remove(ROWS), "file-missing", "error", "train_00000.txt"),
    "image cut off": ("voc", truncate("voc/JPEGImages/val_00000.jpg", 0.6), "image-truncated", "error", "val_00000"),
    "image empty": ("coco", truncate("coco/images/train_00002.jpg", 0), "image-corrupt", "error", "the file is empty"),
    "image is text": (
        "folder", lambda r: (r / "folder/val/images/1.jpg").write_text("hello"), "image-corrupt", "error", "not known",
    ),
    "turned by EXIF": ("voc", turned("voc/JPEGImages/val_00001.jpg", 3, (64, 64)), "image-rotated", "note", "tion 3"),
    "other size than declared": (
        "voc", replace(XML, "<width>64", "<width>65"), "image-size", "error", "64 × 64 pixels, ",
    ),
    "annotated before it was turned": (
        "coco",
        both(turned("coco/images/train_00000.jpg", 6, (48, 64)), coco(lying)),
        "image-size", "error", "before it was turned",
    ),
    # masks
    "mask of another size": (
        "voc", mask(MASK, lambda m: m[:, :60]), "mask-size", "error", "60 × 64 pixels, its image 64 × 64",
    ),
    "mask cut off": ("folder", truncate(PLAIN, 0.5), "mask-unreadable", "error", "0.png"),
    "RGB where values are due": (
        "folder", mask(PLAIN, lambda m: np.stack((m, m * 2, m), -1)), "mask-colours", "error", "0.png",
    ),
    "colours without a name (labelmap)": (
        "voc", mask(MASK, lambda m: put(np.array((9, 8, 7)))(np.zeros((64, 64, 3), np.uint8))), "mask-value", "error",
        "colour [9, 8, 7] (4 px)",
    ),
    "values without a name": (
        "folder", mask(PLAIN, lambda m: put(77, 3)(put(99, 1)(m)[::-1])), "mask-value", "error",
        "value 77 (9 px), 99 (1 px)",
    ),
    "value outside the YOLO names": (
        "yolo", mask("yolo/masks/val/val_00001.png", put(60)), "mask-value", "error", "val_00001.png: value 60 (4 px)",
    ),
    "many values without a name": (
        "folder", mask(PLAIN, lambda m: put(NINE.repeat(4, 0).repeat(4, 1), 12)(m)), "mask-value", "error",
        "and 5 more",
    ),
    "smoothly resized": (
        "folder", mask(PLAIN, lambda m: put(NINE, 3)(m)), "mask-soft", "error", "5 more",
    ),
    "binary 0 and 255": (
        "folder", mask(PLAIN, lambda m: ((m > 0) * 255).astype(np.uint8)), "mask-binary", "warning", "255 in",
    ),
    "void everywhere": ("voc", mask(MASK, lambda m: np.full_like(m, 255)), "mask-void", "warning", "train_00000.png"),
    "renumbered palette": (
        "voc", renumbered, "mask-palette", "warning", "value 1 has the colour of value 2",
    ),
    "JPEG as mask": (
        "folder",
        both(picture(PLAIN, lambda m: Image.new("L", m.size), "folder/train/masks/0.jpg"), remove(PLAIN)),
        "mask-lossy", "warning", "0.jpg",
    ),
    # boxes
    "swapped (voc)": ("voc", voc_box(30, 30, 10, 40), "box-swapped", "error", "starfish (30, 30, 10, 40)"),
    "swapped (coco)": ("coco", bbox(30, 30, -9, 5), "box-swapped", "error", "annotation 1: "),
    "swapped (yolo)": ("yolo", append(ROWS, "0 .5 .5 -.1 .1\n"), "box-swapped", "error", "(0.5, 0.5, -0.1, 0.1)"),
    "no area (coco)": ("coco", bbox(30, 30, 0, 5), "box-degenerate", "error", "(30, 30, 0, 5)"),
    "no area (yolo)": ("yolo", append(ROWS, "0 .5 .5 0 .1\n"), "box-degenerate", "error", "(0.5, 0.5, 0, 0.1)"),
    "outside (voc)": ("voc", voc_box(70, 70, 90, 90), "box-outside", "error", "in an image of 64 × 64"),
    "outside (coco)": ("coco", bbox(64, 3, 5, 5), "box-outside", "error", "annotation 1: "),
    "reaching outside (voc)": ("voc", voc_box(50, 50, 70, 60), "box-clipped", "warning", "6 px outside 64 × 64"),
    "reaching outside (coco)": ("coco", bbox(-3, 1, 30, 30), "box-clipped", "warning", "3 px outside"),
    "reaching outside (yolo)": ("yolo", append(ROWS, "0 .9 .5 .5 .5\n"), "box-clipped", "warning", "10 px outside"),
    "not finite (coco)": ("coco", bbox(1, 1, float("inf"), 9), "box-not-finite", "error", "(1, 1, inf, 9)"),
    "normalised (voc)": ("voc", voc_box(0.1, 0.2, 0.5, 0.6), "box-normalised", "error", "(0.1, 0.2, 0.5, 0.6)"),
    "normalised (coco)": ("coco", bbox(0.1, 0.2, 0.5, 0.6), "box-normalised", "error", "(0.1, 0.2, 0.5, 0.6)"),
    "pixels (yolo)": ("yolo", append(ROWS, "0 30 30 5 5\n"), "box-in-pixels", "error", "class 0 (30, 30, 5, 5)"),
    "corners (coco)": ("coco", coco(corners), "box-corners", "error", "as x1, y1, x2, y2 they fit"),
    "twice (voc)": (
        "voc", both(voc_box(5, 5, 20, 20), voc_box(5, 5, 20, 20)), "box-duplicate", "warning", "the same as line",
    ),
    "twice (coco)": ("coco", again("annotations", id=999), "box-duplicate", "warning", "the same as annotation 1"),
    "twice (yolo)": (
        "yolo", append(ROWS, "0 .5 .5 .5 .5\n0 .5 .5 .5 .5\n"), "box-duplicate", "warning", "the same as line",
    ),
    # what a reader refuses
    "not finite (voc)": (
        "voc", voc_box(float("nan"), 1, 9, 9), "annotation-refused", "error", '<xmin> is "nan", a finite number',
    ),
    "unknown class": (
        "voc", voc_box(5, 5, 20, 20, name="starfisch"), "annotation-refused", "error", "Did you mean `starfish`?",
    ),
    "no XML": ("voc", truncate(XML, 0.5), "annotation-refused", "error", "is not valid XML"),
    "words in a row": ("yolo", append(ROWS, "0 a b c d\n"), "annotation-refused", "error", "no numbers"),
    "segmentation of two points": (
        "coco", coco(lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3, 4]])), "annotation-refused", "error",
        "annotation 1: the segmentation is no list of polygons",
    ),
    "JSON cut off": ("coco", truncate("coco/val.json", 0.5), "source-unreadable", "error", "val.json, line 1"),
    "list names an image twice": (
        "voc", append("voc/ImageSets/Main/train.txt", "train_00000\n"), "source-unreadable", "error", "listed twice",
    ),
    # the JSON as a whole
    "image id twice": ("coco", again("images", file_name="b.jpg"), "image-id-duplicate", "error", "image id 1"),
    "category id twice": ("coco", again("categories", name="b"), "category-id-duplicate", "error", "category id 3"),
    "annotation id twice": (
        "coco", again("annotations", bbox=[1, 1, 9, 9]), "annotation-id-duplicate", "warning", "annotation 1",
    ),
    "category name twice": ("coco", again("categories", id=999), "category-name-duplicate", "warning", "'starfish'"),
    "annotation of no image": (
        "coco", again("annotations", id=999, image_id=777), "annotation-without-image", "error", "image with id 777",
    ),
    "annotation of no category": (
        "coco", again("annotations", id=999, category_id=4), "annotation-without-category", "error", "with id 4",
    ),
    "gaps in ids": ("coco", lambda root: None, "category-id-gaps", "note", "6 categories, ids from 3 to 58"),
    # the lists
    "same file in train and val": (
        "voc", append("voc/ImageSets/Main/val.txt", "train_00002\n"), "leak-file", "warning", "in train and in val",
    ),
    "same file twice in train": (
        "voc",
        replace("data.yaml", "use: both}]", "use: boxes}, {format: voc, root: voc, list: train, use: masks}]"),
        "twice-file", "warning", "train_00005.jpg",
    ),
    "same content in train and val": (
        "voc", twin("train_00003", "val_00001"), "leak-content", "warning", "train_00003.jpg in train",
    ),
    "same content twice in train": (
        "voc", twin("train_00003", "train_00004"), "twice-content", "note", "train_00003.jpg in train",
    ),
    "nearly the same in train and val": (
        "voc",
        both(twin("train_00003", "val_00001"), picture("voc/JPEGImages/val_00001.jpg", brighter)),
        "leak-near", "warning", "train_00003.jpg in train",
    ),
    "nearly the same twice in train": (
        "voc",
        both(twin("train_00003", "train_00004"), picture("voc/JPEGImages/train_00004.jpg", brighter)),
        "twice-near", "note", "train_00003.jpg in train",
    ),
    "image that nothing names": (
        "voc",
        picture("voc/JPEGImages/val_00001.jpg", lambda i: i, "voc/JPEGImages/spare.jpg"),
        "image-unlisted", "note", "spare.jpg",
    ),
    "image without annotations": (
        "coco", coco(lambda c: c["images"].append({**c["images"][0], "id": 99, "file_name": "val_00000.jpg"})),
        "image-empty", "note", "val_00000.jpg",
    ),
    "nobody annotated": ("yolo", nothing_left, "images-mostly-empty", "warning", "train: 6 of 6 images"),
    # classes
    "class that train lacks": (
        "coco", coco(lambda c: c["categories"].append({"id": 90, "name": "whale"})), "class-without-annotation",
        "warning", "whale",
    ),
    "class with boxes only": (
        "voc", replace("data.yaml", "train, use: both", "train, use: boxes"), "class-without-pixels", "note", "boxes",
    ),
    "class with masks only": (
        "voc", replace("data.yaml", "train, use: both", "train, use: masks"), "class-without-boxes", "note", "0 images",
    ),
    "class of two spellings": (
        "folder", replace("data.yaml", "names: [starfish", "names: [Starfish"), "class-spelling", "warning",
        "Starfish and starfish",
    ),
    "classes left out": (
        "voc", replace("data.yaml", "stuff: [water]", "classes: [fish]"), "class-not-chosen", "note", "crab",
    ),
    "class that nobody chose": (
        "voc", replace("data.yaml", "stuff: [water]", "classes: [fish]"), "image-of-other-classes", "note", ".jpg",
    ),
    "no list to judge by": ("voc", replace("data.yaml", "val:", "test:"), "no-val", "note", "data.yaml"),
    # contradictions
    "box without pixels": ("voc", mask(MASK, emptied), "box-without-pixels", "warning", "train_00000.jpg: "),
    "pixels without box": ("yolo", lambda root: (root / ROWS).write_text(""), "component-without-box", "warning", "px"),
}  # fmt: skip
