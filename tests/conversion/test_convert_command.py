from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bombo
from bombo.engine.convert import convert
from bombo.errors import ConfigError

Command = Callable[..., Any]
Content = Callable[[Path], dict[str, Any]]
FORMATS = ("voc", "coco", "yolo", "folder")


def lines(text: str) -> dict[str, str]:
    return {line[:10].strip(): line[10:] for line in text.splitlines() if line[:10].strip()}


class TestRoundTrips:
    @pytest.mark.parametrize(
        ("start", "through"),
        [
            ("voc", "coco"),
            ("voc", "yolo"),
            ("voc", "voc"),
            ("coco", "coco"),
            ("coco", "yolo"),
            ("coco", "voc"),
            ("yolo", "voc"),
            ("folder", "voc"),
            ("folder", "yolo"),
            ("folder", "coco"),
        ],
    )
    def test_there_and_back_is_the_same(
        self,
        sources: dict[str, Path],
        tmp_path: Path,
        bombo_command: Command,
        start: str,
        through: str,
        content: Content,
    ) -> None:
        there, back = tmp_path / "there", tmp_path / "back"
        assert bombo_command("convert", sources[start], there, to=through).code == 0
        expected = content(sources[start])
        assert content(there) == expected
        assert bombo_command("convert", there, back, to=start).code == 0
        assert content(back) == expected
        assert all(mask is not None for _, mask in expected.values())

    def test_boxes_that_follow_outlines_worked_out_are_told(
        self, sources: dict[str, Path], tmp_path: Path, content: Content
    ) -> None:
        convert(sources["yolo"], tmp_path / "coco", to="coco")
        back = convert(tmp_path / "coco/data.yaml", tmp_path / "yolo", to="yolo")
        before, after = content(sources["yolo"]), content(tmp_path / "yolo/bombo.yaml")
        moved = sum(box not in (after[name][0] or ()) for name, (boxes, _) in before.items() for box in boxes or ())
        assert (
            moved == back.losses.changed["boxes moved by more than half a pixel: those of polygon rows are tight"].count
        )
        assert 0 < moved < back.objects["in"]
        assert {name: mask for name, (_, mask) in after.items()} == {name: mask for name, (_, mask) in before.items()}

    def test_masks_of_voc_come_back_byte_for_byte(self, sources: dict[str, Path], tmp_path: Path) -> None:
        convert(sources["voc"], tmp_path / "coco", to="coco")
        convert(tmp_path / "coco/data.yaml", tmp_path / "voc", to="voc")
        for path in (sources["voc"].parent / "voc/SegmentationClass").iterdir():
            assert (tmp_path / "voc/SegmentationClass" / path.name).read_bytes() == path.read_bytes()

    def test_instances_survive_voc(self, sources: dict[str, Path], tmp_path: Path) -> None:
        convert(sources["coco"], tmp_path / "voc", to="voc")
        result = convert(tmp_path / "voc/data.yaml", tmp_path / "coco", to="coco")
        for split in ("train", "val"):
            before = json.loads((sources["coco"].parent / f"coco/{split}.json").read_text())["annotations"]
            after = json.loads((tmp_path / f"coco/annotations/instances_{split}.json").read_text())["annotations"]
            assert [item["segmentation"] for item in after] == [item["segmentation"] for item in before]
            assert [item["area"] for item in after] == [item["area"] for item in before]
        assert result.lossless

    def test_images_are_the_same_files(self, sources: dict[str, Path], tmp_path: Path) -> None:
        convert(sources["voc"], tmp_path / "out", to="yolo")
        image = tmp_path / "out/images/train/train_00000.jpg"
        assert image.samefile(sources["voc"].parent / "voc/JPEGImages/train_00000.jpg")

    @pytest.mark.parametrize("to", FORMATS)
    def test_the_data_file_chooses_classes_as_before(
        self, sources: dict[str, Path], tmp_path: Path, to: str, content: Content
    ) -> None:
        chosen = tmp_path / "chosen.yaml"
        text = sources["voc"].read_text().replace("root: voc", f"root: {sources['voc'].parent / 'voc'}")
        chosen.write_text(f"classes: [crab, turtle]\nothers: void\n{text}")
        convert(chosen, tmp_path / "out", to=to)
        before, after = content(chosen), content(tmp_path / "out")
        if to == "folder":  # which cannot say boxes
            before = {name: (None, mask) for name, (_, mask) in before.items()}
        assert after == before
        assert {c for _, mask in after.values() for row in mask or () for c in row} <= {
            *("crab", "turtle", "water", "void", "background")
        }


