from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bombo.box_for_mask import cache
from bombo.box_for_mask.cache import Cached, default_folder, prepare
from bombo.box_for_mask.shapes import Ellipse, Fill
from bombo.box_for_mask.weak_mask import WeakMask
from bombo.data.label_space import LabelSpace
from bombo.data.sample import BoxAnnotation, Record

SPACE = LabelSpace(("a", "b"))


@dataclass(frozen=True)
class Random:
    """Makes something else every time, and counts."""

    name: str = "random"
    calls: list[WeakMask] = field(default_factory=list)

    def __call__(
        self, image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, crowd: np.ndarray, space: LabelSpace
    ) -> WeakMask:
        random = np.random.default_rng(len(self.calls))
        values = random.choice(np.array([0, 1, 2, 255], dtype=np.uint8), image.shape[:2])
        weights = random.random(image.shape[:2], dtype=np.float32) * (values != 255)
        self.calls.append(WeakMask(values, weights))
        return self.calls[-1]


@dataclass(frozen=True)
class Question:
    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    space: LabelSpace = SPACE

    def put_to(self, cached: Cached) -> WeakMask:
        return cached(self.image, self.boxes, self.labels, self.crowd, self.space)


def question() -> Question:
    image = np.random.default_rng(7).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    boxes = np.array([(1, 2, 20, 18), (4, 4, 30, 9.5)], dtype=np.float32)
    return Question(image, boxes, np.array([0, 1]), np.array([False, False]))


def changed(array: np.ndarray, value: object) -> np.ndarray:
    other = array.copy()
    other.flat[-1] = value
    return other


def assert_same(one: WeakMask, other: WeakMask) -> None:
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.weights, other.weights)


def test_made_once(tmp_path: Path) -> None:
    provider = Random()
    first = question().put_to(Cached(provider, tmp_path / "masks"))
    second = question().put_to(Cached(provider, tmp_path / "masks"))
    assert len(provider.calls) == 1
    assert len(list((tmp_path / "masks").iterdir())) == 1
    assert_same(first, second)  # the run that makes a mask trains on the same one as those that find it


def test_nothing_is_lost_on_disk(tmp_path: Path) -> None:
    provider = Random()
    question().put_to(Cached(provider, tmp_path))
    kept, made = question().put_to(Cached(provider, tmp_path)), provider.calls[0]
    np.testing.assert_array_equal(kept.values, made.values)
    np.testing.assert_allclose(kept.weights, made.weights, atol=0.5 / 255 + 1e-6)
    assert kept.values.dtype == np.uint8
    assert kept.weights.dtype == np.float32
    assert kept.values.flags.writeable  # or torch complains


def test_arrays_that_lie_differently_in_memory_are_the_same(tmp_path: Path) -> None:
    provider, asked = Random(), question()
    asked.put_to(Cached(provider, tmp_path))
    replace(asked, image=np.asfortranarray(asked.image)).put_to(Cached(provider, tmp_path))
    assert len(provider.calls) == 1


OTHER_QUESTIONS: list[tuple[str, Callable[[Question], Question]]] = [
    ("a pixel", lambda q: replace(q, image=changed(q.image, 255 - q.image.flat[-1]))),
    ("the shape", lambda q: replace(q, image=q.image.reshape(32, 24, 3))),
    ("a box", lambda q: replace(q, boxes=changed(q.boxes, 9.75))),
    ("a box less", lambda q: replace(q, boxes=q.boxes[:1], labels=q.labels[:1], crowd=q.crowd[:1])),
    ("no boxes", lambda q: replace(q, boxes=q.boxes[:0], labels=q.labels[:0], crowd=q.crowd[:0])),
    ("a label", lambda q: replace(q, labels=changed(q.labels, 0))),
    ("a crowd", lambda q: replace(q, crowd=changed(q.crowd, True))),
    ("more things", lambda q: replace(q, space=LabelSpace(("a", "b", "c")))),
    ("some stuff", lambda q: replace(q, space=LabelSpace(("a", "b"), ("sky",)))),
]


