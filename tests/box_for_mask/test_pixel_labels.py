from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bombo.box_for_mask.pixel_labels import label_loss
from bombo.losses.cross_entropy import mask_cross_entropy

LABELS = torch.tensor([[[0, 0, 1, 1], [0, 255, 255, 1], [2, 2, 2, 2], [255, 255, 255, 255]]], dtype=torch.uint8)
WEIGHTS = torch.tensor([[[1, 0.5, 1, 0.25], [0, 1, 0.5, 1], [0.5, 0.5, 0, 1], [1, 1, 1, 1]]])


def even_logits() -> torch.Tensor:
    """(1, 3, 4, 4) of probabilities 0.5, 0.3, 0.2."""
    return torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log().view(1, 3, 1, 1).repeat(1, 1, 4, 4)


def test_label_loss_by_hand() -> None:
    value, number = label_loss(even_logits(), LABELS, WEIGHTS)
    total = 1.5 * -math.log(0.5) + 2.25 * -math.log(0.3) + 2 * -math.log(0.2)
    assert number == 8  # ten labels, two of weight 0
    assert value.item() == pytest.approx(total / 8)


def test_half_the_weight_is_half_the_loss() -> None:
    whole, half = label_loss(even_logits(), LABELS, WEIGHTS), label_loss(even_logits(), LABELS, WEIGHTS / 2)
    torch.testing.assert_close(half.value, whole.value / 2)


@given(st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_full_weights_are_mask_cross_entropy(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 5, 5, generator=random, dtype=torch.float64)
    labels = torch.randint(4, (2, 5, 5), generator=random, dtype=torch.uint8)
    labels[torch.rand(2, 5, 5, generator=random) < 0.3] = 255
    value, number = label_loss(logits, labels, torch.ones(2, 5, 5))
    assert number == (labels != 255).sum()
    torch.testing.assert_close(value, mask_cross_entropy(logits, labels, number), rtol=1e-14, atol=0)


def test_label_gradient() -> None:
    logits = torch.randn(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: label_loss(x, LABELS, WEIGHTS).value, logits)


@pytest.mark.parametrize(
    ("labels", "weights"),
    [
        pytest.param(torch.full((1, 4, 4), 255), torch.ones(1, 4, 4), id="all silent"),
        pytest.param(LABELS, torch.zeros(1, 4, 4), id="no weight"),
        pytest.param(torch.full((1, 4, 4), 255), torch.full((1, 4, 4), torch.nan), id="no label, no weight"),
    ],
)
def test_silence_is_an_attached_zero(labels: torch.Tensor, weights: torch.Tensor) -> None:
    logits = (200 * torch.randn(1, 3, 4, 4)).requires_grad_()
    value, number = label_loss(logits, labels.to(torch.uint8), weights)
    value.backward()
    assert value == number == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_weights_are_targets() -> None:
    weights = WEIGHTS.clone().requires_grad_()
    label_loss(even_logits().requires_grad_(), LABELS, weights).value.backward()
    assert weights.grad is None
