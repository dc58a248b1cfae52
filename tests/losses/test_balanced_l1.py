from __future__ import annotations

import math

import pytest
import torch

from bombo.losses.balanced_l1 import balanced_l1_loss

SETTINGS = [(0.5, 1.5, 1.0), (0.3, 1.5, 1.0), (0.5, 1.5, 1 / 9), (1.0, 2.0, 0.4), (0.5, 1.0, 3.0)]


def slow_gradient(error: float, alpha: float, gamma: float, beta: float) -> float:
    """Eq. 8 and 9 of the paper, the error measured in units of beta."""
    b = math.exp(gamma / alpha) - 1
    return alpha * math.log(b * error / beta + 1) if error < beta else gamma


@pytest.mark.parametrize(("alpha", "gamma", "beta"), SETTINGS)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.99, 1.0, 1.01, 4.0])
def test_value_is_the_integral_of_the_papers_gradient(share: float, alpha: float, gamma: float, beta: float) -> None:
    error, steps = share * beta, 20_000
    middles = ((i + 0.5) * error / steps for i in range(steps))
    integral = sum(slow_gradient(middle, alpha, gamma, beta) for middle in middles) * error / steps
    found = balanced_l1_loss(torch.tensor(error).double(), torch.tensor(0.0), alpha=alpha, gamma=gamma, beta=beta)
    assert float(found) == pytest.approx(integral, rel=1e-4)


@pytest.mark.parametrize(("alpha", "gamma", "beta"), SETTINGS)
def test_value_and_slope_join_at_beta(alpha: float, gamma: float, beta: float) -> None:
    around = torch.tensor([beta * (1 - 1e-9), beta * (1 + 1e-9)], dtype=torch.float64, requires_grad=True)
    values = balanced_l1_loss(around, torch.zeros(2), alpha=alpha, gamma=gamma, beta=beta)
    values.sum().backward()
    assert around.grad is not None
    torch.testing.assert_close(values[0], values[1])
    torch.testing.assert_close(around.grad[0], around.grad[1])
    assert float(around.grad[1]) == pytest.approx(gamma)


def test_zero_at_zero_and_symmetric() -> None:
    errors = torch.arange(-30, 31) / 10
    values = balanced_l1_loss(errors, torch.zeros(61))
    torch.testing.assert_close(values, values.flip(0), atol=1e-6, rtol=1e-5)
    assert values[30] == 0
    assert (values[31:].diff() > 0).all()


def test_gradient() -> None:
    predicted = torch.randn(20, dtype=torch.float64) * 2
    predicted.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: balanced_l1_loss(x, torch.zeros(20)), predicted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [200.0, -200.0, 0.0])
def test_extreme_values(dtype: torch.dtype, value: float) -> None:
    predicted = torch.full((3,), value, dtype=dtype, requires_grad=True)
    loss = balanced_l1_loss(predicted, torch.zeros(3))
    loss.sum().backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite().all()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()
