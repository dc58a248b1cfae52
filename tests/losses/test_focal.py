from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import sigmoid_focal_loss

from bombo.losses.focal import focal_loss

ONE = torch.tensor(1.0)


@given(
    st.integers(0, 2**31),
    st.sampled_from([0.1, 0.25, 0.5, 0.9]),
    st.sampled_from([0.0, 1.0, 1.5, 2.0, 3.0]),
    st.booleans(),
)
def test_against_torchvision(seed: int, alpha: float, gamma: float, soft: bool) -> None:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 7, 3, generator=random) * 4
    targets = torch.rand(2, 7, 3, generator=random)
    targets = targets if soft else (targets > 0.7).float()
    weights = (torch.rand(2, 7, 3, generator=random) > 0.3).float()
    expected = (sigmoid_focal_loss(logits, targets, alpha, gamma) * weights).sum() / 3
    found = focal_loss(logits, targets, weights, torch.tensor(3.0), alpha=alpha, gamma=gamma)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_four_by_four_by_hand() -> None:
    scores = torch.tensor([[0.5, 0.9, 0.1, 0.5], [0.2, 0.8, 0.5, 0.5], [0.5] * 4, [0.01] * 4])
    targets = torch.tensor([[1.0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    weights = torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0], [0] * 4, [1] * 4])
    expected = (
        0.25 * (0.5**2 * math.log(2) - 0.1**2 * math.log(0.9) - 0.9**2 * math.log(0.1))
        + 0.75 * (0.5**2 * math.log(2) - 0.2**2 * math.log(0.8) - 0.8**2 * math.log(0.2))
        - 0.75 * 4 * 0.01**2 * math.log(0.99)
    ) / 3
    found = focal_loss(scores.logit(), targets, weights, torch.tensor(3.0))
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
def test_gradient(gamma: float) -> None:
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    targets, weights = torch.rand(3, 4, dtype=torch.float64), torch.rand(3, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: focal_loss(x, targets, weights, ONE, gamma=gamma), logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [200.0, -200.0, 0.0])
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_extreme_logits(dtype: torch.dtype, value: float, target: float) -> None:
    logits = torch.full((2, 3), value, dtype=dtype, requires_grad=True)
    loss = focal_loss(logits, torch.full((2, 3), target), torch.ones(2, 3), ONE)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (loss == 0) == (abs(value) == 200 and (value > 0) == (target == 1))


@pytest.mark.parametrize("shape", [(0, 9, 3), (2, 9, 0)])
def test_no_entries(shape: tuple[int, ...]) -> None:
    logits = torch.zeros(shape, requires_grad=True)
    loss = focal_loss(logits, torch.zeros(shape), torch.ones(shape), ONE)
    loss.backward()
    assert loss == 0


def test_weight_zero_leaves_out() -> None:
    logits = torch.randn(5, requires_grad=True)
    weights = torch.tensor([1.0, 0, 1, 0, 1])
    focal_loss(logits, torch.zeros(5), weights, ONE).backward()
    assert logits.grad is not None
    assert (logits.grad != 0).tolist() == weights.bool().tolist()
