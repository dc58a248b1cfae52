from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bombo.data.label_space import ANY_CLASS
from bombo.data.sample import BoxAnnotation
from bombo.metrics.detections import Detections
from bombo.metrics.voc_ap import VocAP, VocResult


def evaluated(images, num_classes, order=None) -> VocResult:
    metric = VocAP(num_classes)
    for index in range(len(images)) if order is None else order:
        metric.update(index, *images[index])
    return metric.compute()


def assert_equal(one: VocResult, other: VocResult) -> None:
    for name in ("ap50_11point", "ap50_allpoint", "per_class_11point", "per_class_allpoint"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def intersection(a, b):
    return max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)


def area(a):
    return (a[2] - a[0]) * (a[3] - a[1])


def devkit(images, label):
    """One class by the devkit's loop over all detections of all images, as (11-point, all-point)."""
    truths, regions, positives = [], [], 0
    for _, truth in images:
        rows = zip(truth.boxes.tolist(), truth.difficult | truth.crowd, truth.labels, strict=True)
        truths.append([{"box": box, "difficult": skip, "taken": False} for box, skip, own in rows if own == label])
        regions.append(truth.boxes[truth.labels == ANY_CLASS].tolist())
        positives += sum(not truth["difficult"] for truth in truths[-1])
    if positives == 0:
        return float("nan"), float("nan")
    rows = [
        (float(score), image, box)
        for image, (found, _) in enumerate(images)
        for box, score, own in zip(found.boxes.tolist(), found.scores, found.labels, strict=True)
        if own == label
    ]
    verdicts = []
    for _, image, box in sorted(rows, key=lambda row: -row[0]):
        best, best_iou = None, 0.0
        for truth in truths[image]:
            inside = intersection(box, truth["box"])
            iou = inside / (area(box) + area(truth["box"]) - inside)
            if iou > best_iou:
                best, best_iou = truth, iou
        if best_iou >= 0.5:
            if best["difficult"]:
                continue
            verdicts.append(not best["taken"])
            best["taken"] = True
        elif not any(intersection(box, region) / max(area(box), 1) >= 0.5 for region in regions[image]):
            verdicts.append(False)
    points = [(sum(verdicts[:n]) / positives, sum(verdicts[:n]) / n) for n in range(1, len(verdicts) + 1)]
    eleven = sum(max((p for r, p in points if r >= t / 10), default=0) for t in range(11)) / 11
    every, last = 0.0, 0.0
    for recall, _ in points:
        every += (recall - last) * max(p for r, p in points if r >= recall)
        last = recall
    return eleven, every


@pytest.mark.parametrize("seed", range(30))
def test_equals_the_devkit(seed, random_images):
    images = random_images(seed, count=25, flags=seed % 3 > 0)
    result = evaluated(images, 4)
    expected = np.array([devkit(images, label) for label in range(4)])
    np.testing.assert_allclose(result.per_class_11point, expected[:, 0], atol=1e-12)
    np.testing.assert_allclose(result.per_class_allpoint, expected[:, 1], atol=1e-12)
    np.testing.assert_allclose(
        [result.ap50_11point, result.ap50_allpoint], np.nanmean(expected[:3], axis=0), atol=1e-12
    )
    assert np.isnan(expected[3]).all()


BIG, MOST, PART, FAR = (0, 0, 100, 100), (0, 0, 100, 60), (0, 0, 40, 100), (200, 200, 300, 300)
LEFT, RIGHT, BETWEEN, FAR_LEFT = (40, 0, 140, 100), (60, 0, 160, 100), (50, 0, 150, 100), (10, 0, 110, 100)


