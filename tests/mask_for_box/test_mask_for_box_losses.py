from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from bombo.data.batch import Batch, collate
from bombo.data.derived import Derived, stack
from bombo.data.sample import Sample
from bombo.losses.method import Judge, Method, WeakWeights
from bombo.losses.term import Term
from bombo.mask_for_box.certain_negatives import certain_negatives, negative_loss
from bombo.mask_for_box.losses import (
    MIN_SCORE,
    MOST,
    UNJUDGED,
    box_stream_positives,
    mask_for_box_losses,
    proposals,
)
from bombo.mask_for_box.pseudo_box_loss import pseudo_box_losses
from bombo.mask_for_box.pseudo_boxes import PseudoBoxes
from bombo.models.anchors import make_anchors
from bombo.models.matching import match
from bombo.models.network import Predictions

CAT, DOG = 0, 1
SIDE = 64
ANCHORS = make_anchors([(8, 8), (4, 4), (2, 2), (1, 1)])
LEFT, RIGHT = (8, 8, 32, 32), (32, 8, 56, 32)  # touching cats; square anchors of two cells of the finest level
ON_LEFT, ON_RIGHT = (2 * 8 + 2) * 6 + 1, (2 * 8 + 5) * 6 + 1
BOTH = [8.0, 8.0, 56.0, 32.0]  # their component
ALL = ("m4b_cls", "m4b_box", "m4b_neg", "m4b_bag", "m4b_out")

SEEN = torch.tensor([True])

TWO_CATS = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
TWO_CATS[8:32, 8:56] = CAT + 1


def sample(boxes: list[list[float]] | None, mask: Tensor | None) -> Sample:
    image = torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)
    if boxes is None:
        return Sample(image, None, None, None, mask)
    rows = torch.tensor(boxes).view(-1, 4)
    return Sample(image, rows, torch.zeros(len(rows), dtype=torch.int64), torch.ones(len(rows), dtype=torch.bool), mask)


def batch_of(*images: tuple[list[list[float]] | None, Tensor | None]) -> Batch:
    """With the component of the two cats wherever there is a mask and nothing else."""
    samples = [sample(*image) for image in images]
    derived = [
        replace(Derived.nothing(each.image), boxes=torch.tensor([BOTH]), labels=torch.tensor([CAT]), is_target=SEEN)
        if each.boxes is None and each.mask is not None
        else Derived.nothing(each.image)
        for each in samples
    ]
    return collate(samples, derived=derived)


def outputs(images: int, seed: int = 0) -> Predictions:
    random = torch.Generator().manual_seed(seed)

    def leaf(*shape: int) -> Tensor:
        return torch.randn(images, *shape, generator=random).requires_grad_()

    return Predictions(leaf(len(ANCHORS), 2), leaf(len(ANCHORS), 4), ANCHORS, leaf(3, 16, 16))


def teacher_seeing(images: int, *found: tuple[int, int, int, float]) -> Predictions:
    """Sure of nothing but (image, anchor, label, score); its boxes are the anchors."""
    logits = torch.full((images, len(ANCHORS), 2), -10.0)
    for image, anchor, label, score in found:
        logits[image, anchor, label] = math.log(score / (1 - score))
    return Predictions(logits, torch.zeros(images, len(ANCHORS), 4), ANCHORS, torch.zeros(images, 3, 16, 16))


def method(*names: str, boxes: Judge = "weighted") -> Method:
    return Method(WeakWeights(**dict.fromkeys(names, 0.5)), boxes=boxes)


A_BOX = [[10.0, 10.0, 40.0, 30.0]]
FOUR_KINDS = batch_of((A_BOX, None), (None, TWO_CATS), (A_BOX, TWO_CATS), (None, None))
MASK_ONLY = batch_of((None, TWO_CATS))
SPLIT = teacher_seeing(1, (0, ON_LEFT, CAT, 0.81), (0, ON_RIGHT, CAT, 0.64))