class TestReport:
    @pytest.mark.parametrize("to", FORMATS)
    @pytest.mark.parametrize("start", FORMATS)
    def test_the_counts_add_up_to_what_is_read_back(
        self, sources: dict[str, Path], tmp_path: Path, bombo_command: Command, start: str, to: str, content: Content
    ) -> None:
        ended = bombo_command("convert", sources[start], tmp_path / "out", "--json", to=to)
        report = json.loads(ended.out)
        assert (ended.code, report) == (0, json.loads((tmp_path / "out/conversion.json").read_text()))
        objects = report["objects"]
        dropped = sum(entry["count"] for entry in report["dropped"])
        assert objects["out"] == objects["in"] - dropped
        after = content(tmp_path / "out")
        assert sum(len(boxes or ()) for boxes, _ in after.values()) == objects["out"]
        assert sum(mask is not None for _, mask in after.values()) == report["masks"]["out"]
        assert len(after) == report["images"]["out"] == 4
        void = sum(row.count("void") for _, mask in after.values() for row in mask or ())
        assert void == report["masks"]["void_out"] == report["masks"]["void_in"]

    def test_nothing_lost_is_said(self, sources: dict[str, Path], tmp_path: Path, bombo_command: Command) -> None:
        told = lines(bombo_command("convert", sources["voc"], tmp_path / "out", to="voc").out)
        assert told["lost"] == "nothing"
        assert told["read"] == f"data file {sources['voc']}"
        assert told["next"] == f"bombo train --data {tmp_path / 'out/data.yaml'}"

    @pytest.mark.parametrize(
        ("change", "to", "kind", "told"),
        [
            pytest.param({"iscrowd": 1}, "yolo", "dropped", "1 crowds: rows have no regions", id="crowd in yolo"),
            pytest.param({"iscrowd": 1}, "voc", "changed", "1 crowds marked as `difficult`", id="crowd in voc"),
            pytest.param({"ignore": 1}, "yolo", "changed", "1 `difficult` flags lost", id="difficult"),
            pytest.param({"bbox": [1.4, 2, 9, 9]}, "voc", "changed", "1 boxes rounded to whole pixels", id="fractions"),
            pytest.param({"bbox": [-3, 2, 9, 9]}, "coco", "changed", "1 boxes cut to their image", id="outside"),
            pytest.param(
                {"bbox": [0, 0, 64, 64]}, "yolo", "changed", "1 boxes moved by more than half a pixel", id="other box"
            ),
            pytest.param({"keypoints": [1]}, "voc", "changed", "1 `keypoints` of annotations not carried", id="extras"),
            pytest.param({"id": 77}, "coco", "changed", "1 ids of annotations changed", id="ids"),
        ],
    )
    def test_each_loss_is_named(
        self,
        sources: dict[str, Path],
        tmp_path: Path,
        bombo_command: Command,
        change: Any,
        to: str,
        kind: str,
        told: str,
        content: Content,
    ) -> None:
        instances = json.loads((sources["coco"].parent / "coco/train.json").read_text())
        for number, category in enumerate(instances["categories"], start=1):  # as the target would number them
            for item in instances["annotations"]:
                item["category_id"] = number if item["category_id"] == category["id"] else item["category_id"]
            category["id"] = number
        instances["annotations"][0] |= change
        (tmp_path / "a.json").write_text(json.dumps(instances))
        folder = sources["coco"].parent / "coco/images"
        ended = bombo_command("convert", tmp_path / "a.json", tmp_path / "out", to=to, images=folder)
        said = next(line for line in ended.out.splitlines() if told in line)
        assert said.endswith(("     train_00000", "     a.json"))
        assert kind in lines(ended.out)
        crowds = [box for boxes, _ in content(tmp_path / "out").values() for box in boxes or () if box[3]]
        assert not crowds

    def test_the_pixels_of_a_crowd_stay_void(self, sources: dict[str, Path], tmp_path: Path, content: Content) -> None:
        instances = json.loads((sources["coco"].parent / "coco/train.json").read_text())
        instances["annotations"][0]["iscrowd"] = 1
        (tmp_path / "a.json").write_text(json.dumps(instances))
        folder = sources["coco"].parent / "coco/images"
        for to in FORMATS:
            convert(tmp_path / "a.json", tmp_path / to, to=to, images=folder)
            _, mask = content(tmp_path / to)["train_00000"]
            assert sum(row.count("void") for row in mask or ()) > 50, to

    def test_partial_annotation_stays_partial(
        self, world: Path, tmp_path: Path, bombo_command: Command, content: Content
    ) -> None:
        for to in ("voc", "coco", "yolo"):
            ended = bombo_command("convert", world, tmp_path / to, to=to)
            assert "12 images: 4 with boxes only · 4 with masks only · 4 with both" in ended.out
            before, after = content(world), content(tmp_path / to)
            assert after == before
            assert [boxes is None for boxes, _ in after.values()].count(True) == 4
            assert [mask is None for _, mask in after.values()].count(True) == 4

    def test_what_a_folder_cannot_say_is_counted(self, world: Path, tmp_path: Path, content: Content) -> None:
        result = convert(world, tmp_path / "out", to="folder")
        boxes = sum(len(boxes or ()) for boxes, _ in content(world).values())
        assert (result.objects["in"], result.losses.num_dropped, result.objects["out"]) == (boxes, boxes, 0)
        assert result.images == {"boxes": 4, "masks": 4, "both": 4, "out": 8}
        assert len(content(tmp_path / "out/data.yaml")) == 8


