"""From raw predictions to boxes: the best scores, decoded, without duplicates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from bombo.models.box_coding import decode
from bombo.models.network import Predictions

MIN_SCORE, NMS_IOU, MAX_CANDIDATES, MAX_DETECTIONS = 0.01, 0.5, 1000, 100


@dataclass(frozen=True)
class Detected:
    """Detections of one image, best first: boxes (N, 4) xyxy input pixels, scores (N,), labels (N,) int64."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def detect(
    predictions: Predictions,
    size: tuple[int, int],
    *,
    min_score: float = MIN_SCORE,
    nms_iou: float = NMS_IOU,
    max_candidates: int = MAX_CANDIDATES,
    max_detections: int = MAX_DETECTIONS,
) -> list[Detected]:
    """Decodes the detections of every image.

    Args:
        predictions: The network's, B images.
        size: (height, width) of the input; boxes are clipped to it.
        min_score: Lower scores are dropped.
        nms_iou: Of two boxes of one class that overlap more than this, the better stays.
        max_candidates: Largest number of (anchor, class) pairs per image that reach suppression.
        max_detections: Largest number per image.
    """
    boxes, scores, labels = candidates(predictions, size, max_candidates)
    keep = (scores >= min_score) & (boxes[..., 2:] > boxes[..., :2]).all(-1)
    # image by image: one call for the whole batch tells its images apart by moving them far away from each other, where
    # floats are too coarse to measure an overlap
    return [
        _suppress(boxes[i, keep[i]], scores[i, keep[i]], labels[i, keep[i]], nms_iou, max_detections)
        for i in range(len(boxes))
    ]


def candidates(
    predictions: Predictions, size: tuple[int, int], number: int = MAX_CANDIDATES
) -> tuple[Tensor, Tensor, Tensor]:
    """Decodes the (anchor, class) pairs with the best scores, before any suppression.

    Args:
        predictions: The network's, B images.
        size: (height, width) of the input; boxes are clipped to it.
        number: How many at most.

    Returns:
        Boxes (B, M, 4) xyxy input pixels, some perhaps without an area; scores (B, M), descending; labels (B, M) int64.
    """
    batch, _, num_things = predictions.class_logits.shape
    scores = predictions.class_logits.float().sigmoid().flatten(1)
    if num_things == 0:
        return scores.new_zeros(batch, 0, 4), scores, scores.long()
    best, flat = scores.topk(min(number, scores.shape[1]), dim=1)
    anchor, labels = flat // num_things, flat % num_things
    deltas = predictions.box_deltas.float().gather(1, anchor[..., None].expand(-1, -1, 4))
    boxes = decode(deltas, predictions.anchors[anchor])
    limits = boxes.new_tensor((size[1], size[0], size[1], size[0]))
    return torch.minimum(boxes.clamp(min=0), limits), best, labels


def _suppress(boxes: Tensor, scores: Tensor, labels: Tensor, nms_iou: float, max_detections: int) -> Detected:
    chosen = batched_nms(boxes, scores, labels, nms_iou)[:max_detections]
    return Detected(boxes[chosen], scores[chosen], labels[chosen])
