from __future__ import annotations

import contextlib
import io
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO

from bombo.data.scenes import THINGS, Scene, make_scene
from bombo.data.writers import write_coco, write_demo, write_voc, write_yolo
from bombo.errors import ConfigError

Scenes = dict[str, list[Scene]]


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    empty = make_scene(9, 64, objects=(0, 0))
    return {"train_a": [make_scene(1, 64), empty], "train_b": [make_scene(2, 64)], "val": [make_scene(3, 80)]}


def flat(scenes: Scenes) -> dict[str, Scene]:
    return {f"{name}_{i:05d}": scene for name, listed in scenes.items() for i, scene in enumerate(listed)}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def close_to(path: Path, scene: Scene) -> bool:
    difference = np.abs(pixels(path).astype(int) - scene.image)
    return pixels(path).shape == scene.image.shape and float(difference.mean()) < 4  # JPEG of a noisy picture


def test_voc_lists_and_images(scenes: Scenes, tmp_path: Path) -> None:
    write_voc(scenes, tmp_path)
    lists = {path.stem: path.read_text().split() for path in (tmp_path / "ImageSets" / "Main").iterdir()}
    assert lists == {name: [f"{name}_{i:05d}" for i in range(len(listed))] for name, listed in scenes.items()}
    assert {path.stem for path in (tmp_path / "JPEGImages").iterdir()} == set(flat(scenes))
    assert all(close_to(tmp_path / "JPEGImages" / f"{name}.jpg", scene) for name, scene in flat(scenes).items())


def test_voc_boxes_count_from_one_and_include_the_last_pixel(scenes: Scenes, tmp_path: Path) -> None:
    write_voc(scenes, tmp_path)
    for name, scene in flat(scenes).items():
        root = ElementTree.parse(tmp_path / "Annotations" / f"{name}.xml").getroot()
        assert root.findtext("filename") == f"{name}.jpg"
        assert (root.findtext("size/height"), root.findtext("size/width")) == tuple(map(str, scene.mask.shape))
        assert [item.findtext("name") for item in root.iter("object")] == [THINGS[label] for label in scene.labels]
        assert {item.findtext("difficult") for item in root.iter("object")} <= {"0"}
        for index, box in enumerate(root.iter("bndbox")):
            rows, columns = np.nonzero(scene.instances == index + 1)
            edges = {"xmin": columns.min(), "ymin": rows.min(), "xmax": columns.max(), "ymax": rows.max()}
            assert {tag: int(box.findtext(tag, "")) for tag in edges} == {tag: v + 1 for tag, v in edges.items()}


def test_voc_masks_and_label_map_agree(scenes: Scenes, tmp_path: Path) -> None:
    write_voc(scenes, tmp_path)
    head, *rows = (tmp_path / "labelmap.txt").read_text().splitlines()
    assert head == "# label:color_rgb:parts:actions"
    # VOC's published colours of classes 0 to 7
    assert rows == [
        "background:0,0,0::",
        "starfish:128,0,0::",
        "crab:0,128,0::",
        "turtle:128,128,0::",
        "ball:0,0,128::",
        "fish:128,0,128::",
        "shell:0,128,128::",
        "water:128,128,128::",
    ]
    colours = np.array([[int(part) for part in row.split(":")[1].split(",")] for row in rows])
    for name, scene in flat(scenes).items():
        with Image.open(tmp_path / "SegmentationClass" / f"{name}.png") as mask:
            assert mask.mode == "P"
            assert np.array_equal(np.asarray(mask), scene.mask)
            assert np.array_equal(np.asarray(mask.convert("RGB")), colours[scene.mask])
            assert mask.getpalette()[-3:] == [224, 224, 192]  # VOC's colour of void


@pytest.mark.parametrize("width", [1, 2, 3])
def test_voc_void_rim(scenes: Scenes, tmp_path: Path, width: int) -> None:
    write_voc(scenes, tmp_path, void_rim=width)
    for name, scene in flat(scenes).items():
        written = pixels(tmp_path / "SegmentationClass" / f"{name}.png")
        ids = np.pad(scene.instances.astype(int), width, mode="edge")
        height, across = scene.mask.shape
        # brute force: a pixel is in the rim of width 1 where one of four neighbours is another object; then it grows
        middle = ids[width:-width, width:-width]
        steps = [(0, 1), (0, -1), (1, 0), (-1, 0)]
        rim = np.zeros_like(scene.mask, dtype=bool)
        for dy, dx in steps:
            rim |= ids[width + dy : width + dy + height, width + dx : width + dx + across] != middle
        near = [
            (y, x)
            for y, x in np.argwhere(np.ones_like(rim)).tolist()
            if rim[max(y - width + 1, 0) : y + width, max(x - width + 1, 0) : x + width].any()
        ]
        expected = scene.mask.copy()
        for y, x in near:
            expected[y, x] = 255
        assert np.array_equal(written, expected)


