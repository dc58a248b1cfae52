from __future__ import annotations

import pytest
import torch
from torch import nn

from bombo.models.ema import Teacher
from bombo.models.network import Network, NetworkConfig
from bombo.models.precision import widen_strided_depthwise


def make_network() -> Network:
    return Network(
        NetworkConfig(
            backbone="mobilenetv3_small_050", num_things=2, num_mask_values=3, channels=16, segmentation_channels=16
        )
    )


@torch.no_grad()
def shake(network: nn.Module) -> None:
    for tensor in [*network.parameters(), *network.buffers()]:
        tensor.add_(torch.rand_like(tensor) / 50 if tensor.is_floating_point() else 1)


@pytest.mark.parametrize("largest", [0.0, 0.3, 0.9, 0.9995])
def test_average_by_its_formula(largest: float) -> None:
    network = make_network()
    teacher = Teacher(network, largest)
    expected = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for step in range(1, 6):
        shake(network)
        decay = min(largest, step / (step + 10))
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * tensor
            else:
                expected[name] = tensor.clone()
        teacher.update(network, step)
    for name, tensor in teacher.network.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-5)
    assert any("num_batches_tracked" in name for name in expected)


def test_decay_zero_is_the_network_itself() -> None:
    network = make_network()
    teacher = Teacher(network, 0.0)
    shake(network)
    teacher.update(network, 1)
    assert all(
        torch.equal(a, b)
        for a, b in zip(teacher.network.state_dict().values(), network.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("widened", [False, True])
def test_the_teacher_shares_nothing_with_its_network(widened: bool) -> None:
    network = make_network()
    if widened:
        widen_strided_depthwise(network)
    teacher = Teacher(network, 0.9)
    before = {name: tensor.clone() for name, tensor in teacher.network.state_dict().items()}
    shake(network)
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.network.state_dict().items())


def test_the_teacher_evaluates_and_learns_nothing_by_itself() -> None:
    network = make_network().train()
    network.backbone.freeze_stem()
    teacher = Teacher(network, 0.9)
    assert not any(module.training for module in teacher.network.modules())
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())
    assert network.training


def test_a_network_widened_later_is_still_followed() -> None:
    network = make_network()
    teacher = Teacher(network, 0.0)
    widen_strided_depthwise(network)
    shake(network)
    teacher.update(network, 1)
    image = torch.rand(1, 3, 32, 32) * 255
    with torch.no_grad():
        torch.testing.assert_close(teacher.network(image).mask_logits, network.eval()(image).mask_logits)
