"""Optimiser and learning-rate schedule."""

from __future__ import annotations

import math
from typing import Literal

import torch

from bombo.models.network import Network

OptimiserName = Literal["adamw", "sgd"]


def make_optimiser(
    network: Network, kind: OptimiserName, *, lr: float, backbone_lr: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Makes four groups: backbone or new layers, with weight decay (matrices, kernels) or without (biases, norms).

    Args:
        network: The network; parameters that need no gradient are left out.
        kind: AdamW, or SGD with Nesterov momentum 0.9.
        lr: Peak learning rate of the new layers.
        backbone_lr: Factor on it for the backbone, whose weights are usually pretrained.
        weight_decay: Decay of the weights that have any.
    """
    groups = []
    for in_backbone in (False, True):
        for decayed in (False, True):
            parameters = [
                parameter
                for name, parameter in network.named_parameters()
                if parameter.requires_grad
                and name.startswith("backbone.") == in_backbone
                and (parameter.ndim >= 2) == decayed
            ]
            peak = lr * (backbone_lr if in_backbone else 1.0)
            if parameters:
                groups.append({"params": parameters, "lr": peak, "peak": peak, "weight_decay": weight_decay * decayed})
    if kind == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=lr)


def learning_rate(step: int, steps: int, warmup: float) -> float:
    """Share of the peak rate at a step: linear warm-up, then one cosine down to a hundredth.

    Args:
        step: From 0.
        steps: Length of the run.
        warmup: Share of the run that warms up, 0 to 1.
    """
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    progress = (step - rising) / max(1, steps - rising)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def set_learning_rate(optimiser: torch.optim.Optimizer, share: float) -> None:
    """Sets every group's rate to its peak times `share`."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * share
