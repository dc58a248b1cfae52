from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bombo.data.label_space import ANY_CLASS
from bombo.data.sample import BoxAnnotation
from bombo.metrics.detections import Detections

Images = list[tuple[Detections, BoxAnnotation]]


@pytest.fixture(scope="session")
def random_images() -> Callable[..., Images]:
    return _random_images


def _random_images(seed: int, count: int = 12, num_classes: int = 4, *, flags: bool = True) -> Images:
    """Boxes on a coarse grid with few scores, so that equal overlaps, equal scores and areas on a limit do occur.

    The last class never has a truth; some images have no truth, some no detection.
    """
    rng = np.random.default_rng(seed)
    return [_random_image(rng, num_classes, flags) for _ in range(count)]


def _random_image(rng: np.random.Generator, num_classes: int, flags: bool) -> tuple[Detections, BoxAnnotation]:
    count = int(rng.choice([0, 1, 3, 7]))
    truths = _random_boxes(rng, count)
    labels = rng.integers(0, num_classes - 1, count)
    if flags:
        labels[rng.random(count) < 0.08] = ANY_CLASS
    sides = truths[:, 2:] - truths[:, :2]
    truth = BoxAnnotation(
        truths,
        labels,
        difficult=(rng.random(count) < 0.15) & flags,
        crowd=(rng.random(count) < 0.15) & flags,
        areas=(sides.prod(axis=1) * rng.choice([1, 0.5], count)).astype(np.float32),
    )

    near = np.repeat(np.arange(count), rng.integers(0, 4, count))
    moved = truths[near] + 4 * rng.integers(-2, 3, (len(near), 4)).astype(np.float32)
    elsewhere = _random_boxes(rng, int(rng.integers(0, 6)) * int(rng.random() < 0.8))
    boxes = np.concatenate((moved, elsewhere)).astype(np.float32)
    guessed = rng.integers(0, num_classes, len(boxes))
    guessed[: len(near)] = np.where(rng.random(len(near)) < 0.85, labels[near] % num_classes, guessed[: len(near)])
    scores = rng.integers(0, 12, len(boxes)) / np.float32(11)
    shuffled = rng.permutation(len(boxes))
    return Detections(boxes[shuffled], scores[shuffled].astype(np.float32), guessed[shuffled]), truth


def _random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corners = rng.integers(0, 30, (count, 2)) * 8
    sides = rng.choice([16, 24, 32, 48, 96, 128, 200], (count, 2))
    return np.concatenate((corners, corners + sides), axis=1).astype(np.float32)
