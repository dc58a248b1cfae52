from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bombo.mask_for_box.components import components as find_components
from bombo.mask_for_box.pseudo_boxes import ALONE, SURE, Proposals, PseudoBoxes, intersection
from bombo.mask_for_box.refinement import refine

CAT, DOG = 0, 1
SIDE = 128
ALL, NONE = (True,) * 4, (False,) * 4

Rectangle = tuple[int, int, int, int, int]  # x1, y1, x2, y2, label
Prediction = tuple[float, float, float, float, float, int]  # x1, y1, x2, y2, score, label
Answer = tuple[tuple[float, ...], int, float, tuple[bool, ...]]  # box, label, weight, sides known


class Scene(NamedTuple):
    """What is drawn, what the teacher sees, and what should come of it: boxes, and the trust in the components."""

    drawn: list[Rectangle]
    seen: list[Prediction]
    boxes: list[Answer]
    trust: list[float]


def painted(rectangles: list[Rectangle], side: int = SIDE) -> Tensor:
    mask = torch.zeros(side, side, dtype=torch.uint8)
    for x1, y1, x2, y2, label in rectangles:
        mask[y1:y2, x1:x2] = label + 1
    return mask


def components(mask: Tensor) -> tuple[Tensor, Tensor]:
    found = find_components(mask.numpy(), 2)
    return torch.from_numpy(found.boxes)[None], torch.from_numpy(found.labels)[None]


def proposals(rows: list[Prediction]) -> Proposals:
    rows = sorted(rows, key=lambda row: -row[4])
    boxes = torch.tensor([row[:4] for row in rows], dtype=torch.float32).view(1, -1, 4)
    return Proposals(boxes, torch.tensor([[row[4] for row in rows]]), torch.tensor([[row[5] for row in rows]]).long())


def judged(drawn: list[Rectangle], seen: list[Prediction]) -> PseudoBoxes:
    mask = painted(drawn)
    return refine(*components(mask), proposals(seen), mask[None])


def answers(pseudo: PseudoBoxes, image: int = 0) -> list[Answer]:
    used = pseudo.weights[image] > 0
    boxes, labels, weights, sides = (part[image][used].tolist() for part in pseudo[:4])
    return sorted((tuple(b), la, w, tuple(s)) for b, la, w, s in zip(boxes, labels, weights, sides, strict=True))


def check(found: list[Answer], wanted: list[Answer], pixels: float = 1e-3) -> None:
    assert len(found) == len(wanted)
    for (box, label, weight, sides), (box_, label_, weight_, sides_) in zip(found, sorted(wanted), strict=True):
        assert box == pytest.approx(box_, abs=pixels)
        assert (label, weight, sides) == (label_, pytest.approx(weight_, abs=1e-4), sides_)


LEFT, RIGHT = (20, 20, 50, 50, CAT), (50, 20, 80, 50, CAT)  # touching squares
ON_LEFT, ON_RIGHT = (21.0, 19.0, 49.0, 51.0, 0.81, CAT), (51.0, 21.0, 79.0, 49.0, 0.64, CAT)
# outer sides snap to the component, inner ones stay where they are: the class fills the box to its edge
SPLIT: list[Answer] = [((20, 20, 49, 50), CAT, 0.72, ALL), ((51, 20, 80, 50), CAT, 0.64, ALL)]
BAR = [(10, 50, 110, 70, CAT), (50, 30, 70, 90, DOG)]  # the dog stands before it: components 10 to 50 and 70 to 110
SQUARE = (20, 20, 60, 60, CAT)
WIDE = (20, 20, 80, 40, CAT)

HOOK = [(10, 10, 30, 110, CAT), (30, 90, 110, 110, CAT)]  # a small cat lies in the rectangle of a large one
SMALL, LARGE = (70, 20, 100, 50, CAT), (10, 10, 110, 110)
BOTH: list[Answer] = [(LARGE, CAT, 1.0, ALL), (SMALL[:4], CAT, 1.0, ALL)]

