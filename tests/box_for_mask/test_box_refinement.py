from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bombo.box_for_mask.refinement import MOST, SURE, refine
from bombo.data.label_space import VOID


def one_pixel(
    label: int, weight: float, teacher: list[float], candidates: set[int], trust: float = 1.0
) -> tuple[int, float]:
    possible = torch.tensor([value in candidates for value in range(len(teacher))])
    labels, weights = refine(
        torch.tensor([[[label]]], dtype=torch.uint8),
        torch.tensor([[[weight]]], dtype=torch.float64),
        torch.tensor(teacher, dtype=torch.float64).view(1, -1, 1, 1),
        possible.view(1, -1, 1, 1),
        trust,
    )
    assert labels.dtype == torch.uint8
    return int(labels), float(weights)


@pytest.mark.parametrize(
    ("label", "weight", "teacher", "candidates", "expected"),
    [
        # 0.8 · 0.9 against 0.2 · 0.1
        pytest.param(1, 0.8, [0.1, 0.9, 0], {0, 1}, (1, 0.72 / 0.74), id="agreement raises the weight"),
        pytest.param(1, 0.8, [0.05, 0.45, 0.5], {0, 1}, (1, 0.72 / 0.74), id="what cannot be is struck out"),
        # 0.8 · 0.3 against 0.2 · 0.7: 0.63 is not sure
        pytest.param(1, 0.8, [0.7, 0.3, 0], {0, 1}, (VOID, 0), id="disagreement"),
        pytest.param(1, 0.9, [0.7, 0.3, 0], {0, 1}, (1, 0.27 / 0.34), id="the provider is surer"),
        pytest.param(1, 0.6, [0.95, 0.05, 0], {0, 1}, (0, 0.38 / 0.41), id="the teacher is surer"),
        pytest.param(0, 0.6, [0.05, 0.95, 0], {0, 1}, (1, 0.38 / 0.41), id="the other way round"),
        # 0.05 · 0.99 against 0.95 · 0.01
        pytest.param(1, 1.0, [0.99, 0.01, 0], {0, 1}, (0, 0.0495 / 0.059), id="no provider is beyond doubt"),
        pytest.param(VOID, 0.0, [0.25, 0.75, 0], {0, 1}, (1, 0.75), id="silent provider, sure teacher"),
        pytest.param(VOID, 0.0, [0.4, 0.6, 0], {0, 1}, (VOID, 0), id="silent provider, unsure teacher"),
        pytest.param(VOID, 0.9, [0.25, 0.75, 0], {0, 1}, (1, 0.75), id="void is silence"),
        pytest.param(1, 0.0, [0.75, 0.25, 0], {0, 1}, (0, 0.75), id="so is no weight"),
        pytest.param(VOID, 0.0, [0.3, 0.3, 0.4], {0}, (0, 1), id="a single candidate"),
        pytest.param(1, 0.9, [0, 1, 0], {0}, (0, 1), id="a label outside its candidates"),
        # 0.8 · 0.5 against 0.1 · 0.1 and 0.1 · 0.4
        pytest.param(1, 0.8, [0.1, 0.5, 0.4], {0, 1, 2}, (1, 0.4 / 0.45), id="three candidates"),
        pytest.param(1, 0.8, [0, 0, 1], {0, 1}, (1, 0.8), id="the teacher thinks of something else altogether"),
    ],
)
def test_by_hand(
    label: int, weight: float, teacher: list[float], candidates: set[int], expected: tuple[int, float]
) -> None:
    assert one_pixel(label, weight, teacher, candidates) == pytest.approx(expected)


def test_half_the_trust() -> None:
    # 0.8 · √0.9 against 0.2 · √0.1
    label, weight = one_pixel(1, 0.8, [0.1, 0.9], {0, 1}, trust=0.5)
    assert label == 1
    assert weight == pytest.approx(0.8 * 0.9**0.5 / (0.8 * 0.9**0.5 + 0.2 * 0.1**0.5))
    # with full trust the teacher overrules, with half of it nobody is sure
    assert one_pixel(1, 0.7, [0.95, 0.05], {0, 1})[0] == 0
    assert one_pixel(1, 0.7, [0.95, 0.05], {0, 1}, trust=0.5) == (VOID, 0)


def random_case(seed: int, values: int = 4) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    shape = (2, 5, 6)
    candidates = torch.rand(2, values, 5, 6, generator=random) < 0.4
    candidates[:, 0] = True
    labels = torch.randint(values, shape, generator=random, dtype=torch.uint8)
    labels[torch.rand(shape, generator=random) < 0.3] = VOID
    weights = torch.rand(shape, generator=random) * (labels != VOID)
    teacher = (torch.randn(2, values, 5, 6, generator=random) * 6).softmax(1)
    return labels, weights, teacher, candidates


@given(st.integers(0, 999), st.floats(0.01, 1))
@settings(deadline=None, max_examples=50)
def test_never_outside_the_candidates(seed: int, trust: float) -> None:
    labels, weights, teacher, candidates = random_case(seed)
    refined, sure = refine(labels, weights, teacher, candidates, trust)
    used = refined != VOID
    possible = candidates.gather(1, refined.long().where(used, 0)[:, None])[:, 0]
    assert possible[used].all()
    assert torch.equal(used, sure > 0)
    assert sure[used].min() >= SURE
    assert sure.max() <= 1
    assert (sure[candidates.sum(1) == 1] == 1).all()


@given(st.integers(0, 999))
@settings(deadline=None, max_examples=20)
def test_no_trust_changes_nothing(seed: int) -> None:
    labels, weights, teacher, candidates = random_case(seed)
    refined, sure = refine(labels, weights, teacher, candidates, 0)
    assert torch.equal(refined, labels)
    assert torch.equal(sure, weights)


def test_targets_are_detached() -> None:
    labels, weights, teacher, candidates = random_case(0)
    refined, sure = refine(labels, weights, teacher.requires_grad_(), candidates, 1.0)
    assert not refined.requires_grad
    assert not sure.requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_teacher_in_half_precision(dtype: torch.dtype) -> None:
    labels, weights, teacher, candidates = random_case(1)
    _, sure = refine(labels, weights, teacher.to(dtype), candidates, 1.0)
    assert sure.dtype == torch.float32
    assert sure.isfinite().all()


def test_no_images() -> None:
    labels, weights, teacher, candidates = (part[:0] for part in random_case(0))
    refined, sure = refine(labels, weights, teacher, candidates, 1.0)
    assert refined.shape == sure.shape == labels.shape


def test_the_bound_leaves_room_for_a_sure_teacher() -> None:
    assert SURE < MOST < 1