class TestSlips:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            pytest.param(["no.yaml", "out", "--to", "voc"], "there is nothing here", id="no source"),
            pytest.param(["{voc}", "out"], "add --to voc, coco, yolo or folder", id="no format"),
            pytest.param(
                ["{voc}", "out.json", "--to", "voc"], "a .json is no voc data set", id="json of another format"
            ),
            pytest.param(["{voc}", "out.json"], "one .json holds one list", id="two lists in one json"),
            pytest.param(
                ["{voc}", "out", "--to", "voc", "--split", "test"], "no sources for `test`", id="no such list"
            ),
            pytest.param(
                ["{voc}", "out", "--to", "voc", "--model", "x"], "add --boxes-from-masks", id="model for nothing"
            ),
            pytest.param(
                ["{voc}", "out", "--to", "voc", "--boxes-from-masks"], "no image has masks only", id="no masks"
            ),
            pytest.param(
                ["{voc}", "out", "--to", "voc", "--masks-from-boxes", "fill"], "no image has boxes only", id="no boxes"
            ),
            pytest.param(
                ["{folder}", "out", "--to", "voc", "--masks-from-boxes", "fil"], "Did you mean `fill`", id="no provider"
            ),
            pytest.param(["{parent}", "out", "--to", "voc"], "several", id="a folder of everything"),
            pytest.param(["{empty}", "out", "--to", "voc"], "holds no data set", id="an empty folder"),
            pytest.param(["{image}", "out", "--to", "voc"], "neither a data file nor a data set", id="an image"),
            pytest.param(["{full}", "{full}", "--to", "voc"], "is not overwritten", id="target exists"),
            pytest.param(["{voc}", ".", "--to", "voc"], "is not overwritten", id="the folder one is in"),
        ],
    )
    def test_slips_are_told_and_nothing_is_written(
        self,
        sources: dict[str, Path],
        tmp_path: Path,
        bombo_command: Command,
        words: list[str],
        message: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        root = sources["voc"].parent
        (tmp_path / "empty").mkdir()
        places = {"{voc}": sources["voc"], "{folder}": sources["folder"], "{parent}": root, "{full}": root / "voc"}
        places |= {"{empty}": tmp_path / "empty", "{image}": root / "voc/JPEGImages/train_00000.jpg"}
        ended = bombo_command("convert", *(places.get(word, word) for word in words))
        assert ended.code == 2
        assert message in ended.err
        assert "fix: " in ended.err
        assert [path.name for path in tmp_path.iterdir()] == ["empty"]

    @pytest.mark.parametrize("taken", ["out.json", "out.yaml", "out.conversion.json"])
    def test_no_file_is_overwritten(self, sources: dict[str, Path], tmp_path: Path, taken: str) -> None:
        (tmp_path / taken).write_text("mine")
        with pytest.raises(ConfigError, match="not overwritten"):
            convert(sources["voc"], tmp_path / "out.json", split="val")
        assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(taken, "mine")]

    def test_an_empty_folder_may_be_filled(self, sources: dict[str, Path], tmp_path: Path, content: Content) -> None:
        (tmp_path / "out").mkdir()
        convert(sources["voc"], tmp_path / "out", to="yolo", split="val")
        assert len(content(tmp_path / "out/bombo.yaml")) == 2

    def test_bad_files(self, tmp_path: Path, bombo_command: Command, content: Content, write_masks: Command) -> None:
        file = write_masks(tmp_path / "in", a=[(5, 5, 15, 25, 1)], b=[(5, 5, 15, 25, 7)])
        ended = bombo_command("convert", file, tmp_path / "out", to="voc")
        assert ended.code == 1
        assert "masks/b.png: value 7 (200 px) is no class" in ended.err
        assert "--skip-bad" in ended.err
        assert [path.name for path in tmp_path.iterdir()] == ["in"]
        ended = bombo_command("convert", file, tmp_path / "out", "--skip-bad", to="voc")
        assert ended.code == 0
        assert lines(ended.out)["skipped"].startswith("1 file that cannot be used")
        report = json.loads((tmp_path / "out/conversion.json").read_text())
        assert list(report["skipped"]) == [str(tmp_path / "in/masks/b.png")]
        assert (report["lossless"], list(content(tmp_path / "out/data.yaml"))) == (False, ["a"])


