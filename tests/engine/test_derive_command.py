from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import bombo
from bombo.errors import ConfigError
from bombo.metrics.box_quality import BoxQuality

PROVIDERS = ["fill", "ellipse", "inner", "grabcut", "grabcut+ellipse"]
RULES = ["components, void joins", "components, void separates"]


@pytest.fixture(scope="module")
def made(world: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bombo.Derivation]:
    out = tmp_path_factory.mktemp("derived")
    return out, bombo.derive(world, model=trained, split="val", out=out, pictures=2, device="cpu")


class TestWhereBothAreKnown:
    def test_every_provider_and_rule_is_measured(self, made: tuple[Path, bombo.Derivation]) -> None:
        out, derivation = made
        assert list(derivation.masks) == [*PROVIDERS, "grabcut, refined"]
        assert list(derivation.boxes) == [*RULES, "refined", "refined, weight ≥ 0.6"]
        kept = json.loads((out / "quality.json").read_text())
        assert (kept["images"], kept["masks"]) == (4, derivation.masks)
        assert kept["boxes"]["refined"] == pytest.approx(derivation.boxes["refined"])
        table = (out / "quality.md").read_text()
        assert "| provider | mIoU | right in boxes |" in table
        assert "| rule | boxes | true | recall @0.5 |" in table

    def test_the_figures_are_plausible(self, made: tuple[Path, bombo.Derivation]) -> None:
        masks, boxes = made[1].masks, made[1].boxes
        assert masks["grabcut"]["right in boxes"] > masks["fill"]["right in boxes"]
        assert masks["inner"]["labelled in boxes"] < masks["ellipse"]["labelled in boxes"]
        for name in RULES:  # the world has no void: both are the same
            assert boxes[name] == boxes[RULES[0]]
            assert boxes[name]["precision @0.5"] >= boxes[name]["precision @0.75"] > 0

    def test_pictures_of_both_directions(self, made: tuple[Path, bombo.Derivation]) -> None:
        pictures = sorted(path.name for path in (made[0] / "pictures").iterdir())
        assert [name.split("-", 1)[1] for name in pictures] == ["boxes-of-mask.jpg", "masks-of-boxes.jpg"] * 2
        wide = Image.open(made[0] / "pictures" / pictures[1])
        assert wide.width > 7 * wide.height * 0.8  # boxes and six masks side by side


def test_images_with_one_annotation_are_drawn(world: Path, tmp_path: Path, bombo_command: Callable[..., Any]) -> None:
    ended = bombo_command("derive", world, "--pictures", 1, "--out", tmp_path)
    assert ended.code == 0
    assert "no image of train carries both annotations" in ended.out
    assert len(list((tmp_path / "pictures").iterdir())) == 2
    assert not (tmp_path / "quality.json").exists()


def test_slips_are_told(tmp_path: Path, world: Path, bombo_command: Callable[..., Any]) -> None:
    for words, message in ((["no.yaml"], "no.yaml: file is missing"), ([world, "--model", tmp_path], str(tmp_path))):
        ended = bombo_command("derive", *words, "--out", tmp_path / "out")
        assert ended.code in (1, 2)
        assert message in ended.err


def test_what_cannot_be_used_is_left_out_on_request(
    world: Path, tmp_path: Path, bombo_command: Callable[..., Any]
) -> None:
    data = Path(shutil.copytree(world.parent, tmp_path / "world")) / world.name
    devkit = data.parent / "devkit"
    bad = [devkit / "JPEGImages" / "val_00001.jpg", devkit / "Annotations" / "val_00002.xml"]
    bad[0].write_bytes(bad[0].read_bytes()[:200])
    bad[1].unlink()
    words = ("derive", data, "--split", "val", "--pictures", 4, "--out")
    ended = bombo_command(*words, tmp_path / "no")
    assert ended.code == 1
    assert "--skip-bad" in ended.err
    bad[1].write_bytes((world.parent / "devkit" / "Annotations" / "val_00002.xml").read_bytes())
    ended = bombo_command(*words, tmp_path / "no")
    assert ended.code == 1
    assert str(bad[0]) in ended.err
    assert "1 of 4 images cannot be used" in ended.err
    assert "--skip-bad" in ended.err
    bad[1].unlink()
    ended = bombo_command(*words, tmp_path / "out", "--skip-bad")
    assert ended.code == 0
    assert "measured on 2 images with both" in ended.out
    assert "skipped   2 images, see" in ended.out
    assert {entry["file"] for entry in json.loads((tmp_path / "out" / "skipped.json").read_text())} == set(
        map(str, bad)
    )
    assert len(list((tmp_path / "out" / "pictures").glob("*-masks-of-boxes.jpg"))) == 2


def test_a_network_of_other_classes_is_refused(world: Path, trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(
        f"classes: [crab]\ntrain: [{{format: voc, root: {world.parent / 'devkit'}, list: val, use: both}}]\n"
    )
    with pytest.raises(ConfigError, match="the data file has crab"):
        bombo.derive(other, model=trained, out=tmp_path / "out", device="cpu")


def test_boxes_are_matched_one_to_one_by_class() -> None:
    true = torch.tensor([[0, 0, 10, 10], [20, 0, 30, 10], [0, 0, 10, 10]]).float(), torch.tensor([0, 0, 1])
    quality = BoxQuality()
    # exact; the same object again; IoU 0.6 with the second; no object
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 6], [50, 50, 60, 60]]).float()
    quality.update(boxes, torch.tensor([0, 0, 0, 0]), *true)
    assert (quality.recall(0.5), quality.precision(0.5)) == (2 / 3, 2 / 4)
    assert (quality.recall(0.75), quality.precision(0.75)) == (1 / 3, 1 / 4)
    quality.update(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), *true)
    assert (quality.true, quality.boxes) == (6, 4)


def test_as_json_stdout_holds_nothing_else(world: Path, tmp_path: Path, bombo_command: Any) -> None:
    ended = bombo_command("derive", world, "--json", split="val", out=tmp_path / "derived", pictures=0)
    told = json.loads(ended.out)
    assert told["masks"]["fill"].keys() >= {"mIoU", "right in boxes"}
    assert "measured on 4" in ended.err
