from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bombo.data.augment import Augment
from bombo.data.batch import collate
from bombo.data.dataset import TrainingBatches, seen_through
from bombo.data.derived import Derived, stack
from bombo.data.label_space import VOID
from bombo.data.sample import Record, Sample
from bombo.data.sampler import Draw
from bombo.data.view import View

HEIGHT, WIDTH = 4, 6
IMAGE = torch.arange(3 * HEIGHT * WIDTH, dtype=torch.uint8).view(3, HEIGHT, WIDTH)
MASKS = torch.tensor([[0, 0, 0, 0, 0, 0], [0, 1, 1, 0, 2, 2], [0, 1, 1, 0, 2, 2], [0, 0, 0, 0, 255, 0]]).byte()
WEIGHTS = torch.tensor([[1.0] * 6, [1, 0.5, 0.5, 1, 0.25, 0.75], [1, 0.5, 0.5, 1, 0.25, 0.75], [1, 1, 1, 1, 0, 1]])
DERIVED = Derived(
    plain=IMAGE,
    masks=MASKS,
    weights=WEIGHTS,
    visible=torch.ones(HEIGHT, WIDTH, dtype=torch.bool),
    boxes=torch.tensor([[1.0, 1, 3, 3], [4, 1, 6, 3]]),
    labels=torch.tensor([0, 1]),
    is_target=torch.tensor([True, True]),
)


def through(view: View) -> Derived:
    return DERIVED.seen_through(view, view.image(IMAGE))


def test_the_whole_image_changes_nothing() -> None:
    seen = through(View.whole((HEIGHT, WIDTH), (HEIGHT, WIDTH), "squash"))
    for name, tensor in seen.tensors().items():
        assert torch.equal(tensor, DERIVED.tensors()[name]), name
        assert tensor.dtype == DERIVED.tensors()[name].dtype, name


def test_flipped() -> None:
    seen = through(View((0, 0, WIDTH, HEIGHT), (0, 0, WIDTH, HEIGHT), (HEIGHT, WIDTH), flip=True))
    assert torch.equal(seen.plain, IMAGE.flip(-1))
    assert torch.equal(seen.masks, MASKS.flip(-1))
    assert torch.equal(seen.weights, WEIGHTS.flip(-1))
    assert seen.visible.all()
    assert seen.boxes.tolist() == [[3, 1, 5, 3], [0, 1, 2, 3]]
    assert seen.labels.tolist() == [0, 1]


def test_cropped_and_enlarged() -> None:
    # columns 2 to 5 and all rows, twice as large: one column of the first thing, one of the second
    seen = through(View((2, 0, 3, HEIGHT), (0, 0, 6, 8), (8, 6)))

    def twice(tensor: torch.Tensor) -> torch.Tensor:
        return tensor[:, 2:5].repeat_interleave(2, 0).repeat_interleave(2, 1)

    assert torch.equal(seen.masks, twice(MASKS))
    assert torch.equal(seen.weights, twice(WEIGHTS))
    assert seen.visible.all()
    assert seen.visible.dtype == torch.bool
    assert seen.boxes.tolist() == [[0, 2, 2, 6], [4, 2, 6, 6]]


@pytest.mark.parametrize("flip", [False, True])
def test_padding_is_not_visible(flip: bool) -> None:
    view = replace(View.whole((HEIGHT, WIDTH), (12, 12), "letterbox"), flip=flip)
    seen = through(view)
    assert view.visible_rectangle() == (0, 2, 12, 10)
    inside = torch.zeros(12, 12, dtype=torch.bool)
    inside[2:10] = True
    assert torch.equal(seen.visible, inside)
    assert not seen.weights[~inside].any()
    assert (seen.masks[~inside] == VOID).all()
    assert (seen.masks[inside] != VOID).sum() == 4 * (MASKS != VOID).sum()
    assert seen.boxes.tolist() == ([[6, 4, 10, 8], [0, 4, 4, 8]] if flip else [[2, 4, 6, 8], [8, 4, 12, 8]])


@pytest.mark.parametrize(
    ("view", "labels"),
    [
        pytest.param(View((0, 0, 3, 4), (0, 0, 3, 4), (4, 3)), [0], id="outside"),
        pytest.param(View((2, 0, 4, 4), (0, 0, 4, 4), (4, 4)), [0, 1], id="a pixel left"),
        pytest.param(View((2, 0, 4, 4), (0, 0, 3, 4), (4, 3)), [0, 1], id="less than a pixel left"),
        pytest.param(View((3, 0, 1, 1), (0, 0, 8, 8), (8, 8)), [], id="nothing"),
    ],
)
def test_boxes_out_of_sight_are_left_out(view: View, labels: list[int]) -> None:
    seen = through(view)
    assert seen.labels.tolist() == labels
    assert seen.boxes.shape == (len(labels), 4)
    width = seen.boxes[:, 2] - seen.boxes[:, 0]
    assert torch.equal(seen.is_target, width >= 1)  # half of the box is there, but it may be thinner than a pixel


