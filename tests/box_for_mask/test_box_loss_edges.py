"""What all losses of boxes on pixels have in common: odd inputs, mirror images, several processes."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bombo import distributed
from bombo.box_for_mask.candidate_sets import candidate_loss, candidate_sets
from bombo.box_for_mask.colour_affinity import affinity_loss
from bombo.box_for_mask.filling_rate import filling_rate_loss
from bombo.box_for_mask.pixel_labels import label_loss
from bombo.box_for_mask.tightness import tightness_loss
from bombo.data.label_space import ANY_CLASS, VOID
from bombo.losses.term import Term

THINGS, VALUES, SIDE, STRIDE = 3, 5, 32, 4
CELLS = SIDE // STRIDE


@dataclass
class Case:
    images: Tensor
    boxes: Tensor
    labels: Tensor
    is_target: Tensor
    valid: Tensor
    logits: Tensor

    def sets(self) -> Tensor:
        return candidate_sets(self.boxes, self.labels, THINGS, VALUES, (CELLS, CELLS), (STRIDE, STRIDE))

    def pixel_labels(self) -> Tensor:
        """The first candidate beside background, where the pixel is valid."""
        labels = self.sets()[:, 1:-1].int().argmax(1) + self.sets()[:, 1:-1].any(1)
        return labels.where(self.valid, VOID).to(torch.uint8)


def make(rows: list[list[tuple[float, float, float, float, int, bool]]], seed: int = 0, scale: float = 1.0) -> Case:
    random = torch.Generator().manual_seed(seed)
    count = max((len(each) for each in rows), default=0)
    padded = [[*each, *[(0.0, 0.0, 0.0, 0.0, 0, False)] * (count - len(each))] for each in rows]
    images = torch.randint(100, 112, (len(rows), 3, SIDE, SIDE), generator=random, dtype=torch.uint8)
    images[..., SIDE // 2 :] //= 2
    return Case(
        images,
        torch.tensor([[row[:4] for row in each] for each in padded], dtype=torch.float32).view(len(rows), count, 4),
        torch.tensor([[row[4] for row in each] for each in padded], dtype=torch.int64).view(len(rows), count),
        torch.tensor([[row[5] for row in each] for each in padded], dtype=torch.bool).view(len(rows), count),
        torch.ones(len(rows), CELLS, CELLS, dtype=torch.bool),
        (scale * torch.randn(len(rows), VALUES, CELLS, CELLS, generator=random)).requires_grad_(),
    )


LOW, HIGH = torch.full((THINGS,), 0.6), torch.full((THINGS,), 0.9)

LOSSES: dict[str, Callable[[Case], Term]] = {
    "set": lambda case: candidate_loss(case.logits, case.sets(), case.valid),
    "row": lambda case: tightness_loss(case.logits, case.boxes, case.labels, case.is_target, 1 / STRIDE),
    "pair": lambda case: affinity_loss(case.logits, case.images, case.sets()[:, 1:-1].any(1), case.valid),
    "rate": lambda case: filling_rate_loss(case.logits, case.boxes, case.labels, case.is_target, LOW, HIGH, 1 / STRIDE),
    "label": lambda case: label_loss(case.logits, case.pixel_labels(), case.pixel_labels() / 8 + 0.25),
}

BOX = (4.0, 5.0, 30.0, 27.0, 0, True)

ROWS: dict[str, tuple[list[list[tuple[float, float, float, float, int, bool]]], set[str]]] = {
    # images, and the losses that have nothing to say
    "no image": ([], {"set", "row", "pair", "rate", "label"}),
    "annotated, and there is nothing": ([[], []], {"row", "pair", "rate"}),
    "one box": ([[BOX]], set()),
    "one of two images is empty": ([[BOX], []], set()),
    "whole image": ([[(0, 0, SIDE, SIDE, 1, True)]], set()),
    "sub-pixel": ([[(9.2, 9.2, 9.4, 9.4, 1, True)]], {"row", "rate"}),
    "one pixel": ([[(8, 8, 9, 9, 1, True)]], {"row", "rate"}),
    "without area": ([[(8, 8, 8, 20, 1, True)]], {"row", "pair", "rate"}),
    "outside the image": ([[(40, 40, 60, 60, 1, True)]], {"row", "pair", "rate"}),
    "clipped": ([[(-20, 8, 20, 90, 1, True)]], set()),
    "a sliver that is no target": ([[(0, 0, 2, 32, 1, False)]], {"row", "rate"}),
    "crowd": ([[(0, 0, 20, 32, 1, False)]], {"row", "rate"}),
    "any class": ([[(0, 0, 20, 32, ANY_CLASS, False)]], {"row", "rate"}),
    "any class, as a target": ([[(0, 0, 20, 32, ANY_CLASS, True)]], {"row", "rate"}),
    "overlap, one class": ([[BOX, (10, 10, 32, 32, 0, True)]], set()),
    "overlap, two classes": ([[BOX, (10, 10, 32, 32, 1, True)]], set()),
    "twice the same box": ([[BOX, BOX]], set()),
    "one inside the other": ([[BOX, (0, 0, 32, 32, 2, True)]], set()),
}


def check(case: Case, name: str, silent: bool) -> None:
    value, number = LOSSES[name](case)
    assert value.shape == number.shape == ()
    assert value.isfinite()
    assert value.dtype == torch.float32
    value.backward()
    assert case.logits.grad is not None
    assert case.logits.grad.isfinite().all()
    assert (number == 0) == silent
    if silent:
        assert value == 0
        assert not case.logits.grad.any()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("scale", [1.0, 200.0])
def test_odd_boxes(row: str, name: str, scale: float) -> None:
    images, silent = ROWS[row]
    check(make(images, scale=scale), name, name in silent)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("row", ROWS)
def test_nothing_but_padding(row: str, name: str) -> None:
    case = make(ROWS[row][0])
    case.valid[:] = False
    check(case, name, name in ROWS[row][1] or name in ("set", "pair", "label"))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(name: str, dtype: torch.dtype) -> None:
    case = make([[BOX], [BOX, (10, 10, 32, 32, 1, True)]], scale=50)
    case.logits = case.logits.detach().to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = LOSSES[name](case).value
    expected = LOSSES[name](replace(case, logits=case.logits.detach().double())).value
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    check(case, name, silent=False)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("value", [-300.0, 300.0])
def test_a_network_that_says_only_background_or_never(name: str, value: float) -> None:
    case = make([[BOX], []])
    logits = torch.zeros_like(case.logits)
    logits[:, 0] = value
    case.logits = logits.requires_grad_()
    check(case, name, silent=False)


def mirrored(case: Case) -> Case:
    x1, y1, x2, y2 = case.boxes.unbind(-1)
    boxes = torch.stack((SIDE - x2, y1, SIDE - x1, y2), dim=-1)
    padding = (x1 == x2) | (y1 == y2)
    return replace(
        case,
        images=case.images.flip(-1),
        boxes=boxes.masked_fill(padding[..., None], 0),
        valid=case.valid.flip(-1),
        logits=case.logits.detach().flip(-1).requires_grad_(),
    )


steps = st.integers(-16, 144).map(lambda quarter: quarter / 4)
some_images = st.lists(
    st.lists(st.tuples(steps, steps, steps, steps, st.integers(-1, 2), st.booleans()), max_size=4),
    min_size=1,
    max_size=3,
)


@pytest.mark.parametrize("name", LOSSES)
@given(images=some_images, seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_a_mirror_image_costs_the_same(name: str, images, seed: int) -> None:  # type: ignore[no-untyped-def]
    rows = [
        [(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2), *rest) for x1, y1, x2, y2, *rest in each]
        for each in images
    ]
    case = make(rows, seed, scale=2)
    case.valid = torch.rand(case.valid.shape, generator=torch.Generator().manual_seed(seed)) > 0.2
    other = mirrored(case)
    there, back = LOSSES[name](case), LOSSES[name](other)
    assert there.number == back.number
    torch.testing.assert_close(there.value, back.value, rtol=1e-4, atol=1e-6)
    there.value.backward()
    back.value.backward()
    assert case.logits.grad is not None
    assert other.logits.grad is not None
    torch.testing.assert_close(case.logits.grad, other.logits.grad.flip(-1), rtol=1e-3, atol=1e-6)


def for_two() -> Case:
    """Two images with different numbers of boxes, pixels and edges."""
    case = make([[BOX, (10, 10, 32, 32, 1, True)], [BOX, (0, 0, 32, 20, 2, True)]])
    case.is_target[0, 1] = False
    case.valid[1, :3] = False
    return case


def one_half(rank: int, port: int, folder: Path) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "RANK": str(rank)}
    torch.set_num_threads(1)
    distributed.start(torch.device("cpu"))
    mine = Case(*(getattr(for_two(), field.name)[rank : rank + 1] for field in fields(Case)))
    torch.save({name: loss(mine) for name, loss in LOSSES.items()}, folder / str(rank))


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_two_processes_are_one(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.start_processes(one_half, args=(port, tmp_path), nprocs=2, start_method="fork")
    parts = [torch.load(tmp_path / str(rank), weights_only=False) for rank in (0, 1)]
    for name, loss in LOSSES.items():
        whole = loss(for_two())
        assert parts[0][name].number != parts[1][name].number
        assert parts[0][name].number + parts[1][name].number == whole.number
        torch.testing.assert_close((parts[0][name].value + parts[1][name].value) / 2, whole.value)
