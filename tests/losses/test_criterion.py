from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bombo.data.batch import Batch
from bombo.losses.criterion import Criterion
from bombo.losses.detection import detection_losses
from bombo.losses.segmentation import segmentation_losses
from bombo.models.network import Network, NetworkConfig, Predictions
from bombo.models.postprocess import detect

Make = Callable[..., Batch]
Predict = Callable[..., Predictions]

MASK = torch.zeros(64, 64, dtype=torch.uint8)
MASK[10:30, 10:40] = 1
A_BOX = [(10.0, 10.0, 40.0, 30.0, 0, True)]


@pytest.mark.parametrize(
    ("criterion", "weights"),
    [
        pytest.param(Criterion(), {"det_cls": 1, "det_box": 1, "seg_ce": 1}, id="default"),
        pytest.param(Criterion(detection=0), {"seg_ce": 1}, id="segment only"),
        pytest.param(Criterion(segmentation=0, dice=1), {"det_cls": 1, "det_box": 1}, id="detect only"),
        pytest.param(
            Criterion(detection=2, segmentation=3, dice=0.5),
            {"det_cls": 2, "det_box": 2, "seg_ce": 3, "seg_dice": 1.5},
            id="weighted",
        ),
        pytest.param(Criterion(detection=0, segmentation=0), {}, id="nothing"),
    ],
)
def test_losses_by_name_and_weight(
    criterion: Criterion, weights: dict[str, float], make_batch: Make, make_predictions: Predict
) -> None:
    predictions, batch = make_predictions(2), make_batch((A_BOX, None), (None, MASK))
    plain = detection_losses(predictions, batch) | segmentation_losses(predictions, batch, dice=True)
    found = criterion(predictions, batch)
    assert set(found) == set(weights)
    for name, weight in weights.items():
        torch.testing.assert_close(found[name].value, plain[name].value * weight)
        assert found[name].number == 1


def test_the_box_loss_is_the_chosen_one(make_batch: Make, make_predictions: Predict) -> None:
    predictions, batch = make_predictions(1), make_batch((A_BOX, None))
    for kind in ("giou", "balanced_l1", "smooth_l1"):
        expected = detection_losses(predictions, batch, box_loss=kind)["det_box"].value
        assert Criterion(box_loss=kind)(predictions, batch)["det_box"].value == expected


def test_a_batch_without_annotation_leaves_every_output_a_zero_gradient(
    make_batch: Make, make_predictions: Predict
) -> None:
    predictions = make_predictions(2)
    terms = Criterion(dice=1.0)(predictions, make_batch((None, None), (None, None)))
    sum((term.value for term in terms.values()), start=predictions.zero()).backward()
    for output in (predictions.class_logits, predictions.box_deltas, predictions.mask_logits):
        assert output.grad is not None
        assert not output.grad.any()


def test_two_images_one_with_boxes_one_with_a_mask_are_learnt(make_batch: Make) -> None:
    torch.manual_seed(0)
    batch = make_batch(([(8.0, 8.0, 40.0, 32.0, 0, True), (36.0, 28.0, 60.0, 60.0, 1, True)], None), (None, MASK))
    images = torch.full((2, 3, 64, 64), 60, dtype=torch.uint8)
    images[0, 0, 8:32, 8:40] = 250
    images[0, 1, 28:60, 36:60] = 250
    images[1, 2, 10:30, 10:40] = 250
    network = Network(
        NetworkConfig(backbone="test_resnet", num_things=2, num_mask_values=2, channels=32, segmentation_channels=32)
    )
    network.backbone.freeze_norm()
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3)
    history = []
    for _ in range(60):
        total = sum(term.value for term in Criterion()(network(images), batch).values())
        optimiser.zero_grad()
        total.backward()  # type: ignore[union-attr]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10)
        optimiser.step()
        history.append(float(total.detach()))  # type: ignore[union-attr]
    assert history[-1] < history[0] / 8

    with torch.no_grad():
        predictions = network.eval()(images)
    found = detect(predictions, (64, 64), min_score=0.3)[0]
    best = torch.stack([found.boxes[found.labels == label][0] for label in (0, 1)])
    torch.testing.assert_close(best, batch.boxes[0], atol=3, rtol=0)
    seen = torch.nn.functional.interpolate(predictions.mask_logits[1:], scale_factor=4, mode="bilinear").argmax(1)[0]
    assert (seen == MASK).float().mean() > 0.97
