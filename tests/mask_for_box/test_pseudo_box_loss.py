from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bombo.data.batch import collate
from bombo.data.sample import Sample
from bombo.losses.box_regression import BoxLoss
from bombo.losses.detection import detection_losses
from bombo.mask_for_box.pseudo_box_loss import pseudo_box_losses
from bombo.mask_for_box.pseudo_boxes import PseudoBoxes
from bombo.models.anchors import make_anchors
from bombo.models.box_coding import decode, encode
from bombo.models.matching import match
from bombo.models.network import Predictions

CAT, DOG, COW = 0, 1, 2
ONE = torch.tensor(1.0)
ANCHORS = make_anchors([(8, 8), (4, 4), (2, 2), (1, 1)])  # of 64 x 64 px

Rows = list[tuple[float, float, float, float, int]]
A_CAT, A_DOG, ANOTHER_CAT = (8.0, 8.0, 32.0, 32.0, CAT), (20.0, 20.0, 50.0, 60.0, DOG), (30.0, 6.0, 60.0, 40.0, CAT)


def pseudo_boxes(
    *images: Rows,
    weights: list[list[float]] | None = None,
    regions: list[Rows] | None = None,
    trust: list[list[float]] | None = None,
) -> PseudoBoxes:
    """Fully trusted and known unless said otherwise."""
    boxes, labels = _padded(list(images))
    places, place_labels = _padded(regions or [[] for _ in images])
    used = (boxes[..., 2:] > boxes[..., :2]).all(-1)
    return PseudoBoxes(
        boxes,
        labels,
        used.float() if weights is None else torch.tensor(weights),
        used[..., None].expand_as(boxes),
        places,
        place_labels,
        torch.ones(places.shape[:2]) if trust is None else torch.tensor(trust),
    )


def _padded(images: list[Rows]) -> tuple[Tensor, Tensor]:
    count = max((len(rows) for rows in images), default=0)
    boxes, labels = torch.zeros(len(images), count, 4), torch.zeros(len(images), count, dtype=torch.int64)
    for i, rows in enumerate(images):
        for j, (*box, label) in enumerate(rows):
            boxes[i, j], labels[i, j] = torch.tensor(box), label
    return boxes, labels


def outputs(images: int, num_things: int = 3, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(images)
    logits = torch.randn(images, len(ANCHORS), num_things, generator=random, dtype=dtype)
    deltas = torch.randn(images, len(ANCHORS), 4, generator=random, dtype=dtype)
    return logits.requires_grad_(), deltas.requires_grad_()


def test_two_anchors_by_hand() -> None:
    anchors = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 1.5]])
    pseudo = pseudo_boxes([(0, 0, 4, 4, DOG)], weights=[[0.6]], regions=[[(0, 0, 4, 4, DOG)]], trust=[[0.25]])
    logits = torch.tensor([[[0.0, 0.0], [0.0, math.log(3)]]])
    deltas = encode(torch.tensor([[[0.0, 0, 4, 2], [0, 0, 4, 1.5]]]), anchors)
    classes, boxes = pseudo_box_losses(logits, deltas, anchors, pseudo, torch.tensor(2.0))
    half = 0.5**2 * math.log(2)
    positive, other = 0.6 * 0.25 * half, 0.75 * half  # the first anchor: a dog trusted to 0.6, and surely no cat
    # the second lies in the component: no cat, and to a quarter no dog, although p = 3/4 says so
    doubtful = 0.25 * 0.75 * 0.75**2 * math.log(4)
    assert float(classes.value) == pytest.approx((positive + other + other + doubtful) / 2, rel=1e-5)
    assert float(boxes.value) == pytest.approx(0.6 * 2 * (1 - 0.5) / 2, rel=1e-5)  # half of the box is found
    assert (classes.number, boxes.number) == (1, 1)