SCENES = {
    "touching squares, two predictions: split": Scene([LEFT, RIGHT], [ON_LEFT, ON_RIGHT], SPLIT, [0.8]),
    "a prediction of both is sure, but a group": Scene(
        [LEFT, RIGHT], [ON_LEFT, ON_RIGHT, (20.0, 20.0, 80.0, 50.0, 0.8, CAT)], SPLIT, [0.8]
    ),
    "a surest prediction of both is a group": Scene(
        [LEFT, RIGHT],
        [(*ON_LEFT[:4], 0.81, CAT), (*ON_RIGHT[:4], 0.81, CAT), (20.0, 20.0, 80.0, 50.0, 1.0, CAT)],
        [(box, label, 0.72, sides) for box, label, _, sides in SPLIT],
        [0.8],
    ),
    "parts far less sure than the whole": Scene(
        [LEFT, RIGHT],
        [(*ON_LEFT[:4], 0.3, CAT), (*ON_RIGHT[:4], 0.3, CAT), (20.0, 20.0, 80.0, 50.0, 0.8, CAT)],
        [((20, 20, 80, 50), CAT, 1.0, ALL)],
        [1.0],
    ),
    "three in a row, two of them seen: half as sure": Scene(
        [LEFT, RIGHT, (80, 20, 110, 50, CAT)],
        [ON_LEFT, ON_RIGHT],
        [((20, 20, 49, 50), CAT, 0.36, ALL), ((51, 20, 79, 50), CAT, 0.32, ALL)],
        [0.4],
    ),
    # 36 x 40 shared; 1600 + 36 x 44 - 1440 in all
    "one prediction that matches: the component's box": Scene(
        [SQUARE],
        [(22.0, 18.0, 58.0, 62.0, 0.5, CAT)],
        [((20, 20, 60, 60), CAT, 1440 / 1744, ALL)],
        [1440 / 1744],
    ),
    # union of the parts 100 x 20, prediction 98 x 22, shared 98 x 20
    "two predictions want one component: the surer has it, the other merges what is left": Scene(
        [(10, 40, 30, 60, CAT), (34, 40, 54, 60, CAT), (58, 40, 78, 60, CAT), (82, 40, 102, 60, CAT)],
        [(10, 40, 54, 60, 0.81, CAT), (34, 40, 102, 60, 0.64, CAT)],
        [((10, 40, 54, 60), CAT, 0.9, ALL), ((58, 40, 102, 60), CAT, 44 / 68 * 0.8, ALL)],
        [1.0, 1.0, 1.0, 1.0],
    ),
    "two predictions want one component: with one left there is nothing to merge": Scene(
        [(10, 40, 30, 60, CAT), (34, 40, 54, 60, CAT), (58, 40, 70, 60, CAT)],
        [(10, 40, 54, 60, 0.81, CAT), (34, 40, 70, 60, 0.64, CAT)],
        [((10, 40, 54, 60), CAT, 0.9, ALL), ((58, 40, 70, 60), CAT, ALONE, NONE)],
        [1.0, 1.0, ALONE],
    ),
    "an occluded bar, one prediction: merged": Scene(
        BAR,
        [(11.0, 49.0, 109.0, 71.0, 0.64, CAT)],
        [((10, 50, 110, 70), CAT, 1960 / 2196 * 0.8, ALL), ((50, 30, 70, 90), DOG, ALONE, NONE)],
        [1.0, 1.0, ALONE],
    ),
    "an occluded bar, each part seen: two": Scene(
        BAR,
        [(10.0, 50.0, 50.0, 70.0, 0.64, CAT), (70.0, 50.0, 110.0, 70.0, 0.64, CAT)],
        [
            ((10, 50, 50, 70), CAT, 1.0, ALL),
            ((50, 30, 70, 90), DOG, ALONE, NONE),
            ((70, 50, 110, 70), CAT, 1.0, ALL),
        ],
        [1.0, 1.0, ALONE],
    ),
    "in the rectangle of another, only the small one seen: the large one is alone": Scene(
        [*HOOK, SMALL], [(*SMALL[:4], 0.6, CAT)], [(LARGE, CAT, ALONE, NONE), BOTH[1]], [ALONE, 1.0]
    ),
    "in the rectangle of another, the small one surer": Scene(
        [*HOOK, SMALL], [(*SMALL[:4], 0.9, CAT), (*LARGE, 0.8, CAT)], BOTH, [1.0, 1.0]
    ),
    "in the rectangle of another, the large one surer": Scene(
        [*HOOK, SMALL], [(*SMALL[:4], 0.8, CAT), (*LARGE, 0.9, CAT)], BOTH, [1.0, 1.0]
    ),
    "no prediction: alone": Scene([SQUARE], [], [((20, 20, 60, 60), CAT, ALONE, NONE)], [ALONE]),
    "one prediction that disagrees": Scene(
        [WIDE], [(21.0, 20.0, 45.0, 40.0, 0.6, CAT)], [((20, 20, 45, 40), CAT, 0.3, ALL)], [0.4]
    ),
    # it reaches 28 px out of the component to the left: beyond 24 % of 100 + 2 px
    "a side without a reason": Scene(
        [(40, 20, 128, 100, CAT)],
        [(12.0, 60.0, 112.0, 100.0, 0.6, CAT)],
        [((12, 60, 112, 100), CAT, 0.3, (False, True, True, True))],
        [0.4],
    ),
    # 10 px out to the left: beyond 12 % of 40 + 2 px, within 24 % + 2 px; the other sides are near
    "a side at the outermost pixel": Scene(
        [(30, 20, 60, 50, CAT), (60, 20, 110, 50, CAT)],
        [(20.0, 20.0, 60.0, 50.0, 0.64, CAT), (60.0, 20.0, 110.0, 50.0, 0.64, CAT)],
        [((30, 20, 60, 50), CAT, 0.64, ALL), ((60, 20, 110, 50), CAT, 0.64, ALL)],
        [0.8],
    ),
    "nested predictions: the surest": Scene(
        [SQUARE],
        [(20.0, 20.0, 60.0, 60.0, 0.9, CAT), (22.0, 22.0, 55.0, 55.0, 0.5, CAT)],
        [((20, 20, 60, 60), CAT, 1.0, ALL)],
        [1.0],
    ),
    "what a dropped prediction hid comes back": Scene(  # the third lies in the second, that in the first
        [(20, 20, 80, 40, CAT)],
        [
            (20.0, 20.0, 56.0, 40.0, 0.81, CAT),
            (30.0, 20.0, 66.0, 40.0, 0.7, CAT),
            (48.0, 20.0, 72.0, 40.0, 0.64, CAT),
        ],
        [((20, 20, 56, 40), CAT, 0.72, ALL), ((48, 20, 72, 40), CAT, 0.64, ALL)],
        [0.8],
    ),
    "predictions without pixels of their class": Scene(
        [SQUARE],
        [(90.0, 90.0, 120.0, 120.0, 0.9, CAT), (20.0, 20.0, 60.0, 60.0, 0.9, DOG)],
        [((20, 20, 60, 60), CAT, ALONE, NONE)],
        [ALONE],
    ),
    "a prediction in the hollow of a component": Scene(
        [(20, 20, 100, 26, CAT), (20, 26, 26, 100, CAT)],
        [(40.0, 40.0, 90.0, 90.0, 0.9, CAT)],
        [((20, 20, 100, 100), CAT, ALONE, NONE)],
        [ALONE],
    ),
    "two classes side by side": Scene(
        [LEFT, (50, 20, 80, 50, DOG)],
        [(20.0, 20.0, 50.0, 50.0, 0.9, CAT), (50.0, 20.0, 80.0, 50.0, 0.9, DOG)],
        [((20, 20, 50, 50), CAT, 1.0, ALL), ((50, 20, 80, 50), DOG, 1.0, ALL)],
        [1.0, 1.0],
    ),
}
EVERY = pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)


