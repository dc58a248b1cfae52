from __future__ import annotations

import json
import random
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bombo.data.split import PartialSplit, existing_split, split_names, write_split
from bombo.errors import BomboError, ConfigError, DataError

images = st.dictionaries(
    st.text("abcdef_0123", min_size=1, max_size=5), st.sets(st.integers(0, 7), max_size=4), min_size=1, max_size=60
)
fractions = st.sampled_from([0.5, 1 / 3, 0.1, 0.8, 0.05])


def _count(names: list[str], classes: dict[str, set[int]], label: int) -> int:
    return sum(label in classes[name] for name in names)


@settings(max_examples=60, deadline=None)
@given(images, fractions, st.integers(0, 3), st.randoms(use_true_random=False))
def test_laws(classes: dict[str, set[int]], fraction: float, seed: int, order: random.Random) -> None:
    split = split_names(classes, fraction=fraction, seed=seed)
    assert sorted(split.boxes + split.masks) == sorted(classes)  # union, and disjoint since nothing stands twice
    assert split.boxes == sorted(split.boxes)
    assert split.masks == sorted(split.masks)
    assert abs(len(split.boxes) - fraction * len(classes)) <= 0.5 + 1e-9
    # the theorem of Beck and Fiala allows a little less than twice the number of sets an image is in
    most = max(map(len, classes.values()))
    for label in set().union(*classes.values()):
        wanted = fraction * _count(list(classes), classes, label)
        assert abs(_count(split.boxes, classes, label) - wanted) <= max(1, most)
    shuffled = list(classes.items())
    order.shuffle(shuffled)
    assert split_names(dict(shuffled), fraction=fraction, seed=seed) == split


@pytest.mark.parametrize("fraction", [0.5, 0.25, 0.9])
def test_every_class_is_within_one_image_where_single_class_images_abound(fraction: float) -> None:
    draw = random.Random(0)
    classes = {
        f"{i:04d}": set(draw.choices(range(6), [60, 20, 10, 5, 3, 2], k=draw.choice([1, 1, 2, 3]))) for i in range(500)
    }
    split = split_names(classes, fraction=fraction)
    for label in range(6):
        assert abs(_count(split.boxes, classes, label) - fraction * _count(list(classes), classes, label)) <= 1


def test_images_without_objects_are_spread_too() -> None:
    classes: dict[str, set[int]] = {f"cat{i}": {0} for i in range(10)} | {f"empty{i}": set() for i in range(10)}
    split = split_names(classes)
    assert sum(name.startswith("empty") for name in split.boxes) == 5


def test_rarest_class_is_never_all_on_one_side() -> None:
    # dogs come with cats only; dealing by cat alone would often put both dogs into one part
    classes = {f"cat{i}": {0} for i in range(30)} | {"pair1": {0, 1}, "pair2": {0, 1}}
    for seed in range(20):
        assert _count(split_names(classes, seed=seed).boxes, classes, 1) == 1


def test_seeds_differ() -> None:
    classes: dict[str, set[int]] = {str(i): {i % 3} for i in range(30)}
    assert len({split_names(classes, seed=seed).digest for seed in range(5)}) == 5


def test_known_example() -> None:
    # oracle: printf '[["a", "c"], ["b", "d"]]' | sha256sum
    assert existing_split(["c", "a"], ["b", "d"], "abcd") == PartialSplit(
        ["a", "c"], ["b", "d"], None, "34f328bee74f1a4d04e9c6d3e7ddc175cafcd053379de3ab77c037fd8bacc6db"
    )
    # pinned: a changed split of the same names and seed would silently change everybody's experiments
    pets: dict[str, set[int]] = {f"pet_{i}": {i % 2, 2 + i % 5} for i in range(12)}
    assert split_names(pets, seed=7).digest[:16] == "5910dfc4d541f123"


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, float("nan")])
def test_useless_fraction(fraction: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        split_names({"a": {0}}, fraction=fraction)


def test_nothing_to_split() -> None:
    with pytest.raises(DataError, match="no images"):
        split_names({})


@pytest.mark.parametrize(
    ("boxes", "masks", "message"),
    [
        (["a", "b"], ["b", "c"], "'b' in both lists"),
        (list("abcde"), list("abcde"), "'a', 'b', 'c' and 2 more in both lists"),
        (["a", "a"], ["b"], "list of box images: holds 'a' more than once"),
        (["a"], ["b", "c", "b"], "list of mask images: holds 'b' more than once"),
        (["a", "x.jpg"], ["b"], "list of box images: 'x.jpg' cannot be found among the 5 images\n  fix: .*like 'a'"),
    ],
    ids=["overlap", "overlap names a few", "twice in boxes", "twice in masks", "unknown"],
)
def test_bad_lists(boxes: list[str], masks: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        existing_split(boxes, masks, list("abcde"))


def test_existing_lists_need_not_cover_everything() -> None:
    split = existing_split(["b"], [], list("abc"))
    assert (split.boxes, split.masks, split.seed) == (["b"], [], None)


def test_write_and_read_back(tmp_path: Path) -> None:
    split = split_names({"ä": {0}, "b": {0}, "c": {1}, "d e": {1}}, seed=3)
    write_split(split, tmp_path / "new", counts={"cat": (1, 1), "dog": (1, 1)})
    lists = [(tmp_path / "new" / f"train_{part}.txt").read_text("utf-8").splitlines() for part in ("boxes", "masks")]
    assert lists == [split.boxes, split.masks]
    assert json.loads((tmp_path / "new" / "split.json").read_text("utf-8")) == {
        "seed": 3,
        "digest": split.digest,
        "images": {"boxes": 2, "masks": 2},
        "images_per_class": {"cat": {"boxes": 1, "masks": 1}, "dog": {"boxes": 1, "masks": 1}},
    }
    assert existing_split(*lists, ["ä", "b", "c", "d e"]).digest == split.digest


@pytest.mark.parametrize("taken", ["train_boxes.txt", "train_masks.txt", "split.json"])
def test_never_overwrites(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("precious")
    with pytest.raises(BomboError, match=f"{taken} exists already"):
        write_split(split_names({"a": {0}, "b": {0}}), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_text() == "precious"


@pytest.mark.parametrize("name", ["a\nb", " a", "a\u2028b", ""], ids=["line end", "space", "unicode line end", "empty"])
def test_name_that_is_no_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="line of its own"):
        write_split(existing_split([name], [], [name]), tmp_path)
    assert not list(tmp_path.iterdir())


def test_real_list_is_balanced_within_one_image_per_class(shared_data: Path) -> None:
    root = shared_data / "voc6" / "VOC2012"
    names = (root / "ImageSets" / "Main" / "train_boxes.txt").read_text().split()
    words = {
        name: {item.text for item in ElementTree.parse(root / "Annotations" / f"{name}.xml").iterfind("object/name")}
        for name in names
    }
    index = {word: i for i, word in enumerate(sorted(set().union(*words.values())))}
    classes = {name: {index[word] for word in some} for name, some in words.items()}
    split = split_names(classes)
    for label in index.values():
        assert abs(_count(split.boxes, classes, label) - _count(split.masks, classes, label)) <= 2
