from __future__ import annotations

from dataclasses import replace

import pytest

from bombo.errors import ConfigError
from bombo.losses.method import METHODS, Method, MethodName, WeakWeights, method_of

NAMES = list(WeakWeights().by_name())


@pytest.mark.parametrize(
    ("progress", "trust"),
    [(0.0, 0.0), (0.15, 0.0), (0.2, 0.25), (0.25, 0.5), (0.35, 1.0), (1.0, 1.0)],
)
def test_trust_grows_along_a_ramp(progress: float, trust: float) -> None:
    assert Method(start=0.15, full=0.35).trust(progress) == pytest.approx(trust)


ASKING = {
    "skip": (Method(), False),
    "labels as they stand": (Method(WeakWeights(b4m_label=1)), False),
    "labels judged": (Method(WeakWeights(b4m_label=1), masks="weighted"), True),
    "Dice on labels judged": (Method(WeakWeights(b4m_dice=1), masks="weighted"), True),
    "presence where no box is sure": (Method(WeakWeights(m4b_bag=1), boxes="weighted"), True),
    "components as they stand": (Method(WeakWeights(m4b_cls=1)), False),
    "components judged": (Method(WeakWeights(m4b_box=1), boxes="hard"), True),
    "a judge without a case": (Method(masks="weighted", boxes="weighted"), False),
    "the other room's judge": (Method(WeakWeights(m4b_cls=1), masks="weighted"), False),
    "self training": (Method(WeakWeights(ssl_mask=1)), True),
}


@pytest.mark.parametrize(("method", "asks"), ASKING.values(), ids=ASKING)
def test_the_teacher_is_asked_when_it_is_needed(method: Method, asks: bool) -> None:
    assert method.asks_teacher(0.5) == method.asks_teacher(1.0) == asks
    assert not method.asks_teacher(0.1)
    assert not method.asks_teacher(method.start)


PRESETS: dict[MethodName, set[str]] = {
    "skip": set(),
    "ssl": {"ssl_mask", "ssl_cls", "ssl_box"},
    "faithful": {"b4m_label", "m4b_cls", "m4b_box"},
    "b4m": {"b4m_label", "b4m_dice"},
    "m4b": {"m4b_cls", "m4b_box"},
    "bombo": {"b4m_label", "b4m_dice", "m4b_cls", "m4b_box"},
}


@pytest.mark.parametrize("name", PRESETS)
def test_what_a_preset_gives_weight(name: MethodName) -> None:
    method = method_of(name, {})
    assert method == METHODS[name]
    assert {loss for loss, weight in method.weights.by_name().items() if weight} == PRESETS[name]
    assert method.weights.any() == bool(PRESETS[name])
    for room in ("b4m", "m4b", "ssl"):
        assert method.weights.any(room) == any(loss.startswith(room) for loss in PRESETS[name])


def test_every_preset_is_listed() -> None:
    assert set(METHODS) == set(PRESETS)


def test_weights_given_replace_those_of_the_preset() -> None:
    method = method_of("bombo", {"m4b_cls": 0.25, "b4m_dice": 0, "b4m_row": 0.1})
    preset = METHODS["bombo"]
    assert method == replace(preset, weights=replace(preset.weights, m4b_cls=0.25, b4m_dice=0, b4m_row=0.1))


@pytest.mark.parametrize("name", PRESETS)
def test_pseudo_boxes_count_as_asked_where_there_are_any(name: MethodName) -> None:
    method = method_of(name, {}, pseudo_boxes="weighted")
    assert method == replace(METHODS[name], boxes="weighted" if name in ("faithful", "m4b", "bombo") else "none")


@pytest.mark.parametrize("name", PRESETS)
def test_without_any_weight_every_method_is_skip(name: MethodName) -> None:
    method = method_of(name, dict.fromkeys(NAMES, 0.0))
    assert not method.weights.any()
    assert not method.asks_teacher(1.0)


@pytest.mark.parametrize("detection", [False, True])
@pytest.mark.parametrize("segmentation", [False, True])
def test_what_is_not_trained_is_not_taught(detection: bool, segmentation: bool) -> None:
    method = method_of("skip", dict.fromkeys(NAMES, 1.0), detection=detection, segmentation=segmentation)
    for name, weight in method.weights.by_name().items():
        teaches_masks = name.startswith("b4m") or name == "ssl_mask"
        assert weight == (segmentation if teaches_masks else detection), name


def test_an_unknown_loss_is_named() -> None:
    with pytest.raises(ConfigError, match=r"`m4b_class` is no weak loss.*m4b_cls") as caught:
        method_of("bombo", {"m4b_class": 1.0})
    assert caught.value.where == "losses"


@pytest.mark.parametrize("name", ["skip", "ssl", "b4m", "m4b"])
def test_the_teacher_judges_the_targets_of_losses_that_are_added(name: MethodName) -> None:
    added = method_of(name, {"b4m_label": 0.1, "m4b_cls": 0.1}, pseudo_boxes="weighted")
    assert (added.masks, added.boxes) == ("weighted", "weighted")
    assert method_of("faithful", {"m4b_cls": 0.1}).masks == "none"  # as the paper has it