@EVERY
def test_what_comes_of_a_scene(scene: Scene) -> None:
    pseudo = judged(scene.drawn, scene.seen)
    check(answers(pseudo), scene.boxes)
    assert pseudo.trust[0].tolist() == pytest.approx(scene.trust, abs=1e-4)


def test_split_squares_are_exact_to_a_pixel() -> None:
    found = [box for box, *_ in answers(judged([LEFT, RIGHT], [ON_LEFT, ON_RIGHT]))]
    torch.testing.assert_close(torch.tensor(found), torch.tensor([LEFT[:4], RIGHT[:4]]).float(), atol=1, rtol=0)


def test_a_component_of_another_class_does_not_hinder_a_merge() -> None:
    mask = painted(BAR)
    boxes = torch.tensor([[[10.0, 50, 50, 70], [70, 50, 110, 70], [11, 49, 109, 71]]])
    seen = proposals([(11.0, 49.0, 109.0, 71.0, 0.64, CAT)])
    pseudo = refine(boxes, torch.tensor([[CAT, CAT, DOG]]), seen, mask[None])
    check([a for a in answers(pseudo) if a[1] == CAT], [((10, 50, 110, 70), CAT, 1960 / 2196 * 0.8, ALL)])


@EVERY
def test_flipped(scene: Scene) -> None:
    mask = painted(scene.drawn)
    boxes, labels = components(mask)
    seen = proposals(scene.seen)
    mirror = [2, 1, 0, 3]
    across = torch.tensor([-1.0, 1, -1, 1])
    shift = torch.tensor([float(SIDE), 0, SIDE, 0])

    def flip(rows: Tensor) -> Tensor:
        return (rows * across + shift)[..., mirror]

    pseudo = refine(flip(boxes), labels, seen._replace(boxes=flip(seen.boxes)), mask.flip(1)[None])
    back = pseudo._replace(boxes=flip(pseudo.boxes), sides=pseudo.sides[..., mirror])
    check(answers(back), scene.boxes)
    torch.testing.assert_close(pseudo.trust, judged(scene.drawn, scene.seen).trust)