@pytest.mark.parametrize(
    ("truth", "found", "eleven", "every"),
    [
        pytest.param(BoxAnnotation.build([BIG], [0]), [BIG], 1, 1, id="found"),
        pytest.param(BoxAnnotation.build([BIG], [0]), [(0, 0, 100, 50)], 1, 1, id="IoU 0.5 is enough"),
        pytest.param(BoxAnnotation.build([BIG], [0]), [(0, 0, 100, 49)], 0, 0, id="IoU 0.49 is not"),
        pytest.param(BoxAnnotation.build([BIG], [1]), [BIG], 0, 0, id="another class"),
        pytest.param(BoxAnnotation.build([BIG, FAR], [0, 0]), [BIG], 6 / 11, 1 / 2, id="half of them"),
        pytest.param(BoxAnnotation.build([BIG, FAR], [0, 0]), [BIG, MOST, FAR], 28 / 33, 5 / 6, id="duplicate"),
        pytest.param(
            BoxAnnotation.build([BIG, FAR], [0, 0], difficult=[True, False]), [BIG, MOST, FAR], 1, 1, id="difficult"
        ),
        pytest.param(BoxAnnotation.build([BIG, FAR], [0, 0], crowd=[True, False]), [BIG, FAR], 1, 1, id="crowd"),
        pytest.param(BoxAnnotation.build([BIG, FAR], [ANY_CLASS, 0]), [PART, PART, FAR], 1, 1, id="region"),
        pytest.param(
            BoxAnnotation.build([BIG, FAR], [ANY_CLASS, 0]), [(60, 0, 160, 100), FAR], 0.5, 0.5, id="mostly outside"
        ),
        pytest.param(
            BoxAnnotation.build([BIG, BIG, FAR], [0, ANY_CLASS, 0]), [BIG, MOST, FAR], 28 / 33, 5 / 6, id="still twice"
        ),
        pytest.param(BoxAnnotation.build([LEFT, RIGHT], [0, 0]), [BETWEEN, FAR_LEFT], 6 / 11, 1 / 2, id="tie: first"),
        pytest.param(BoxAnnotation.build([RIGHT, LEFT], [0, 0]), [BETWEEN, FAR_LEFT], 1, 1, id="tie: that is it"),
        pytest.param(BoxAnnotation.build([BIG], [0], difficult=[True]), [BIG], np.nan, np.nan, id="nothing to find"),
        pytest.param(BoxAnnotation.build([BIG], [0]), [], 0, 0, id="nothing found"),
    ],
)
def test_by_hand(truth, found, eleven, every):
    scores = np.linspace(0.9, 0.5, len(found), dtype=np.float32)
    detections = Detections(np.array(found, np.float32).reshape(-1, 4), scores, np.zeros(len(found), np.int64))
    result = evaluated([(detections, truth)], 2)
    np.testing.assert_allclose([result.ap50_11point, result.ap50_allpoint], [eleven, every])


def test_a_recall_of_exactly_three_tenths_reaches_its_point():
    boxes = [(200 * i, 0, 200 * i + 100, 100) for i in range(10)]
    found = Detections(np.array(boxes[:3], np.float32), np.ones(3, np.float32), np.zeros(3, np.int64))
    result = evaluated([(found, BoxAnnotation.build(boxes, [0] * 10))], 1)
    np.testing.assert_allclose(result.ap50_11point, 4 / 11)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_order_and_shards_have_no_influence(random_images, seed, data):
    images = random_images(seed, count=8)
    expected = evaluated(images, 4)
    order = data.draw(st.permutations(range(8)))
    assert_equal(evaluated(images, 4, order), expected)

    shards = [VocAP(4) for _ in range(3)]
    for index in order:
        shards[data.draw(st.integers(0, 2))].update(index, *images[index])
    first, second, third = (pickle.loads(pickle.dumps(shard)) for shard in data.draw(st.permutations(shards)))
    second.merge(first)
    second.merge(third)
    assert_equal(second.compute(), expected)


def test_perfect_predictions(random_images):
    images = [
        (Detections(truth.boxes, np.ones(len(truth), np.float32), truth.labels), truth)
        for _, truth in random_images(1, flags=False)
    ]
    result = evaluated(images, 4)
    np.testing.assert_allclose([result.ap50_11point, result.ap50_allpoint], 1)


@pytest.mark.parametrize("label", [pytest.param(-1, id="region"), pytest.param(2, id="unknown")])
def test_a_detection_of_no_class_is_refused(label):
    truth = BoxAnnotation.build([BIG], [0])
    with pytest.raises(ValueError, match=f"label {label} of a detection is outside 0..1"):
        VocAP(2).update(0, Detections(truth.boxes, truth.areas, np.array([label])), truth)
