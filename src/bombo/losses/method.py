"""Which weak losses, and how much of each: the presets behind `method`, and their weights by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Literal

from bombo.errors import ConfigError, did_you_mean

MethodName = Literal["skip", "ssl", "faithful", "b4m", "m4b", "bombo"]
Judge = Literal["none", "hard", "weighted"]
PseudoBoxWeights = Literal["hard", "weighted"]


@dataclass(frozen=True)
class WeakWeights:
    """Weight of every weak loss relative to the supervised one of its head; 0 = not computed.

    Args:
        b4m_label: Cross-entropy on labels made from boxes.
        b4m_dice: Dice on the same labels.
        b4m_set: Candidate sets.
        b4m_row: Tightness of boxes.
        b4m_pair: Colour affinity.
        b4m_fill: Filling rates.
        m4b_cls: Classification of pseudo-boxes.
        m4b_box: Localisation of pseudo-boxes.
        m4b_neg: Certain negatives, without asking for positives.
        m4b_bag: Presence of an object in every component.
        m4b_out: Containment of predictions in the hull of their class.
        ssl_mask: The teacher's own masks, without regard to boxes.
        ssl_cls: The teacher's own boxes, classification.
        ssl_box: The teacher's own boxes, localisation.
    """

    b4m_label: float = 0.0
    b4m_dice: float = 0.0
    b4m_set: float = 0.0
    b4m_row: float = 0.0
    b4m_pair: float = 0.0
    b4m_fill: float = 0.0
    m4b_cls: float = 0.0
    m4b_box: float = 0.0
    m4b_neg: float = 0.0
    m4b_bag: float = 0.0
    m4b_out: float = 0.0
    ssl_mask: float = 0.0
    ssl_cls: float = 0.0
    ssl_box: float = 0.0

    def by_name(self) -> dict[str, float]:
        """Loss name → weight."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def any(self, prefix: str = "") -> bool:
        """Whether a loss whose name begins so has a weight."""
        return any(weight > 0 for name, weight in self.by_name().items() if name.startswith(prefix))


@dataclass(frozen=True)
class Method:
    """How the annotation of one task teaches the other head.

    Args:
        weights: Of the weak losses.
        masks: How the teacher judges labels made from boxes: not at all, or by its probabilities.
        boxes: How the teacher judges components: not at all, `hard` (its boxes are taken for true), or weighted.
        start: Share of the schedule before the teacher is asked; until then labels and components stand as they are.
        full: Share of the schedule from which on it is trusted fully.
    """

    weights: WeakWeights = field(default_factory=WeakWeights)
    masks: Judge = "none"
    boxes: Judge = "none"
    start: float = 0.15
    full: float = 0.35

    def trust(self, progress: float) -> float:
        """Trust in the teacher at a share of the schedule, 0 to 1."""
        return min(1.0, max(0.0, (progress - self.start) / (self.full - self.start)))

    def asks_teacher(self, progress: float) -> bool:
        """Whether the teacher's predictions are needed at this point."""
        judged = (self.weights.b4m_label or self.weights.b4m_dice) and self.masks != "none"
        confirmed = (self.weights.m4b_cls or self.weights.m4b_box or self.weights.m4b_bag) and self.boxes != "none"
        return self.trust(progress) > 0 and bool(judged or confirmed or self.weights.any("ssl"))


_FAITHFUL_B4M = {"b4m_label": 0.5}
_FAITHFUL_M4B = {"m4b_cls": 0.5, "m4b_box": 0.5}
_B4M = {"b4m_label": 0.5, "b4m_dice": 0.5}
_M4B = {"m4b_cls": 0.5, "m4b_box": 0.5}

METHODS: Mapping[MethodName, Method] = {
    "skip": Method(),
    "ssl": Method(WeakWeights(ssl_mask=0.5, ssl_cls=0.5, ssl_box=0.5)),
    "faithful": Method(WeakWeights(**_FAITHFUL_B4M, **_FAITHFUL_M4B), boxes="hard"),
    "b4m": Method(WeakWeights(**_B4M), masks="weighted"),
    "m4b": Method(WeakWeights(**_M4B), boxes="hard"),
    "bombo": Method(WeakWeights(**_B4M, **_M4B), masks="weighted", boxes="hard"),
}


def method_of(
    name: MethodName,
    losses: Mapping[str, float],
    *,
    pseudo_boxes: PseudoBoxWeights = "hard",
    detection: bool = True,
    segmentation: bool = True,
) -> Method:
    """A preset with some of its weights replaced; the teacher judges the targets of losses that are added.

    Args:
        name: The preset.
        losses: Loss name → weight.
        pseudo_boxes: How boxes made of masks count once the teacher has judged them.
        detection: Whether the detection head is trained at all; otherwise nothing teaches it.
        segmentation: The same of the segmentation head.

    Raises:
        ConfigError: There is no such loss.
    """
    names = list(WeakWeights().by_name())
    for loss in losses:
        if loss not in names:
            raise ConfigError(f"`{loss}` is no weak loss. {did_you_mean(loss, names)}", where="losses")
    preset = METHODS[name]
    weights = preset.weights.by_name() | dict(losses)
    taught = {
        n: w * (segmentation if n.startswith("b4m") or n == "ssl_mask" else detection) for n, w in weights.items()
    }
    wanted = WeakWeights(**taught)
    masks = "weighted" if wanted.any("b4m") and not preset.weights.any("b4m") else preset.masks
    boxes = pseudo_boxes if wanted.any("m4b") or preset.boxes != "none" else "none"
    return replace(preset, weights=wanted, masks=masks, boxes=boxes)