@EVERY
def test_at_twice_the_size(scene: Scene) -> None:
    mask = painted(scene.drawn)
    boxes, labels = components(mask)
    seen = proposals(scene.seen)
    large = mask.repeat_interleave(2, 0).repeat_interleave(2, 1)
    pseudo = refine(boxes * 2, labels, seen._replace(boxes=seen.boxes * 2), large[None])
    doubled = [(tuple(2 * side for side in box), label, weight, known) for box, label, weight, known in scene.boxes]
    check(answers(pseudo), doubled, pixels=1)


@EVERY
def test_padding_changes_nothing(scene: Scene) -> None:
    mask = painted(scene.drawn)
    boxes, labels = components(mask)
    seen = proposals(scene.seen)
    padded = Proposals(
        *(
            torch.cat((part, torch.zeros_like(part[:, :1]).expand(-1, 3, *part.shape[2:])), 1)
            if part.shape[1]
            else part.new_zeros(1, 3, *part.shape[2:])
            for part in seen
        )
    )
    pseudo = refine(
        torch.cat((boxes, torch.zeros(1, 2, 4)), 1),
        torch.cat((labels, torch.zeros(1, 2).long()), 1),
        padded,
        mask[None],
    )
    check(answers(pseudo), scene.boxes)


def test_a_batch_is_its_images() -> None:
    scenes = list(SCENES.values())
    most, seen_most = max(len(s.trust) for s in scenes), max(len(s.seen) for s in scenes)
    boxes, labels = torch.zeros(len(scenes), most, 4), torch.zeros(len(scenes), most, dtype=torch.int64)
    found = Proposals(
        torch.zeros(len(scenes), seen_most, 4),
        torch.zeros(len(scenes), seen_most),
        labels.new_zeros(len(scenes), seen_most),
    )
    masks = torch.stack([painted(scene.drawn) for scene in scenes])
    for i, scene in enumerate(scenes):
        own, own_labels = components(masks[i])
        boxes[i, : own.shape[1]], labels[i, : own.shape[1]] = own[0], own_labels[0]
        for part, whole in zip(proposals(scene.seen), found, strict=True):
            whole[i, : part.shape[1]] = part[0]
    pseudo = refine(boxes, labels, found, masks)
    for i, scene in enumerate(scenes):
        check(answers(pseudo, i), scene.boxes)


