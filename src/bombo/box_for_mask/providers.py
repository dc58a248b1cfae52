"""The label providers by name, as a setting spells them."""

from __future__ import annotations

from pathlib import Path

from bombo.box_for_mask.agreement import Agreement
from bombo.box_for_mask.grabcut import GrabCut
from bombo.box_for_mask.shapes import Ellipse, Fill, Inner
from bombo.box_for_mask.weak_mask import LabelProvider
from bombo.errors import ConfigError, did_you_mean

_BY_NAME: dict[str, LabelProvider] = {"grabcut": GrabCut(), "ellipse": Ellipse(), "fill": Fill(), "inner": Inner()}


def provider_called(word: str) -> LabelProvider | Path:
    """A provider, the agreement of two (`grabcut+ellipse`), or a folder of masks.

    Raises:
        ConfigError: It is none of them.
    """
    names = word.split("+")
    if not _BY_NAME.keys() >= set(names) and Path(word).is_dir():
        return Path(word)
    for name in names:
        if name not in _BY_NAME:
            raise ConfigError(
                f"`{name}` makes no masks, nor is it a folder of them. {did_you_mean(name, _BY_NAME)}",
                where="mask_provider",
                fix="choose one, the agreement of two such as grabcut+ellipse, or a folder of mask PNGs",
            )
    if len(names) > 2:
        raise ConfigError(f"{word}: two providers can be asked to agree, not {len(names)}", where="mask_provider")
    first, *others = (_BY_NAME[name] for name in names)
    return Agreement(first, others[0]) if others else first
