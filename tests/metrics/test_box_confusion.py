from __future__ import annotations

import numpy as np
import pytest

from bombo.data.label_space import ANY_CLASS
from bombo.data.sample import BoxAnnotation
from bombo.metrics.box_confusion import BoxConfusion
from bombo.metrics.detections import Detections, overlaps

HERE, NEAR, THERE = (0.0, 0.0, 40.0, 40.0), (4.0, 0.0, 44.0, 40.0), (100.0, 100.0, 140.0, 140.0)
NONE = 2  # row and column of nothing, with two classes


def detections(*found) -> Detections:
    boxes, labels, scores = zip(*found, strict=True) if found else ((), (), ())
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels, np.int64)
    )


def truth(*objects, **flags) -> BoxAnnotation:
    boxes, labels = zip(*objects, strict=True) if objects else ((), ())
    return BoxAnnotation.build(list(boxes), list(labels), **flags)


# detections, truth, pairs (true, detected) with their count, F1
CASES = {
    "nothing there, nothing found": (detections(), truth(), {}, 1.0),
    "found": (detections((NEAR, 0, 0.9)), truth((HERE, 0)), {(0, 0): 1}, 1.0),
    "taken for another class": (detections((NEAR, 1, 0.9)), truth((HERE, 0)), {(0, 1): 1}, 0.0),
    "missed": (detections(), truth((HERE, 1)), {(1, NONE): 1}, 0.0),
    "invented": (detections((THERE, 1, 0.9)), truth((HERE, 1)), {(NONE, 1): 1, (1, NONE): 1}, 0.0),
    "not sure enough": (detections((HERE, 0, 0.29)), truth((HERE, 0)), {(0, NONE): 1}, 0.0),
    "just sure enough": (detections((HERE, 0, 0.3)), truth((HERE, 0)), {(0, 0): 1}, 1.0),
    "found twice": (
        detections((NEAR, 0, 0.9), (HERE, 0, 0.8)),
        truth((HERE, 0)),
        {(0, 0): 1, (NONE, 0): 1},
        2 / 3,
    ),
    "the right class goes first, though less sure": (
        detections((HERE, 1, 0.9), (NEAR, 0, 0.5)),
        truth((HERE, 0)),
        {(0, 0): 1, (NONE, 1): 1},
        2 / 3,
    ),
    "two objects in one place": (
        detections((HERE, 0, 0.9), (NEAR, 1, 0.5)),
        truth((HERE, 1), (NEAR, 0)),
        {(0, 0): 1, (1, 1): 1},
        1.0,
    ),
    "a difficult object, found": (detections((HERE, 0, 0.9)), truth((HERE, 0), difficult=[True]), {}, 1.0),
    "a difficult object, missed": (detections(), truth((HERE, 0), difficult=[True]), {}, 1.0),
    "in a crowd": (detections(((0, 0, 9, 9), 0, 0.9)), truth((HERE, 1), crowd=[True]), {}, 1.0),
    "in a region of unknown class": (detections(((0, 0, 9, 9), 0, 0.9)), truth((HERE, ANY_CLASS)), {}, 1.0),
}


@pytest.mark.parametrize(("found", "there", "pairs", "f1"), CASES.values(), ids=CASES)
def test_pairs(found, there, pairs, f1):
    metric = BoxConfusion(2, min_score=np.float32(0.3))
    assert metric.update(found, there) == pytest.approx(f1)
    expected = np.zeros((3, 3), int)
    for place, count in pairs.items():
        expected[place] = count
    np.testing.assert_array_equal(metric.counts, expected)


@pytest.mark.parametrize("seed", range(8))
def test_every_object_and_every_detection_is_counted_once(seed, random_images):
    images = random_images(seed, flags=False)
    metric = BoxConfusion(4, min_score=0.2)
    for found, there in images:
        metric.update(found, there)
    objects = np.bincount(np.concatenate([there.labels for _, there in images]), minlength=4)
    sure = np.concatenate([found.labels[found.scores >= 0.2] for found, _ in images])
    np.testing.assert_array_equal(metric.counts[:4].sum(axis=1), objects)
    np.testing.assert_array_equal(metric.counts[:, :4].sum(axis=0), np.bincount(sure, minlength=4))


@pytest.mark.parametrize("seed", range(8))
def test_the_diagonal_is_what_greedy_matching_within_each_class_finds(seed, random_images):
    metric, expected = BoxConfusion(4, min_score=0.2), np.zeros(4, int)
    for found, there in random_images(seed, flags=False):
        metric.update(found, there)
        free = list(range(len(there)))
        for row in np.argsort(-found.scores, kind="stable"):
            own = [m for m in free if there.labels[m] == found.labels[row] and found.scores[row] >= 0.2]
            shared = {m: overlaps(found.boxes[[row]], there.boxes[[m]], np.zeros(1, bool))[0, 0] for m in own}
            if shared and max(shared.values()) >= 0.5:
                free.remove(max(shared, key=shared.__getitem__))
                expected[found.labels[row]] += 1
    np.testing.assert_array_equal(metric.counts.diagonal()[:4], expected)


def test_shards_merge(random_images):
    images = random_images(3)
    whole, one, other = (BoxConfusion(4) for _ in range(3))
    for number, image in enumerate(images):
        whole.update(*image)
        (one, other)[number % 2].update(*image)
    one.merge(other)
    np.testing.assert_array_equal(one.counts, whole.counts)
    with pytest.raises(ValueError, match="cannot merge"):
        one.merge(BoxConfusion(5))
