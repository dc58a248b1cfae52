from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from bombo.data.batch import Batch
from bombo.data.derived import Derived, stack
from bombo.losses.method import Method, WeakWeights
from bombo.losses.self_training import POSSIBLE_BOX, SURE_BOX, SURE_PIXEL, self_training_losses
from bombo.losses.term import Term
from bombo.mask_for_box.pseudo_box_loss import pseudo_box_losses
from bombo.mask_for_box.pseudo_boxes import PseudoBoxes
from bombo.models.matching import match
from bombo.models.network import Predictions

Make = Callable[..., Batch]
Predict = Callable[..., Predictions]

CAT, DOG = 0, 1
SSL = Method(WeakWeights(ssl_mask=1.0, ssl_cls=1.0, ssl_box=1.0))
A_BOX = [(10.0, 10.0, 40.0, 30.0, CAT, True)]
MASK = torch.zeros(64, 64, dtype=torch.uint8)
# anchors of 24 px: the square one of the cell in row 2, column 2 of the finest level, and of that in row 5, column 5
FIRST, SECOND = (2 * 8 + 2) * 6 + 1, (5 * 8 + 5) * 6 + 1


@pytest.fixture
def four_kinds(make_batch: Make) -> Batch:
    """An image with boxes, one with a mask, one with both, one with nothing."""
    batch = make_batch((A_BOX, None), (None, MASK), (A_BOX, MASK), (None, None))
    return replace(batch, derived=stack([Derived.nothing(image) for image in batch.images]))


def detecting(images: int, predict: Predict, *found: tuple[int, int, int, float]) -> Predictions:
    """A teacher that is sure of nothing but (image, anchor, label, score), where the box is the anchor."""
    blank = predict(images)
    logits = torch.full_like(blank.class_logits, -10.0)
    for image, anchor, label, score in found:
        logits[image, anchor, label] = math.log(score / (1 - score))
    return Predictions(logits, torch.zeros_like(blank.box_deltas), blank.anchors, torch.zeros_like(blank.mask_logits))


def of(batch: Batch, predictions: Predictions, teacher: Predictions | None, method: Method = SSL) -> dict[str, Term]:
    return self_training_losses(predictions, batch, teacher, method, "giou")


def test_no_teacher_no_terms(four_kinds: Batch, make_predictions: Predict) -> None:
    assert of(four_kinds, make_predictions(4), None) == {}
    assert of(replace(four_kinds, derived=None), make_predictions(4), make_predictions(4, seed=1)) == {}


@pytest.mark.parametrize(
    "names", [(), ("ssl_mask",), ("ssl_cls",), ("ssl_box",), ("ssl_mask", "ssl_cls", "ssl_box"), ("b4m_label",)]
)
def test_terms_with_a_weight(names: tuple[str, ...], four_kinds: Batch, make_predictions: Predict) -> None:
    method = Method(WeakWeights(**dict.fromkeys(names, 0.3)))
    found = of(four_kinds, make_predictions(4), make_predictions(4, seed=1), method)
    assert set(found) == {name for name in names if name.startswith("ssl")}


def test_only_images_without_the_task_are_taught(four_kinds: Batch, make_predictions: Predict) -> None:
    predictions = make_predictions(4)
    teacher = make_predictions(4, seed=1, scale=3.0)
    terms = of(four_kinds, predictions, teacher)
    sum(term.value for term in terms.values()).backward()  # type: ignore[union-attr]

    def taught(output: Tensor) -> list[bool]:
        assert output.grad is not None
        return output.grad.flatten(1).any(1).tolist()

    assert taught(predictions.class_logits) == [False, True, False, True]
    assert taught(predictions.box_deltas) == [False, True, False, True]
    assert taught(predictions.mask_logits) == [True, False, False, True]
    assert all(output.grad is None for output in (teacher.class_logits, teacher.box_deltas, teacher.mask_logits))


