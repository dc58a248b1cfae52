"""From raw predictions to boxes: the best scores, decoded, without duplicates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from bombo.models.box_coding import decode
from bombo.models.network import Predictions


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
    min_score: float = 0.01,
    nms_iou: float = 0.5,
    max_candidates: int = 1000,
    max_detections: int = 100,
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
    scores = predictions.class_logits.float().sigmoid()
    batch, _, num_things = scores.shape
    if num_things == 0:
        none = scores.new_zeros(0)
        return [Detected(none.view(0, 4), none, none.long()) for _ in range(batch)]
    scores = scores.flatten(1)
    best, flat = scores.topk(min(max_candidates, scores.shape[1]), dim=1)
    anchor, label = flat // num_things, flat % num_things
    deltas = predictions.box_deltas.float().gather(1, anchor[..., None].expand(-1, -1, 4))
    boxes = decode(deltas, predictions.anchors[anchor])
    limits = boxes.new_tensor((size[1], size[0], size[1], size[0]))
    boxes = torch.minimum(boxes.clamp(min=0), limits)
    keep = (best >= min_score) & (boxes[..., 2:] > boxes[..., :2]).all(-1)
    # image by image: one call for the whole batch tells its images apart by moving them far away from each other, where
    # floats are too coarse to measure an overlap
    return [
        _suppress(boxes[i, keep[i]], best[i, keep[i]], label[i, keep[i]], nms_iou, max_detections) for i in range(batch)
    ]


def _suppress(boxes: Tensor, scores: Tensor, labels: Tensor, nms_iou: float, max_detections: int) -> Detected:
    chosen = batched_nms(boxes, scores, labels, nms_iou)[:max_detections]
    return Detected(boxes[chosen], scores[chosen], labels[chosen])
