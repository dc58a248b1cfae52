from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bombo.completion.doubt import Facts, ranked
from bombo.data.label_space import LabelSpace
from bombo.data.sample import Record

SPACE = LabelSpace(("cat", "dog"), ("grass",))


def facts(name: str, *confidence: float, filled: Any = "mask", area: float = 0.1, **more: Any) -> Facts:
    number = len(confidence)
    given = {"unlabelled": 0.0, "changed": 0.0, "split": 0, **more}
    boxes, labels = np.zeros((number, 4), np.float32), np.zeros(number, np.int64)
    record = Record(Path(f"{name}.jpg"), None, None, name)
    return Facts(record, filled, boxes, labels, np.array(confidence), np.full(number, area), **given)


def test_worst_first() -> None:
    images = [
        facts("sure", 0.99),
        facts("one of three is wrong", 0.95, 0.2, 0.95),
        facts("complete before", filled="nothing"),
        facts("many fair ones", *[0.9] * 6),
        facts("half of it open", 0.9, unlabelled=0.5),
        facts("two witnesses disagree", 0.9, changed=0.3),
        facts("empty", filled="boxes"),
        facts("as sure", 0.99),
    ]
    doubts = ranked(images, SPACE)
    assert [doubt.facts.record.name for doubt in doubts] == [
        "one of three is wrong",
        "half of it open",
        "many fair ones",
        "two witnesses disagree",
        "sure",
        "as sure",
        "empty",
    ]
    assert [doubt.doubt for doubt in doubts] == pytest.approx(
        [1 - 0.95 * 0.2 * 0.95, 1 - 0.9 * 0.5, 1 - 0.9**6, 1 - 0.9 * 0.7, 0.01, 0.01, 0]
    )


@pytest.mark.parametrize(
    ("image", "why"),
    [
        pytest.param(facts("a", 0.95, 0.41), ("least sure: cat (0.41)",), id="the least sure object"),
        pytest.param(facts("a", 0.95, unlabelled=0.18), ("18 % of the pixels in boxes left open",), id="open"),
        pytest.param(
            facts("a", 0.8, changed=0.4),
            ("network and colours disagree on 40 % of the pixels in boxes", "least sure: cat (0.80)"),
            id="the most important one first",
        ),
        pytest.param(facts("a", 0.95, split=2), ("2 regions were taken apart",), id="split"),
        pytest.param(facts("a", 0.95, unlabelled=0.03, changed=0.02), (), id="trifles are not worth a word"),
        pytest.param(facts("a"), (), id="no object"),
    ],
)
def test_reasons(image: Facts, why: tuple[str, ...]) -> None:
    assert ranked([image], SPACE)[0].why == why


@pytest.mark.parametrize(
    ("area", "confidence", "filled", "merged"),
    [
        pytest.param(0.5, 0.5, "boxes", 1, id="large, and no prediction confirms it"),
        pytest.param(0.25, 0.5, "boxes", 0, id="within the usual"),
        pytest.param(0.5, 0.9, "boxes", 0, id="large, and confirmed"),
        pytest.param(0.5, 0.4, "boxes", 0, id="a part of something that was taken apart"),
        pytest.param(0.5, 0.5, "mask", 0, id="a person drew the box"),
    ],
)
def test_regions_that_look_merged(area: float, confidence: float, filled: str, merged: int) -> None:
    usual = [facts(f"usual {number}", 0.9, filled="nothing") for number in range(5)]
    (doubt,) = ranked([*usual, facts("a", confidence, area=area, filled=filled)], SPACE)
    assert doubt.merged == merged
    assert ("a region looks like several objects" in doubt.why) == bool(merged)
    assert doubt.doubt == pytest.approx(1 - confidence * 0.5**merged)
