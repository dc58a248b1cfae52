"""What the criterion hands on to the weak losses, and that images keep to themselves what is theirs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from bombo.box_for_mask.losses import Rates, box_for_mask_losses
from bombo.data.batch import Batch, collate
from bombo.data.derived import Derived
from bombo.data.sample import Sample
from bombo.losses.criterion import Criterion
from bombo.losses.method import Method, WeakWeights
from bombo.losses.self_training import self_training_losses
from bombo.losses.unlabelled import without_unlabelled
from bombo.mask_for_box.components import components
from bombo.mask_for_box.losses import mask_for_box_losses
from bombo.models.anchors import make_anchors
from bombo.models.network import Predictions

SIDE = 64
ANCHORS = make_anchors([(8, 8), (4, 4), (2, 2), (1, 1)])
NAMES = list(WeakWeights().by_name())
WEIGHTS = WeakWeights(**{name: 0.1 * (number + 1) for number, name in enumerate(NAMES)})  # no two alike
METHOD = Method(WEIGHTS, masks="weighted", boxes="weighted")
RATES: Rates = (torch.tensor([0.2, 0.6]), torch.tensor([0.3, 0.7]))
HALFWAY = 0.25  # of the schedule: the teacher is trusted by half


def with_boxes(seed: int) -> tuple[Sample, Derived]:
    """An image with a box of each class, and labels made of them."""
    random = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (3, SIDE, SIDE), generator=random, dtype=torch.uint8)
    corner = torch.randint(2, 12, (2, 2), generator=random).float()
    boxes = torch.cat((corner, corner + torch.tensor([[24.0, 40], [44, 30]])), dim=1)
    masks = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
    for value, (x1, y1, x2, y2) in enumerate(boxes.int().tolist(), start=1):
        masks[y1:y2, x1:x2] = value
    labels = torch.tensor([0, 1])
    derived = replace(Derived.nothing(image), masks=masks, weights=torch.full((SIDE, SIDE), 0.8))
    return Sample(image, boxes, labels, torch.ones(2, dtype=torch.bool), None), derived


def with_mask(seed: int) -> tuple[Sample, Derived]:
    """An image with a mask of both classes, and the boxes of its components."""
    random = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (3, SIDE, SIDE), generator=random, dtype=torch.uint8)
    mask = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
    for value in (1, 2):
        y, x = torch.randint(0, 30, (2,), generator=random).tolist()
        mask[y : y + 26, x : x + 20] = value
    found = components(mask.numpy(), 2)
    boxes = torch.from_numpy(found.boxes)
    derived = replace(
        Derived.nothing(image),
        boxes=boxes,
        labels=torch.from_numpy(np.asarray(found.labels)),
        is_target=torch.ones(len(boxes), dtype=torch.bool),
    )
    return Sample(image, None, None, None, mask), derived


def batch_of(order: list[int], labelled: Tensor | None = None) -> Batch:
    images = [with_mask(1), with_boxes(2), with_mask(3), with_boxes(4), with_mask(5), with_boxes(6)]
    chosen = [images[index] for index in order]
    batch = collate([sample for sample, _ in chosen], derived=[derived for _, derived in chosen])
    return batch if labelled is None else replace(batch, labelled=labelled[order])


def outputs(order: list[int], seed: int, scale: float) -> Predictions:
    random = torch.Generator().manual_seed(seed)
    classes, deltas, masks = (
        torch.randn(6, *shape, generator=random)[order] for shape in ((len(ANCHORS), 2), (len(ANCHORS), 4), (3, 16, 16))
    )
    return Predictions((scale * classes).requires_grad_(), deltas * 0.1, ANCHORS, (scale * masks).requires_grad_())


@pytest.mark.parametrize("labelled", [None, torch.tensor([[True, True], [True, False], [False, True]] * 2)])
def test_every_weak_loss_gets_its_weight_the_teacher_the_trust_and_the_rates(labelled: Tensor | None) -> None:
    order = list(range(6))
    batch, own, teacher = batch_of(order, labelled), outputs(order, 0, 1.0), outputs(order, 1, 3.0)
    criterion = Criterion(detection=2.0, segmentation=3.0, box_loss="smooth_l1", method=METHOD, rates=RATES)
    found = criterion(own, batch, teacher, HALFWAY)

    own, teacher = (without_unlabelled(each, batch.labelled) for each in (own, teacher))
    plain = (
        box_for_mask_losses(own, batch, teacher, METHOD, 0.5, RATES)
        | mask_for_box_losses(own, batch, teacher, METHOD, "smooth_l1")
        | self_training_losses(own, batch, teacher, METHOD, "smooth_l1")
    )
    assert plain.keys() == set(NAMES)
    for name, term in plain.items():
        of_task = 3.0 if name.startswith("b4m") or name == "ssl_mask" else 2.0
        assert term.value > 0, name
        torch.testing.assert_close(found[name].value, term.value * WEIGHTS.by_name()[name] * of_task)
        assert found[name].number == term.number


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        pytest.param({"progress": 1.0}, {"b4m_label"}, id="trust"),
        pytest.param({"rates": (torch.tensor([0.8, 0.8]), torch.tensor([0.9, 0.9]))}, {"b4m_fill"}, id="rates"),
        pytest.param({"teacher": outputs(list(range(6)), 7, 3.0)}, {"b4m_label", "m4b_cls", "ssl_mask"}, id="teacher"),
    ],
)
def test_what_is_handed_on_makes_a_difference(changed: dict[str, object], names: set[str]) -> None:
    order = list(range(6))

    def losses(progress: float = HALFWAY, rates: Rates = RATES, teacher: Predictions | None = None) -> dict[str, float]:
        opinion = outputs(order, 1, 3.0) if teacher is None else teacher
        terms = Criterion(method=METHOD, rates=rates)(outputs(order, 0, 1.0), batch_of(order), opinion, progress)
        return {name: float(term.value.detach()) for name, term in terms.items()}

    before, after = losses(), losses(**changed)  # type: ignore[arg-type]
    for name in names:
        assert before[name] != pytest.approx(after[name], rel=1e-4), name


@pytest.mark.parametrize("order", [[2, 1, 0, 3, 4, 5], [0, 3, 2, 1, 4, 5], [4, 3, 0, 5, 2, 1], [1, 3, 2, 0, 5, 4]])
def test_the_order_of_the_images_makes_no_difference(order: list[int]) -> None:
    """So a teacher's opinion, a mask or a component never counts for another image than its own."""
    straight = list(range(6))
    criterion = Criterion(dice=1.0, method=METHOD, rates=RATES)
    one, other = (
        criterion(outputs(each, 0, 1.0), batch_of(each), outputs(each, 1, 3.0), HALFWAY) for each in (straight, order)
    )
    for name, term in one.items():
        torch.testing.assert_close(term.value, other[name].value, rtol=1e-4, atol=1e-6, msg=name)
        assert term.number == other[name].number, name
