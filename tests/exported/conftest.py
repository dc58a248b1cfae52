from __future__ import annotations

import pytest
import torch

from bombo.data.label_space import LabelSpace
from bombo.engine.model import TorchModel
from bombo.models.network import Network, NetworkConfig


def tiny(things: int, stuff: int, size: tuple[int, int] = (64, 96)) -> TorchModel:
    """An untrained network that is sure of many things: its logits are spread."""
    space = LabelSpace(tuple("abcdef"[:things]), tuple("uvw"[:stuff]))
    torch.manual_seed(0)
    config = NetworkConfig(
        backbone="test_resnet",
        num_things=space.num_things,
        num_mask_values=space.num_mask_values,
        channels=16,
        segmentation_channels=16,
        head_depth=0,
    )
    network = Network(config).eval()
    for layer in (network.detection.class_logits, network.detection.box_deltas, network.segmentation.classify):
        torch.nn.init.normal_(layer.weight, std=0.3)
    return TorchModel(space, size, "squash", network, torch.device("cpu"), torch.float32)


@pytest.fixture(scope="session")
def model() -> TorchModel:
    return tiny(3, 1)


@pytest.fixture(scope="session")
def segmenter() -> TorchModel:
    return tiny(0, 2)


@pytest.fixture(scope="session")
def images() -> torch.Tensor:
    return torch.randint(256, (5, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
