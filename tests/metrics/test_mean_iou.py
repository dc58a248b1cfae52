from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bombo.metrics.mean_iou import IoUResult, MeanIoU


def evaluated(pairs, num_values) -> IoUResult:
    metric = MeanIoU(num_values)
    for prediction, truth in pairs:
        metric.update(prediction, truth)
    return metric.compute()


def random_pairs(seed: int, num_values: int = 6, count: int = 5):
    """The last value but one is never true, the last stands in neither; void is anything but rare."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        size = tuple(rng.integers(1, 30, 2))
        truth = rng.integers(0, num_values - 2, size).astype(np.uint8)
        prediction = np.where(rng.random(size) < 0.6, truth, rng.integers(0, num_values - 1, size)).astype(np.uint8)
        truth[rng.random(size) < 0.2] = 255
        yield prediction, truth


def test_by_hand():
    truth = np.array([[0, 0, 1, 1], [0, 0, 1, 255], [2, 2, 0, 255], [2, 2, 0, 0]], np.uint8)
    prediction = np.array([[0, 0, 1, 1], [0, 1, 1, 1], [2, 0, 0, 3], [2, 2, 0, 0]], np.uint8)
    result = evaluated([(prediction, truth)], 5)
    np.testing.assert_allclose(result.per_value_iou, [6 / 8, 3 / 4, 3 / 4, np.nan, np.nan])
    np.testing.assert_allclose([result.miou, result.pixel_accuracy], [0.75, 12 / 14])
    np.testing.assert_array_equal(result.confusion[:3, :4], [[6, 1, 0, 0], [0, 3, 0, 0], [1, 0, 3, 0]])


def test_each_image_is_told_its_own():
    metric = MeanIoU(2)
    half, void = np.array([[0, 1]], np.uint8), np.full((1, 2), 255, np.uint8)
    assert metric.update(half, half) == 1
    assert metric.update(half, np.zeros((1, 2), np.uint8)) == 0.25
    assert np.isnan(metric.update(half, void))


def test_a_value_only_predicted_counts_as_zero():
    result = evaluated([(np.array([[0, 1]], np.uint8), np.zeros((1, 2), np.uint8))], 3)
    np.testing.assert_allclose(result.per_value_iou, [0.5, 0, np.nan])
    assert result.miou == 0.25


@pytest.mark.parametrize("seed", range(10))
def test_equals_sets_of_pixels(seed):
    pairs = list(random_pairs(seed))
    prediction, truth = (np.concatenate([pair[side].ravel() for pair in pairs]) for side in (0, 1))
    prediction, truth = prediction[truth != 255], truth[truth != 255]
    unions = [np.sum((prediction == v) | (truth == v)) for v in range(6)]
    inside = [np.sum((prediction == v) & (truth == v)) for v in range(6)]
    expected = [i / u if u else np.nan for i, u in zip(inside, unions, strict=True)]
    result = evaluated(pairs, 6)
    np.testing.assert_allclose(result.per_value_iou, expected, rtol=1e-12)
    np.testing.assert_allclose(result.miou, np.nanmean(expected), rtol=1e-12)
    np.testing.assert_allclose(result.pixel_accuracy, np.mean(prediction == truth), rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_order_and_shards_have_no_influence(seed, data):
    pairs = list(random_pairs(seed))
    expected = evaluated(pairs, 6)
    shards = [MeanIoU(6), MeanIoU(6)]
    for pair in data.draw(st.permutations(pairs)):
        shards[data.draw(st.integers(0, 1))].update(*pair)
    first, second = (pickle.loads(pickle.dumps(shard)) for shard in shards)
    first.merge(second)
    np.testing.assert_equal(vars(first.compute()), vars(expected))


def test_all_255_values():
    every = np.arange(255, dtype=np.uint8)[None]
    assert evaluated([(every, every)], 255).per_value_iou.tolist() == [1] * 255
    shifted = evaluated([(np.roll(every, 1), every)], 255)
    assert (shifted.per_value_iou.tolist(), shifted.pixel_accuracy) == ([0] * 255, 0)


@pytest.mark.parametrize("pairs", [pytest.param([], id="none"), pytest.param([(0, 255)], id="void only")])
def test_nothing_to_count(pairs):
    result = evaluated([tuple(np.full((2, 2), value, np.uint8) for value in pair) for pair in pairs], 3)
    assert np.isnan([result.miou, result.pixel_accuracy, *result.per_value_iou]).all()


@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        pytest.param(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), "differ in size", id="size"),
        pytest.param(np.full((2, 2), 3, np.uint8), np.zeros((2, 2), np.uint8), "3 in the prediction", id="prediction"),
        pytest.param(np.zeros((2, 2), np.uint8), np.full((2, 2), 4, np.uint8), "4 in the truth", id="truth"),
    ],
)
def test_misuse_is_refused(prediction, truth, message):
    with pytest.raises(ValueError, match=message):
        MeanIoU(3).update(prediction, truth)


def test_merging_other_values_is_refused():
    with pytest.raises(ValueError, match="on 4 values into 3"):
        MeanIoU(3).merge(MeanIoU(4))
