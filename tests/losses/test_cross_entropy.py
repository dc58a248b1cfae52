from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from bombo.losses.cross_entropy import mask_cross_entropy

ONE = torch.tensor(1.0)


def random_masks(*shape: int, values: int = 5) -> torch.Tensor:
    return torch.randint(values, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_mean_where_everything_is_valid() -> None:
    logits, masks = torch.randn(2, 5, 6, 7), random_masks(2, 6, 7)
    torch.testing.assert_close(
        mask_cross_entropy(logits, masks, torch.tensor(84.0)), cross_entropy(logits, masks.long())
    )


def test_void_is_left_out() -> None:
    logits, masks = torch.randn(2, 5, 6, 7, requires_grad=True), random_masks(2, 6, 7)
    masks[:, :3] = 255
    expected = cross_entropy(logits[:, :, 3:], masks[:, 3:].long())
    loss = mask_cross_entropy(logits, masks, torch.tensor(42.0))
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad[:, :, :3].any()
    assert logits.grad[:, :, 3:].all()


@pytest.mark.parametrize("images", [0, 2])
def test_nothing_valid_gives_an_attached_zero(images: int) -> None:
    logits = torch.randn(images, 5, 6, 7, requires_grad=True)
    loss = mask_cross_entropy(logits, torch.full((images, 6, 7), 255, dtype=torch.uint8), ONE)
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_the_largest_label_space_keeps_its_last_class() -> None:
    logits = torch.randn(1, 255, 2, 2)
    masks = torch.full((1, 2, 2), 254, dtype=torch.uint8)
    torch.testing.assert_close(
        mask_cross_entropy(logits, masks, torch.tensor(4.0)), -logits.log_softmax(1)[:, 254].mean()
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [200.0, -200.0])
def test_extreme_logits(dtype: torch.dtype, value: float) -> None:
    # the sum over the pixels does not fit in half precision
    logits = torch.zeros(1, 3, 32, 32, dtype=dtype)
    logits[:, 1] = value
    logits.requires_grad_()
    loss = mask_cross_entropy(logits, random_masks(1, 32, 32, values=3), ONE)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_gradient() -> None:
    logits, masks = torch.randn(1, 3, 4, 4, dtype=torch.float64, requires_grad=True), random_masks(1, 4, 4, values=3)
    masks[0, 0] = 255
    assert torch.autograd.gradcheck(lambda x: mask_cross_entropy(x, masks, ONE), logits)