def test_python_and_the_command_line_say_the_same(
    sources: dict[str, Path], tmp_path: Path, bombo_command: Command
) -> None:
    typed = json.loads(bombo_command("convert", sources["coco"], tmp_path / "a", "--json", to="yolo").out)
    called = bombo.convert(sources["coco"], tmp_path / "b", to="yolo").to_json()
    assert {**typed, "target": "", "data": ""} == {**called, "target": "", "data": ""}


def test_real_coco_polygons_and_run_lengths(shared_data: Path, tmp_path: Path, content: Content) -> None:
    whole = json.loads((shared_data / "coco_mini/instances.json").read_text())
    crowded = {item["image_id"] for item in whole["annotations"] if item["iscrowd"]}
    keep = {image["id"] for image in whole["images"][:8]} | set(sorted(crowded)[:2])
    part = {key: whole[key] for key in ("categories",)}
    part["images"] = [image for image in whole["images"] if image["id"] in keep]
    part["annotations"] = [item for item in whole["annotations"] if item["image_id"] in keep]
    (tmp_path / "part.json").write_text(json.dumps(part))
    images = shared_data / "coco_mini/images"
    convert(tmp_path / "part.json", tmp_path / "coco", to="coco", images=images)
    copied = json.loads((tmp_path / "coco/annotations/instances_train.json").read_text())["annotations"]
    for before, after in zip(part["annotations"], copied, strict=True):
        assert after["bbox"] == pytest.approx(before["bbox"], abs=0.02)
        assert after["area"] == pytest.approx(before["area"], rel=1e-6)
        if not before["iscrowd"]:
            assert after["segmentation"] == before["segmentation"]
    convert(tmp_path / "coco/data.yaml", tmp_path / "yolo", to="yolo")
    before, after = content(tmp_path / "coco/data.yaml"), content(tmp_path / "yolo/bombo.yaml")
    for name, (boxes, mask) in before.items():
        assert after[name][1] == mask
        objects = [(label, box) for label, box, _, crowd in boxes or () if not crowd]
        rows = [(label, box) for label, box, *_ in after[name][0] or ()]
        assert [label for label, _ in rows] == [label for label, _ in objects]
        assert np.abs(np.subtract([box for _, box in rows], [box for _, box in objects])).max() < 1