@pytest.mark.parametrize(("probability", "used"), [(SURE_PIXEL + 0.01, True), (SURE_PIXEL - 0.01, False)])
def test_sure_pixels_are_labels(probability: float, used: bool, make_batch: Make, make_predictions: Predict) -> None:
    batch = make_batch((A_BOX, None))
    visible = torch.ones(64, 64, dtype=torch.bool)
    visible[:, :16] = False
    batch = replace(batch, derived=stack([replace(Derived.nothing(batch.images[0]), visible=visible)]))
    predictions, teacher = make_predictions(1, scale=0.0), make_predictions(1, scale=0.0)
    with torch.no_grad():
        teacher.mask_logits[:, 2] = math.log(4 * probability / (1 - probability))  # of five values, for value 2
    term = of(batch, predictions, teacher)["ssl_mask"]
    assert term.number == (64 * 48 if used else 0)
    assert float(term.value.detach()) == pytest.approx(math.log(5) if used else 0.0, rel=1e-5)
    term.value.backward()
    assert predictions.mask_logits.grad is not None
    assert bool((predictions.mask_logits.grad[:, 2] < 0).any()) == used
    assert not predictions.mask_logits.grad[:, :, :, :3].any()  # the padding


def test_sure_boxes_are_targets_and_possible_ones_hush_negatives(make_batch: Make, make_predictions: Predict) -> None:
    batch = make_batch((A_BOX, None), (None, MASK))
    batch = replace(batch, derived=stack([Derived.nothing(image) for image in batch.images]))
    predictions = make_predictions(2)
    sure, possible, unlikely = SURE_BOX + 0.01, SURE_BOX - 0.01, POSSIBLE_BOX - 0.01
    teacher = detecting(
        2, make_predictions, (1, FIRST, DOG, sure), (1, SECOND, CAT, possible), (1, FIRST + 18, CAT, unlikely)
    )
    terms = of(batch, predictions, teacher)
    boxes = predictions.anchors[[FIRST, SECOND]][None]
    weights = torch.tensor([[1.0, 0.0]])
    expected = pseudo_box_losses(
        predictions.class_logits[1:],
        predictions.box_deltas[1:],
        predictions.anchors,
        PseudoBoxes(
            boxes * weights[..., None],
            torch.tensor([[DOG, CAT]]),
            weights,
            (weights > 0)[..., None].expand(1, 2, 4),
            boxes[:, 1:],
            torch.tensor([[CAT]]),
            torch.zeros(1, 1),
        ),
        torch.tensor(1.0),
    )
    # divided by the positive anchors of the image with boxes
    positives = match(predictions.anchors, batch.boxes[:1], batch.is_target[:1]).positive.sum()
    assert positives > 1
    torch.testing.assert_close(terms["ssl_cls"].value, expected[0].value / positives)
    torch.testing.assert_close(terms["ssl_box"].value, expected[1].value / positives)
    assert terms["ssl_cls"].number == 1


def test_a_teacher_that_sees_nothing(four_kinds: Batch, make_predictions: Predict) -> None:
    predictions = make_predictions(4)
    terms = of(four_kinds, predictions, detecting(4, make_predictions))
    sum(term.value for term in terms.values()).backward()  # type: ignore[union-attr]
    assert terms["ssl_mask"].value == 0  # a fifth for every value
    assert terms["ssl_box"].value == 0
    assert terms["ssl_cls"].value > 0  # all negative
    assert predictions.box_deltas.grad is not None
    assert not predictions.box_deltas.grad.any()


@pytest.mark.parametrize("annotated", [(A_BOX, MASK), ([], MASK)])
def test_fully_annotated_batches_give_attached_zeros(
    annotated: tuple[object, Tensor], make_batch: Make, make_predictions: Predict
) -> None:
    batch = make_batch(annotated)
    batch = replace(batch, derived=stack([Derived.nothing(batch.images[0])]))
    predictions = make_predictions(1)
    terms = of(batch, predictions, make_predictions(1, seed=1, scale=3.0))
    assert set(terms) == {"ssl_mask", "ssl_cls", "ssl_box"}
    for term in terms.values():
        assert (term.value, term.number) == (0, 0)
        term.value.backward()
    for output in (predictions.class_logits, predictions.box_deltas, predictions.mask_logits):
        assert output.grad is not None
        assert not output.grad.any()