def test_a_box_of_which_little_is_seen_is_no_target() -> None:
    wide = replace(DERIVED, boxes=torch.tensor([[0.0, 0, 6, 4], [3, 1, 6, 3]]))
    seen = wide.seen_through(View((5, 0, 1, 4), (0, 0, 16, 16), (16, 16)), IMAGE)
    assert seen.labels.tolist() == [0, 1]
    assert seen.is_target.tolist() == [False, True]  # 1/6 of it, 1/3 of it


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["squash", "letterbox"]))
def test_masks_move_as_drawn_ones_do(seed: int, fit: str) -> None:
    image = torch.zeros(3, 40, 60, dtype=torch.uint8)
    random = torch.Generator().manual_seed(seed)
    mask = torch.randint(0, 3, (40, 60), generator=random, dtype=torch.uint8)
    derived = replace(
        Derived.nothing(image),
        masks=mask,
        weights=mask / 2,
        boxes=torch.tensor([[10.0, 5, 30, 25]]),
        labels=torch.tensor([1]),
        is_target=torch.tensor([True]),
    )
    drawn = Sample(image, derived.boxes, derived.labels, torch.tensor([True]), mask)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        view = Augment(fit=fit, view_probability=1.0).view((40, 60), (32, 48))  # type: ignore[arg-type]
    sample = seen_through(drawn, view)
    seen = derived.seen_through(view, sample.image)
    assert sample.mask is not None
    assert torch.equal(seen.masks, sample.mask)
    assert torch.equal(seen.visible, sample.mask != VOID)
    assert torch.equal(seen.weights, torch.where(seen.visible, sample.mask / 2, 0))
    assert sample.boxes is not None
    assert sample.is_target is not None
    torch.testing.assert_close(seen.boxes, sample.boxes)
    assert torch.equal(seen.is_target, sample.is_target)


def test_nothing_says_nothing() -> None:
    nothing = Derived.nothing(IMAGE)
    assert nothing.plain is IMAGE
    assert (nothing.masks == VOID).all()
    assert not nothing.weights.any()
    assert nothing.visible.all()
    assert nothing.boxes.shape == (0, 4)
    seen = nothing.seen_through(View((1, 0, 4, 4), (0, 0, 8, 8), (8, 8)), IMAGE)
    assert not seen.weights.any()
    assert seen.boxes.shape == (0, 4)


def test_stacked_boxes_are_padded() -> None:
    batch = stack(
        [
            Derived.nothing(IMAGE),
            DERIVED,
            replace(DERIVED, **{name: getattr(DERIVED, name)[1:] for name in ("boxes", "labels", "is_target")}),
        ]
    )
    nobody, second = [0.0] * 4, DERIVED.boxes[1].tolist()
    assert batch.boxes.tolist() == [[nobody, nobody], DERIVED.boxes.tolist(), [second, nobody]]
    assert batch.labels.tolist() == [[0, 0], [0, 1], [1, 0]]
    for name in ("plain", "masks", "weights", "visible"):
        assert torch.equal(batch.tensors()[name][1], DERIVED.tensors()[name]), name
        assert len(batch.tensors()[name]) == 3
    assert stack([Derived.nothing(IMAGE)]).boxes.shape == (1, 0, 4)


def test_a_batch_carries_them_along() -> None:
    sample = Sample(IMAGE, None, None, None, MASKS)
    batch = collate([sample, sample], derived=[DERIVED, Derived.nothing(IMAGE)])
    assert batch.derived is not None
    assert torch.equal(batch.tensors()["derived_weights"][0], WEIGHTS)
    moved = batch.to(torch.device("meta"))
    assert moved.derived is not None
    assert all(tensor.is_meta for tensor in moved.tensors().values())
    assert collate([sample]).derived is None


def test_the_teacher_sees_the_colours_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    record = Record(Path("cat.png"), None, None, "cat")
    image = torch.full((3, 40, 60), 100, dtype=torch.uint8)
    monkeypatch.setattr("bombo.data.dataset.load", lambda _: Sample(image, None, None, None, None))

    def derive(of: Record, sample: Sample) -> Derived:
        assert of is record
        return Derived.nothing(sample.image)

    draws = [Draw(0, (32, 32), seed) for seed in range(4)]
    plain, jittered = (
        TrainingBatches([record], Augment(view_probability=0.0, colour=colour), derive=derive)[draws]
        for colour in (0.0, 1.0)
    )
    for batch in (plain, jittered):
        assert (batch.derived.plain == 100).all()  # type: ignore[union-attr]
    assert torch.equal(plain.images, plain.derived.plain)  # type: ignore[union-attr]
    assert not torch.equal(jittered.images, plain.images)  # type: ignore[union-attr]
