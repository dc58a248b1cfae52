"""One small world in all formats, and `findings`: what the command line says about a damaged copy of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bombo.data.scenes import STUFF, THINGS, make_scene
from bombo.data.writers import write_coco, write_voc, write_yolo

DATA_FILES = {
    "voc": """\
stuff: [water]
train: [{format: voc, root: voc, list: train, use: both}]
val: [{format: voc, root: voc, list: val, use: both}]
""",
    "coco": """\
train: [{format: coco, root: coco, annotations: train.json, use: both}]
val: [{format: coco, root: coco, annotations: val.json, use: both}]
""",
    "yolo": """\
stuff: [water]
train: [{format: yolo, root: yolo, use: both}]
val: [{format: yolo, root: yolo, use: both}]
""",
    "folder": f"""\
stuff: [water]
train: [{{format: folder, root: folder/train, use: masks, names: [{", ".join(THINGS + STUFF)}]}}]
val: [{{format: folder, root: folder/val, use: masks, names: [{", ".join(THINGS + STUFF)}]}}]
""",
}


@pytest.fixture(scope="session")
def all_formats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("formats")
    scenes = {
        "train": [make_scene(seed, 64, objects=(2, 3)) for seed in range(6)],
        "val": [make_scene(seed, 64, objects=(2, 3)) for seed in range(20, 23)],
    }
    write_voc(scenes, root / "voc")
    write_coco(scenes, root / "coco")
    write_yolo(scenes, root / "yolo")
    for split, listed in scenes.items():
        for kind in ("images", "masks"):
            (root / "folder" / split / kind).mkdir(parents=True)
        for index, scene in enumerate(listed):
            Image.fromarray(scene.image).save(root / "folder" / split / f"images/{index}.jpg")
            Image.fromarray(scene.mask).save(root / "folder" / split / f"masks/{index}.png")
    for name, text in DATA_FILES.items():
        (root / f"{name}.yaml").write_text(text)
    return root


@pytest.fixture
def copy(all_formats: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Copies the world in one format; returns its data file."""

    def make(form: str) -> Path:
        shutil.copytree(all_formats / form, tmp_path / form)
        if form == "yolo":  # its YAML names the folder by its absolute path
            yaml = tmp_path / "yolo/data.yaml"
            yaml.write_text(yaml.read_text().replace(str(all_formats), str(tmp_path)))
        return Path(shutil.copy(all_formats / f"{form}.yaml", tmp_path / "data.yaml"))

    return make


@pytest.fixture
def findings(bombo_command: Callable[..., Any]) -> Callable[..., dict[str, dict[str, Any]]]:
    """Code → finding, as `bombo check DATA --json` prints them."""

    def run(data: Path, *words: str) -> dict[str, dict[str, Any]]:
        ended = bombo_command("check", data, "--json", *words)
        printed = json.loads(ended.out)
        assert ended.code == printed["exit_code"]
        return {finding["code"]: finding for finding in printed["findings"]}

    return run
