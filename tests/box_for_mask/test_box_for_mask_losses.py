from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate

from bombo.box_for_mask.losses import Rates, box_for_mask_losses, no_rates
from bombo.data.batch import Batch
from bombo.data.derived import Derived
from bombo.data.label_space import ANY_CLASS, VOID
from bombo.losses.method import Judge, Method, WeakWeights
from bombo.losses.term import Term
from bombo.models.anchors import make_anchors
from bombo.models.network import Predictions

SIDE, STRIDE, THINGS, VALUES = 32, 4, 2, 4  # background, two things, one stuff
CELLS = SIDE // STRIDE
NAMES = ("b4m_label", "b4m_dice", "b4m_set", "b4m_row", "b4m_pair", "b4m_fill")
STRICT: Rates = (torch.ones(THINGS), torch.ones(THINGS))  # nothing but a full box will do

Row = tuple[float, float, float, float, int, bool]  # x1, y1, x2, y2, label, is a target
BOX: Row = (8, 8, 24, 24, 0, True)


def batch(kinds: list[str], rows: list[Row] | None = None) -> Batch:
    """Images that carry `boxes`, `masks`, `both` or `none`; the boxes are filled with their class, weight 0.6."""
    given = [BOX] if rows is None else rows
    has_boxes = torch.tensor([kind in ("boxes", "both") for kind in kinds], dtype=torch.bool)
    boxes = torch.tensor([row[:4] for row in given], dtype=torch.float32).view(1, -1, 4).repeat(len(kinds), 1, 1)
    labels = torch.tensor([row[4] for row in given], dtype=torch.int64).view(1, -1).repeat(len(kinds), 1)
    is_target = torch.tensor([row[5] for row in given], dtype=torch.bool).view(1, -1).repeat(len(kinds), 1)
    masks, weights = torch.zeros(SIDE, SIDE, dtype=torch.uint8), torch.ones(SIDE, SIDE)
    for x1, y1, x2, y2, label, _ in given:
        window = slice(max(0, int(y1)), max(0, int(y2))), slice(max(0, int(x1)), max(0, int(x2)))
        masks[window] = VOID if label == ANY_CLASS else label + 1
        weights[window] = 0 if label == ANY_CLASS else 0.6
    plain = torch.randint(100, 104, (len(kinds), 3, SIDE, SIDE), dtype=torch.uint8)
    derived = Derived(
        plain,
        masks.repeat(len(kinds), 1, 1),
        weights.repeat(len(kinds), 1, 1),
        torch.ones(len(kinds), SIDE, SIDE, dtype=torch.bool),
        torch.zeros(len(kinds), 0, 4),
        torch.zeros(len(kinds), 0, dtype=torch.int64),
        torch.zeros(len(kinds), 0, dtype=torch.bool),
    )
    return Batch(
        plain,
        boxes * has_boxes[:, None, None],
        labels * has_boxes[:, None],
        is_target & has_boxes[:, None],
        torch.full((len(kinds), SIDE, SIDE), VOID, dtype=torch.uint8),
        has_boxes,
        torch.tensor([kind in ("masks", "both") for kind in kinds], dtype=torch.bool),
        derived=derived,
    )


def predictions(images: int, seed: int = 0, scale: float = 1.0) -> Predictions:
    random = torch.Generator().manual_seed(seed)
    anchors = make_anchors([(4, 4), (2, 2), (1, 1), (1, 1)])
    shapes = (len(anchors), THINGS), (len(anchors), 4), (VALUES, CELLS, CELLS)
    classes, deltas, masks = (
        (torch.randn(images, *shape, generator=random) * scale).requires_grad_() for shape in shapes
    )
    return Predictions(classes, deltas, anchors, masks)


def method(*names: str, masks: Judge = "none") -> Method:
    return Method(WeakWeights(**dict.fromkeys(names, 0.5)), masks=masks)


def losses(
    outputs: Predictions, given: Batch, chosen: Method, teacher: Predictions | None = None, trust: float = 1.0,
    rates: Rates = STRICT,
) -> dict[str, Term]:  # fmt: skip
    return box_for_mask_losses(outputs, given, teacher, chosen, trust, rates)


def gradient(outputs: Predictions, term: Term) -> Tensor:
    (found,) = torch.autograd.grad(term.value, outputs.mask_logits, retain_graph=True)
    return found


