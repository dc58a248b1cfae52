"""The teacher: an exponential moving average of the network's weights (Tarvainen & Valpola 2017, arXiv 1703.01780)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from bombo.models.network import Network


class Teacher:
    """Follows a network at a distance that grows with the run, and is what gets evaluated and saved.

    The average looks back over a tenth of the steps so far, at most over 1 / (1 − decay) of them: a run of a few
    hundred steps and one of a million are both smoothed over a sensible share (relative width: Karras et al. 2024,
    arXiv 2312.02696, sec. 3.1).

    Args:
        network: The network to follow.
        decay: Largest decay, 0 to 1; 0 = the network itself.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: Network, step: int) -> None:
        """Moves the average towards the network.

        Args:
            network: The network after optimiser step number `step`.
            step: Counted from 1.
        """
        decay = min(self.decay, step / (step + 10))
        mine: list[Tensor] = list(self.network.parameters())
        theirs: list[Tensor] = [parameter.detach() for parameter in network.parameters()]
        torch._foreach_lerp_(mine, theirs, 1 - decay)
        for kept, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            if kept.is_floating_point():
                kept.lerp_(buffer, 1 - decay)
            else:
                kept.copy_(buffer)
