"""The one network: backbone → pyramid → detection head + segmentation head."""

from __future__ import annotations

from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from bombo.models.anchors import make_anchors
from bombo.models.backbone import Backbone
from bombo.models.blocks import GROUP
from bombo.models.detection_head import DetectionHead
from bombo.models.fpn import FeaturePyramid
from bombo.models.segmentation_head import SegmentationHead

SIZE_MULTIPLE = 32  # of the input's sides: the coarsest backbone feature must have whole cells


class Predictions(NamedTuple):
    """What the network says of B images.

    Attributes:
        class_logits: (B, A, num_things), one sigmoid per class.
        box_deltas: (B, A, 4), see `box_coding`.
        anchors: (A, 4) xyxy input pixels.
        mask_logits: (B, num_mask_values, H/4, W/4), one softmax per pixel.
    """

    class_logits: Tensor
    box_deltas: Tensor
    anchors: Tensor
    mask_logits: Tensor

    def of(self, images: Tensor) -> Predictions:
        """Those of some of the images, chosen by a (B,) bool tensor."""
        return Predictions(self.class_logits[images], self.box_deltas[images], self.anchors, self.mask_logits[images])

    def zero(self) -> Tensor:
        """A zero attached to every output, so that a head without a loss in this batch still gets a (zero) gradient.

        DistributedDataParallel waits for the gradients of all parameters.
        """
        return self.class_logits[:0].sum() + self.box_deltas[:0].sum() + self.mask_logits[:0].sum()


class NetworkConfig(BaseModel):
    """Everything needed to build the network again, without its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str
    num_things: int = Field(ge=0)
    num_mask_values: int = Field(ge=2)
    channels: int = Field(default=128, ge=16, multiple_of=GROUP)
    segmentation_channels: int = Field(default=96, ge=16, multiple_of=GROUP)
    head_depth: int = Field(default=2, ge=0)


class Network(nn.Module):
    """Detects and segments in one forward pass.

    Args:
        config: Sizes of the parts.
        weights: Backbone weights: `imagenet`, a path, or `none`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: NetworkConfig, weights: str = "none") -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config.backbone, weights)
        detail, *coarser = self.backbone.channels
        self.pyramid = FeaturePyramid(coarser, config.channels)
        self.detection = DetectionHead(config.channels, config.num_things, config.head_depth)
        self.segmentation = SegmentationHead(
            config.channels, detail, config.num_mask_values, config.segmentation_channels
        )
        self.register_buffer("mean", torch.tensor(self.backbone.mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(self.backbone.std).view(1, 3, 1, 1) * 255)

    def forward(self, images: Tensor) -> Predictions:
        """Runs both heads.

        Args:
            images: (B, 3, H, W) RGB, values 0 to 255, uint8 or float; H and W multiples of 32.
        """
        detail, *coarser = self.backbone((images - self.mean) / self.std)
        levels = self.pyramid(coarser)
        class_logits, box_deltas = self.detection(levels)
        anchors = make_anchors([(level.shape[-2], level.shape[-1]) for level in levels], images.device)
        return Predictions(class_logits, box_deltas, anchors, self.segmentation(levels, detail))

    @property
    def num_parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.parameters())