@pytest.mark.parametrize(
    ("images", "rows", "columns"),
    [
        pytest.param(2, 0, 0, id="nothing at all"),
        pytest.param(2, 0, 3, id="no components"),
        pytest.param(2, 3, 0, id="no proposals"),
        pytest.param(0, 3, 3, id="no images"),
        pytest.param(0, 0, 0, id="no images and nothing on them"),
        pytest.param(2, 3, 3, id="padding only"),
    ],
)
def test_nothing_gives_nothing(images: int, rows: int, columns: int) -> None:
    none = Proposals(
        torch.zeros(images, columns, 4), torch.zeros(images, columns), torch.zeros(images, columns, dtype=torch.int64)
    )
    masks = torch.zeros(images, 64, 64, dtype=torch.uint8)
    pseudo = refine(torch.zeros(images, rows, 4), torch.zeros(images, rows, dtype=torch.int64), none, masks)
    assert pseudo.boxes.shape == (images, rows + columns, 4)
    assert pseudo.trust.shape == (images, rows)
    assert not pseudo.weights.any()
    assert not pseudo.boxes.any()


def test_predictions_without_components_are_no_boxes() -> None:
    mask = painted([SQUARE])
    pseudo = refine(
        torch.zeros(1, 0, 4),
        torch.zeros(1, 0, dtype=torch.int64),
        proposals([(20.0, 20.0, 60.0, 60.0, 0.9, CAT)]),
        mask[None],
    )
    assert not pseudo.weights.any()


coordinates = st.integers(0, 63)
boxes_of = st.tuples(coordinates, coordinates, st.integers(1, 64), st.integers(1, 64)).map(
    lambda b: (b[0], b[1], min(b[0] + b[2], 64), min(b[1] + b[3], 64))
)
rectangles = st.tuples(boxes_of, st.integers(0, 1)).map(lambda r: (*r[0], r[1]))
predictions = st.tuples(boxes_of, st.integers(1, 100), st.integers(0, 1)).map(lambda p: (*p[0], p[1] / 100, p[2]))


@settings(max_examples=150, deadline=None)
@given(st.lists(rectangles, max_size=5), st.lists(predictions, max_size=6))
def test_what_holds_for_any_scene(drawn: list[Rectangle], seen: list[Prediction]) -> None:
    mask = painted(drawn, 64)
    boxes, labels = components(mask)
    pseudo = refine(boxes, labels, proposals(seen), mask[None])
    used = pseudo.weights[0] > 0
    assert ((pseudo.weights <= 1) & (pseudo.weights >= 0)).all()
    assert ((pseudo.trust <= 1) & (pseudo.trust > 0)).all()
    assert (pseudo.boxes[0, used][:, 2:] > pseudo.boxes[0, used][:, :2]).all()
    assert not pseudo.boxes[0, ~used].any()
    assert not pseudo.sides[0, ~used].any()
    # every component says something, or somebody says it in its place: none is just forgotten
    alone_or_kept = pseudo.weights[0, : labels.shape[1]] > 0
    assert bool(used.any()) == bool(labels.numel())
    assert (pseudo.trust[0, ~alone_or_kept] != ALONE).all()
    same = labels[0][:, None] == pseudo.labels[0, used]
    on_it = same & (intersection(boxes, pseudo.boxes[:, used])[0] > 0)
    assert on_it.any(1).all()


def test_components_as_they_are_and_hard() -> None:
    boxes, labels = torch.tensor([[[1.0, 1, 9, 9], [0, 0, 0, 0]]]), torch.tensor([[DOG, 0]])
    sure, unsure = (PseudoBoxes.of_components(boxes, labels, weight) for weight in (SURE, SURE - 0.1))
    assert sure.weights.tolist() == [[pytest.approx(SURE), 0]]
    assert sure.sides.tolist() == [[[True] * 4, [False] * 4]]
    assert not unsure.sides.any()
    hard = unsure.hard()
    assert hard.weights.tolist() == [[1, 0]]
    assert torch.equal(hard.sides, sure.sides)
    assert hard.trust.tolist() == [[1, 1]]
