from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from bombo.errors import ConfigError
from bombo.models import precision
from bombo.models.precision import at_least_float32, choose_precision, widen_strided_depthwise

F32, BF16, F16 = torch.float32, torch.bfloat16, torch.float16


@pytest.mark.parametrize(
    ("asked", "device", "cuda_bf16", "cpu_bf16", "expected", "reason"),
    [
        ("auto", "cuda", True, False, BF16, "bf16 units"),
        ("auto", "cuda", False, True, F16, "no bf16"),
        ("auto", "cpu", False, True, BF16, "bf16 instructions"),
        ("auto", "cpu", True, False, F32, "no fast half precision on cpu"),
        ("auto", "mps", True, True, F32, "no fast half precision on mps"),
        ("32", "cuda", True, True, F32, "as asked"),
        ("32", "cpu", True, True, F32, "as asked"),
        ("bf16", "cpu", False, False, BF16, "as asked"),
        ("fp16", "cuda", True, True, F16, "as asked"),
    ],
)
def test_choice(monkeypatch, asked, device, cuda_bf16, cpu_bf16, expected, reason) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or cuda_bf16
    )
    monkeypatch.setattr(precision, "_cpu_has_bf16", lambda: cpu_bf16)
    dtype, why = choose_precision(asked, torch.device(device))
    assert dtype == expected
    assert reason in why


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True}, BF16),
        ({"amx_bf16": True, "avx512_bf16": False}, BF16),
        ({"avx2": True, "avx512_bf16": False}, F32),
        ({}, F32),
    ],
)
def test_what_the_cpu_says(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert choose_precision("auto", torch.device("cpu"))[0] == expected


def test_a_torch_that_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert choose_precision("auto", torch.device("cpu"))[0] == F32


def test_a_cpu_does_not_train_in_fp16() -> None:
    with pytest.raises(ConfigError, match="fp16"):
        choose_precision("fp16", torch.device("cpu"))


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(F16, F32), (BF16, F32), (F32, F32), (torch.float64, torch.float64)],
)
def test_half_precision_is_widened_and_double_stays(dtype: torch.dtype, expected: torch.dtype) -> None:
    assert at_least_float32(torch.zeros(1, dtype=dtype)).dtype == expected


def widened(network: nn.Module) -> list[str]:
    return [name for name, module in network.named_modules() if type(module).__name__ == "_Float32Conv2d"]


def test_only_strided_depthwise_convolutions_are_widened() -> None:
    network = nn.Sequential(
        nn.Conv2d(4, 4, 3, stride=2, groups=4),
        nn.Conv2d(4, 8, 3, stride=(1, 2), groups=4),
        nn.Conv2d(4, 4, 3, stride=1, groups=4),
        nn.Conv2d(4, 4, 3, stride=2, groups=2),
        nn.Conv2d(4, 4, 3, stride=2),
        nn.Conv2d(1, 1, 3, stride=2),
    )
    widen_strided_depthwise(network)
    assert widened(network) == ["0", "1"]


def test_widening_changes_no_value_and_no_name() -> None:
    network = timm.create_model("mobilenetv2_035").eval()
    image = torch.randn(1, 3, 64, 64)
    names, before = list(network.state_dict()), network(image)
    widen_strided_depthwise(network)
    assert len(widened(network)) == 4
    assert list(network.state_dict()) == names
    assert torch.equal(network(image), before)


def test_widened_layers_compute_in_float32_under_autocast() -> None:
    layer = nn.Conv2d(8, 8, 3, stride=2, groups=8)
    x = torch.randn(1, 8, 16, 16, requires_grad=True)
    exact = layer(x)
    network = nn.Sequential(layer)
    widen_strided_depthwise(network)
    with torch.autocast("cpu", BF16):
        found, from_half = network(x), network(x.bfloat16())
    assert found.dtype == from_half.dtype == F32
    assert torch.equal(found, exact)
    from_half.sum().backward()
    assert x.grad is not None
