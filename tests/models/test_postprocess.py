from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bombo.models.anchors import make_anchors
from bombo.models.box_coding import encode
from bombo.models.network import Predictions
from bombo.models.postprocess import Detected, detect

SIZE = (32, 64)
SHAPES = [(4, 8), (2, 4), (1, 2), (1, 1)]


def random_predictions(seed: int, batch: int = 2, num_things: int = 3) -> Predictions:
    random = torch.Generator().manual_seed(seed)
    anchors = make_anchors(SHAPES)
    logits = torch.randn(batch, len(anchors), num_things, generator=random) * 2 - 3
    deltas = torch.randn(batch, len(anchors), 4, generator=random) * 2
    return Predictions(logits, deltas, anchors, torch.zeros(batch, 4, 8, 16))


def slow_detect(
    predictions: Predictions, min_score: float, nms_iou: float, max_candidates: int, max_detections: int
) -> list[list[tuple[float, int, tuple[float, ...]]]]:
    everything = []
    for logits, deltas in zip(predictions.class_logits.tolist(), predictions.box_deltas.tolist(), strict=True):
        pairs = [(1 / (1 + math.exp(-value)), a, c) for a, row in enumerate(logits) for c, value in enumerate(row)]
        left: list[tuple[float, int, tuple[float, ...]]] = []
        for score, a, c in sorted(pairs, reverse=True)[:max_candidates]:
            x1, y1, x2, y2 = predictions.anchors[a].tolist()
            dx, dy, dw, dh = deltas[a]
            cx, cy = (x1 + x2) / 2 + dx * 0.1 * (x2 - x1), (y1 + y2) / 2 + dy * 0.1 * (y2 - y1)
            w, h = (x2 - x1) * math.exp(dw * 0.2), (y2 - y1) * math.exp(dh * 0.2)
            box = (
                min(max(cx - w / 2, 0), SIZE[1]),
                min(max(cy - h / 2, 0), SIZE[0]),
                min(max(cx + w / 2, 0), SIZE[1]),
                min(max(cy + h / 2, 0), SIZE[0]),
            )
            if score < min_score or box[2] <= box[0] or box[3] <= box[1]:
                continue
            if all(c != kept or iou(box, other) <= nms_iou for _, kept, other in left):
                left.append((score, c, box))
        everything.append(left[:max_detections])
    return everything


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def check(found: list[Detected], expected: list[list[tuple[float, int, tuple[float, ...]]]]) -> None:
    for image, rows in zip(found, expected, strict=True):
        assert image.labels.tolist() == [label for _, label, _ in rows]
        torch.testing.assert_close(image.scores, torch.tensor([score for score, _, _ in rows]))
        torch.testing.assert_close(
            image.boxes, torch.tensor([box for _, _, box in rows]).view(-1, 4), atol=1e-3, rtol=1e-4
        )


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31))
@pytest.mark.parametrize(
    "limits",
    [
        pytest.param({"min_score": 0.05, "nms_iou": 0.5, "max_candidates": 200, "max_detections": 30}, id="usual"),
        pytest.param({"min_score": 0.0, "nms_iou": 0.3, "max_candidates": 5000, "max_detections": 1000}, id="all"),
        pytest.param({"min_score": 0.2, "nms_iou": 0.6, "max_candidates": 20, "max_detections": 3}, id="few"),
        pytest.param({"min_score": 0.999, "nms_iou": 0.6, "max_candidates": 20, "max_detections": 3}, id="none"),
    ],
)
def test_detections_are_those_of_a_plain_loop(limits: dict[str, float], seed: int) -> None:
    predictions = random_predictions(seed)
    check(detect(predictions, SIZE, **limits), slow_detect(predictions, **limits))  # type: ignore[arg-type]


def test_each_image_is_judged_alone() -> None:
    # far down in a large batch, with many classes: nothing may be rounded differently
    one = random_predictions(1, batch=1, num_things=80)
    others = random_predictions(2, batch=15, num_things=80)
    both = Predictions(
        torch.cat((others.class_logits, one.class_logits)), torch.cat((others.box_deltas, one.box_deltas)), *one[2:]
    )
    alone, last = detect(one, SIZE)[0], detect(both, SIZE)[-1]
    assert torch.equal(alone.boxes, last.boxes)
    assert torch.equal(alone.scores, last.scores)
    assert torch.equal(alone.labels, last.labels)


def test_a_mirrored_image_has_mirrored_detections() -> None:
    predictions = random_predictions(3)
    x1, y1, x2, y2 = predictions.anchors.unbind(1)
    mirrored = Predictions(
        predictions.class_logits,
        predictions.box_deltas * torch.tensor([-1.0, 1, 1, 1]),
        torch.stack((SIZE[1] - x2, y1, SIZE[1] - x1, y2), dim=1),
        predictions.mask_logits,
    )
    for plain, flipped in zip(detect(predictions, SIZE), detect(mirrored, SIZE), strict=True):
        assert torch.equal(plain.labels, flipped.labels)
        back = flipped.boxes[:, [2, 1, 0, 3]] * torch.tensor([-1.0, 1, -1, 1]) + torch.tensor([64.0, 0, 64, 0])
        torch.testing.assert_close(plain.boxes, back, atol=1e-3, rtol=1e-4)


def one_box(logits: dict[tuple[int, int], float], num_things: int = 2) -> Predictions:
    """Everything says the same box; only the named (anchor, class) pairs score."""
    anchors = make_anchors(SHAPES)
    scores = torch.full((1, len(anchors), num_things), -9.0)
    for (anchor, label), value in logits.items():
        scores[0, anchor, label] = value
    deltas = encode(torch.tensor([4.0, 4, 24, 28]), anchors)
    return Predictions(scores, deltas[None], anchors, torch.zeros(1, 3, 8, 16))


def test_duplicates_go_and_other_classes_stay() -> None:
    found = detect(one_box({(7, 0): 2.0, (8, 0): 3.0, (9, 1): 1.0}), SIZE)[0]
    assert found.labels.tolist() == [0, 1]
    torch.testing.assert_close(found.scores, torch.tensor([3.0, 1.0]).sigmoid())
    torch.testing.assert_close(found.boxes, torch.tensor([[4.0, 4, 24, 28]] * 2))


def test_nothing_found() -> None:
    found = detect(one_box({}), SIZE)[0]
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == (0,)
    assert found.labels.dtype == torch.int64


def test_without_things() -> None:
    found = detect(one_box({}, num_things=0), SIZE)
    assert len(found) == 1
    assert found[0].boxes.shape == (0, 4)
    assert found[0].labels.dtype == torch.int64


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_float32(dtype: torch.dtype) -> None:
    predictions = random_predictions(4)
    half = Predictions(predictions.class_logits.to(dtype), predictions.box_deltas.to(dtype), *predictions[2:])
    found = detect(half, SIZE)[0]
    assert found.boxes.dtype == found.scores.dtype == torch.float32
    assert len(found.boxes) > 0
