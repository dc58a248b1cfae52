"""The arms of an ablation: named changes of a base's settings."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from bombo.data.yaml_file import YamlFile
from bombo.engine.run_folder import START
from bombo.engine.settings import TrainSettings
from bombo.errors import ConfigError, did_you_mean
from bombo.losses.method import METHODS

SKIP, ORACLE = "skip", "oracle"  # the arms between which the gap lies
SINGLE: dict[str, Literal["boxes", "masks"]] = {"only-boxes": "boxes", "only-masks": "masks"}  # one network per task
DEFAULT_LADDER: dict[str, dict[str, Any]] = {
    **{arm: {"method": "skip"} for arm in (*SINGLE, SKIP)},
    "ssl": {"method": "ssl"},
    "faithful-b4m": {"method": "faithful", "losses": {"m4b_cls": 0.0, "m4b_box": 0.0}},
    "faithful-m4b": {"method": "faithful", "losses": {"b4m_label": 0.0}},
    "faithful": {"method": "faithful"},
    "b4m": {"method": "b4m"},  # and m4b is faithful-m4b
    **{
        f"without-{loss}": {"method": "bombo", "losses": {loss: 0.0}}
        for loss, weight in METHODS["bombo"].weights.by_name().items()
        if weight
    },
    "weighted-boxes": {"method": "bombo", "pseudo_boxes": "weighted"},
    "bombo": {"method": "bombo"},
    ORACLE: {"method": "skip"},
}
# the weights of the last step for all: nothing is chosen on the validation images, and no run ends early
SAME_FOR_ALL: dict[str, Any] = {"eval_every": 0, "patience": None, "max_time": None}
_FILE_OR_WORD = {"weights", "mask_provider"}
_DECIDED = {*SAME_FOR_ALL, *START, "seed"}


def read_ladder(file: Path) -> dict[str, dict[str, Any]]:
    """Reads `arms: {name: {setting: value}}`; relative paths start at the file's folder.

    Returns:
        Name of the arm → the settings it changes, in the order of the file.

    Raises:
        ConfigError: The file is none, or an arm changes what is no setting or must be the same for all.
    """
    yaml = YamlFile(file)
    arms = yaml.content.get("arms")
    if set(yaml.content) != {"arms"} or not isinstance(arms, dict) or not arms:
        raise ConfigError("is no ladder", where=str(file), fix="write  arms: {skip: {}, mine: {lr: 0.002}}")
    ladder = {}
    for arm, changes in arms.items():
        where = yaml.where("arms", arm)
        if not isinstance(arm, str) or not re.fullmatch(r"\w[\w.+-]*", arm):
            raise ConfigError(
                f"`{arm}` cannot name an arm: folders are called so", where=where, fix="use letters, digits, _ . + -"
            )
        if not isinstance(changes, dict | None):
            raise ConfigError(f"arm `{arm}` holds no settings", where=where, fix=f"write  {arm}: {{lr: 0.002}}")
        ladder[arm] = {
            name: _rooted(name, value, file.parent)
            for name, value in (changes or {}).items()
            if _may_differ(name, yaml.where("arms", arm, name), arm)
        }
    return ladder


def choose(ladder: Mapping[str, dict[str, Any]], names: Sequence[str] | None) -> dict[str, dict[str, Any]]:
    """The arms of those names, in the order of the ladder; all without names.

    Raises:
        ConfigError: There is no such arm.
    """
    for name in names or ():
        if name not in ladder:
            raise ConfigError(f"there is no arm `{name}`. {did_you_mean(name, ladder)}", where="arms")
    return {arm: changes for arm, changes in ladder.items() if names is None or arm in names}


def resolve(arm: str, changes: Mapping[str, Any], base: Mapping[str, Any]) -> TrainSettings:
    """All settings of an arm, the seed aside.

    Args:
        arm: Its name, for messages.
        changes: What it changes.
        base: What it starts from: `data`, `config`.

    Raises:
        ConfigError: A setting is unknown or has an unusable value; the message names the arm.
    """
    try:
        return TrainSettings.resolve({**base, **changes, **SAME_FOR_ALL, "resume": None})
    except ConfigError as error:
        where = ", ".join(filter(None, (f"arm {arm}", error.where)))
        raise ConfigError(error.message, where=where, fix=error.fix) from None


def _may_differ(name: object, where: str, arm: str) -> bool:
    if name not in TrainSettings.model_fields:
        known = did_you_mean(str(name), TrainSettings.model_fields.keys() - _DECIDED)
        raise ConfigError(f"arm `{arm}`: `{name}` is no setting. {known}", where=where)
    if name in _DECIDED:
        raise ConfigError(
            f"arm `{arm}`: `{name}` is the same for all arms, or the comparison would not be fair",
            where=where,
            fix="leave it out; seeds come from --seeds, folders from --out",
        )
    return True


def _rooted(name: str, value: Any, folder: Path) -> Any:
    """A path, as it is meant from the folder of the ladder."""
    annotation = TrainSettings.model_fields[name].annotation
    is_path = value is not None and Path in (annotation, *get_args(annotation))
    is_file = name in _FILE_OR_WORD and (folder / str(value)).exists()
    return os.path.normpath(folder / str(value)) if is_path or is_file else value