@pytest.mark.parametrize("asked", [False, True], ids=["no teacher", "teacher"])
@pytest.mark.parametrize("names", [(), ("b4m_label", "ssl_cls"), *((name,) for name in ALL), ALL], ids=str)
def test_a_term_for_every_weight(names: tuple[str, ...], asked: bool) -> None:
    teacher = outputs(4, seed=1) if asked else None
    found = mask_for_box_losses(outputs(4), FOUR_KINDS, teacher, method(*names), "giou")
    assert set(found) == {name for name in names if name in ALL}


def test_without_weak_targets_no_terms() -> None:
    assert mask_for_box_losses(outputs(4), replace(FOUR_KINDS, derived=None), None, method(*ALL), "giou") == {}


@pytest.mark.parametrize("name", ALL)
def test_only_images_with_a_mask_and_no_boxes_are_taught(name: str) -> None:
    predictions, teacher = outputs(4), outputs(4, seed=1)
    term = mask_for_box_losses(predictions, FOUR_KINDS, teacher, method(name), "giou")[name]
    assert term.number > 0
    term.value.backward()
    grads = [output.grad for output in (predictions.class_logits, predictions.box_deltas)]
    taught = torch.stack([grad.flatten(1).any(1) for grad in grads if grad is not None]).any(0)
    assert taught.tolist() == [False, True, False, False]
    assert predictions.mask_logits.grad is None
    assert teacher.class_logits.grad is None
    assert teacher.box_deltas.grad is None


def made(rows: Sequence[tuple[int, ...]], weights: list[float], trust: float, *, known: bool = True) -> PseudoBoxes:
    boxes = torch.tensor([rows]).float()
    used = torch.tensor([weights])
    return PseudoBoxes(
        boxes,
        torch.full(used.shape, CAT),
        used,
        torch.full_like(boxes, known, dtype=torch.bool),
        torch.tensor([[BOTH]]),
        torch.tensor([[CAT]]),
        torch.tensor([[trust]]),
    )


PARTS, WHOLE = [LEFT, RIGHT], [(8, 8, 56, 32)]
JUDGED: dict[str, tuple[Judge, Predictions | None, PseudoBoxes]] = {
    "weighted": ("weighted", SPLIT, made(PARTS, [0.8 * 0.9, 0.8 * 0.8], 0.8)),
    "hard": ("hard", SPLIT, made(PARTS, [1.0, 1.0], 1.0)),
    "none: the component, whatever the teacher sees": ("none", SPLIT, made(WHOLE, [1.0], 1.0)),
    "weighted, not asked yet": ("weighted", None, made(WHOLE, [UNJUDGED], UNJUDGED)),
    "hard, not asked yet": ("hard", None, made(WHOLE, [1.0], 1.0)),
    "none, no teacher": ("none", None, made(WHOLE, [1.0], 1.0)),
    "weighted, and nothing seen": ("weighted", teacher_seeing(1), made(WHOLE, [0.5], 0.5, known=False)),
    "weighted, not sure enough": (
        "weighted",
        teacher_seeing(1, (0, ON_LEFT, CAT, MIN_SCORE - 0.01), (0, ON_RIGHT, CAT, MIN_SCORE - 0.01)),
        made(WHOLE, [0.5], 0.5, known=False),
    ),
    "hard, and nothing seen": ("hard", teacher_seeing(1), made(WHOLE, [1.0], 1.0)),
}


@pytest.mark.parametrize(("judge", "teacher", "pseudo"), JUDGED.values(), ids=JUDGED)
def test_how_the_teacher_judges(judge: Judge, teacher: Predictions | None, pseudo: PseudoBoxes) -> None:
    predictions = outputs(1)
    found = mask_for_box_losses(predictions, MASK_ONLY, teacher, method("m4b_cls", "m4b_box", boxes=judge), "giou")
    normaliser = match(ANCHORS, pseudo.boxes, pseudo.weights > 0).positive.sum().clamp(min=1).float()
    expected = pseudo_box_losses(
        predictions.class_logits, predictions.box_deltas, ANCHORS, pseudo, normaliser, box_loss="giou"
    )
    for name, term in zip(("m4b_cls", "m4b_box"), expected, strict=True):
        torch.testing.assert_close(found[name].value, term.value, rtol=1e-4, atol=1e-5)
        assert found[name].number == term.number