def surprise(outputs: Predictions, labels: Tensor) -> Tensor:
    fine = interpolate(outputs.mask_logits, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return cross_entropy(fine, labels.long(), ignore_index=VOID, reduction="none")


@pytest.mark.parametrize("name", NAMES)
def test_one_weight_one_term(name: str) -> None:
    found = losses(predictions(2), batch(["boxes", "boxes"]), method(name))
    assert list(found) == [name]
    assert found[name].value > 0


def test_every_weight_its_term() -> None:
    assert set(losses(predictions(1), batch(["boxes"]), method(*NAMES))) == set(NAMES)


def test_no_weight_no_term() -> None:
    given = batch(["boxes"])
    assert losses(predictions(1), given, method()) == {}
    assert losses(predictions(1), given, method("m4b_cls", "ssl_mask")) == {}
    assert losses(predictions(1), replace(given, derived=None), method(*NAMES)) == {}


@pytest.mark.parametrize("name", NAMES)
def test_only_images_with_boxes_alone_are_spoken_for(name: str) -> None:
    kinds = ["masks", "boxes", "both", "none", "boxes"]
    outputs = predictions(len(kinds))
    found = losses(outputs, batch(kinds), method(name))[name]
    moved = gradient(outputs, found).flatten(1).any(1)
    assert moved.tolist() == [kind == "boxes" for kind in kinds]


def test_how_much_each_speaks_for() -> None:
    found = losses(predictions(3), batch(["boxes", "masks", "boxes"]), method(*NAMES))
    numbers = {name: int(found[name].number) for name in NAMES if name != "b4m_pair"}
    assert numbers == {
        "b4m_label": 2 * SIDE**2,
        "b4m_dice": 2,
        "b4m_set": 2 * CELLS**2,
        "b4m_row": 2,
        "b4m_fill": 2,
    }
    assert 0 < found["b4m_pair"].number < 2 * 4 * CELLS**2


def test_hard_labels_when_nobody_judges() -> None:
    outputs, given = predictions(2), batch(["boxes", "boxes"])
    assert given.derived is not None
    found = losses(outputs, given, method("b4m_label"))["b4m_label"].value
    torch.testing.assert_close(found, surprise(outputs, given.derived.masks).mean())


def test_weights_count_when_a_teacher_will_judge() -> None:
    outputs, given = predictions(2), batch(["boxes", "boxes"])
    assert given.derived is not None
    found = losses(outputs, given, method("b4m_label", masks="weighted"))["b4m_label"].value
    torch.testing.assert_close(found, (surprise(outputs, given.derived.masks) * given.derived.weights).mean())


def test_the_teacher_is_heard_where_the_method_says_so() -> None:
    outputs, given, teacher = predictions(1), batch(["boxes"]), predictions(1, seed=5, scale=3)

    def loss(masks: Judge, opinion: Predictions | None, trust: float = 1.0) -> Term:
        return losses(outputs, given, method("b4m_label", masks=masks), opinion, trust)["b4m_label"]

    assert loss("none", teacher) == loss("none", None)
    assert loss("weighted", teacher, trust=0) == loss("weighted", None)
    assert loss("weighted", teacher).value != loss("weighted", None).value
    assert loss("weighted", teacher).number < loss("weighted", None).number  # some are in doubt


def test_a_sure_teacher_overrules_the_labels() -> None:
    outputs, given, teacher = predictions(1), batch(["boxes"]), predictions(1, scale=0)
    teacher.mask_logits.data[:, 0] = 30  # background, whatever the box says
    chosen = method("b4m_label", "b4m_dice", masks="weighted")
    found = losses(outputs, given, chosen, teacher)
    empty = replace(given, derived=batch(["boxes"], []).derived)
    torch.testing.assert_close(found["b4m_label"].value, surprise(outputs, torch.zeros(1, SIDE, SIDE)).mean())
    torch.testing.assert_close(found["b4m_dice"].value, losses(outputs, empty, chosen)["b4m_dice"].value)


def test_what_the_boxes_rule_out_no_teacher_brings_back() -> None:
    outputs, given, teacher = predictions(1), batch(["boxes"]), predictions(1, scale=0)
    teacher.mask_logits.data[:, 2] = 30  # a class without a box
    found = losses(outputs, given, method("b4m_label", masks="weighted"), teacher)["b4m_label"]
    labels = torch.zeros(1, SIDE, SIDE)
    labels[:, 8:24, 8:24] = VOID  # what is left of the opinion favours nobody, and 0.6 is not sure
    assert found.number == SIDE**2 - 16**2
    torch.testing.assert_close(found.value, 0.95 * surprise(outputs, labels)[labels != VOID].mean())


@pytest.mark.parametrize("judged", [False, True])
@pytest.mark.parametrize("name", ["b4m_label", "b4m_dice", "b4m_set", "b4m_pair"])
def test_padding_has_no_say(name: str, judged: bool) -> None:
    outputs, given = predictions(1), batch(["boxes"], [(8, 8, 32, 24, 0, True)])
    assert given.derived is not None
    given.derived.visible[..., SIDE // 2 :] = False
    given.derived.masks[..., SIDE // 2 :] = VOID
    given.derived.weights[..., SIDE // 2 :] = 0
    teacher = predictions(1, seed=5, scale=9) if judged else None
    found = losses(outputs, given, method(name, masks="weighted" if judged else "none"), teacher)[name]
    moved = gradient(outputs, found).flatten(0, 2).any(0)
    reach = 1 if name == "b4m_label" else 0  # cells beyond the border that upsampling mixes in
    assert moved[: CELLS // 2].all()
    assert not moved[CELLS // 2 + reach :].any()


@pytest.mark.parametrize("name", ["b4m_label", "b4m_dice"])
def test_void_has_no_say(name: str) -> None:
    outputs, given = predictions(1), batch(["boxes"], [(8, 8, 24, 24, ANY_CLASS, False)])
    moved = gradient(outputs, losses(outputs, given, method(name))[name]).flatten(0, 1).any(0)
    assert not moved[3:5, 3:5].any()
    assert moved[:2].all()


@pytest.mark.parametrize("judged", [False, True])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kinds", [["masks", "both", "none"], ["masks"]], ids=len)
def test_without_images_an_attached_zero(name: str, kinds: list[str], judged: bool) -> None:
    outputs = predictions(len(kinds))
    teacher = predictions(len(kinds), seed=5) if judged else None
    found = losses(outputs, batch(kinds), method(name, masks="weighted" if judged else "none"), teacher)[name]
    assert found.value == found.number == 0
    assert found.value.isfinite()
    assert not gradient(outputs, found).any()


EDGES: list[tuple[str, list[Row]]] = [
    ("no boxes", []),
    ("the whole image", [(0, 0, SIDE, SIDE, 1, True)]),
    ("more than the image", [(-99, -99, 99, 99, 1, True)]),
    ("sub-pixel", [(7.9, 7.9, 8.1, 8.1, 0, True)]),
    ("outside", [(40, 40, 50, 50, 0, False)]),
    ("any class", [(0, 0, SIDE, SIDE, ANY_CLASS, False)]),
    ("a sliver beside a padded row", [(0, 0, 1, SIDE, 0, False), (0, 0, 0, 0, 0, False)]),
    ("two classes", [(0, 0, 20, 20, 0, True), (4, 4, SIDE, SIDE, 1, True)]),
]


@pytest.mark.parametrize("scale", [0.0, 1.0, 200.0])
@pytest.mark.parametrize("rows", [pytest.param(rows, id=name) for name, rows in EDGES])
def test_finite_whatever_the_boxes(rows: list[Row], scale: float) -> None:
    outputs, teacher = predictions(2, scale=scale), predictions(2, seed=5, scale=scale)
    for name, term in losses(
        outputs, batch(["boxes", "masks"], rows), method(*NAMES, masks="weighted"), teacher
    ).items():
        assert term.value.isfinite(), name
        assert gradient(outputs, term).isfinite().all(), name


def test_the_teacher_is_not_taught() -> None:
    outputs, teacher = predictions(1), predictions(1, seed=5)
    found = losses(outputs, batch(["boxes"]), method(*NAMES, masks="weighted"), teacher)
    torch.stack([term.value for term in found.values()]).sum().backward()
    assert outputs.mask_logits.grad is not None
    assert teacher.mask_logits.grad is None


def test_any_rate_is_usual_unless_rates_are_known() -> None:
    outputs, given = predictions(1), batch(["boxes"])
    free = no_rates(THINGS, torch.device("cpu"))
    assert losses(outputs, given, method("b4m_fill"), rates=free)["b4m_fill"].value == 0
    low, high = torch.tensor([1.0, 0.0]), torch.ones(2)  # of the other class: no matter
    assert losses(outputs, given, method("b4m_fill"), rates=(low, high))["b4m_fill"].value > 0
    assert losses(outputs, given, method("b4m_fill"), rates=(low.flip(0), high))["b4m_fill"].value == 0


def test_other_images_make_no_difference() -> None:
    outputs, given = predictions(4), batch(["boxes", "masks", "boxes", "both"])
    assert given.derived is not None
    kept = torch.tensor([True, False, True, False])
    alone = replace(batch(["boxes", "boxes"]), derived=given.derived.map(lambda tensor: tensor[kept]))
    found = losses(outputs, given, method(*NAMES))
    expected = losses(outputs.of(kept), alone, method(*NAMES))
    for name in NAMES:
        torch.testing.assert_close(found[name].value, expected[name].value)
