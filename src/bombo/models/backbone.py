"""Any timm network as a feature pyramid at strides 4, 8, 16 and 32."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import timm
from torch import Tensor, nn

from bombo.errors import ConfigError, did_you_mean

STRIDES = (4, 8, 16, 32)


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
        self.body = _create(name, weights)
        info: Any = self.body.feature_info
        reductions: list[int] = info.reduction()
        missing = [stride for stride in STRIDES if stride not in reductions]
        if missing:
            raise ConfigError(
                f"{name} has features at strides {reductions}; {missing} are needed",
                where="backbone",
                fix="choose a hierarchical network, for instance resnet18, convnext_tiny or mobilenetv2_100",
            )
        # the last feature of a stride is its deepest
        self.keep = [len(reductions) - 1 - reductions[::-1].index(stride) for stride in STRIDES]
        self.channels = [int(info.channels()[i]) for i in self.keep]
        config: Any = self.body.pretrained_cfg
        self.mean: tuple[float, ...] = tuple(config.get("mean", (0.485, 0.456, 0.406)))
        self.std: tuple[float, ...] = tuple(config.get("std", (0.229, 0.224, 0.225)))
        self._kept: list[nn.Module] = []
        # features that come channels-last (Swin, for instance) are turned
        self.channels_last_output = getattr(self.body, "output_fmt", "NCHW") == "NHWC"

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised → four maps (B, C_i, H / stride_i, W / stride_i)."""
        features = self.body(images)
        chosen = [features[i] for i in self.keep]
        return [f.permute(0, 3, 1, 2) for f in chosen] if self.channels_last_output else chosen

    def freeze_stem(self) -> None:
        """Keeps the layers up to the feature at stride 4 as they are, which saves their backward pass.

        For pretrained weights and little data or time: these layers hold edges and textures, which hardly change.
        """
        info: Any = self.body.feature_info
        last = info.module_name()[self.keep[0]]
        names = [name for name, _ in self.body.named_modules()]
        inside = [
            i for i, name in enumerate(names) if f"{name}.".startswith((f"{last}.", f"{last.replace('.', '_')}."))
        ]
        if not inside:
            raise ConfigError(
                f"{type(self.body).__name__} does not say which layers make its stem",
                where="freeze_stem",
                fix="leave it off",
            )
        for module in list(self.body.modules())[1 : inside[-1] + 1]:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
            self._kept.append(module)
        self.train(self.training)

    def freeze_norm(self) -> None:
        """Keeps the statistics of all batch normalisation; for batches too small to estimate them."""
        self._kept += [m for m in self.body.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """As in torch, but kept layers stay in evaluation mode."""
        super().train(mode)
        for module in self._kept:
            module.training = False  # not eval(): a container of kept layers may hold others, too
        return self


def _create(name: str, weights: str) -> nn.Module:
    if not timm.is_model(name.split(".")[0]):
        raise ConfigError(f"timm knows no model {name!r}. {did_you_mean(name, timm.list_models())}", where="backbone")
    overlay = None
    if weights not in ("imagenet", "none"):
        if not Path(weights).is_file():
            raise ConfigError(f"{weights!r} is no file", where="weights", fix="give a path, `imagenet` or `none`")
        overlay = {"file": weights}
    try:
        model: nn.Module = timm.create_model(
            name, features_only=True, pretrained=weights != "none", pretrained_cfg_overlay=overlay
        )
        return model
    except Exception as error:
        if weights == "imagenet":
            raise ConfigError(
                f"cannot get ImageNet weights for {name} ({_first_line(error)})",
                where="weights",
                fix="connect once, or give a local file: --weights PATH, or train from nothing: --weights none",
            ) from error
        raise ConfigError(
            f"cannot build {name} with weights {weights} ({_first_line(error)})", where="backbone"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