@pytest.mark.parametrize(
    ("boxed", "per_image"),
    [
        pytest.param([A_BOX], "positives", id="one image with boxes"),
        pytest.param([A_BOX, [*A_BOX, [30.0, 30.0, 62.0, 60.0]]], "positives", id="two"),
        pytest.param([], "own", id="none: those of the pseudo-boxes"),
        pytest.param([[]], "own", id="one without objects: likewise"),
    ],
)
@pytest.mark.parametrize("masked", [1, 3])
def test_divided_by_the_positives_of_the_images_with_boxes(
    boxed: list[list[list[float]]], per_image: str, masked: int
) -> None:
    batch = batch_of(*[(boxes, None) for boxes in boxed], *[(None, TWO_CATS)] * masked)
    pseudo = PseudoBoxes.of_components(torch.tensor([[BOTH]] * masked), torch.tensor([[CAT]] * masked), UNJUDGED)
    expected = float(match(ANCHORS, pseudo.boxes, pseudo.weights > 0).positive.sum())
    if per_image == "positives":
        matches = match(ANCHORS, batch.boxes[: len(boxed)], batch.is_target[: len(boxed)])
        expected = masked * int(matches.positive.sum()) / len(boxed)
        assert expected > masked
    predictions = outputs(len(batch))
    images = batch.has_mask & ~batch.has_boxes
    assert float(box_stream_positives(predictions, batch, images, pseudo)) == pytest.approx(expected)
    found = mask_for_box_losses(predictions, batch, None, method("m4b_neg"), "giou")["m4b_neg"]
    own = predictions.class_logits[images]
    negatives = certain_negatives(ANCHORS, batch.masks[images], 2)
    torch.testing.assert_close(found.value, negative_loss(own, negatives, torch.tensor(expected)).value)


@pytest.mark.parametrize(
    ("names", "teacher", "bags"),
    [
        pytest.param(("m4b_bag",), SPLIT, 1, id="alone"),
        pytest.param(("m4b_bag", "m4b_cls"), SPLIT, 0, id="a pseudo-box speaks for it already"),
        pytest.param(("m4b_bag", "m4b_cls"), teacher_seeing(1), 1, id="a doubtful one does not"),
        pytest.param(("m4b_bag", "m4b_box"), SPLIT, 1, id="nor does one that is only localised"),
    ],
)
@pytest.mark.parametrize("judge", ["weighted", "hard"])
def test_presence_is_asked_of_components_without_a_sure_box(
    names: tuple[str, ...], teacher: Predictions, bags: int, judge: Judge
) -> None:
    predictions = outputs(1)._replace(box_deltas=torch.zeros(1, len(ANCHORS), 4, requires_grad=True))
    found = mask_for_box_losses(predictions, MASK_ONLY, teacher, method(*names, boxes=judge), "giou")
    assert found["m4b_bag"].number == bags


def pushed_down(mask: Tensor, derived: Derived | None = None) -> Tensor:
    """(anchors, classes) bool: pairs that `m4b_cls` makes negatives on an image with this mask."""
    batch = batch_of((None, mask))
    if derived is not None:
        batch = replace(batch, derived=stack([derived]))
    predictions = outputs(1)
    mask_for_box_losses(predictions, batch, None, method("m4b_cls", boxes="hard"), "giou")["m4b_cls"].value.backward()
    gradient = predictions.class_logits.grad
    assert gradient is not None
    return gradient[0] > 0


def test_where_all_is_void_nothing_is_a_negative() -> None:
    nothing = Derived.nothing(torch.zeros(3, SIDE, SIDE, dtype=torch.uint8))
    assert not pushed_down(torch.full((SIDE, SIDE), 255, dtype=torch.uint8), nothing).any()
    assert pushed_down(torch.zeros(SIDE, SIDE, dtype=torch.uint8), nothing).all()


