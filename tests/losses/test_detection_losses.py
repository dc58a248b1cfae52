from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import generalized_box_iou, sigmoid_focal_loss

from bombo.data.batch import Batch
from bombo.data.label_space import ANY_CLASS
from bombo.losses.detection import classification_targets, detection_losses
from bombo.models.box_coding import decode
from bombo.models.matching import Matches, match
from bombo.models.network import Predictions

Make = Callable[..., Batch]
Predict = Callable[..., Predictions]

CAT, DOG, COW = 0, 1, 2
VOID_MASK = torch.full((64, 64), 255, dtype=torch.uint8)
A_CAT = (8.0, 8.0, 32.0, 32.0, CAT, True)
A_DOG = (20.0, 20.0, 50.0, 60.0, DOG, True)
A_CROWD = (0.0, 30.0, 40.0, 64.0, COW, False)
A_NOBODY = (30.0, 0.0, 64.0, 30.0, ANY_CLASS, False)


def slow_asked(matches: Matches, labels: list[int], num_things: int) -> list[list[tuple[float, float]]]:
    """Target and weight of every (anchor, class) of one image, from the rule in words."""
    table = []
    for a in range(matches.box.shape[1]):
        row = []
        own = labels[int(matches.box[0, a])]
        for c in range(num_things):
            if matches.positive[0, a] and own == c:
                row.append((1.0, 1.0))
                continue
            in_region = any(matches.in_region[0, a, n] and labels[n] in (c, ANY_CLASS) for n in range(len(labels)))
            in_doubt = bool(matches.doubtful[0, a]) and own == c
            row.append((0.0, 0.0 if in_region or in_doubt else 1.0))
        table.append(row)
    return table


@pytest.mark.parametrize(
    "boxes",
    [
        pytest.param([A_CAT], id="one"),
        pytest.param([A_CAT, A_DOG], id="two"),
        pytest.param([A_CAT, (*A_CAT[:4], DOG, True)], id="same place, another class"),
        pytest.param([A_CAT, A_CROWD], id="crowd"),
        pytest.param([(*A_CAT[:4], COW, True), A_CROWD], id="crowd around one of its class"),
        pytest.param([A_NOBODY, A_CAT, A_DOG, A_CROWD], id="everything"),
        pytest.param([A_CROWD, A_NOBODY], id="regions only"),
        pytest.param([(0.0, 0.0, 64.0, 64.0, ANY_CLASS, False), A_CAT], id="a region over all"),
    ],
)
def test_what_is_asked_of_every_anchor_and_class(boxes, make_batch: Make, make_predictions: Predict) -> None:  # type: ignore[no-untyped-def]
    batch = make_batch((boxes, None))
    matches = match(make_predictions(1).anchors, batch.boxes, batch.is_target)
    found = torch.stack(classification_targets(matches, batch.labels, 3), dim=-1)[0]
    expected = torch.tensor(slow_asked(matches, batch.labels[0].tolist(), 3))
    assert torch.equal(found, expected)
    assert expected[..., 1].min() == 0 or boxes == [A_CAT] or not matches.doubtful.any()


@pytest.mark.parametrize("images", [1, 3])
def test_against_a_plain_loop(images: int, make_batch: Make, make_predictions: Predict) -> None:
    kinds = [([A_CAT, A_DOG, A_CROWD], None), ([], None), ([A_NOBODY, A_DOG], None)][:images]
    batch, predictions = make_batch(*kinds), make_predictions(images)
    found = detection_losses(predictions, batch)
    cls, box, positives = torch.tensor(0.0), torch.tensor(0.0), 0
    for i in range(images):
        matches = match(predictions.anchors, batch.boxes[i : i + 1], batch.is_target[i : i + 1])
        asked = torch.tensor(slow_asked(matches, batch.labels[i].tolist() or [0], 3))
        cls = cls + (sigmoid_focal_loss(predictions.class_logits[i], asked[..., 0]) * asked[..., 1]).sum()
        for a in matches.positive[0].nonzero().flatten().tolist():
            positives += 1
            decoded = decode(predictions.box_deltas[i, a], predictions.anchors[a])
            wanted = batch.boxes[i, matches.box[0, a]]
            box = box + 2 * (1 - generalized_box_iou(decoded[None], wanted[None])[0, 0])
    torch.testing.assert_close(found["det_cls"].value, cls / positives)
    torch.testing.assert_close(found["det_box"].value, box / positives)
    assert found["det_cls"].number == found["det_box"].number == images


def gradients(predictions: Predictions) -> list[torch.Tensor]:
    return [
        t.grad if t.grad is not None else torch.zeros_like(t)
        for t in (predictions.class_logits, predictions.box_deltas)
    ]


