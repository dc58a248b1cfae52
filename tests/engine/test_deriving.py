"""Weak targets from settings, and runs that learn from them."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor

import bombo
from bombo.box_for_mask.shapes import Fill
from bombo.data.data_file import label_space, load_data_file, read_split
from bombo.data.dataset import load
from bombo.data.derived import Derived
from bombo.data.label_space import ANY_CLASS, VOID, LabelSpace
from bombo.data.sample import BoxAnnotation, Record, Sample
from bombo.engine.deriving import Deriver, chosen_method, make_derive, usual_rates
from bombo.engine.progress import TrainingProgress
from bombo.engine.settings import TrainSettings
from bombo.errors import DataError
from bombo.losses.method import METHODS, WeakWeights
from bombo.mask_for_box.components import VoidPolicy, components

Same = Callable[[Any, Any], bool]

SPACE = LabelSpace(("cat", "dog"))
BOX = (8.0, 4.0, 24.0, 28.0)
ZERO = dict.fromkeys(WeakWeights().by_name(), 0.0)


class Drawn:
    """A mask held in memory."""

    def __init__(self, mask: np.ndarray) -> None:
        self.mask = mask

    def load(self, size: tuple[int, int]) -> np.ndarray:
        assert self.mask.shape == size
        return self.mask


def one(kind: str, mask: np.ndarray | None = None) -> tuple[Record, Sample]:
    """A dog in a box, or in a mask, of 32 x 32 pixels."""
    if mask is None:
        mask = np.zeros((32, 32), np.uint8)
        mask[4:28, 8:24] = 2
    boxes = BoxAnnotation.build([BOX], [1]) if kind in ("boxes", "both") else None
    record = Record(Path("dog.png"), boxes, Drawn(mask) if kind in ("masks", "both") else None, "dog")
    has_boxes = boxes is not None
    sample = Sample(
        torch.zeros(3, 32, 32, dtype=torch.uint8),
        torch.tensor([BOX]) if has_boxes else None,
        torch.tensor([1]) if has_boxes else None,
        torch.tensor([True]) if has_boxes else None,
        torch.from_numpy(mask) if record.mask is not None else None,
    )
    return record, sample


def test_no_weak_loss_speaks_of_a_crowd() -> None:
    record, sample = one("boxes")
    crowd = BoxAnnotation.build([BOX, (16.0, 16.0, 32.0, 32.0)], [1, 1], crowd=[False, True])
    derived = Deriver(SPACE, Fill(), True, "joins")(replace(record, boxes=crowd), sample)
    expected = torch.ones(32, 32, dtype=torch.bool)
    expected[16:, 16:] = False
    assert torch.equal(derived.visible, expected)
    assert bool(Deriver(SPACE, Fill(), True, "joins")(record, sample).visible.all())


def test_in_a_box_of_unknown_class_only_smaller_boxes_are_heard() -> None:
    record, sample = one("boxes")
    boxes = BoxAnnotation.build([BOX, (0.0, 0.0, 32.0, 32.0)], [1, ANY_CLASS])
    derived = Deriver(SPACE, Fill(), True, "joins")(replace(record, boxes=boxes), sample)
    expected = torch.zeros(32, 32, dtype=torch.bool)
    expected[4:28, 8:24] = True
    assert torch.equal(derived.visible, expected)


def is_nothing(derived: Derived) -> bool:
    return bool((derived.masks == VOID).all()) and not derived.weights.any() and not len(derived.boxes)


class TestDeriver:
    def test_boxes_get_a_mask(self) -> None:
        derived = Deriver(SPACE, Fill(), boxes=True, void="joins")(*one("boxes"))
        expected = torch.zeros(32, 32, dtype=torch.uint8)
        expected[4:28, 8:24] = 2
        assert torch.equal(derived.masks, expected)
        assert derived.weights.dtype == torch.float32
        assert ((derived.weights > 0) & (derived.weights <= 1)).all()
        assert not len(derived.boxes)

    def test_a_mask_gets_boxes(self) -> None:
        derived = Deriver(SPACE, Fill(), boxes=True, void="joins")(*one("masks"))
        assert derived.boxes.tolist() == [list(BOX)]
        assert derived.boxes.dtype == torch.float32
        assert derived.labels.tolist() == [1]
        assert not derived.weights.any()

    @pytest.mark.parametrize("kind", ["both", "none"])
    def test_what_carries_both_or_nothing_gets_nothing(self, kind: str) -> None:
        assert is_nothing(Deriver(SPACE, Fill(), boxes=True, void="joins")(*one(kind)))

    @pytest.mark.parametrize("kind", ["boxes", "masks"])
    def test_nor_does_what_nobody_asks_for(self, kind: str) -> None:
        assert is_nothing(Deriver(SPACE, None, boxes=False, void="joins")(*one(kind)))

    @pytest.mark.parametrize(
        ("void", "boxes"), [("joins", [[4, 4, 28, 12]]), ("separates", [[4, 4, 16, 12], [16, 4, 28, 12]])]
    )
    def test_void_joins_or_separates(self, void: VoidPolicy, boxes: list[list[int]]) -> None:
        mask = np.zeros((32, 32), np.uint8)
        mask[4:12, 4:28] = 1
        mask[4:12, 15:17] = VOID
        derived = Deriver(SPACE, None, boxes=True, void=void)(*one("masks", mask))
        assert sorted(derived.boxes.tolist()) == boxes

    def test_a_folder_of_masks(self, tmp_path: Path) -> None:
        given = np.zeros((32, 32), np.uint8)
        given[10:20, 10:20] = 2
        Image.fromarray(given).save(tmp_path / "dog.png")
        derived = Deriver(SPACE, tmp_path, boxes=False, void="joins")(*one("boxes"))
        assert torch.equal(derived.masks, torch.from_numpy(given))
        assert derived.weights.all()


@pytest.fixture
def given(world: Path, tmp_path: Path) -> Callable[..., TrainSettings]:
    def resolve(**settings: Any) -> TrainSettings:
        return TrainSettings.resolve({"data": world, "cache": tmp_path / "cache", "mask_provider": "fill"} | settings)

    return resolve


@pytest.fixture
def records(world: Path) -> list[Record]:
    file = load_data_file(world)
    return read_split(file, "train", label_space(file), skip_bad=False).records


@pytest.fixture
def space(world: Path) -> LabelSpace:
    return label_space(load_data_file(world))


ASKED: dict[str, tuple[dict[str, Any], bool, bool, bool]] = {  # settings: anything, masks, boxes asked for
    "skip": ({"method": "skip"}, False, False, False),
    "bombo": ({"method": "bombo"}, True, True, True),
    "b4m": ({"method": "b4m"}, True, True, False),
    "m4b": ({"method": "m4b"}, True, False, True),
    "ssl needs the image alone": ({"method": "ssl"}, True, False, False),
    "candidate sets need no mask": ({"method": "skip", "losses": {"b4m_set": 1}}, True, False, False),
    "no weights": ({"method": "bombo", "losses": ZERO}, False, False, False),
    "detect only": ({"method": "bombo", "segmentation_weight": 0}, True, False, True),
    "segment only": ({"method": "bombo", "detection_weight": 0}, True, True, False),
}


@pytest.mark.parametrize(("settings", "anything", "masks", "boxes"), ASKED.values(), ids=ASKED)
def test_only_what_is_asked_for_is_derived(
    settings: dict[str, Any],
    anything: bool,
    masks: bool,
    boxes: bool,
    given: Callable[..., TrainSettings],
    records: list[Record],
    space: LabelSpace,
    tmp_path: Path,
) -> None:
    resolved = given(**settings)
    derive = make_derive(resolved, records, space, Console(quiet=True))
    assert (derive is not None) == anything
    assert len(list(tmp_path.glob("cache/*.png"))) == (4 if masks else 0)
    if derive is None:
        return
    for record in records:
        derived = derive(record, load(record))
        assert derived.weights.any() == (masks and record.kind == "boxes")
        expected = components(record.mask.load(derived.masks.shape), space.num_things) if record.mask else None  # type: ignore[arg-type]
        assert len(derived.boxes) == (len(expected.boxes) if boxes and expected and record.kind == "masks" else 0)


def test_the_method_is_that_of_the_heads_trained(given: Callable[..., TrainSettings]) -> None:
    assert chosen_method(given(method="bombo")) == METHODS["bombo"]
    weights = chosen_method(given(method="bombo", segmentation_weight=0)).weights
    assert weights == replace(METHODS["bombo"].weights, b4m_label=0.0, b4m_dice=0.0)


def test_a_folder_without_a_mask_is_an_error(
    given: Callable[..., TrainSettings], records: list[Record], space: LabelSpace, tmp_path: Path
) -> None:
    boxed = [record for record in records if record.kind == "boxes"]
    folder = tmp_path / "masks"
    folder.mkdir()
    settings = given(method="b4m", mask_provider=folder)

    def write(record: Record) -> None:
        image = load(record).image
        Image.fromarray(np.zeros(tuple(image.shape[1:]), np.uint8)).save(folder / f"{record.image.stem}.png")

    write(boxed[0])
    with pytest.raises(DataError, match="3 of 4 images with boxes have no mask there") as caught:
        make_derive(settings, records, space, Console(quiet=True))
    assert caught.value.where == str(folder / f"{boxed[1].image.stem}.png")
    for record in boxed[1:]:
        write(record)
    assert make_derive(settings, records, space, Console(quiet=True)) is not None


def test_usual_rates_are_those_of_the_masks(records: list[Record], space: LabelSpace) -> None:
    low, high = usual_rates(records, space)
    assert low.shape == high.shape == (space.num_things,)
    assert ((low > 0) & (low <= high) & (high <= 1)).all()


def test_usual_rates_of_what_can_be_read(records: list[Record], space: LabelSpace, tmp_path: Path) -> None:
    gone = replace(next(record for record in records if record.mask is not None), image=tmp_path / "gone.jpg")
    sound = [record for record in records if record.mask is not None]
    for one, other in zip(usual_rates([gone, *sound], space), usual_rates(sound, space), strict=True):
        assert torch.equal(one, other)


@pytest.fixture
def train(small: dict[str, Any], tmp_path: Path) -> Callable[..., Path]:
    """Trains four steps (two epochs) under a name; gives the run's folder."""

    def run(name: str, **settings: Any) -> Path:
        common = small | {"steps": 4, "eval_every": 0, "cache": tmp_path / "cache", "mask_provider": "ellipse"}
        return bombo.train(out=tmp_path / name, **(common | settings)).path

    return run


