from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bombo.data.view import View
from bombo.engine.model import TorchModel
from bombo.exported.end_to_end import EndToEnd, survivors
from bombo.models.postprocess import detect


@pytest.mark.parametrize("which", ["model", "segmenter"])
def test_it_says_what_bombo_says(which: str, images: Tensor, request: pytest.FixtureRequest) -> None:
    model: TorchModel = request.getfixturevalue(which)
    with torch.inference_mode():
        found = EndToEnd(model.network)(images)
    predictions = model.forward(images)
    assert found.boxes.shape == (5, 100, 4)
    assert found.mask.dtype == torch.uint8
    view = View.whole(model.size, model.size, "squash")
    for image, expected in enumerate(detect(predictions, model.size)):
        number = len(expected.boxes)
        assert (number > 20) == (which == "model")
        assert torch.equal(found.boxes[image, :number], expected.boxes)
        assert torch.equal(found.scores[image, :number], expected.scores)
        assert torch.equal(found.labels[image, :number], expected.labels)
        assert not found.boxes[image, number:].any()
        assert not found.scores[image, number:].any()
        assert (found.labels[image, number:] == -1).all()
        assert torch.equal(found.mask[image], view.classes_to_source(predictions.mask_logits[image]))


def kept_by_hand(boxes: np.ndarray, scores: np.ndarray, max_iou: float, min_score: float) -> set[int]:
    """Greedy suppression of one image, as the textbook has it."""
    kept: set[int] = set()
    for row in scores:
        chosen: list[int] = []
        for i in sorted(range(len(row)), key=lambda i: -row[i]):
            if row[i] > min_score and all(overlap(boxes[i], boxes[j]) <= max_iou for j in chosen):
                chosen.append(i)
        kept |= set(chosen)
    return kept


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    width, height = np.maximum(0, np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]))
    union = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - width * height
    return float(width * height / union)


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 3), st.sampled_from([0.1, 0.45, 0.8]))
@settings(max_examples=40, deadline=None)
def test_survivors_are_those_of_the_textbook(seed: int, number: int, classes: int, max_iou: float) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 12, (2, number, 2))
    boxes = np.concatenate((corners, corners + rng.integers(1, 12, (2, number, 2))), axis=2).astype(np.float32)
    scores = rng.permuted(np.linspace(0.02, 0.99, number * classes * 2, dtype=np.float32)).reshape(2, classes, number)
    kept = survivors(torch.from_numpy(boxes), torch.from_numpy(scores), max_iou, 0.2)
    for image in range(2):
        assert set(kept[image].nonzero()[:, 0].tolist()) == kept_by_hand(boxes[image], scores[image], max_iou, 0.2)