@pytest.mark.parametrize(
    "images",
    [
        pytest.param([[A_CAT]], id="one"),
        pytest.param([[A_CAT, A_DOG, ANOTHER_CAT]], id="several"),
        pytest.param([[A_CAT, (*A_CAT[:4], DOG)]], id="same place, another class"),
        pytest.param([[A_CAT], [A_DOG, ANOTHER_CAT], []], id="several images"),
        pytest.param([[(3.0, 3.0, 6.0, 7.0, COW)]], id="smaller than any anchor"),
    ],
)
@pytest.mark.parametrize("kind", ["giou", "balanced_l1", "smooth_l1"])
def test_fully_trusted_boxes_are_supervision(images: list[Rows], kind: BoxLoss) -> None:
    pseudo = pseudo_boxes(*images, regions=[rows[:1] for rows in images])
    logits, deltas = outputs(len(images))
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    batch = collate(
        [
            Sample(
                image,
                torch.tensor([row[:4] for row in rows]).view(-1, 4),
                torch.tensor([row[4] for row in rows], dtype=torch.int64),
                torch.ones(len(rows), dtype=torch.bool),
                None,
            )
            for rows in images
        ]
    )
    positive = match(ANCHORS, pseudo.boxes, pseudo.weights > 0).positive.sum()
    assert positive > 0
    predictions = Predictions(logits, deltas, ANCHORS, torch.zeros(len(images), 4, 16, 16))
    supervised = detection_losses(predictions, batch, box_loss=kind)
    classes, boxes = pseudo_box_losses(logits, deltas, ANCHORS, pseudo, positive.float(), box_loss=kind)
    torch.testing.assert_close(classes.value, supervised["det_cls"].value)
    torch.testing.assert_close(boxes.value, supervised["det_box"].value)
    assert classes.number == sum(map(len, images))
    assert boxes.number == positive


@pytest.mark.parametrize("kind", ["giou", "balanced_l1", "smooth_l1"])
@pytest.mark.parametrize("unknown", [[0], [1], [2], [3], [0, 3], [0, 2], [1, 2, 3]])
def test_a_side_not_known_gets_no_gradient(kind: BoxLoss, unknown: list[int]) -> None:
    pseudo = pseudo_boxes([A_CAT])
    sides = torch.ones(1, 1, 4, dtype=torch.bool)
    sides[..., unknown] = False
    logits, deltas = outputs(1, dtype=torch.float64)
    term = pseudo_box_losses(logits, deltas, ANCHORS, pseudo._replace(sides=sides), ONE, box_loss=kind)[1]
    (gradient,) = torch.autograd.grad(term.value, deltas)
    anchors = match(ANCHORS, pseudo.boxes, pseudo.weights > 0).positive[0].nonzero().flatten().tolist()
    assert term.number == len(anchors) > 0
    learnt = torch.zeros(4, dtype=torch.float64)
    for a in anchors:  # gradient of the deltas = (d sides / d deltas)^T gradient of the sides
        change = torch.autograd.functional.jacobian(lambda d, a=a: decode(d, ANCHORS[a].double()), deltas[0, a])
        of_sides = torch.linalg.solve(change.T, gradient[0, a])
        assert of_sides[unknown].abs().max() < 1e-9
        learnt += of_sides.abs()
    assert (learnt[[side for side in range(4) if side not in unknown]] > 0).all()


def test_no_side_known_is_no_localisation() -> None:
    pseudo = pseudo_boxes([A_CAT])
    logits, deltas = outputs(1)
    nothing = pseudo._replace(sides=torch.zeros(1, 1, 4, dtype=torch.bool))
    classes, boxes = pseudo_box_losses(logits, deltas, ANCHORS, nothing, ONE)
    (classes.value + boxes.value).backward()
    assert (boxes.value, boxes.number) == (0, 0)
    assert deltas.grad is not None
    assert not deltas.grad.any()
    assert torch.equal(classes.value, pseudo_box_losses(logits, deltas, ANCHORS, pseudo, ONE)[0].value)


@pytest.mark.parametrize("trust", [0.0, 0.3, 1.0])
def test_a_doubtful_component_hushes_negatives_of_its_class_inside(trust: float) -> None:
    region = (8.0, 8.0, 56.0, 56.0, CAT)
    logits, deltas = outputs(1)
    gradients = []
    for regions in ([region], []):
        pseudo = pseudo_boxes([A_CAT], regions=[regions], trust=[[trust]] if regions else None)
        classes, _ = pseudo_box_losses(logits, deltas, ANCHORS, pseudo, ONE)
        gradients.append(torch.autograd.grad(classes.value, logits)[0][0])
    doubted, plain = gradients
    positive = match(ANCHORS, pseudo.boxes, pseudo.weights > 0).positive[0]
    low, high = torch.maximum(ANCHORS[:, :2], torch.tensor(8.0)), torch.minimum(ANCHORS[:, 2:], torch.tensor(56.0))
    inside = (high - low).clamp(min=0).prod(1) >= 0.5 * (ANCHORS[:, 2:] - ANCHORS[:, :2]).prod(1)
    assert (inside & ~positive).any()
    expected = plain.clone()
    expected[inside & ~positive, CAT] *= trust
    torch.testing.assert_close(doubted, expected)
    assert plain[inside & ~positive, CAT].any()