def test_coco(scenes: Scenes, tmp_path: Path) -> None:
    write_coco(scenes, tmp_path)
    assert {path.stem for path in tmp_path.glob("*.json")} == set(scenes)
    for list_name, listed in scenes.items():
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(str(tmp_path / f"{list_name}.json"))
        names = {number: category["name"] for number, category in coco.cats.items()}
        assert tuple(names.values()) == THINGS
        assert np.diff(sorted(names)).min() > 1, "ids without gaps would not show a reader that counts"
        assert len(coco.imgs) == len(listed)
        for image in coco.imgs.values():
            scene = flat(scenes)[Path(image["file_name"]).stem]
            assert close_to(tmp_path / "images" / image["file_name"], scene)
            assert (image["height"], image["width"]) == scene.mask.shape
            found = coco.loadAnns(coco.getAnnIds(image["id"]))
            assert [names[item["category_id"]] for item in found] == [THINGS[label] for label in scene.labels]
            for index, item in enumerate(found):
                pixels_of_it = scene.instances == index + 1
                assert np.array_equal(coco.annToMask(item).astype(bool), pixels_of_it)
                assert item["area"] == pixels_of_it.sum()
                x, y, width, height = item["bbox"]
                assert [x, y, x + width, y + height] == scene.boxes[index].tolist()
                assert item["iscrowd"] == 0


def test_yolo(scenes: Scenes, tmp_path: Path) -> None:
    write_yolo(scenes, tmp_path / "set")
    data = yaml.safe_load((tmp_path / "set" / "data.yaml").read_text())
    root = Path(data["path"])
    assert root == (tmp_path / "set").resolve()
    assert (data["train"], data["val"]) == (["images/train_a", "images/train_b"], ["images/val"])
    names, found = data["names"], 0
    for image in sorted(
        entry for split in ("train", "val") for path in data[split] for entry in (root / path).iterdir()
    ):
        scene, part = flat(scenes)[image.stem], image.parent.name
        assert close_to(image, scene)
        mask = pixels(root / data["masks_dir"] / part / f"{image.stem}.png")
        said = np.vectorize(names.get)(mask)
        meant = np.array(["background", *THINGS, "water"])[scene.mask]
        assert np.array_equal(said, meant)
        rows = [line.split() for line in (root / "labels" / part / f"{image.stem}.txt").read_text().splitlines()]
        assert [names[int(row[0])] for row in rows] == [THINGS[label] for label in scene.labels]
        for row, box in zip(rows, scene.boxes, strict=True):
            height, width = scene.mask.shape
            cx, cy, w, h = (float(number) * side for number, side in zip(row[1:], (width, height) * 2, strict=True))
            assert [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2] == pytest.approx(box.tolist(), abs=1e-4)
        found += 1
    assert found == len(flat(scenes))


def test_demo(tmp_path: Path) -> None:
    path = write_demo(tmp_path / "demo", seed=4, train=5, val=2, size=64)
    data = yaml.safe_load(path.read_text())
    lists = {source["list"]: source for source in (*data["train"], *data["val"])}
    assert {name: source["use"] for name, source in lists.items()} == {
        "train_boxes": "boxes",
        "train_masks": "masks",
        "val": "both",
    }
    assert data["stuff"] == ["water"]
    devkit = path.parent / "devkit"
    assert {source["root"] for source in lists.values()} == {"devkit"}
    count = {name: len((devkit / "ImageSets/Main" / f"{name}.txt").read_text().split()) for name in lists}
    assert count == {"train_boxes": 3, "train_masks": 2, "val": 2}
    images = {file.read_bytes() for file in (devkit / "JPEGImages").iterdir()}
    assert len(images) == 7, "two lists hold the same scene"


def test_demos_of_different_seeds_share_no_scene(tmp_path: Path) -> None:
    images = []
    for seed in (0, 1):
        write_demo(tmp_path / str(seed), seed=seed, train=2, val=1, size=48)
        images += [file.read_bytes() for file in (tmp_path / str(seed) / "devkit/JPEGImages").iterdir()]
    assert len(set(images)) == 6


@pytest.mark.parametrize(("train", "val"), [(1, 1), (2, 0)], ids=["one list would be empty", "nothing to validate on"])
def test_demo_needs_an_image_in_every_list(tmp_path: Path, train: int, val: int) -> None:
    with pytest.raises(ConfigError, match="at least 2 and 1"):
        write_demo(tmp_path, train=train, val=val)
