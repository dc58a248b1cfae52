"""Every setting of a training run: the one list behind `bombo.train(...)`, `bombo train` and a run's config.yaml."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self, get_args

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from bombo.box_for_mask.providers import provider_called
from bombo.data.view import Fit
from bombo.engine.loggers import LoggerName
from bombo.engine.optimiser import OptimiserName
from bombo.engine.run_folder import CONFIG, latest, read_config
from bombo.errors import ConfigError, did_you_mean
from bombo.losses.box_regression import BoxLoss
from bombo.losses.method import MethodName, PseudoBoxWeights, method_of
from bombo.mask_for_box.components import VoidPolicy
from bombo.models.blocks import GROUP
from bombo.models.network import SIZE_MULTIPLE
from bombo.models.precision import Precision

Positive = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Word = Annotated[  # Python callers may give a path or a device as what it is
    str, BeforeValidator(lambda value: str(value) if isinstance(value, (Path, torch.device)) else value)
]


def _weights(value: object) -> object:
    """`name=0.5,other=0` as a mapping; the command line has no other form."""
    if not isinstance(value, str):
        return value
    for part in value.split(","):
        if "=" not in part:
            raise ValueError(f"`{part}` says no weight; write for instance m4b_cls=0.25,m4b_neg=0.1")
    return dict(part.split("=", 1) for part in value.split(","))


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class _Run(_Settings):
    data: Path | None = None
    """Data file: which images carry boxes, which masks."""
    config: Path | None = None
    """YAML file with any of these settings; options win over it."""
    out: Path | None = None
    """Folder of the run; by default the next runs/NAME-N."""
    overwrite: bool = False
    """Replace the run in that folder."""
    resume: Word | None = None
    """Go on with a run: its folder, or `auto` for the newest one, if any."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of everything random."""
    skip_bad: bool = False
    """Leave out files that cannot be used, and list them in the run's folder."""
    tensorboard: bool = False
    """Write the figures for TensorBoard, too."""
    wandb: bool = False
    """Send the figures to Weights & Biases, too."""

    @property
    def loggers(self) -> list[LoggerName]:
        """Where figures go besides metrics.jsonl."""
        return [name for name in get_args(LoggerName) if getattr(self, name)]


class _Network(_Settings):
    backbone: str = "resnet18"
    """Any timm network with features at strides 4, 8, 16 and 32."""
    weights: Word = "imagenet"
    """Backbone weights: `imagenet` (from the hub), a file, or `none`."""
    channels: Annotated[int, Field(ge=16, multiple_of=GROUP)] = 128
    """Channels of the pyramid and the detection head, a multiple of 8."""
    segmentation_channels: Annotated[int, Field(ge=16, multiple_of=GROUP)] = 96
    """Channels of the segmentation head, a multiple of 8."""
    head_depth: Annotated[int, Field(ge=0)] = 2
    """Convolutions in each tower of the detection head."""
    freeze_stem: bool = False
    """Keep the backbone's layers up to stride 4 as they are; saves time."""
    freeze_norm: bool = False
    """Keep the backbone's batch statistics; for small batches."""


class _Images(_Settings):
    size: Annotated[int, Field(ge=SIZE_MULTIPLE, multiple_of=SIZE_MULTIPLE)] = 320
    """Side of the square input in pixels, a multiple of 32."""
    fit: Fit = "squash"
    """How images are brought to that size: `squash` gives up the aspect ratio, `letterbox` pads."""
    multi_scale: bool = False
    """Train at 3/4 to 5/4 of the size, another one for every batch."""
    zoom: Annotated[float, Field(ge=1)] = 1.5
    """Crop and expand: windows show 1/ZOOM to ZOOM times the image; 1 = whole images only."""
    colour: Annotated[float, Field(ge=0, le=2)] = 1.0
    """Strength of the colour jitter."""