def test_the_most_doubtful_component_counts() -> None:
    logits, deltas = outputs(1)
    both = [(8.0, 8.0, 56.0, 56.0, CAT), (0.0, 0.0, 64.0, 64.0, CAT)]
    found = [
        pseudo_box_losses(logits, deltas, ANCHORS, pseudo_boxes([A_CAT], regions=[rows], trust=[trust]), ONE)[0].value
        for rows, trust in ((both, [0.9, 0.2]), (both[::-1], [0.2, 0.9]), (both[1:], [0.2]))
    ]
    assert torch.equal(found[0], found[1])
    torch.testing.assert_close(found[0], found[2])


def test_padding_and_order_change_nothing() -> None:
    rows = [A_CAT, A_DOG, ANOTHER_CAT]
    given = {"weights": [[0.9, 0.5, 0.7]], "regions": [rows[:2]], "trust": [[0.4, 0.6]]}
    logits, deltas = outputs(1)
    plain = pseudo_box_losses(logits, deltas, ANCHORS, pseudo_boxes(rows, **given), ONE)  # type: ignore[arg-type]
    empty = (0.0, 0.0, 0.0, 0.0, 0)
    other = pseudo_boxes(
        [*rows[::-1], empty],
        weights=[[0.7, 0.5, 0.9, 0.0]],
        regions=[[empty, *rows[:2]]],
        trust=[[0.0, 0.4, 0.6]],
    )
    for one, another in zip(plain, pseudo_box_losses(logits, deltas, ANCHORS, other, ONE), strict=True):
        torch.testing.assert_close(one.value, another.value)
        assert one.number == another.number


@pytest.mark.parametrize("kind", ["giou", "balanced_l1", "smooth_l1"])
def test_gradient(kind: BoxLoss) -> None:
    anchors = ANCHORS[::9]
    pseudo = pseudo_boxes(
        [A_CAT, A_DOG],
        [ANOTHER_CAT],
        weights=[[0.9, 0.5], [0.7, 0.0]],
        regions=[[A_DOG], [A_CAT]],
        trust=[[0.3], [0.6]],
    )
    logits, deltas = (each.detach()[:, ::9].requires_grad_() for each in outputs(2, dtype=torch.float64))

    def total(logits: Tensor, deltas: Tensor) -> Tensor:
        classes, boxes = pseudo_box_losses(logits, deltas, anchors, pseudo, torch.tensor(3.0), box_loss=kind)
        return classes.value + boxes.value

    assert total(logits, deltas).dtype == torch.float64
    assert torch.autograd.gradcheck(total, (logits, deltas))


@pytest.mark.parametrize(
    ("images", "rows", "num_things"),
    [
        pytest.param(0, 0, 3, id="no images"),
        pytest.param(0, 2, 3, id="no images, slots"),
        pytest.param(2, 2, 0, id="no thing classes"),
        pytest.param(0, 0, 0, id="nothing"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_gives_attached_zeros(images: int, rows: int, num_things: int, dtype: torch.dtype) -> None:
    logits, deltas = outputs(images, num_things, dtype)
    empty = (0.0, 0.0, 0.0, 0.0, 0)
    pseudo = pseudo_boxes(*([[empty] * rows] * images))
    if not images:
        pseudo = PseudoBoxes(*(part.new_zeros(0, rows, *part.shape[2:]) for part in pseudo))
    for term in pseudo_box_losses(logits, deltas, ANCHORS, pseudo, ONE):
        assert term.value == 0
        assert term.value.dtype == torch.float32
        assert term.number == 0
        term.value.backward(retain_graph=True)
    for output in (logits, deltas):
        assert output.grad is not None
        assert not output.grad.any()


@pytest.mark.parametrize("rows", [0, 2])
def test_without_pseudo_boxes_all_is_negative(rows: int) -> None:
    logits, deltas = outputs(2)
    classes, boxes = pseudo_box_losses(
        logits, deltas, ANCHORS, pseudo_boxes(*([[(0.0, 0.0, 0.0, 0.0, 0)] * rows] * 2)), ONE
    )
    (classes.value + boxes.value).backward()
    assert logits.grad is not None
    assert (logits.grad > 0).all()
    assert (boxes.value, boxes.number, classes.number) == (0, 0, 0)
