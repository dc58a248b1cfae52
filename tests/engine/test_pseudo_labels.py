"""Pseudo-labels followed while training: scored against what is known, drawn, and never in the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

import bombo
from bombo.box_for_mask.shapes import Fill
from bombo.data.data_file import DataSet
from bombo.data.label_space import VOID, LabelSpace
from bombo.data.sample import BoxAnnotation, Record
from bombo.engine.deriving import Deriver
from bombo.engine.model import Model
from bombo.engine.pseudo_label_pictures import draw_pseudo_labels, shown_images, thinned
from bombo.engine.pseudo_labels import Half, Judged, Labeller, judged_images, score, spread
from bombo.losses.method import METHODS
from bombo.models.anchors import make_anchors
from bombo.models.network import Predictions

SPACE = LabelSpace(("cat", "dog"))
DERIVE = Deriver(SPACE, Fill(), boxes=True, void="joins")
BOX = (8.0, 4.0, 24.0, 28.0)
EARLY, LATE = 0.0, 1.0


def left_half() -> np.ndarray:
    """A dog that fills the left half of its box."""
    mask = np.zeros((32, 32), np.uint8)
    mask[4:28, 8:16] = 2
    return mask


@dataclass(frozen=True)
class Sure(Model):
    """Sees a dog where the left half of the box is, and detects nothing."""

    def forward(self, inputs: Tensor) -> Predictions:
        anchors = make_anchors([(4, 4), (2, 2), (1, 1), (1, 1)])
        images = len(inputs)
        logits = torch.zeros(images, 3, 8, 8)
        logits[:, 0] = 20.0
        logits[:, 2, 1:7, 2:4] = 40.0
        count = len(anchors)
        return Predictions(torch.full((images, count, 2), -10.0), torch.zeros(images, count, 4), anchors, logits)


@dataclass(frozen=True)
class Drawn:
    """A mask held in memory."""

    mask: np.ndarray

    def load(self, size: tuple[int, int]) -> np.ndarray:
        assert self.mask.shape == size
        return self.mask


TEACHER = Sure(SPACE, (32, 32), "squash")
Maker = Callable[..., Record]


@pytest.fixture
def record(tmp_path: Path) -> Maker:
    def make(boxes: BoxAnnotation | None, mask: np.ndarray | None, name: str = "dog") -> Record:
        file = tmp_path / f"{name}.png"
        Image.new("RGB", (32, 32)).save(file)
        return Record(file, boxes, None if mask is None else Drawn(mask), name)

    return make


def judged(*records: Record) -> list[Judged]:
    return judged_images(DataSet(list(records), []), DERIVE, TEACHER)


class TestScores:
    def test_of_a_mask_that_is_known(self, record: Maker) -> None:
        images = judged(record(BoxAnnotation.build([BOX], [1]), left_half()))
        figures = score(images, Labeller(METHODS["bombo"], TEACHER), EARLY)["masks"]
        # filled, the box holds 384 pixels of which 192 are dog; of 832 background pixels 640 are called so
        alone = {"mIoU": round((640 / 832 + 192 / 384) / 2, 6), "coverage": 1.0}
        assert figures == {"images": 1, **alone, **{f"provider_{name}": value for name, value in alone.items()}}

    def test_rise_where_the_teacher_is_right(self, record: Maker) -> None:
        images = judged(record(BoxAnnotation.build([BOX], [1]), left_half()))
        late = score(images, Labeller(METHODS["bombo"], TEACHER), LATE)["masks"]
        assert late["mIoU"] > 0.9 > late["provider_mIoU"]
        unjudged = score(images, Labeller(METHODS["faithful"], TEACHER), LATE)["masks"]
        assert unjudged["mIoU"] == unjudged["provider_mIoU"] == late["provider_mIoU"]

    def test_leave_out_what_is_void_and_count_what_is_silent(self, record: Maker) -> None:
        mask = left_half()
        mask[:, 28:] = VOID
        crowd = BoxAnnotation.build([BOX, (24, 0, 28, 32)], [1, 1], crowd=[False, True])
        figures = score(judged(record(crowd, mask)), Labeller(METHODS["bombo"], TEACHER), LATE)["masks"]
        assert figures["coverage"] == figures["provider_coverage"] == round(1 - 4 / 28, 6)

    def test_of_boxes_excuse_the_difficult_and_crowds(self, record: Maker) -> None:
        mask = left_half()
        mask[4:12, 20:28] = 1  # a difficult cat
        mask[20:28, 20:30] = 1  # a crowd of cats
        mask[24:32, 0:6] = 2  # no dog
        boxes = BoxAnnotation.build(
            [(8, 4, 16, 28), (26, 14, 31, 18), (20, 4, 28, 12), (18, 18, 32, 32)],
            [1, 1, 0, 0],
            difficult=[False, False, True, False],
            crowd=[False, False, False, True],
        )
        figures = score(judged(record(boxes, mask)), Labeller(METHODS["faithful"], TEACHER), EARLY)["boxes"]
        half = {"recall50": 0.5, "precision50": 0.5}  # one dog of two; the cats count neither way
        assert figures == {"images": 1, **half, **{f"components_{name}": value for name, value in half.items()}}

    def test_are_null_where_there_is_nothing(self, record: Maker) -> None:
        empty = np.zeros((32, 32), np.uint8)
        figures = score(judged(record(BoxAnnotation.build([], []), empty)), Labeller(METHODS["m4b"], TEACHER), LATE)
        assert figures["boxes"]["recall50"] is None
        assert figures["masks"]["mIoU"] == 1.0

    def test_only_full_images_judge(self, record: Maker) -> None:
        boxes = BoxAnnotation.build([BOX], [1])
        records = [record(boxes, None, "a"), record(None, left_half(), "b"), record(boxes, left_half(), "c")]
        assert len(judged(*records)) == 1
        assert score([], Labeller(METHODS["bombo"], TEACHER), LATE) == {}

    def test_what_cannot_be_read_is_left_to_the_evaluation(self, record: Maker) -> None:
        good, bad = (record(BoxAnnotation.build([BOX], [1]), left_half(), name) for name in ("good", "bad"))
        bad.image.write_bytes(b"no image")
        assert len(judged(good, bad)) == 1

    def test_an_image_on_which_a_class_was_not_looked_for_judges_nothing(self, record: Maker) -> None:
        some = replace(record(BoxAnnotation.build([BOX], [1]), left_half(), "some"), labelled=(False, True))
        assert judged(some) == []


def test_nothing_is_learned_in_a_crowd_however_sure_the_teacher(record: Maker) -> None:
    crowd = BoxAnnotation.build([BOX], [1], crowd=[True])
    half = Half.of(record(crowd, None), DERIVE, TEACHER)
    labeller = Labeller(METHODS["bombo"], TEACHER)
    mask = labeller.mask(half, LATE, *labeller.opinions([half], LATE))
    assert (mask[4:28, 8:24] == VOID).all()
    assert (mask[:4] == 0).all()


@given(st.lists(st.integers(), max_size=80), st.integers(1, 40))
def test_a_choice_is_spread_over_the_list(items: list[int], most: int) -> None:
    places = spread(range(len(items)), most)
    assert len(places) == min(most, len(items))
    gaps = np.diff([*places, len(items)])
    assert not len(places) or (places[0] == 0 and gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)


@given(st.integers(1, 200), st.integers(2, 8))
def test_of_steps_that_come_one_by_one_an_even_few_are_kept(number: int, most: int) -> None:
    kept: list[int] = []
    for step in range(1, number + 1):
        kept = thinned([*kept, step], most)
    assert len(kept) == min(number, most)
    assert (kept[0], kept[-1]) == (1, number)
    assert number < 4 * most or np.diff(kept).max() <= 4 * number / most


def test_pictures_of_later_steps_go_when_a_run_goes_on_from_before(tmp_path: Path, record: Maker) -> None:
    records = [record(BoxAnnotation.build([BOX], [1]), None, "a"), record(None, left_half(), "b")]
    images, labeller = shown_images(records, DERIVE, TEACHER), Labeller(METHODS["bombo"], TEACHER)
    for step in range(1, 13):
        draw_pseudo_labels(tmp_path, images, labeller, 10 * step, step / 12)
    folder = tmp_path / "pseudo_labels"
    steps = sorted(int(s) for f in folder.glob("2-*.jpg") if (s := f.stem[2:]).isdigit())
    assert (len(steps), steps[0], steps[-1]) == (8, 10, 120)
    draw_pseudo_labels(tmp_path, images, labeller, 20, 1 / 6)
    assert {f.name for f in folder.glob("1-*")} <= {"1-given.jpg", "1-10.jpg", "1-20.jpg"}
    index = json.loads((folder / "index.json").read_text())
    assert index == [{"name": "a", "carries": "boxes"}, {"name": "b", "carries": "mask"}]


@pytest.fixture
def quick(small: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    return small | {"steps": 4, "cache": tmp_path / "cache", "mask_provider": "ellipse", "lr": 5e-3, "warmup": 0.0}


def entries(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_run_tells_how_right_they_were_and_learns_the_same(
    quick: dict[str, Any],
    tmp_path: Path,
    same: Callable[[Any, Any], bool],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = bombo.train(out=tmp_path / "with", **quick).path
    assert "judges    4 validation images with both annotations" in capsys.readouterr().out
    told = [line for line in entries(run) if "val" in line]
    assert [line["step"] for line in told] == [2, 4]
    for line in told:
        masks, boxes = line["pseudo_labels"]["masks"], line["pseudo_labels"]["boxes"]
        assert masks["images"] == boxes["images"] == 4
        assert 0 < masks["mIoU"] <= 1
        assert 0 < boxes["components_recall50"] <= 1
    assert len(list((run / "pseudo_labels").glob("*-4.jpg"))) == 4
    page = (run / "report.html").read_text()
    assert "How right the pseudo-labels were" in page
    assert "Measured on 4 validation images that carry both annotations" in page
    assert page.count('class="wide strip"') == 4

    monkeypatch.setattr("bombo.engine.train.follow", lambda *_, **__: None)
    without = bombo.train(out=tmp_path / "without", **quick).path
    assert not (without / "pseudo_labels").exists()
    weights = [safetensors.torch.load_file(folder / "last.safetensors") for folder in (run, without)]
    assert same(*weights)
    states = [torch.load(folder / "state.pt", weights_only=True) for folder in (run, without)]
    assert torch.equal(states[0]["rng"], states[1]["rng"])


def test_one_without_images_that_carry_both_says_so(
    quick: dict[str, Any], devkit: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = devkit(train=[("train_boxes", "boxes"), ("train_masks", "masks")], val=[("val", "boxes")])
    run = bombo.train(out=tmp_path / "run", **quick | {"data": data, "steps": 2}).path
    assert "no validation image carries both annotations" in capsys.readouterr().out
    assert not any("pseudo_labels" in line for line in entries(run))
    page = (run / "report.html").read_text()
    assert "is not known: that takes validation images with both annotations" in page
    assert "What the pseudo-labels looked like" in page


def test_without_weak_losses_there_is_nothing_to_say(
    quick: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = bombo.train(out=tmp_path / "run", **quick | {"method": "skip", "steps": 1}).path
    assert "pseudo-labels" not in capsys.readouterr().out
    assert not any("pseudo_labels" in line for line in entries(run))
    assert not (run / "pseudo_labels").exists()
