from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, interpolate

from bombo.data.batch import Batch
from bombo.losses.dice import dice_loss
from bombo.losses.segmentation import segmentation_losses
from bombo.models.network import Predictions

Make = Callable[..., Batch]
Predict = Callable[..., Predictions]


def some_mask(seed: int, void: float = 0.1) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    mask = torch.randint(5, (64, 64), dtype=torch.uint8, generator=random)
    mask[torch.rand(64, 64, generator=random) < void] = 255
    return mask


VOID = torch.full((64, 64), 255, dtype=torch.uint8)
BACKGROUND = torch.zeros(64, 64, dtype=torch.uint8)
A_BOX = [(8.0, 8.0, 32.0, 32.0, 0, True)]


def test_against_the_usual_formula(make_batch: Make, make_predictions: Predict) -> None:
    predictions = make_predictions(2)
    batch = make_batch((None, some_mask(0)), ([], some_mask(1)))
    full = interpolate(predictions.mask_logits, scale_factor=4, mode="bilinear")
    terms = segmentation_losses(predictions, batch, dice=True)
    torch.testing.assert_close(terms["seg_ce"].value, cross_entropy(full, batch.masks.long(), ignore_index=255))
    torch.testing.assert_close(terms["seg_dice"].value, dice_loss(predictions.mask_logits, batch.masks))
    assert terms["seg_ce"].number == terms["seg_dice"].number == 2
    assert set(segmentation_losses(predictions, batch)) == {"seg_ce"}


@pytest.mark.parametrize(
    ("kinds", "silent"),
    [
        pytest.param([([], None), (A_BOX, None)], True, id="no image with a mask"),
        pytest.param([(None, None)], True, id="no annotation at all"),
        pytest.param([(None, VOID), (None, VOID)], True, id="only void"),
        pytest.param([(None, VOID), (A_BOX, None)], True, id="void and missing"),
        pytest.param([(None, BACKGROUND)], False, id="only background"),
        pytest.param([(None, VOID), (None, some_mask(3))], False, id="one void"),
        pytest.param([(None, torch.full((64, 64), 4, dtype=torch.uint8))], False, id="only the last class"),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 200.0])
def test_odd_batches_give_finite_losses_and_gradients(  # type: ignore[no-untyped-def]
    kinds, silent: bool, scale: float, make_batch: Make, make_predictions: Predict
) -> None:
    predictions = make_predictions(len(kinds), scale=scale)
    terms = segmentation_losses(predictions, make_batch(*kinds), dice=True)
    sum(term.value for term in terms.values()).backward()  # type: ignore[union-attr]
    gradient = predictions.mask_logits.grad
    assert gradient is not None
    assert all(term.value.isfinite() and term.value.ndim == 0 for term in terms.values())
    assert gradient.isfinite().all()
    assert all((term.value == 0) == silent for term in terms.values())
    assert gradient.any() != silent


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.lists(st.booleans(), min_size=2, max_size=4))
def test_missing_is_never_background(
    make_batch: Make, make_predictions: Predict, seed: int, annotated: list[bool]
) -> None:
    batch = make_batch(*((A_BOX, some_mask(seed) if known else None) for known in annotated))
    predictions = make_predictions(len(annotated), seed=seed)
    before = segmentation_losses(predictions, batch, dice=True)
    sum(term.value for term in before.values()).backward()  # type: ignore[union-attr]
    missing = ~batch.has_mask
    assert predictions.mask_logits.grad is not None
    assert not predictions.mask_logits.grad[missing].any()

    with torch.no_grad():  # whatever stands in the rows of images that are not annotated
        predictions.mask_logits[missing] = torch.randn_like(predictions.mask_logits[missing]) * 50
        batch.masks[missing] = 0
    after = segmentation_losses(predictions, batch, dice=True)
    assert all(before[name].value == after[name].value for name in before)


@settings(deadline=None, max_examples=10)
@given(st.permutations(range(4)))
def test_order_of_images_and_the_batch_twice_change_nothing(
    make_batch: Make, make_predictions: Predict, images: list[int]
) -> None:
    kinds = [(None, some_mask(1)), (A_BOX, None), ([], some_mask(2)), (None, VOID)]
    predictions = make_predictions(4)
    expected = segmentation_losses(predictions, make_batch(*kinds), dice=True)
    twice = [*images, *images]
    shuffled = Predictions(*predictions[:3], predictions.mask_logits[twice])
    found = segmentation_losses(shuffled, make_batch(*(kinds[i] for i in twice)), dice=True)
    for name in expected:
        torch.testing.assert_close(found[name].value, expected[name].value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_predictions(dtype: torch.dtype, make_batch: Make, make_predictions: Predict) -> None:
    exact = make_predictions(2)
    half = Predictions(*exact[:3], exact.mask_logits.to(dtype))
    batch = make_batch((None, some_mask(0)), (None, some_mask(1)))
    terms, expected = segmentation_losses(half, batch, dice=True), segmentation_losses(exact, batch, dice=True)
    for name, term in terms.items():
        assert term.value.dtype == torch.float32
        torch.testing.assert_close(term.value, expected[name].value, rtol=0.02, atol=0.02)
