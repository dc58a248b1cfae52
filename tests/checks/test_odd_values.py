from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bombo
from bombo.errors import BomboError

QUICK = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ODD: Any = st.sampled_from(
    [
        None,
        True,
        "",
        "a",
        "3",
        -1,
        0,
        0.5,
        1e9,
        float("nan"),
        float("inf"),
        [],
        [[]],
        [1, 2],
        {},
        {"counts": "x"},
        10**400,
    ]
)


def leaves(content: Any, trail: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every value of a JSON stands, containers included."""
    steps = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [trail, *(leaf for key, value in steps for leaf in leaves(value, (*trail, key)))]


def checked(data: Path) -> None:
    """Ends in a report or in an error for people, whatever the files hold."""
    with suppress(BomboError):
        json.dumps(bombo.check(data).to_json(), allow_nan=False)


def repaired(data: Path) -> None:
    """Likewise."""
    with suppress(BomboError), TemporaryDirectory() as folder:
        bombo.convert(data, Path(folder) / "fixed", to="coco", repair=True)


def survives(instances: Path, trail: tuple[Any, ...], value: Any) -> None:
    content = json.loads(instances.with_name("val.json").read_text())  # always sound
    *way, last = trail
    place = content
    for key in way:
        place = place[key]
    place[last] = value
    instances.write_text(json.dumps(content))
    checked(instances.parents[1] / "data.yaml")
    repaired(instances.parents[1] / "data.yaml")


@pytest.fixture
def instances(copy: Callable[[str], Path]) -> Path:
    return copy("coco").with_name("coco") / "train.json"


HUGE = [("annotations", 1, "area"), ("images", 0, "height"), ("images", 0, "file_name"), ("annotations", 0, "bbox", 2)]


@pytest.mark.parametrize("trail", HUGE, ids=lambda trail: trail[-1])
@pytest.mark.parametrize("value", [10**400, "9" * 400], ids=["number", "text"])
def test_what_is_too_large(trail: tuple[Any, ...], value: Any, instances: Path) -> None:
    survives(instances, trail, value)


@QUICK
@given(st.data())
def test_any_value_anywhere_in_the_json(instances: Path, data: st.DataObject) -> None:
    trails = leaves(json.loads(instances.with_name("val.json").read_text()))[1:]
    survives(instances, data.draw(st.sampled_from(trails)), data.draw(ODD))


@QUICK
@given(tag=st.sampled_from(["width", "height", "name", "xmin", "ymax", "difficult"]), value=ODD)
def test_any_text_in_the_xml(tag: str, value: Any, copied: Path) -> None:
    xml = copied.parent / "voc/Annotations/train_00000.xml"
    sound = xml.with_name("val_00000.xml").read_text()
    start, end = sound.index(f"<{tag}>") + len(tag) + 2, sound.index(f"</{tag}>")
    xml.write_text(sound[:start] + str(value) + sound[end:])
    checked(copied)


@QUICK
@given(rows=st.lists(st.lists(st.sampled_from(["0", "7", "-1", "nan", "inf", "1e999", ".5", "1.2", "x"]), max_size=9)))
def test_any_rows(rows: list[list[str]], labels: Path) -> None:
    labels.write_text("\n".join(" ".join(row) for row in rows))
    checked(labels.parents[3] / "data.yaml")
    repaired(labels.parents[3] / "data.yaml")


@pytest.fixture
def copied(copy: Callable[[str], Path]) -> Path:
    return copy("voc")


@pytest.fixture
def labels(copy: Callable[[str], Path]) -> Path:
    return copy("yolo").with_name("yolo") / "labels/train/train_00000.txt"