class _Schedule(_Settings):
    epochs: Positive = 30
    """Passes over the images."""
    steps: Positive | None = None
    """Optimiser steps, instead of epochs."""
    batch_size: Positive = 32
    """Images per batch, over all processes."""
    accumulate: Positive = 1
    """Batches per optimiser step."""
    optimiser: OptimiserName = "adamw"
    """AdamW, or SGD with Nesterov momentum."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """Peak learning rate of the new layers."""
    backbone_lr: Weight = 0.2
    """Factor on it for the backbone."""
    weight_decay: Weight = 0.05
    """Weight decay; biases and norms have none."""
    warmup: Share = 0.05
    """Share of the run in which the learning rate rises; then it falls along a cosine."""
    clip: Annotated[float, Field(gt=0, allow_inf_nan=True)] = 10.0
    """Largest norm of the gradient; inf = any."""
    ema: Share = 0.9995
    """Largest decay of the averaged weights that are evaluated and saved; 0 = no averaging."""
    eval_every: Annotated[int, Field(ge=0)] = 1
    """Epochs between evaluations; 0 = only at the end."""
    patience: Positive | None = None
    """Stop after so many evaluations without a better score."""
    max_time: str | None = None
    """Stop, resumably, so long after the start: 45s, 90m or 1h30m."""

    @field_validator("max_time")
    @classmethod
    def _is_a_time(cls, text: str | None) -> str | None:
        if text is not None and not re.fullmatch(r"(?=.)(\d+h)?(\d+m)?(\d+s)?", text):
            raise ValueError("not a time such as 45s, 90m or 1h30m")
        return text

    @property
    def max_seconds(self) -> float | None:
        """`max_time` in seconds."""
        if self.max_time is None:
            return None
        return float(
            sum(int(n) * {"h": 3600, "m": 60, "s": 1}[u] for n, u in re.findall(r"(\d+)([hms])", self.max_time))
        )


class _Losses(_Settings):
    box_loss: BoxLoss = "giou"
    """Distance of predicted boxes from their targets."""
    detection_weight: Weight = 1.0
    """Weight of the detection losses; 0 = segment only."""
    segmentation_weight: Weight = 1.0
    """Weight of the segmentation losses; 0 = detect only."""
    dice: Weight = 1.0
    """Weight of Dice relative to cross-entropy; 0 = none."""

    @model_validator(mode="after")
    def _ask_for_something(self) -> Self:
        if not self.detection_weight and not self.segmentation_weight:
            raise ValueError("`detection_weight` and `segmentation_weight` are both 0: there is nothing to learn")
        return self


class _Weak(_Settings):
    method: MethodName = "bombo"
    """What one task's annotation teaches the other: `skip` nothing, `m4b` masks for boxes, `bombo` each the other."""
    losses: Annotated[dict[str, Weight] | None, BeforeValidator(_weights)] = None
    """Weights of single weak losses, instead of the method's: m4b_cls=0.25,m4b_neg=0.1"""
    pseudo_boxes: PseudoBoxWeights = "hard"
    """How boxes made of masks count: `hard` = each fully, `weighted` = as far as the network confirms them."""
    mask_provider: Word = "grabcut"
    """Makes masks of boxes: `grabcut`, `ellipse`, `fill`, `inner`, two that agree (`grabcut+ellipse`), or a folder."""
    cache: Path | None = None
    """Where those masks are kept for the next run; by default ~/.cache/bombo/masks."""
    void: VoidPolicy = "joins"
    """Whether a void rim `joins` or `separates` two objects of a class; the latter is more than a mask should know."""


class _Machine(_Settings):
    device: Word = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    precision: Precision = "auto"
    """Number format of the forward pass."""
    channels_last: bool | None = None
    """Memory layout with channels last; by default on GPUs."""
    compile: bool = False
    """Compile the network: minutes at the start, faster steps after."""
    workers: Annotated[int, Field(ge=0)] | None = None
    """Processes that decode images; by default by the number of cores."""


class TrainSettings(_Machine, _Weak, _Losses, _Schedule, _Images, _Network, _Run):
    """All settings; the base classes are the groups `bombo train --help` shows."""

    @classmethod
    def resolve(cls, given: Mapping[str, Any]) -> Self:
        """Completes what a caller gave by the resumed run's settings or a configuration file, then by the defaults.

        Raises:
            ConfigError: A setting is unknown, has an unusable value, or there is no data file.
        """
        own = cls._valid(given, "").model_dump(include=set(given))
        beneath: dict[str, Any] = {}
        if own.get("config") is not None:
            beneath = read_config(own["config"])
            cls._valid(beneath, str(own["config"]))
        resume = own.get("resume", beneath.get("resume"))
        data = own.get("data") or beneath.get("data")
        if resume == "auto":
            if data is None:
                raise ConfigError(
                    "`auto` looks for the newest run of a data file", where="resume", fix="add --data FILE"
                )
            found = latest(Path(data).stem, own.get("out") or beneath.get("out"))
            own["resume"] = resume = str(found) if found else None
        if resume is not None:
            if not (Path(resume) / CONFIG).is_file():
                fix = "--resume wants the folder of a run, for instance runs/pets-1"
                raise ConfigError(f"is no folder of a run: it holds no {CONFIG}", where=str(resume), fix=fix)
            beneath = _over(read_config(Path(resume) / CONFIG), beneath)
            own["out"] = Path(resume)
        merged = cls._valid(_over(beneath, own), str(Path(resume) / CONFIG) if resume else "")
        if merged.data is None:
            raise ConfigError("there is no data file", where="data", fix="bombo train --data FILE; see the README")
        if resume is not None and data is None and not merged.data.is_absolute() and not merged.data.exists():
            raise ConfigError(
                f"says `data: {merged.data}`, seen from the folder the run was started in; from here it is not there",
                where=str(Path(resume) / CONFIG),
                fix="go to that folder, or add --data FILE",
            )
        method_of(merged.method, merged.losses or {})  # an unknown name is an error before anything is read
        provider_called(merged.mask_provider)
        return merged

    @classmethod
    def _valid(cls, values: Mapping[str, Any], where: str) -> Self:
        for name in values:
            if name not in cls.model_fields:
                raise ConfigError(f"`{name}` is no setting. {did_you_mean(str(name), cls.model_fields)}", where=where)
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            message = first["msg"].removeprefix("Value error, ")
            name = "".join(str(step) for step in first["loc"][:1])  # none where settings contradict one another
            value = f"{first['input']!r}: " if name else ""
            raise ConfigError(
                f"{value}{message[0].lower()}{message[1:]}", where=", ".join(filter(None, (where, name)))
            ) from None

    @classmethod
    def signature(cls) -> inspect.Signature:
        """The settings as keyword parameters of a function, the data file first."""
        return inspect.Signature(
            [
                inspect.Parameter(
                    name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.annotation
                )
                for name, field in cls.model_fields.items()
            ]
        )


def _over(beneath: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """What was said later wins, `epochs` over earlier `steps` as well."""
    return {name: value for name, value in beneath.items() if name != "steps" or "epochs" not in own} | dict(own)
