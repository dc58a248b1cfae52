from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bombo.data.batch import Batch
from bombo.data.derived import Derived, stack
from bombo.losses.criterion import Criterion
from bombo.losses.detection import detection_losses
from bombo.losses.method import method_of
from bombo.losses.segmentation import segmentation_losses
from bombo.losses.unlabelled import without_unlabelled
from bombo.models.network import Predictions

Make = Callable[..., Batch]
Predict = Callable[..., Predictions]

MASK = torch.zeros(64, 64, dtype=torch.uint8)
MASK[10:30, 10:40] = 1
A_BOX = [(10.0, 10.0, 40.0, 30.0, 0, True)]


def asked(*labelled: tuple[bool, ...]) -> torch.Tensor:
    return torch.tensor(labelled)


def leaves(predictions: Predictions) -> Predictions:
    return Predictions(*(tensor.detach().clone().requires_grad_() for tensor in predictions))


def test_by_hand() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0, 3.0]).view(1, 4, 1, 1)  # background, three classes
    given = Predictions(torch.tensor([[[0.5, 0.6, 0.7]]]), torch.zeros(1, 1, 4), torch.zeros(1, 4), logits)
    seen = without_unlabelled(given, asked((True, False, False)))
    shares = seen.mask_logits.softmax(1).flatten()
    total = sum(math.exp(value) for value in range(4))
    expected = [(math.exp(0) + math.exp(2) + math.exp(3)) / total, math.exp(1) / total, 0.0, 0.0]
    torch.testing.assert_close(shares, torch.tensor(expected))
    torch.testing.assert_close(seen.class_logits.sigmoid().flatten(), torch.tensor([torch.tensor(0.5).sigmoid(), 0, 0]))


def test_nothing_unlabelled_is_the_same(make_predictions: Predict) -> None:
    predictions = make_predictions(2)
    assert without_unlabelled(predictions, None) is predictions
    things, values = predictions.class_logits.shape[-1], predictions.mask_logits.shape[1]
    same = without_unlabelled(predictions, torch.ones(2, values - 1, dtype=torch.bool))
    assert things <= values - 1
    torch.testing.assert_close(same.class_logits, predictions.class_logits)
    torch.testing.assert_close(same.mask_logits, predictions.mask_logits)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**16), st.integers(0, 6))
def test_the_labelled_classes_keep_their_probability(seed: int, choice: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    labelled = torch.tensor([[bool(choice >> index & 1) for index in range(3)]])
    logits = torch.randn(1, 4, 3, 3, generator=generator) * 5
    given = Predictions(torch.randn(1, 5, 3, generator=generator), torch.zeros(1, 5, 4), torch.zeros(5, 4), logits)
    seen = without_unlabelled(given, labelled).mask_logits.softmax(1)
    torch.testing.assert_close(
        seen[:, 1:] * labelled[..., None, None], logits.softmax(1)[:, 1:] * labelled[..., None, None]
    )
    torch.testing.assert_close(seen.sum(1), torch.ones(1, 3, 3))


def test_an_unlabelled_class_gets_no_gradient_from_the_image(make_batch: Make, make_predictions: Predict) -> None:
    predictions = leaves(make_predictions(2))
    things, classes = predictions.class_logits.shape[-1], predictions.mask_logits.shape[1] - 1
    labelled = torch.ones(2, classes, dtype=torch.bool)
    labelled[0, 1] = False  # the second class, on the box-annotated image
    batch = replace(make_batch((A_BOX, None), (A_BOX, MASK)), labelled=labelled)
    terms = Criterion(dice=1.0)(predictions, batch)
    sum(term.value for term in terms.values()).backward()
    gradient = predictions.class_logits.grad
    assert gradient is not None
    assert gradient[0, :, 1].abs().sum() == 0
    others = [column for column in range(things) if column != 1]
    assert gradient[0][:, others].abs().sum() > 0
    assert gradient[1, :, 1].abs().sum() > 0


def test_background_may_be_what_nobody_looked_for(make_batch: Make, make_predictions: Predict) -> None:
    predictions = make_predictions(1)
    logits = torch.full_like(predictions.mask_logits, -9.0)
    logits[:, 2] = 9.0  # the network is sure of the second class everywhere
    sure = predictions._replace(mask_logits=logits)
    batch = make_batch((None, torch.zeros(64, 64, dtype=torch.uint8)))
    labelled = torch.ones(1, logits.shape[1] - 1, dtype=torch.bool)
    labelled[0, 1] = False
    wrong = segmentation_losses(sure, batch)["seg_ce"].value
    open_ = segmentation_losses(without_unlabelled(sure, labelled), batch)["seg_ce"].value
    assert wrong > 10
    assert open_ < 1e-3


@pytest.mark.parametrize("method", ["skip", "ssl", "faithful", "bombo"])
def test_every_loss_is_finite_where_no_class_is_labelled(
    method: str, make_batch: Make, make_predictions: Predict
) -> None:
    predictions = leaves(make_predictions(2))
    batch = make_batch((A_BOX, None), (None, torch.zeros(64, 64, dtype=torch.uint8)))
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    weak = replace(
        Derived.nothing(image),
        masks=torch.ones(64, 64, dtype=torch.uint8),
        weights=torch.ones(64, 64),
        boxes=torch.tensor([[8.0, 8, 40, 40]]),
        labels=torch.tensor([0]),
        is_target=torch.tensor([True]),
    )
    labelled = torch.zeros(2, predictions.mask_logits.shape[1] - 1, dtype=torch.bool)
    batch = replace(batch, labelled=labelled, derived=stack([weak, weak]))
    chosen = method_of(method, {})  # type: ignore[arg-type]
    terms = Criterion(dice=1.0, method=chosen)(predictions, batch, predictions)
    assert {name for name, weight in chosen.weights.by_name().items() if weight} <= set(terms)
    total = sum(term.value for term in terms.values())
    assert torch.isfinite(total)
    total.backward()
    assert all(torch.isfinite(tensor.grad).all() for tensor in predictions if tensor.grad is not None)


def test_positives_of_labelled_classes_are_learned_as_ever(make_batch: Make, make_predictions: Predict) -> None:
    predictions, batch = make_predictions(1), make_batch((A_BOX, None))
    labelled = torch.zeros(1, predictions.mask_logits.shape[1] - 1, dtype=torch.bool)
    labelled[0, 0] = True
    own = detection_losses(without_unlabelled(predictions, labelled), batch)
    alone = detection_losses(predictions._replace(class_logits=predictions.class_logits[..., :1]), batch)
    torch.testing.assert_close(own["det_cls"].value, alone["det_cls"].value)
    torch.testing.assert_close(own["det_box"].value, alone["det_box"].value)
