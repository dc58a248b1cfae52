from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bombo.data.label_space import ANY_CLASS, BACKGROUND, VOID, LabelSpace
from bombo.errors import ConfigError

PETS = LabelSpace(("cat", "dog"), ("grass",))
names = st.lists(st.text("cdfhkm", min_size=1, max_size=4), min_size=1, max_size=30, unique=True)


def test_order() -> None:
    assert PETS.names == ("cat", "dog", "grass")
    assert (PETS.num_things, PETS.num_mask_values) == (2, 4)
    assert (BACKGROUND, VOID, ANY_CLASS) == (0, 255, -1)


@pytest.mark.parametrize(
    ("name", "label", "value", "label_if_void", "value_if_void"),
    [
        ("cat", 0, 1, 0, 1),
        ("dog", 1, 2, 1, 2),
        ("grass", None, 3, None, 3),
        ("sofa", None, 0, -1, 255),
        ("background", None, 0, -1, 0),
        ("Background", None, 0, -1, 0),
        ("void", None, 255, -1, 255),
        ("ignore", None, 255, -1, 255),
    ],
)
def test_names_become_labels_and_values(
    name: str, label: int | None, value: int, label_if_void: int | None, value_if_void: int
) -> None:
    others_void = LabelSpace(PETS.things, PETS.stuff, "void")
    assert (PETS.label(name), PETS.mask_value(name)) == (label, value)
    assert (others_void.label(name), others_void.mask_value(name)) == (label_if_void, value_if_void)


@given(names, st.integers(0, 30))
def test_one_index_for_both_tasks(found: list[str], things: int) -> None:
    space = LabelSpace(tuple(found[:things]), tuple(found[things:]))
    for index, name in enumerate(space.names):
        assert space.mask_value(name) == index + 1
        assert space.label(name) == (index if index < space.num_things else None)
    assert space.num_mask_values == len(found) + 1


@pytest.mark.parametrize(
    ("things", "stuff", "message"),
    [
        (("cat", "cat"), (), "'cat' is listed twice"),
        (("cat",), ("cat",), "'cat' is listed twice"),
        (("cat", "background"), (), "'background' is not a class"),
        (("cat",), ("Void",), "'Void' is not a class"),
        ((), (), "0 classes"),
        (tuple(map(str, range(255))), (), "255 classes; a mask of 8 bits holds 1 to 254"),
    ],
)
def test_impossible_spaces(things: tuple[str, ...], stuff: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LabelSpace(things, stuff)


def test_as_many_classes_as_a_mask_holds() -> None:
    space = LabelSpace(tuple(map(str, range(254))))
    assert space.mask_value("253") == 254 < VOID


FOUND = ["person", "cat", "grass", "dog"]


@pytest.mark.parametrize(
    ("classes", "stuff", "things_chosen", "stuff_chosen"),
    [
        (None, None, ("person", "cat", "grass", "dog"), ()),
        (None, ["grass"], ("person", "cat", "dog"), ("grass",)),
        (["dog", "cat"], None, ("dog", "cat"), ()),
        (["dog", "cat"], ["grass"], ("dog", "cat"), ("grass",)),
        (["grass", "cat"], ["grass"], ("cat",), ("grass",)),
        ([], ["grass"], (), ("grass",)),
    ],
)
def test_choose(
    classes: list[str] | None, stuff: list[str] | None, things_chosen: tuple[str, ...], stuff_chosen: tuple[str, ...]
) -> None:
    space = LabelSpace.choose(FOUND, classes=classes, stuff=stuff, others="void")
    assert (space.things, space.stuff, space.others) == (things_chosen, stuff_chosen, "void")


@pytest.mark.parametrize(("classes", "stuff"), [(["cat", "dgo"], None), (["cat"], ["gras"]), (None, ["gras"])])
def test_choosing_what_is_not_there(classes: list[str] | None, stuff: list[str] | None) -> None:
    with pytest.raises(ConfigError, match=r"is in no source\. Did you mean `(dog|grass)`"):
        LabelSpace.choose(FOUND, classes=classes, stuff=stuff, others="background")
