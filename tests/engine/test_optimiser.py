from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bombo.engine.optimiser import learning_rate, make_optimiser, set_learning_rate
from bombo.models.network import Network, NetworkConfig


@pytest.fixture(scope="module")
def network() -> Network:
    config = NetworkConfig(
        backbone="test_resnet", num_things=2, num_mask_values=3, channels=16, segmentation_channels=16, head_depth=1
    )
    return Network(config)


def test_every_parameter_is_in_one_group_with_its_own_rate_and_decay(network: Network) -> None:
    optimiser = make_optimiser(network, "adamw", lr=0.1, backbone_lr=0.5, weight_decay=0.2)
    found = {p: (group["lr"], group["weight_decay"]) for group in optimiser.param_groups for p in group["params"]}
    assert sum(len(group["params"]) for group in optimiser.param_groups) == len(found)
    assert found == {
        parameter: (0.05 if name.startswith("backbone.") else 0.1, 0.0 if parameter.ndim < 2 else 0.2)
        for name, parameter in network.named_parameters()
    }
    assert {p.ndim < 2 for p in network.parameters()} == {True, False}


def test_frozen_parameters_are_left_out() -> None:
    config = NetworkConfig(backbone="test_resnet", num_things=1, num_mask_values=2, channels=16, head_depth=0)
    network = Network(config)
    network.backbone.freeze_stem()
    optimiser = make_optimiser(network, "adamw", lr=0.1, backbone_lr=1, weight_decay=0)
    kept = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    assert set(kept) == {parameter for parameter in network.parameters() if parameter.requires_grad}
    assert len(kept) < len(list(network.parameters()))


@pytest.mark.parametrize(("kind", "made"), [("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)])
def test_the_kind_is_as_asked(kind: str, made: type, network: Network) -> None:
    optimiser = make_optimiser(network, kind, lr=0.1, backbone_lr=1, weight_decay=0)  # type: ignore[arg-type]
    assert type(optimiser) is made
    if kind == "sgd":
        assert {(group["momentum"], group["nesterov"]) for group in optimiser.param_groups} == {(0.9, True)}


RATES = {
    "first step of the warm-up": (0, 100, 0.1, 0.1),
    "last step of the warm-up": (9, 100, 0.1, 1.0),
    "the peak": (10, 100, 0.1, 1.0),
    "half way down": (55, 100, 0.1, 0.505),
    "the end": (100, 100, 0.1, 0.01),
    "beyond the end": (200, 100, 0.1, 0.01),
    "no warm-up": (0, 100, 0.0, 1.0),
    "only warm-up": (99, 100, 1.0, 1.0),
    "a run of one step": (0, 1, 0.05, 1.0),
}


@pytest.mark.parametrize(("step", "steps", "warmup", "share"), RATES.values(), ids=RATES)
def test_the_learning_rate_rises_then_falls(step: int, steps: int, warmup: float, share: float) -> None:
    assert learning_rate(step, steps, warmup) == pytest.approx(share)


@given(steps=st.integers(1, 500), warmup=st.floats(0, 1))
def test_it_is_positive_at_most_one_and_has_one_peak(steps: int, warmup: float) -> None:
    shares = [learning_rate(step, steps, warmup) for step in range(steps)]
    assert all(0 < share <= 1 for share in shares)
    peak = shares.index(max(shares))
    assert shares[: peak + 1] == sorted(shares[: peak + 1])
    assert shares[peak:] == sorted(shares[peak:], reverse=True)
    assert math.isclose(max(shares), 1)


def test_all_groups_follow(network: Network) -> None:
    optimiser = make_optimiser(network, "adamw", lr=0.1, backbone_lr=0.5, weight_decay=0)
    for share in (0.5, 0.25):  # relative to the peak, not to the last rate
        set_learning_rate(optimiser, share)
        assert {group["lr"] for group in optimiser.param_groups} == {0.1 * share, 0.05 * share}
