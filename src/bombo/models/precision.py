"""Number formats: which one a device computes fastest, and where a faster one has to be kept away."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import BeforeValidator
from torch import Tensor, nn

from bombo.errors import ConfigError

Precision = Annotated[  # `precision: 32` in a YAML file is a number
    Literal["auto", "32", "bf16", "fp16"], BeforeValidator(lambda value: "32" if value == 32 else value)
]


def choose_precision(precision: Precision, device: torch.device) -> tuple[torch.dtype, str]:
    """Resolves `auto`: bfloat16 where the hardware multiplies in it, float16 on older GPUs, float32 otherwise.

    Returns:
        The type of the forward pass and the reason in a few words.

    Raises:
        ConfigError: fp16 on a CPU.
    """
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError("a CPU does not train in fp16", where="precision", fix="use bf16, 32 or auto")
    if precision != "auto":
        return {"32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision], "as asked"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16, "the GPU has bf16 units"
        return torch.float16, "the GPU has fp16 but no bf16 units"
    if device.type == "cpu" and _cpu_has_bf16():
        return torch.bfloat16, "the CPU has bf16 instructions"
    return torch.float32, f"no fast half precision on {device.type}"


def _cpu_has_bf16() -> bool:
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # older releases cannot tell
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def at_least_float32(tensor: Tensor) -> Tensor:
    """Widens half precision to float32, for sums and exponentials; float64 stays."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


class _Float32Conv2d(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def widen_strided_depthwise(network: nn.Module) -> None:
    """Lets strided depthwise convolutions that learn compute in float32 under a CPU's bf16 autocast.

    Their bf16 backward pass falls back to a reference kernel, 7 to 35 times slower than float32 (torch 2.15 with
    oneDNN): three layers of MobileNetV2 took a fifth of the training step.
    """
    for module in network.modules():
        if type(module) is not nn.Conv2d or not module.weight.requires_grad:
            continue
        if module.groups == module.in_channels > 1 and max(module.stride) > 1:
            module.__class__ = _Float32Conv2d
