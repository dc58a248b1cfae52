from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

import bombo
from bombo.box_for_mask.candidate_sets import candidate_sets
from bombo.data.data_file import DataSet, label_space, load_data_file, read_split
from bombo.data.dataset import load
from bombo.data.label_space import VOID
from bombo.data.scenes import label_space as scene_space
from bombo.data.scenes import make_scene
from bombo.data.writers import write_voc


@pytest.fixture(scope="module")
def made(world: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> bombo.Completion:
    out = tmp_path_factory.mktemp("done") / "completed"
    return bombo.complete(world, trained, out=out, pictures=2, device="cpu")


def read(data: Path, split: Any = "train") -> DataSet:
    file = load_data_file(data)
    return read_split(file, split, label_space(file))


class TestOutput:
    def test_is_read_back_as_fully_annotated(self, made: bombo.Completion, world: Path) -> None:
        before, after = read(world), read(made.path / "data.yaml")
        assert [record.kind for record in after.records] == ["both"] * 8
        assert [record.name for record in after.records] == [record.name for record in before.records]
        assert label_space(load_data_file(made.path / "data.yaml")) == label_space(load_data_file(world))
        assert [record.name for record in read(made.path / "data.yaml", "val").records] == [
            record.name for record in read(world, "val").records
        ]
        assert bombo.check(made.path / "data.yaml").exit_code == 0

    def test_what_a_person_drew_comes_back_unchanged(self, made: bombo.Completion, world: Path) -> None:
        for before, after in zip(read(world).records, read(made.path / "data.yaml").records, strict=True):
            assert after.boxes is not None
            if before.boxes is not None:
                assert np.array_equal(after.boxes.boxes, before.boxes.boxes)
                assert np.array_equal(after.boxes.labels, before.boxes.labels)
            if before.mask is not None:
                own, now = load(before).mask, load(after).mask
                assert own is not None
                assert now is not None
                differs = own != now
                assert (now[differs] == VOID).all()  # splinters that belong to no object
                assert differs.sum() < 32

    def test_masks_stay_in_the_boxes_and_boxes_on_the_masks(self, made: bombo.Completion, world: Path) -> None:
        things = label_space(load_data_file(world)).num_things
        for record in read(made.path / "data.yaml").records:
            sample = load(record)
            assert sample.boxes is not None
            assert sample.labels is not None
            assert sample.mask is not None
            possible = candidate_sets(
                sample.boxes[None], sample.labels[None], things, things + 2, sample.mask.shape, (1, 1)
            )[0].numpy()
            mask = sample.mask.numpy()
            said = mask != VOID
            assert np.take_along_axis(possible, np.where(said, mask, 0)[None], 0)[0][said].all()
            for (x1, y1, x2, y2), label in zip(sample.boxes.int().tolist(), sample.labels.tolist(), strict=True):
                assert (mask[y1:y2, x1:x2] == label + 1).any()

    def test_coco_has_polygons_for_hands_and_run_lengths_that_are_exact(self, made: bombo.Completion) -> None:
        exact = COCO(made.path / "annotations.json")
        by_hand = COCO(made.path / "coco" / "annotations" / "instances_default.json")
        assert len(exact.getImgIds()) == len(by_hand.getImgIds()) == 8
        for item in by_hand.dataset["annotations"]:
            assert isinstance(item["segmentation"], list)
            assert item["category_id"] <= 7
        scores = [item["score"] for item in by_hand.dataset["annotations"] if item["category_id"] <= 6]
        assert all(0 <= score <= 1 for score in scores)
        assert len(scores) == made.objects
        for image in exact.dataset["images"]:
            assert (made.path / "coco" / "images" / image["file_name"]).is_file()
            own = exact.loadAnns(exact.getAnnIds(image["id"]))
            mask = np.asarray(Image.open(made.path / "voc" / "SegmentationClass" / f"{image['file_name'][:-4]}.png"))
            for item in own:
                if item["category_id"] <= 6:
                    assert (mask[exact.annToMask(item) == 1] == item["category_id"]).all()

    def test_the_devkit_is_what_cvat_imports(self, made: bombo.Completion) -> None:
        voc = made.path / "voc"
        names = (voc / "ImageSets" / "Main" / "default.txt").read_text().split()
        assert (voc / "ImageSets" / "Segmentation" / "default.txt").read_text().split() == names
        for folder, suffix in (
            ("JPEGImages", ".jpg"),
            ("Annotations", ".xml"),
            ("SegmentationClass", ".png"),
            ("SegmentationObject", ".png"),
        ):
            assert sorted(path.name for path in (voc / folder).iterdir()) == sorted(name + suffix for name in names)
        # its importer goes by colours: each one in a mask has a name, and no void is taken for an object
        named = {line.split(":")[1] for line in (voc / "labelmap.txt").read_text().splitlines()}
        for name in names:
            colours = Image.open(voc / "SegmentationClass" / f"{name}.png").convert("RGB").getcolors()
            assert {",".join(map(str, colour)) for _, colour in colours or []} <= named
            assert np.asarray(Image.open(voc / "SegmentationObject" / f"{name}.png")).max() < VOID

    def test_the_review_is_sorted_and_the_worst_are_drawn(self, made: bombo.Completion) -> None:
        rows = list(csv.DictReader((made.path / "review.csv").open()))
        assert [int(row["rank"]) for row in rows] == list(range(1, 9))
        doubts = [float(row["doubt"]) for row in rows]
        assert doubts == sorted(doubts, reverse=True)
        assert {row["completed"] for row in rows} == {"mask", "boxes"}
        drawn = sorted(path.name for path in (made.path / "review").iterdir())
        assert drawn == [f"{rank:04d}-{row['image']}.jpg" for rank, row in enumerate(rows[:2], start=1)]
        page = (made.path / "review.html").read_text()
        assert all(f'src="review/{name}"' in page for name in drawn)
        assert page.index(f"<td>{rows[0]['image']}</td>") < page.index(f"<td>{rows[7]['image']}</td>")
        assert "http" not in page


class TestCommand:
    def test_says_what_was_done_and_what_to_type_next(
        self, world: Path, trained: Path, tmp_path: Path, bombo_command: Callable[..., Any]
    ) -> None:
        out = tmp_path / "out"
        ended = bombo_command("complete", world, "--model", trained, "--out", out, "--pictures", 0, device="cpu")
        assert ended.code == 0
        assert "4 images with boxes got a mask · 4 images with a mask got boxes" in ended.out
        assert f"review    {out}/review.html" in ended.out
        assert f"bombo check {out}/data.yaml" in ended.out
        assert not (out / "review").exists()

    def test_json_alone_on_stdout(
        self, world: Path, trained: Path, tmp_path: Path, bombo_command: Callable[..., Any]
    ) -> None:
        out = tmp_path / "out"
        ended = bombo_command(
            "complete", world, "--model", trained, "--out", out, "--split", "val", "--json", device="cpu"
        )
        result = json.loads(ended.out)
        assert ended.code == 0
        assert result["images"] == {"mask": 0, "boxes": 0, "both": 0, "nothing": 4}
        assert result["review"] == []
        content = load_data_file(out / "data.yaml")
        assert ([source.format for source in content.train], [source.format for source in content.val]) == (
            ["voc", "voc"],
            ["coco"],
        )
        assert (out / "review.csv").read_text().startswith("rank,image,completed,doubt,why,")

    def test_existing_files_are_not_overwritten(
        self, world: Path, trained: Path, tmp_path: Path, bombo_command: Callable[..., Any]
    ) -> None:
        (tmp_path / "mine.txt").write_text("dear to me")
        ended = bombo_command("complete", world, "--model", trained, "--out", tmp_path, device="cpu")
        assert ended.code == 2
        assert f"{tmp_path}: exists already and is not overwritten" in ended.err
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]

    def test_a_network_of_other_classes_is_refused(
        self, trained: Path, tmp_path: Path, devkit: Callable[..., Path], bombo_command: Callable[..., Any]
    ) -> None:
        data = devkit("classes: [crab]", train=[("train_boxes", "boxes")])
        ended = bombo_command("complete", data, "--model", trained, "--out", tmp_path / "out", device="cpu")
        assert ended.code == 2
        assert "the data file has crab" in ended.err

    def test_damaged_files_end_it_without_a_trace_or_are_left_out_and_listed(
        self, trained: Path, tmp_path: Path, bombo_command: Callable[..., Any]
    ) -> None:
        write_voc({"train": [make_scene(seed, 64) for seed in range(3)]}, tmp_path / "devkit")
        data, out = tmp_path / "mine.yaml", tmp_path / "out"
        data.write_text("stuff: [water]\ntrain: [{format: voc, root: devkit, list: train, use: boxes}]\n")
        bad = tmp_path / "devkit" / "JPEGImages" / "train_00001.jpg"
        bad.write_bytes(bad.read_bytes()[:200])
        words = "complete", data, "--model", trained, "--out", out, "--device", "cpu"
        ended = bombo_command(*words)
        assert ended.code == 1
        assert "train_00001.jpg: cannot be read as an image" in ended.err
        assert "--skip-bad" in ended.err
        assert sorted(path.name for path in tmp_path.iterdir()) == ["devkit", "mine.yaml"]  # nothing half done
        ended = bombo_command(*words, "--skip-bad")
        assert ended.code == 0
        assert "skipped   1 image, see" in ended.out
        (skipped,) = json.loads((out / "skipped.json").read_text())
        assert skipped["file"].endswith("train_00001.jpg")
        assert [record.name for record in read(out / "data.yaml").records] == ["train_00000", "train_00002"]

    def test_images_in_folders_of_their_own_lie_side_by_side_afterwards(self, trained: Path, tmp_path: Path) -> None:
        devkit, data = tmp_path / "devkit", tmp_path / "mine.yaml"
        write_voc({"a": [make_scene(0, 64), make_scene(1, 64)]}, devkit)
        for folder in ("JPEGImages", "Annotations"):
            (devkit / folder / "a").mkdir()
            for file in devkit.glob(f"{folder}/a_00001.*"):
                file.rename(devkit / folder / "a" / f"1{file.suffix}")
            for file in devkit.glob(f"{folder}/a_00000.*"):
                file.rename(devkit / folder / f"a-1{file.suffix}")
        (devkit / "ImageSets" / "Main" / "a.txt").write_text("a/1\na-1\n")
        data.write_text("stuff: [water]\ntrain: [{format: voc, root: devkit, list: a, use: boxes}]\n")
        done = bombo.complete(data, trained, out=tmp_path / "out", device="cpu")
        assert [record.name for record in read(done.path / "data.yaml").records] == ["a-1", "train-a-1"]
        assert len([*(done.path / "review").iterdir()]) == 2

    def test_an_image_that_lacks_its_mask_is_completed_whatever_its_source_says(
        self, trained: Path, tmp_path: Path, bombo_command: Callable[..., Any]
    ) -> None:
        write_voc({"train": [make_scene(seed, 64) for seed in range(3)]}, tmp_path / "devkit")
        (tmp_path / "devkit" / "SegmentationClass" / "train_00001.png").unlink()
        data, out = tmp_path / "mine.yaml", tmp_path / "out"
        data.write_text("stuff: [water]\ntrain: [{format: voc, root: devkit, list: train, use: both}]\n")
        ended = bombo_command("complete", data, "--model", trained, "--out", out, "--device", "cpu")
        assert ended.code == 0
        assert "1 image with boxes got a mask · 2 images with both passed on" in ended.out
        for record, scene in zip(read(out / "data.yaml").records, map(make_scene, range(3), [64] * 3), strict=True):
            assert record.boxes is not None
            assert np.array_equal(record.boxes.boxes, scene.boxes)
            if record.name != "train_00001":
                assert np.array_equal(load(record).mask, scene.mask)

    def test_what_a_person_drew_stays_and_what_cannot_stay_is_counted(
        self, trained: Path, tmp_path: Path, bombo_command: Callable[..., Any]
    ) -> None:
        scene, devkit, names = make_scene(0, 64), tmp_path / "devkit", scene_space().things
        write_voc({"train": [scene]}, devkit)
        mask = np.where(scene.mask == scene.labels[0] + 1, 0, scene.mask).astype(np.uint8)  # a box without a pixel
        mask[:4, :5] = next(label for label in range(len(names)) if label not in scene.labels) + 1
        Image.fromarray(mask).save(devkit / "SegmentationClass" / "train_00000.png")
        shutil.rmtree(devkit / "SegmentationObject", ignore_errors=True)
        triangle = [[5.0, 5.0, 25.0, 5.0, 5.0, 25.0]]
        common = {"image_id": 1, "category_id": 1, "iscrowd": 0}
        content = {
            "images": [{"id": 1, "file_name": "one.png", "width": 64, "height": 64}],
            "annotations": [
                {"id": 1, "bbox": [5, 5, 20, 20], "area": 123.0, "segmentation": triangle, **common},
                {"id": 2, "bbox": [30, 30, 20, 20], "area": 400.0, "segmentation": [], **common},
            ],
            "categories": [{"id": number, "name": name} for number, name in enumerate((*names, "water"), start=1)],
        }
        (tmp_path / "one.json").write_text(json.dumps(content))
        Image.fromarray(scene.image).save(tmp_path / "one.png")
        data, out = tmp_path / "mine.yaml", tmp_path / "out"
        data.write_text(
            "stuff: [water]\ntrain:\n- {format: voc, root: devkit, list: train, use: both}\n"
            "- {format: coco, root: ., annotations: one.json, images: ., use: both}\n"
        )
        ended = bombo_command("complete", data, "--model", trained, "--out", out, "--pictures", 0, device="cpu")
        assert ended.code == 0
        assert "1 image with boxes got a mask · 1 image with both passed on" in ended.out
        assert re.search(r"changed +20 pixels of a class outside all boxes of it, now void +train_00000\n", ended.out)
        as_it_was, completed = (load(record).mask for record in read(out / "data.yaml").records)
        mask[:4, :5] = VOID
        assert np.array_equal(as_it_was, mask)
        assert completed is not None
        assert completed[10, 10] == 1
        for file in ("annotations.json", "coco/annotations/instances_default.json"):
            said = json.loads((out / file).read_text())["annotations"]
            (cat,) = (item for item in said if item["bbox"] == [5, 5, 20, 20])
            assert (cat["segmentation"], cat["area"], cat.get("score")) == (triangle, 123, None)
