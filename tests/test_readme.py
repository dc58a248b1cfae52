"""Every command and every line of Python in README.md and docs/ is run, on a set that looks as the README says."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import bombo
from bombo import cli

ROOT = Path(__file__).parents[1]
SMALL = {
    "backbone": "test_resnet",
    "weights": "none",
    "channels": 16,
    "segmentation_channels": 16,
    "head_depth": 0,
    "size": 64,
    "epochs": 1,
    "batch_size": 4,
    "workers": 0,
}


def blocks(file: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / file).read_text(), flags=re.DOTALL)


def picture(path: Path, rng: np.random.Generator) -> np.ndarray:
    """A picture of one animal on grass, and its mask."""
    mask = np.full((48, 64), 3, dtype=np.uint8)
    mask[:20] = 0
    mask[10:40, 20:50] = rng.integers(1, 3)
    colours = np.array([[90, 140, 220], [200, 120, 40], [60, 50, 50], [60, 160, 60]], dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(colours[mask]).save(path)
    return mask


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, rng = tmp_path_factory.mktemp("readme"), np.random.default_rng(0)
    (data_file,) = blocks("README.md", "yaml")
    (root / "pets.yaml").write_text(data_file)
    (root / "small.yaml").write_text(yaml.safe_dump(SMALL))
    both = "format: voc, root: VOC2012, list: val, use: both"
    (root / "full.yaml").write_text(f"classes: [cat, dog]\ntrain:\n  - {{{both}}}\nval:\n  - {{{both}}}\n")

    images, annotations = [], []
    for index in range(4):
        mask = picture(root / "photos" / f"{index}.jpg", rng)
        images.append({"id": index, "file_name": f"../{index}.jpg", "width": 64, "height": 48})
        annotations.append({"id": index, "image_id": index, "category_id": int(mask[20, 30]), "bbox": [20, 10, 30, 30]})
    (root / "photos" / "images").mkdir()
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    (root / "photos" / "boxes.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    (root / "photo.jpg").write_bytes((root / "photos" / "0.jpg").read_bytes())

    for index in range(4):
        mask = picture(root / "fieldwork" / "images" / f"{index}.jpg", rng)
        (root / "fieldwork" / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(root / "fieldwork" / "masks" / f"{index}.png")

    for folder in ("Annotations", "SegmentationClass", "ImageSets/Main"):
        (root / "VOC2012" / folder).mkdir(parents=True)
    (root / "VOC2012" / "ImageSets/Main/val.txt").write_text("a\nb\n")
    (root / "my_boxes.txt").write_text("a\n")
    (root / "my_masks.txt").write_text("b\n")
    for name in "ab":
        mask = picture(root / "VOC2012" / "JPEGImages" / f"{name}.jpg", rng)
        animal = {1: (8, "cat"), 2: (12, "dog")}[int(mask[20, 30])]
        Image.fromarray(np.where(np.isin(mask, (1, 2)), animal[0], 0).astype(np.uint8)).save(
            root / "VOC2012" / "SegmentationClass" / f"{name}.png"
        )
        (root / "VOC2012" / "Annotations" / f"{name}.xml").write_text(
            "<annotation><size><width>64</width><height>48</height></size><object>"
            f"<name>{animal[1]}</name><bndbox><xmin>21</xmin><ymin>11</ymin><xmax>50</xmax><ymax>40</ymax></bndbox>"
            "</object></annotation>"
        )
    return root


def typed(command: str) -> list[str]:
    """The words of a command, with training cut down to a size for tests (of repeated options the last one counts)."""
    small = {"ablate": ["--config", "small.yaml"]}
    words = shlex.split(command)[1:]
    if words[0] == "train":
        words += [word for name, value in SMALL.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return words + small.get(words[0], [])


@pytest.mark.parametrize("file", ["README.md", "docs/data.md", "docs/weak-losses.md"])
def test_the_commands_work_as_written(file: str, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    commands = [line for block in blocks(file, "bash") for line in block.splitlines() if line.startswith("bombo ")]
    assert commands
    for command in commands:
        monkeypatch.setattr("sys.argv", ["bombo", *typed(command)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code in (0, None), command


def test_the_python_works_as_written(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    train = bombo.train
    monkeypatch.setattr(bombo, "train", lambda **given: train(**(given | SMALL)))
    (code,) = blocks("README.md", "python")
    exec(compile(code, "README.md", "exec"), {})
    assert (workspace / "seen.png").is_file()


def test_the_two_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for line in re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), flags=re.MULTILINE):
        assert re.search(rf"^{line}:", makefile, flags=re.MULTILINE), line


def test_links_lead_somewhere() -> None:
    for file in [
        ROOT / "README.md",
        ROOT / "ARCHITECTURE.md",
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("benchmarks/*/*.md"),
    ]:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", file.read_text()):
            assert (file.parent / target).exists(), f"{file.name}: {target}"
