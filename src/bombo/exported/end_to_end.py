"""The network with everything behind it, up to boxes and a class map, as one module of fixed shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, one_hot, pad
from torchvision.ops import nms

from bombo.exported.packages import needed
from bombo.models.network import Network
from bombo.models.postprocess import MAX_DETECTIONS, MIN_SCORE, NMS_IOU, candidates


class Found(NamedTuple):
    """What is seen in B images, N detections each: best first, then padding.

    Attributes:
        boxes: (B, N, 4) float32 xyxy input pixels; zeros are padding.
        scores: (B, N) float32; 0 is padding.
        labels: (B, N) int64 class index; -1 is padding.
        mask: (B, H, W) uint8 class map at the size of the input, 0 background, class index + 1.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    mask: Tensor


class EndToEnd(nn.Module):
    """A network that answers with detections and a class map instead of logits.

    Args:
        network: The trained network.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Found:
        """Images (B, 3, H, W) uint8 → what is seen in them."""
        size = images.shape[-2], images.shape[-1]
        predictions = self.network(images)
        boxes, scores, labels = candidates(predictions, size)
        if boxes.shape[1]:
            whole = (boxes[..., 2:] > boxes[..., :2]).all(-1)
            by_class = one_hot(labels, predictions.class_logits.shape[2]).transpose(1, 2) * (scores * whole)[:, None]
            scores = scores * survivors(boxes, by_class, NMS_IOU, MIN_SCORE)
        best, chosen = scores.topk(min(MAX_DETECTIONS, scores.shape[1]), dim=1)
        found = best > 0
        boxes = boxes.gather(1, chosen[..., None].expand(-1, -1, 4)) * found[..., None]
        labels = labels.gather(1, chosen).where(found, -1)
        shown = interpolate(predictions.mask_logits, size=size, mode="bilinear", align_corners=False)
        missing = 0, MAX_DETECTIONS - best.shape[1]  # a small network on small images has fewer candidates
        return Found(
            pad(boxes, (0, 0, *missing)), pad(best, missing), pad(labels, missing, value=-1), shown.argmax(1).byte()
        )


@torch.library.custom_op("bombo::survivors", mutates_args=())
def survivors(boxes: Tensor, scores: Tensor, max_iou: float, min_score: float) -> Tensor:
    """Which boxes survive suppression by better ones of their class.

    An operator of its own because the number of survivors depends on the data: traced as one piece, it becomes ONNX's
    NonMaxSuppression, and all shapes around it stay fixed.

    Args:
        boxes: (B, M, 4) xyxy.
        scores: (B, C, M), by class.
        max_iou: Of two boxes of one class that overlap more than this, the better stays.
        min_score: Lower scores do not survive.

    Returns:
        (B, M) float32, 1 for survivors in any class, else 0.
    """
    kept = scores.new_zeros(boxes.shape[:2])
    for image, row in enumerate(scores):
        for values in row:
            able = (values > min_score).nonzero()[:, 0]
            kept[image, able[nms(boxes[image, able], values[able], max_iou)]] = 1
    return kept


@survivors.register_fake
def _(boxes: Tensor, scores: Tensor, max_iou: float, min_score: float) -> Tensor:
    return scores.new_empty(boxes.shape[:2])


def onnx_translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """How the exporter is to write `survivors` in ONNX."""
    op: Any = needed("onnxscript").opset18

    def in_onnx(boxes: Any, scores: Any, max_iou: float, min_score: float) -> Any:
        everything = op.Constant(value_ints=[2**31 - 1])
        limits = op.Constant(value_floats=[max_iou]), op.Constant(value_floats=[min_score])
        chosen = op.NonMaxSuppression(boxes, scores, everything, *limits)  # rows of image, class, box
        none = op.ReduceMax(op.Mul(scores, op.Constant(value_float=0.0)), op.Constant(value_ints=[1]), keepdims=0)
        one = op.Constant(value_float=1.0)
        ones = op.Expand(one, op.Shape(chosen, start=0, end=1))
        return op.ScatterND(none, op.Gather(chosen, op.Constant(value_ints=[0, 2]), axis=1), ones)

    return {torch.ops.bombo.survivors.default: in_onnx}
