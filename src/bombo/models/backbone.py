"""Any timm network as a feature pyramid at strides 4, 8, 16 and 32."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Self

import timm
import torch
from torch import Tensor, nn

from bombo.errors import ConfigError

STRIDES = (4, 8, 16, 32)
_EXAMPLES = "choose a hierarchical network, for instance resnet18, convnext_tiny or mobilenetv2_100"


class Backbone(nn.Module):
    """Features of a timm network at the four strides every detector uses.

    Args:
        name: Any timm model that supports `features_only` with strides 4 to 32.
        weights: `imagenet` (from the model hub), the path of a weights file, or `none`.

    Raises:
        ConfigError: The name is unknown, has no such strides, or the weights cannot be had.
    """

    def __init__(self, name: str, weights: str = "none") -> None:
        super().__init__()
        self.name = name
        self.body = _create(name, weights)
        info: Any = self.body.feature_info
        reductions: list[int] = info.reduction()
        missing = [stride for stride in STRIDES if stride not in reductions]
        if missing:
            raise ConfigError(
                f"{name} has features at strides {reductions}; {missing} are needed",
                where="backbone",
                fix=_EXAMPLES,
            )
        # the last feature of a stride is its deepest
        self.keep = [len(reductions) - 1 - reductions[::-1].index(stride) for stride in STRIDES]
        self.channels = [int(info.channels()[i]) for i in self.keep]
        config: Any = self.body.pretrained_cfg
        self.mean: tuple[float, ...] = tuple(config.get("mean", (0.485, 0.456, 0.406)))
        self.std: tuple[float, ...] = tuple(config.get("std", (0.229, 0.224, 0.225)))
        self._kept: set[str] = set()  # names, because synchronised batch norm replaces modules
        # features that come channels-last (Swin, for instance) are turned
        self.channels_last_output = getattr(self.body, "output_fmt", "NCHW") == "NHWC"

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised → four maps (B, C_i, H / stride_i, W / stride_i)."""
        on_cpu = images.device.type == "cpu"
        if on_cpu:  # depthwise and 1x1 convolutions take a third less time than on planes, in either precision
            images = images.contiguous(memory_format=torch.channels_last)
        features = self.body(images)
        chosen = [features[i] for i in self.keep]
        if self.channels_last_output:
            chosen = [feature.permute(0, 3, 1, 2) for feature in chosen]
        # back to planes: group normalisation, which follows, is slow without them on a CPU
        return [feature.contiguous() for feature in chosen] if on_cpu else chosen

    @torch.no_grad()
    def require_size(self, size: int) -> None:
        """Looks at an empty image: some networks take images of one size only, which shows when they look.

        Raises:
            ConfigError: It cannot take square images of this size.
        """
        training = self.training
        self.eval()
        try:
            self(next(self.parameters()).new_zeros(1, 3, size, size))
        except (AssertionError, RuntimeError, ValueError) as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise ConfigError(
                f"{self.name} cannot take images of {size}×{size} pixels ({reason})", where="backbone", fix=_EXAMPLES
            ) from None
        self.train(training)

    def freeze_stem(self) -> None:
        """Keeps the layers up to the feature at stride 4 as they are, which saves their backward pass.

        For pretrained weights and little data or time: these layers hold edges and textures, which hardly change.
        """
        info: Any = self.body.feature_info
        last = info.module_name()[self.keep[0]]
        modules = list(self.body.named_modules())
        inside = [
            i
            for i, (name, _) in enumerate(modules)
            if f"{name}.".startswith((f"{last}.", f"{last.replace('.', '_')}."))
        ]
        if not inside:
            raise ConfigError(
                f"{type(self.body).__name__} does not say which layers make its stem",
                where="freeze_stem",
                fix="leave it off",
            )
        for name, module in modules[1 : inside[-1] + 1]:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
            self._kept.add(name)
        self.train(self.training)

    def freeze_norm(self) -> None:
        """Keeps the statistics of all batch normalisation; for batches too small to estimate them."""
        self._kept |= {n for n, m in self.body.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """As in torch, but kept layers stay in evaluation mode."""
        super().train(mode)
        for name, module in self.body.named_modules():
            if name in self._kept:
                module.training = False  # not eval(): a container of kept layers may hold others, too
        return self


def _create(name: str, weights: str) -> nn.Module:
    if not timm.is_model(name.split(".")[0]):
        nearest = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0)
        raise ConfigError(
            f"timm knows no model {name!r}. Did you mean `{'` or `'.join(nearest)}`?", where="backbone", fix=_EXAMPLES
        )
    # Swin can take any size, but insists on the one it was made for unless told otherwise
    options: dict[str, Any] = {"strict_img_size": False} if name.startswith("swin") else {}
    state = torch.get_rng_state()
    try:
        blank: nn.Module = timm.create_model(name, features_only=True, **options)
    except Exception as error:
        raise ConfigError(
            f"timm cannot build {name} as a feature pyramid ({_first_line(error)})", where="backbone", fix=_EXAMPLES
        ) from error
    if weights == "none":
        return blank
    torch.set_rng_state(state)  # the same random start once more: what is left of it was not in the file
    model = _pretrained(name, weights, options)
    start = dict(blank.named_parameters())
    left = [key for key, weight in model.named_parameters() if weight.ndim > 1 and weight.equal(start[key])]
    if left:
        raise ConfigError(
            f"{weights} holds no weights for {len(left)} layers of {name}, among them {left[0]}",
            where="weights",
            fix=f"give a file with the weights of timm's {name}",
        )
    return model


def _pretrained(name: str, weights: str, options: dict[str, Any]) -> nn.Module:
    if weights == "imagenet":
        problem, overlay = f"cannot get ImageNet weights for {name}", None
        fix = "connect once, or give a local file: --weights PATH, or train from nothing: --weights none"
    elif Path(weights).is_file():
        problem, overlay = f"cannot read {weights} as weights of {name}", {"file": weights}
        fix = f"give a safetensors or PyTorch file with the weights of timm's {name}"
    else:
        raise ConfigError(f"{weights!r} is no file", where="weights", fix="give a path, `imagenet` or `none`")
    try:
        model: nn.Module = timm.create_model(
            name, features_only=True, pretrained=True, pretrained_cfg_overlay=overlay, **options
        )
        return model
    except Exception as error:
        raise ConfigError(f"{problem} ({_first_line(error)})", where="weights", fix=fix) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
