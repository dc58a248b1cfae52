from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from bombo.box_for_mask import appearance, grabcut
from bombo.box_for_mask.grabcut import GrabCut
from bombo.box_for_mask.painting import union
from bombo.box_for_mask.shapes import RIGHT_ELLIPSE, Ellipse, Fill
from bombo.box_for_mask.weak_mask import LabelProvider, WeakMask
from bombo.data.label_space import ANY_CLASS, LabelSpace
from bombo.data.scenes import THINGS, make_scene
from bombo.metrics.mean_iou import MeanIoU

SPACE, WITH_STUFF = LabelSpace(THINGS), LabelSpace(THINGS, ("water",))
SIDE = 64

Box = tuple[float, float, float, float]


def disc(radius: float = 16) -> tuple[np.ndarray, np.ndarray]:
    """A red disc on green, both a little noisy, and where it is."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    truth = np.hypot(y - SIDE / 2, x - SIDE / 2) <= radius
    image = np.where(truth[..., None], (190, 40, 40), (50, 140, 60))
    return (image + np.random.default_rng(0).normal(0, 6, image.shape)).clip(0, 255).astype(np.uint8), truth


def made_by(
    provider: LabelProvider,
    image: np.ndarray,
    boxes: list[Box],
    labels: list[int] | None = None,
    space: LabelSpace = SPACE,
) -> WeakMask:
    given = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    chosen = np.array([0] * len(boxes) if labels is None else labels, dtype=np.int64)
    return provider(image, given, chosen, np.zeros(len(boxes), dtype=bool), space)


class Measured(NamedTuple):
    miou: float
    right: np.ndarray  # (pixels in boxes,) bool
    weights: np.ndarray


@pytest.fixture(scope="module")
def on_scenes() -> dict[str, Measured]:
    found = {}
    for provider in (GrabCut(), Ellipse(), Fill()):
        score, right, weights = MeanIoU(SPACE.num_mask_values), [], []
        for seed in range(10):
            scene = make_scene(seed)
            truth = np.where(scene.mask > len(THINGS), 0, scene.mask).astype(np.uint8)
            made = provider(scene.image, scene.boxes, scene.labels, np.zeros(len(scene.boxes), dtype=bool), SPACE)
            inside = union(scene.boxes, (truth.shape[0], truth.shape[1]))
            score.update(made.values, truth)
            right.append((made.values == truth)[inside])
            weights.append(made.weights[inside])
        name = provider.name.partition("-")[0]
        found[name] = Measured(float(score.compute().miou), np.concatenate(right), np.concatenate(weights))
    return found


def test_clearly_better_than_shapes(on_scenes: dict[str, Measured]) -> None:
    assert on_scenes["grabcut"].miou > 0.8  # measured: 0.87, 0.69 and 0.64
    assert on_scenes["grabcut"].miou > on_scenes["ellipse"].miou + 0.1
    assert on_scenes["ellipse"].miou > on_scenes["fill"].miou + 0.02


def test_weights_tell_right_from_wrong(on_scenes: dict[str, Measured]) -> None:
    _, right, weights = on_scenes["grabcut"]
    assert weights.min() > 0
    assert weights.max() <= 1
    assert weights[right].mean() > weights[~right].mean() + 0.08
    shares = [right[(weights >= low) & (weights < low + 0.15)].mean() for low in (0.4, 0.55, 0.7, 0.85)]
    assert shares == sorted(shares)
    assert abs(weights.mean() - right.mean()) < 0.1  # they were measured on photographs, which are harder


def test_a_disc_is_found() -> None:
    image, truth = disc()
    made = made_by(GrabCut(), image, [(16, 16, 48, 48)], [2])
    found = made.values == 3
    assert (found & truth).sum() / (found | truth).sum() > 0.97
    assert (made.values[~found] == 0).all()


def test_the_same_every_time() -> None:
    scene = make_scene(3)
    boxes = [tuple(box) for box in scene.boxes.tolist()]
    one = made_by(GrabCut(), scene.image, boxes)
    cv2.setRNGSeed(1234)
    other = made_by(GrabCut(), np.asfortranarray(scene.image), boxes)
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.weights, other.weights)


def test_a_box_of_the_whole_image() -> None:
    image, truth = disc(30)
    made = made_by(GrabCut(), image, [(0, 0, SIDE, SIDE)])
    found = made.values == 1
    assert (found & truth).sum() / (found | truth).sum() > 0.9
    assert not found[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    assert made.weights.max() < 1  # nothing is outside


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((10, 10, 13, 40), id="3 wide"),
        pytest.param((10.2, 10.2, 10.4, 10.3), id="sub-pixel"),
        pytest.param((-20, 10, 3, 40), id="3 wide in the image"),
    ],
)
def test_a_tiny_box_is_an_ellipse(box: Box) -> None:
    image, _ = disc()
    made, expected = (made_by(provider, image, [box]) for provider in (GrabCut(), Ellipse()))
    np.testing.assert_array_equal(made.values, expected.values)
    np.testing.assert_array_equal(made.weights, expected.weights)


def test_a_lost_object_is_an_ellipse(monkeypatch: pytest.MonkeyPatch) -> None:
    image, _ = disc()
    assert (made_by(GrabCut(), image, [(0, 16, 48, 48)]).weights != np.float32(RIGHT_ELLIPSE)).any()
    monkeypatch.setattr(grabcut, "TOO_LITTLE", 1.01)
    made, expected = (made_by(provider, image, [(0, 16, 48, 48)]) for provider in (GrabCut(), Ellipse()))
    np.testing.assert_array_equal(made.values, expected.values)
    np.testing.assert_array_equal(made.weights, expected.weights)


@pytest.mark.parametrize("space", [pytest.param(SPACE, id="things"), pytest.param(WITH_STUFF, id="stuff")])
@pytest.mark.parametrize(
    ("boxes", "labels"),
    [
        pytest.param([], [], id="no boxes"),
        pytest.param([(70, 70, 90, 90)], [0], id="outside"),
        pytest.param([(-30, -30, 20, 20), (50, 40, 90, 99)], [0, 1], id="clipped"),
        pytest.param([(0, 0, 64, 64), (0, 0, 64, 64)], [0, 1], id="twice the whole image"),
        pytest.param([(0, 0, 64, 4), (0, 0, 4, 64)], [0, 1], id="thin"),
        pytest.param([(0, 0, 32, 64), (32, 0, 64, 64)], [0, 1], id="no background is left"),
        pytest.param([(4, 4, 40, 40), (10, 10, 50, 30)], [ANY_CLASS, 2], id="any class"),
    ],
)
@pytest.mark.parametrize("flat", [pytest.param(False, id="picture"), pytest.param(True, id="one colour")])
def test_odd_boxes(boxes: list[Box], labels: list[int], space: LabelSpace, flat: bool) -> None:
    image = np.full((SIDE, SIDE, 3), 90, dtype=np.uint8) if flat else disc()[0]
    made = made_by(GrabCut(), image, boxes, labels, space)
    assert np.isfinite(made.weights).all()
    assert 0 <= made.weights.min() <= made.weights.max() <= 1
    assert ((made.weights == 0) == (made.values == 255)).all()
    assert set(np.unique(made.values)) <= {0, 255, *(label + 1 for label in labels if label != ANY_CLASS)}
    outside = ~union(np.array(boxes).reshape(-1, 4), (SIDE, SIDE))
    assert (made.values[outside] == (255 if space.stuff else 0)).all()


@pytest.mark.parametrize(
    ("room", "constant"),
    [
        (appearance, "ROUNDS"),
        (appearance, "EVIDENCE"),
        (appearance, "FLAT"),
        (grabcut, "MARGIN"),
        (grabcut, "LONGEST"),
        (grabcut, "SURE"),
        (grabcut, "RIGHT"),
        (grabcut, "RIGHT_ELLIPSE"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_another_constant_is_another_name(room: ModuleType, constant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = GrabCut().name
    assert GrabCut().name == before
    value = getattr(room, constant)
    monkeypatch.setattr(room, constant, (*value[:-1], 0.99) if isinstance(value, tuple) else value + 1)
    assert GrabCut().name != before