@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param([(None, VOID_MASK), (None, VOID_MASK)], id="no image with boxes"),
        pytest.param([(None, None)], id="no annotation at all"),
        pytest.param([([], None), ([], None)], id="only images without objects"),
        pytest.param([([], None), (None, VOID_MASK)], id="one image without objects, one not annotated"),
        pytest.param([([A_CROWD, A_NOBODY], None)], id="only regions"),
        pytest.param([([(9.0, 9.0, 9.0, 9.0, CAT, True)], None)], id="a box without area"),
        pytest.param([([(9.0, 9.0, 9.0, 20.0, CAT, True), A_DOG], None)], id="a box without width"),
        pytest.param([([(900.0, 900.0, 950.0, 950.0, CAT, True)], None)], id="a box outside"),
    ],
)
@pytest.mark.parametrize("box_loss", ["giou", "balanced_l1", "smooth_l1"])
@pytest.mark.parametrize("scale", [1.0, 200.0])
@pytest.mark.parametrize("num_things", [3, 0])
def test_odd_batches_give_finite_losses_and_gradients(  # type: ignore[no-untyped-def]
    kinds, box_loss, scale: float, num_things: int, make_batch: Make, make_predictions: Predict
) -> None:
    if num_things == 0:
        kinds = [(boxes and [(*row[:4], ANY_CLASS, False) for row in boxes], mask) for boxes, mask in kinds]
    batch, predictions = make_batch(*kinds), make_predictions(len(kinds), num_things=num_things, scale=scale)
    terms = detection_losses(predictions, batch, box_loss=box_loss)
    sum(term.value for term in terms.values()).backward()  # type: ignore[union-attr]
    assert all(term.value.isfinite() and term.value.ndim == 0 for term in terms.values())
    assert all(gradient.isfinite().all() for gradient in gradients(predictions))
    annotated = sum(boxes is not None for boxes, _ in kinds)
    assert terms["det_cls"].number == annotated
    if annotated == 0:
        assert all(term.value == 0 for term in terms.values())


def test_an_image_without_objects_is_negative_everywhere(make_batch: Make, make_predictions: Predict) -> None:
    predictions = make_predictions(1)
    terms = detection_losses(predictions, make_batch(([], None)))
    terms["det_cls"].value.backward()
    assert predictions.class_logits.grad is not None
    assert (predictions.class_logits.grad > 0).all()
    assert terms["det_box"].value == 0


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.lists(st.booleans(), min_size=2, max_size=4))
def test_missing_is_never_negative(
    make_batch: Make, make_predictions: Predict, seed: int, annotated: list[bool]
) -> None:
    kinds = [([A_CAT, A_CROWD] if known else None, VOID_MASK) for known in annotated]
    batch, predictions = make_batch(*kinds), make_predictions(len(kinds), seed=seed % 1000)
    before = detection_losses(predictions, batch)
    sum(term.value for term in before.values()).backward()  # type: ignore[union-attr]
    missing = ~batch.has_boxes
    assert all(not gradient[missing].any() for gradient in gradients(predictions))

    with torch.no_grad():  # whatever stands in the rows of images that are not annotated
        predictions.class_logits[missing] = torch.randn_like(predictions.class_logits[missing]) * 50
        predictions.box_deltas[missing] = torch.randn_like(predictions.box_deltas[missing]) * 50
        batch.boxes[missing] = torch.tensor([10.0, 10, 40, 40])
        batch.is_target[missing] = True
    after = detection_losses(predictions, batch)
    assert all(before[name].value == after[name].value for name in before)


MANY = [
    ([A_CAT, A_DOG, A_CROWD], None),
    ([], VOID_MASK),
    (None, VOID_MASK),
    ([A_NOBODY, (8.0, 10.0, 30.0, 32.0, DOG, True), A_CAT, A_DOG], None),
]


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(4)), st.permutations(range(4)))
def test_order_of_images_and_boxes_changes_nothing(
    make_batch: Make, make_predictions: Predict, images: list[int], rows: list[int]
) -> None:
    predictions, batch = make_predictions(4), make_batch(*MANY)
    shuffled = Predictions(
        predictions.class_logits[images],
        predictions.box_deltas[images],
        predictions.anchors,
        predictions.mask_logits[images],
    )
    reordered = make_batch(
        *((boxes and [boxes[r] for r in rows if r < len(boxes)], mask) for boxes, mask in (MANY[i] for i in images))
    )
    expected, found = detection_losses(predictions, batch), detection_losses(shuffled, reordered)
    for name in expected:
        torch.testing.assert_close(found[name].value, expected[name].value)


def test_the_batch_twice_and_longer_padding_change_nothing(make_batch: Make, make_predictions: Predict) -> None:
    predictions, batch = make_predictions(4), make_batch(*MANY)
    twice = Predictions(*(t if t.shape == predictions.anchors.shape else torch.cat((t, t)) for t in predictions))
    crowded = make_batch(*MANY, *MANY, ([(70.0, 70.0, 71.0, 71.0, COW, True)] * 9, None))
    padded = Batch(**{name: tensor[:8] for name, tensor in crowded.tensors().items()})
    assert padded.boxes.shape[1] == 9
    expected, found = detection_losses(predictions, batch), detection_losses(twice, padded)
    for name in expected:
        torch.testing.assert_close(found[name].value, expected[name].value)
        assert found[name].number == 2 * expected[name].number


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_predictions(dtype: torch.dtype, make_batch: Make, make_predictions: Predict) -> None:
    exact = make_predictions(4)
    half = Predictions(exact.class_logits.to(dtype), exact.box_deltas.to(dtype), exact.anchors, exact.mask_logits)
    terms, expected = detection_losses(half, make_batch(*MANY)), detection_losses(exact, make_batch(*MANY))
    for name, term in terms.items():
        assert term.value.dtype == torch.float32
        torch.testing.assert_close(term.value, expected[name].value, rtol=0.02, atol=0.02)
    sum(term.value for term in terms.values()).backward()  # type: ignore[union-attr]
    assert all(gradient.isfinite().all() for gradient in gradients(exact))