def last(folder: Path) -> dict[str, Tensor]:
    return safetensors.torch.load_file(folder / "last.safetensors")


def losses(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    names = {"det_cls", "det_box", "seg_ce", "seg_dice", *ZERO}
    return [{name: value for name, value in line.items() if name in names} for line in lines if "lr" in line]


@pytest.mark.parametrize("method", ["bombo", "ssl", "faithful"])
def test_without_weight_every_method_is_skip_bit_for_bit(method: str, train: Callable[..., Path], same: Same) -> None:
    skip, zero = last(train("skip", method="skip")), last(train("zero", method=method, losses=ZERO))
    assert same(skip, zero)


def test_with_weight_it_is_not(train: Callable[..., Path], same: Same) -> None:
    assert not same(last(train("skip", method="skip")), last(train("bombo", method="bombo")))


WEAK = {
    "bombo": {"b4m_label", "b4m_dice", "m4b_cls", "m4b_box"},
    "ssl": {"ssl_mask", "ssl_cls", "ssl_box"},
    "faithful": {"b4m_label", "m4b_cls", "m4b_box"},
    "skip": set(),
}


@pytest.mark.parametrize("method", WEAK)
def test_every_method_trains(method: str, train: Callable[..., Path]) -> None:
    after = losses(train("run", method=method))  # the teacher is asked from the second step on
    assert len(after) == 2
    assert after[-1].keys() == {"det_cls", "det_box", "seg_ce", "seg_dice"} | WEAK[method]
    assert all(math.isfinite(value) for line in after for value in line.values())


def test_every_weak_loss_trains(train: Callable[..., Path]) -> None:
    after = losses(train("run", method="bombo", losses=dict.fromkeys(ZERO, 0.1)))
    assert after[-1].keys() == {"det_cls", "det_box", "seg_ce", "seg_dice", *ZERO}
    assert all(math.isfinite(value) for value in after[-1].values())


def test_the_teacher_is_asked_from_its_start_on(train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    opinion = bombo.engine.loop._opinion

    def note(training: Any, batch: Any) -> Any:
        found = opinion(training, batch)
        asked.extend([training.progress] if found is not None else [])
        return found

    monkeypatch.setattr("bombo.engine.loop._opinion", note)
    train("run", method="bombo")
    assert asked == [0.25, 0.5, 0.75]


@pytest.mark.parametrize("after", [2, 3], ids=["between epochs", "within an epoch"])
def test_resumed_equals_straight_through(
    after: int, train: Callable[..., Path], same: Same, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = train("straight", method="bombo")
    show = TrainingProgress.show

    def show_and_signal(self: TrainingProgress, step: int, *rest: Any) -> None:
        show(self, step, *rest)
        if step == after:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(TrainingProgress, "show", show_and_signal)
    halves = train("halves", method="bombo")
    assert torch.load(halves / "state.pt", weights_only=True)["step"] == after
    assert bombo.train(resume=halves).stopped == "finished"
    assert same(last(straight), last(halves))
    assert losses(straight)[-1] == losses(halves)[-1]


def test_images_with_both_annotations_need_nothing(small: dict[str, Any], world: Path, tmp_path: Path) -> None:
    full = tmp_path / "full.yaml"
    full.write_text(
        f"stuff: [water]\ntrain: [{{format: voc, root: {world.parent / 'devkit'}, list: val, use: both}}]\n"
    )
    run = bombo.train(**small | {"data": full, "steps": 1, "out": tmp_path / "run"})
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert not [name for name in lines[0] if name.startswith(("b4m", "m4b"))]
