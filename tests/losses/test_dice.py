from __future__ import annotations

import math

import pytest
import torch

from bombo.losses.dice import dice_loss, shares


def logits_of(probabilities: list[list[float]]) -> torch.Tensor:
    """(1, K, 1, pixels) from one row of pixels per class."""
    return torch.tensor(probabilities).log()[None, :, None]


@pytest.mark.parametrize(
    ("probabilities", "mask", "expected"),
    [
        pytest.param([[0.5, 0.5], [0.5, 0.5]], [0, 1], 1 - 2 * 0.5 / (0.5 + 1), id="undecided"),
        pytest.param([[0.8, 0.6], [0.2, 0.4]], [0, 0], 1 - 2 * 1.4 / (0.64 + 0.36 + 2), id="one class only"),
        pytest.param([[0.8, 0.6], [0.2, 0.4]], [0, 255], 1 - 2 * 0.8 / (0.64 + 1), id="void"),
        pytest.param(
            [[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.3, 0.6]],
            [0, 1, 1],
            1 - (2 * 0.7 / (0.49 + 0.04 + 0.01 + 1) + 2 * 0.8 / (0.04 + 0.25 + 0.09 + 2)) / 2,
            id="three classes, two present",
        ),
    ],
)
def test_by_hand(probabilities: list[list[float]], mask: list[int], expected: float) -> None:
    found = dice_loss(logits_of(probabilities), torch.tensor([[mask]], dtype=torch.uint8))
    assert float(found) == pytest.approx(expected, abs=1e-6)


def test_coarse_cells_by_hand() -> None:
    # two cells of 2 × 2 pixels; the left one is half background, a quarter class 1, a quarter void
    masks = torch.tensor([[[0, 0, 1, 1], [1, 255, 1, 1]]], dtype=torch.uint8)
    found = dice_loss(logits_of([[0.6, 0.3], [0.4, 0.7]]), masks)
    background = 2 * (0.75 * 0.6 * 0.5) / ((0.75 * 0.6) ** 2 + 0.3**2 + 0.5**2)
    one = 2 * (0.75 * 0.4 * 0.25 + 0.7) / ((0.75 * 0.4) ** 2 + 0.7**2 + 0.25**2 + 1)
    assert float(found) == pytest.approx(1 - (background + one) / 2, abs=1e-6)


def test_shares_against_one_hot_pooling() -> None:
    masks = torch.randint(4, (2, 8, 12), dtype=torch.uint8)
    masks[masks == 3] = 255
    one_hot = torch.stack([(masks == value).float() for value in range(3)], dim=1)
    torch.testing.assert_close(shares(masks, 3, (2, 3)), torch.nn.functional.avg_pool2d(one_hot, 4))


@pytest.mark.parametrize(("right", "expected"), [(True, 0.0), (False, 1.0)])
def test_certain(right: bool, expected: float) -> None:
    masks = torch.tensor([[[0, 1], [1, 0]]], dtype=torch.uint8)
    logits = torch.stack((masks == 0, masks == 1), dim=1) * 400.0 - 200
    assert float(dice_loss(logits if right else -logits, masks)) == pytest.approx(expected)


def test_only_void_gives_an_attached_zero() -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = dice_loss(logits, torch.full((2, 4, 4), 255, dtype=torch.uint8))
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_no_image_gives_an_attached_zero() -> None:
    logits = torch.randn(0, 3, 4, 4, requires_grad=True)
    loss = dice_loss(logits, torch.zeros(0, 4, 4, dtype=torch.uint8))
    loss.backward()
    assert loss == 0


def test_void_pixels_have_no_say() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    masks = torch.randint(3, (1, 4, 4), dtype=torch.uint8)
    masks[:, :2] = 255
    dice_loss(logits, masks).backward()
    assert logits.grad is not None
    assert not logits.grad[:, :, :2].any()
    assert logits.grad[:, :, 2:].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [200.0, -200.0])
def test_extreme_logits_on_a_large_image(dtype: torch.dtype, value: float) -> None:
    # 300 × 300 ones do not sum in half precision
    logits = torch.zeros(1, 2, 300, 300, dtype=dtype)
    logits[:, 1] = value
    logits.requires_grad_()
    loss = dice_loss(logits, torch.zeros(1, 300, 300, dtype=torch.uint8))
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(1.0 if value > 0 else 0.0)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_gradient() -> None:
    logits = torch.randn(1, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    masks = torch.tensor([[[0, 1, 2], [255, 1, 1], [0, 0, 255]]], dtype=torch.uint8)
    assert torch.autograd.gradcheck(lambda x: dice_loss(x, masks), logits)


def test_twice_the_batch_is_the_same_loss() -> None:
    logits, masks = torch.randn(2, 3, 4, 4), torch.randint(3, (2, 4, 4), dtype=torch.uint8)
    torch.testing.assert_close(dice_loss(logits, masks), dice_loss(logits.repeat(2, 1, 1, 1), masks.repeat(2, 1, 1)))
    assert math.isfinite(float(dice_loss(logits, masks)))
