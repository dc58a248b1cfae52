from __future__ import annotations

import contextlib
import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bombo.data.label_space import ANY_CLASS
from bombo.data.sample import BoxAnnotation
from bombo.metrics.coco_ap import CocoAP, CocoResult
from bombo.metrics.detections import Detections

FIGURES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")


def evaluated(images, num_classes, order=None) -> CocoResult:
    metric = CocoAP(num_classes)
    for index in range(len(images)) if order is None else order:
        metric.update(index, *images[index])
    return metric.compute()


def assert_equal(one: CocoResult, other: CocoResult, tolerance: float = 0) -> None:
    for name in (*FIGURES, "per_class_ap", "per_class_ap50", "precision50"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=0, atol=tolerance, err_msg=name)


class DifficultToo(COCOeval):
    def _prepare(self):
        super()._prepare()
        for truths in self._gts.values():
            for truth in truths:
                truth["ignore"] = truth["iscrowd"] or truth.get("difficult", 0)


def oracle(truths: list[dict], detections: list[dict], num_images: int, num_classes: int) -> CocoResult:
    """Runs pycocotools on annotations with image ids from 0 and category ids = class index."""
    with contextlib.redirect_stdout(io.StringIO()):
        pair = []
        for annotations in (truths, detections):
            coco = COCO()
            coco.dataset = {
                "images": [{"id": i} for i in range(num_images)],
                "categories": [{"id": c, "name": str(c)} for c in range(num_classes)],
                "annotations": [{**a, "id": i} for i, a in enumerate(annotations, 1)],  # id 0 would mean unmatched
            }
            coco.createIndex()
            pair.append(coco)
        evaluation = DifficultToo(*pair, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    figures = [float(value) if value >= 0 else float("nan") for value in evaluation.stats[:6]]
    precision = evaluation.eval["precision"][:, :, :, 0, 2]  # thresholds, recalls, classes
    precision = np.where(precision < 0, np.nan, precision)
    return CocoResult(*figures, precision.mean(axis=(0, 1)), precision[0].mean(axis=0), precision[0].T)


def as_coco(image: int, boxes, labels, **columns) -> list[dict]:
    corners = np.asarray(boxes, dtype=np.float64).tolist()
    return [
        {
            "image_id": image,
            "category_id": int(label),
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            "iscrowd": 0,
            **{name: values[row].item() for name, values in columns.items()},
        }
        for row, ((x1, y1, x2, y2), label) in enumerate(zip(corners, labels, strict=True))
    ]


def oracle_of(images, num_classes: int) -> CocoResult:
    truths, detections = [], []
    for index, (found, truth) in enumerate(images):
        detections += as_coco(index, found.boxes, found.labels, score=found.scores)
        region = truth.labels == ANY_CLASS
        for row in as_coco(
            index,
            truth.boxes,
            truth.labels,
            area=truth.areas,
            iscrowd=(truth.crowd | region).astype(int),
            difficult=truth.difficult.astype(int),
        ):
            of_every_class = [{**row, "category_id": label} for label in range(num_classes)]
            truths += of_every_class if row["category_id"] == ANY_CLASS else [row]
    return oracle(truths, detections, len(images), num_classes)


@pytest.mark.parametrize("seed", range(30))
def test_equals_pycocotools(seed, random_images):
    images = random_images(seed, flags=seed % 3 > 0)
    result = evaluated(images, 4)
    assert_equal(result, oracle_of(images, 4), 1e-9)
    assert np.isnan(result.per_class_ap[3])
    assert 0 < result.ap < 1


def test_only_the_100_surest_of_each_class_and_image_count():
    rng = np.random.default_rng(0)
    truth = BoxAnnotation.build([(i * 50, 0, i * 50 + 40, 40) for i in range(30)], [i % 2 for i in range(30)])
    which = rng.integers(0, 30, 400)
    boxes = truth.boxes[which] + rng.integers(-8, 9, (400, 4)).astype(np.float32)
    scores = (rng.integers(0, 40, 400) / 40).astype(np.float32)
    images = [(Detections(boxes, scores, truth.labels[which]), truth)]
    capped = evaluated(images, 2)
    assert_equal(capped, oracle_of(images, 2), 1e-9)
    surest = np.concatenate(
        [np.flatnonzero(truth.labels[which] == c)[np.argsort(-scores[truth.labels[which] == c])[:20]] for c in (0, 1)]
    )
    fewer = [(Detections(boxes[surest], scores[surest], truth.labels[which][surest]), truth)]
    assert evaluated(fewer, 2).ap != capped.ap


def test_equals_pycocotools_on_coco_mini(shared_data: Path):
    file = json.loads((shared_data / "coco_mini" / "instances.json").read_text())
    position = {image["id"]: index for index, image in enumerate(sorted(file["images"], key=lambda image: image["id"]))}
    label = {category["id"]: index for index, category in enumerate(file["categories"])}
    rows = [[] for _ in position]
    for row in file["annotations"]:
        row = {**row, "image_id": position[row["image_id"]], "category_id": label[row["category_id"]]}
        rows[row["image_id"]].append(row)

    rng = np.random.default_rng(7)
    images, found = [], []
    for index, truths in enumerate(rows):
        truth = BoxAnnotation.build(
            [(x, y, x + w, y + h) for x, y, w, h in (row["bbox"] for row in truths)],
            [row["category_id"] for row in truths],
            crowd=[bool(row["iscrowd"]) for row in truths],
            areas=[row["area"] for row in truths],
        )
        copies = np.repeat(np.arange(len(truth)), 3)
        sides = np.tile(truth.boxes[copies, 2:] - truth.boxes[copies, :2], 2)
        boxes = (truth.boxes[copies] + rng.normal(0, 0.1, sides.shape) * sides).astype(np.float32)
        labels = np.where(rng.random(len(copies)) < 0.9, truth.labels[copies], rng.integers(0, 80, len(copies)))
        scores = rng.random(len(copies)).round(2).astype(np.float32)
        images.append((Detections(boxes, scores, labels), truth))
        found += as_coco(index, boxes, labels, score=scores)

    expected = oracle([row for truths in rows for row in truths], found, len(rows), len(label))
    assert_equal(evaluated(images, len(label)), expected, 1e-9)
    assert 0.1 < expected.ap < 0.9


BIG, HALF, FAR = (0, 0, 100, 100), (0, 0, 100, 60), (200, 200, 300, 300)
LEFT, RIGHT, BETWEEN, FAR_LEFT = (40, 0, 140, 100), (60, 0, 160, 100), (50, 0, 150, 100), (10, 0, 110, 100)


@pytest.mark.parametrize(
    ("truth", "found", "ap50"),
    [
        pytest.param(BoxAnnotation.build([BIG], [0]), [BIG], 1.0, id="found"),
        pytest.param(BoxAnnotation.build([BIG], [1]), [BIG], 0.0, id="found as another class"),
        pytest.param(BoxAnnotation.build([BIG], [0]), [FAR, BIG], 0.5, id="after a false alarm"),
        pytest.param(BoxAnnotation.build([BIG], [0]), [BIG, FAR], 1.0, id="before a false alarm"),
        pytest.param(BoxAnnotation.build([BIG, FAR], [0, 0]), [BIG], 51 / 101, id="half of them"),
        pytest.param(BoxAnnotation.build([BIG, FAR], [0, 0], difficult=[True, False]), [BIG, FAR], 1.0, id="difficult"),
        pytest.param(
            BoxAnnotation.build([BIG, FAR], [0, 0], difficult=[True, False]), [BIG, HALF, FAR], 0.5, id="difficult once"
        ),
        pytest.param(
            BoxAnnotation.build([BIG, FAR], [0, 0], crowd=[True, False]), [HALF, HALF, FAR], 1.0, id="crowd often"
        ),
        pytest.param(
            BoxAnnotation.build([BIG, FAR], [ANY_CLASS, 0]), [HALF, (0, 0, 9, 9), FAR], 1.0, id="region of any class"
        ),
        pytest.param(BoxAnnotation.build([LEFT, RIGHT], [0, 0]), [BETWEEN, FAR_LEFT], 1.0, id="tie: the later truth"),
        pytest.param(BoxAnnotation.build([RIGHT, LEFT], [0, 0]), [BETWEEN, FAR_LEFT], 51 / 101, id="tie: that is it"),
        pytest.param(BoxAnnotation.build([BIG], [ANY_CLASS]), [BIG], float("nan"), id="nothing to find"),
        pytest.param(BoxAnnotation.build([], []), [BIG], float("nan"), id="empty"),
        pytest.param(BoxAnnotation.build([BIG], [0]), [], 0.0, id="nothing found"),
    ],
)
def test_by_hand(truth, found, ap50):
    scores = np.linspace(0.9, 0.5, len(found), dtype=np.float32)
    detections = Detections(np.array(found, np.float32).reshape(-1, 4), scores, np.zeros(len(found), np.int64))
    result = evaluated([(detections, truth)], 2)
    np.testing.assert_allclose(result.ap50, ap50)
    assert_equal(result, oracle_of([(detections, truth)], 2), 1e-9)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_order_and_shards_have_no_influence(random_images, seed, data):
    images = random_images(seed, count=8)
    expected = evaluated(images, 4)
    order = data.draw(st.permutations(range(8)))
    assert_equal(evaluated(images, 4, order), expected)

    shards = [CocoAP(4) for _ in range(3)]
    for index in order:
        shards[data.draw(st.integers(0, 2))].update(index, *images[index])
    first, second, third = (pickle.loads(pickle.dumps(shard)) for shard in data.draw(st.permutations(shards)))
    second.merge(first)
    second.merge(third)
    assert_equal(second.compute(), expected)


@pytest.mark.parametrize("seed", range(3))
def test_perfect_predictions(seed, random_images):
    images = [
        (Detections(truth.boxes, np.ones(len(truth), np.float32), truth.labels), truth)
        for _, truth in random_images(seed, flags=False)
    ]
    result = evaluated(images, 4)
    assert [result.ap, result.ap50, result.ap75] == [1, 1, 1]
    assert result.per_class_ap[:3].tolist() == [1, 1, 1]


def test_a_detection_leaves_few_bytes():
    metric, count = CocoAP(80), 300
    truth = BoxAnnotation.build([BIG], [3])
    detections = Detections(np.tile(np.float32(BIG), (20, 1)), np.ones(20, np.float32), np.full(20, 3))
    for index in range(count):
        metric.update(index, detections, truth)
    assert len(pickle.dumps(metric)) < 22 * 20 * count + 8 * count + 5000


@pytest.mark.parametrize(
    ("act", "message"),
    [
        pytest.param(lambda m, t: m.update(0, Detections(t.boxes, t.areas, np.array([2])), t), "label 2", id="label"),
        pytest.param(lambda m, t: m.merge(CocoAP(3)), "3 classes into 2", id="classes"),
        pytest.param(lambda m, t: [Detections(t.boxes, t.areas[:0], t.labels)], r"not \(N, 4\)", id="shapes"),
    ],
)
def test_misuse_is_refused(act, message):
    with pytest.raises(ValueError, match=message):
        act(CocoAP(2), BoxAnnotation.build([BIG], [1]))


def test_overlapping_shards_are_refused():
    truth = BoxAnnotation.build([BIG], [0])
    one, other = CocoAP(1), CocoAP(1)
    for metric in (one, other):
        metric.update(5, Detections(truth.boxes, np.ones(1, np.float32), truth.labels), truth)
    one.merge(other)
    with pytest.raises(ValueError, match="image 5 was counted 2 times"):
        one.compute()