@pytest.mark.parametrize("other", [pytest.param(make, id=name) for name, make in OTHER_QUESTIONS])
def test_another_question_has_another_answer(tmp_path: Path, other: Callable[[Question], Question]) -> None:
    provider, asked = Random(), question()
    cached = Cached(provider, tmp_path)
    first = asked.put_to(cached)
    other(asked).put_to(cached)
    assert len(provider.calls) == 2
    assert_same(asked.put_to(cached), first)
    assert len(provider.calls) == 2


def test_every_provider_has_masks_of_its_own(tmp_path: Path) -> None:
    assert Cached(Fill(), tmp_path).name == "fill"
    fill, ellipse = (question().put_to(Cached(provider, tmp_path)) for provider in (Fill(), Ellipse()))
    assert (fill.values != ellipse.values).any()
    assert len(list(tmp_path.iterdir())) == 2


def test_damage_is_mended(tmp_path: Path) -> None:
    cached = Cached(Ellipse(), tmp_path)
    expected = question().put_to(cached)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    damages = [whole[:length] for length in range(0, len(whole), 7)]
    damages += [whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :] for at in range(len(whole))]
    for damage in damages:
        file.write_bytes(damage)
        assert_same(question().put_to(cached), expected)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(Image.new("LA", (24, 32)), id="another size"),
        pytest.param(Image.new("L", (32, 24)), id="no weights"),
        pytest.param(Image.new("RGB", (32, 24)), id="colours"),
    ],
)
def test_another_picture_in_its_place(tmp_path: Path, wrong: Image.Image) -> None:
    cached = Cached(Fill(), tmp_path)
    expected = question().put_to(cached)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    wrong.save(file)
    assert_same(question().put_to(cached), expected)
    assert file.read_bytes() == whole


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Six images with boxes, one of them without any; and one that has a mask instead."""
    random = np.random.default_rng(3)
    found = []
    for number in range(7):
        path = tmp_path / "images" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 255, (16, 20, 3), dtype=np.uint8)).save(path)
        boxes = [(1.0, 2.0, 4.0 + number, 9.0)] if number else []
        annotation = BoxAnnotation.build(boxes, [number % 2] * len(boxes)) if number < 6 else None
        found.append(Record(path, annotation, None, str(number)))
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_prepare_by_one_and_by_two(tmp_path: Path, records: list[Record], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_WORTH_A_POOL", 2)
    done: dict[int, list[int]] = {1: [], 2: []}
    for processes, counts in done.items():
        prepare(records, Cached(Ellipse(), tmp_path / str(processes)), SPACE, processes, counts.append)
    assert done == {1: [1, 2, 3, 4, 5, 6], 2: [1, 2, 3, 4, 5, 6]}
    assert len(files(tmp_path / "1")) == 6
    assert files(tmp_path / "1") == files(tmp_path / "2")


def test_what_was_prepared_is_found(tmp_path: Path, records: list[Record]) -> None:
    provider = Random()
    cached = Cached(provider, tmp_path / "masks")
    prepare(records, cached, SPACE, 1, lambda done: None)
    prepare(records, cached, SPACE, 1, lambda done: None)
    assert len(provider.calls) == 6
    pixels, boxes = np.asarray(Image.open(records[1].image)), records[1].boxes
    assert boxes is not None
    cached(pixels, boxes.boxes, boxes.labels, boxes.crowd, SPACE)
    assert len(provider.calls) == 6


def test_files_that_cannot_be_read_are_left_out(tmp_path: Path, records: list[Record]) -> None:
    records[0].image.unlink()
    records[2].image.write_bytes(b"no image")
    done: list[int] = []
    prepare(records, Cached(Fill(), tmp_path / "masks"), SPACE, 1, done.append)
    assert done == [1, 2, 3, 4, 5, 6]
    assert len(files(tmp_path / "masks")) == 4


def test_nothing_to_prepare(tmp_path: Path) -> None:
    done: list[int] = []
    prepare([], Cached(Fill(), tmp_path / "masks"), SPACE, 2, done.append)
    assert done == []
    assert not (tmp_path / "masks").exists()


def test_where_masks_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "bombo" / "masks"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "bombo" / "masks"