def test_an_anchor_half_on_a_blob_of_void_is_no_negative() -> None:
    mask = TWO_CATS.clone()
    mask[4:60, 32:60] = 255  # not to the border: there it would be padding
    negatives = pushed_down(mask)
    x1, y1, x2, y2 = ANCHORS.T
    on_void = (x1 >= 32) & (y1 >= 4) & (x2 <= 60) & (y2 <= 60)
    beside = (x1 >= 0) & (x2 <= 32)
    assert on_void.any()
    assert not negatives[on_void].any()
    assert beside.any()
    assert negatives[beside][:, DOG].all()


def test_a_component_cut_to_a_sliver_is_neither_object_nor_background() -> None:
    whole = batch_of((None, TWO_CATS)).derived
    assert whole is not None
    sliver = replace(whole.map(lambda part: part[0]), is_target=torch.tensor([False]))
    negatives = pushed_down(TWO_CATS, sliver)
    inside = match(ANCHORS, torch.tensor([[BOTH]]), torch.tensor([[False]])).in_region[0, :, 0]
    assert inside.any()
    assert not negatives[inside, CAT].any()
    assert negatives[inside, DOG].all()
    assert negatives[~inside].all()


EDGES = {
    "no mask images": batch_of((A_BOX, None), ([], None)),
    "nothing annotated": batch_of((None, None)),
    "background only": batch_of((None, torch.zeros(SIDE, SIDE, dtype=torch.uint8))),
    "void only": batch_of((None, torch.full((SIDE, SIDE), 255, dtype=torch.uint8))),
    "usual": FOUR_KINDS,
}


@pytest.mark.parametrize("batch", EDGES.values(), ids=EDGES)
@pytest.mark.parametrize("asked", [False, True], ids=["no teacher", "teacher"])
def test_edges_are_finite_and_attached(batch: Batch, asked: bool) -> None:
    predictions = outputs(len(batch))
    teacher = outputs(len(batch), seed=1) if asked else None
    found = mask_for_box_losses(predictions, batch, teacher, method(*ALL), "giou")
    assert set(found) == set(ALL)
    sum(term.value for term in found.values()).backward()  # type: ignore[union-attr]
    silent = not (batch.has_mask & ~batch.has_boxes).any()
    for name, term in found.items():
        assert term.value.isfinite(), name
        assert not silent or term == Term(torch.tensor(0.0), torch.tensor(0)), name
    for output in (predictions.class_logits, predictions.box_deltas):
        assert output.grad is not None
        assert output.grad.isfinite().all()
        assert not silent or not output.grad.any()


def test_proposals_are_padded_detections() -> None:
    teacher = teacher_seeing(
        3, (0, ON_LEFT, CAT, 0.9), (2, ON_LEFT, DOG, 0.5), (2, ON_RIGHT, CAT, 0.7), (1, ON_LEFT, CAT, MIN_SCORE - 0.01)
    )
    found = proposals(teacher, (SIDE, SIDE))
    torch.testing.assert_close(found.scores, torch.tensor([[0.9, 0.0], [0.0, 0.0], [0.7, 0.5]]))
    assert found.labels.tolist() == [[CAT, 0], [0, 0], [CAT, DOG]]
    expected = torch.zeros(3, 2, 4)
    expected[0, 0], expected[2, 0], expected[2, 1] = (torch.tensor(box).float() for box in (LEFT, RIGHT, LEFT))
    torch.testing.assert_close(found.boxes, expected)
    crowded = proposals(outputs(1), (SIDE, SIDE))
    assert crowded.scores.shape[1] <= MOST
    assert (crowded.scores.diff(dim=1) <= 0).all()
    assert not crowded.scores.requires_grad
    assert proposals(teacher.of(torch.zeros(3, dtype=torch.bool)), (SIDE, SIDE)).boxes.shape == (0, 0, 4)
