from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from bombo.mask_for_box.components import VoidPolicy, components


def drawn(*rows: str) -> np.ndarray:
    """One character a pixel: . background, x void, digits classes."""
    return np.array([[int({".": "0", "x": "255"}.get(c, c)) for c in row] for row in rows], np.uint8)


def found(mask: np.ndarray, num_things: int = 2, **settings: object) -> set[tuple[float, ...]]:
    result = components(mask, num_things, **{"min_area": 1, **settings})  # type: ignore[arg-type]
    assert len(result.boxes) == len(result.labels) == len(result.areas)
    return {
        (*box, label, area)
        for box, label, area in zip(result.boxes.tolist(), result.labels.tolist(), result.areas.tolist(), strict=True)
    }


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param(["....", "....", "....", "...."], set(), id="background"),
        pytest.param(["xxxx"] * 4, set(), id="all void"),
        pytest.param(["1...", "....", "....", "...."], {(0, 0, 1, 1, 0, 1)}, id="one pixel"),
        pytest.param(["1111"] * 4, {(0, 0, 4, 4, 0, 16)}, id="all of it"),
        pytest.param(["1...", ".1..", "..1.", "...."], {(0, 0, 3, 3, 0, 3)}, id="corners touch"),
        pytest.param(["1..2", "...2", "...2", "11.2"], {(0, 0, 1, 1, 0, 1), (0, 3, 2, 4, 0, 2), (3, 0, 4, 4, 1, 4)}),
        pytest.param(["1122", "1122", "2211", "2211"], {(0, 0, 4, 4, 0, 8), (0, 0, 4, 4, 1, 8)}, id="both diagonals"),
        pytest.param(["3333", "3113", "3113", "3333"], {(1, 1, 3, 3, 0, 4)}, id="stuff is no thing"),
        pytest.param(["1111", "1..1", "1.21", "1111"], {(0, 0, 4, 4, 0, 12), (2, 2, 3, 3, 1, 1)}, id="ring"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("void", ["joins", "separates"])
def test_by_hand(rows: list[str], expected: set[tuple[float, ...]], void: VoidPolicy) -> None:
    assert found(drawn(*rows), void=void) == expected


@pytest.mark.parametrize(
    ("row", "joins", "separates"),
    [
        # half a rim is 1 px at this size; a rectangle takes in half of the rim beside it
        pytest.param("11x11...", [(0, 5, 4)], [(0, 3, 2), (2, 5, 2)], id="one pixel of rim"),
        pytest.param("11xx11..", [(0, 6, 4)], [(0, 3, 2), (3, 6, 2)], id="a whole rim"),
        pytest.param("11xxx11.", [(0, 3, 2), (4, 7, 2)], [(0, 3, 2), (4, 7, 2)], id="more than a rim"),
        pytest.param("11x.x11.", [(0, 3, 2), (4, 7, 2)], [(0, 3, 2), (4, 7, 2)], id="background between"),
        pytest.param("11x2x11.", [(0, 3, 2), (4, 7, 2)], [(0, 3, 2), (4, 7, 2)], id="another class between"),
        pytest.param("..x11x..", [(2, 6, 2)], [(2, 6, 2)], id="rim around"),
        pytest.param("x11.....", [(0, 3, 2)], [(0, 3, 2)], id="rim at the border"),
    ],
)
def test_void(row: str, joins: list[tuple[int, ...]], separates: list[tuple[int, ...]]) -> None:
    mask = drawn("........", row, row, "........")
    for policy, expected in (("joins", joins), ("separates", separates)):
        rectangles = {(x1, 1, x2, 3, 0, 2 * area) for x1, x2, area in expected}
        assert {each for each in found(mask, void=policy) if each[4] == 0} == rectangles


def test_a_blob_of_void_neither_joins_nor_grows() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 5:35] = 255
    mask[15:25, 2:5], mask[15:25, 35:38] = 1, 1
    assert found(mask) == {(2, 15, 5, 25, 0, 30), (35, 15, 38, 25, 0, 30)}


@pytest.mark.parametrize(("thickness", "grows"), [(1, 1), (2, 1), (4, 1), (5, 0)])
def test_void_is_a_rim_up_to_twice_its_usual_thickness(thickness: int, grows: int) -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[15:25, 2:5] = 1
    mask[15:25, 5 : 5 + thickness] = 255
    assert found(mask) == {(2, 15, 5 + grows, 25, 0, 30)}


@pytest.mark.parametrize(("side", "gap", "joined"), [(128, 2, 1), (128, 3, 2), (256, 4, 1), (256, 5, 2), (512, 8, 1)])
def test_a_rim_is_relative_to_the_image(side: int, gap: int, joined: int) -> None:
    mask = np.zeros((side, side), np.uint8)
    mask[10:40, 10:40] = 1
    mask[10:40, 40 : 40 + gap] = 255
    mask[10:40, 40 + gap : 80] = 1
    assert len(found(mask)) == joined
    assert len(found(mask, void="separates")) == 2


def test_smallest_area_counts_pixels_of_the_class_only() -> None:
    mask = drawn("11xx....", "11xx....", "........", ".....222")
    assert {row[4] for row in found(mask, min_area=4)} == {0}
    assert found(mask, min_area=5) == set()


masks = st.builds(
    lambda seed, height, width: (
        np.random.default_rng(seed)
        .choice(np.array([0, 1, 2, 3, 255], np.uint8), (height, width), p=[0.5, 0.2, 0.1, 0.05, 0.15])
        .repeat(2, 0)
        .repeat(2, 1)
    ),
    st.integers(0, 2**31),
    st.integers(1, 12),
    st.integers(1, 12),
)


@given(masks, st.sampled_from(["joins", "separates"]))
@settings(max_examples=60)
def test_flip(mask: np.ndarray, void: VoidPolicy) -> None:
    width = mask.shape[1]
    mirrored = {(width - x2, y1, width - x1, y2, *rest) for x1, y1, x2, y2, *rest in found(mask, void=void)}
    assert found(mask[:, ::-1], void=void) == mirrored


@given(masks, st.sampled_from(["joins", "separates"]))
@settings(max_examples=60)
def test_every_pixel_of_a_class_belongs_to_one_component(mask: np.ndarray, void: VoidPolicy) -> None:
    result = components(mask, 2, min_area=1, void=void)
    for label in (0, 1):
        of_class = result.labels == label
        assert result.areas[of_class].sum() == (mask == label + 1).sum()
    assert (result.boxes[:, :2] >= 0).all()
    assert (result.boxes[:, 2:] <= np.array(mask.shape[::-1])).all()


def test_twice_the_size_gives_twice_the_boxes() -> None:
    mask = np.zeros((100, 120), np.uint8)
    mask[10:40, 10:30], mask[50:90, 60:110], mask[60:70, 10:20] = 1, 2, 1
    doubled = {tuple(2 * v for v in row[:4]) for row in found(mask)}
    assert {row[:4] for row in found(mask.repeat(2, 0).repeat(2, 1))} == doubled


def test_types() -> None:
    result = components(drawn("1.", ".."), 1, min_area=1)
    assert [array.dtype for array in result] == [np.float32, np.int64, np.float32]
    nothing = components(drawn("..", ".."), 1)
    assert [array.shape for array in nothing] == [(0, 4), (0,), (0,)]
    assert [array.dtype for array in nothing] == [np.float32, np.int64, np.float32]


def test_two_thirds_of_coco_objects_are_found(shared_data: Path) -> None:
    folder = shared_data / "coco_mini"
    annotation = json.loads((folder / "instances.json").read_text())
    numbers = {category["id"]: i for i, category in enumerate(annotation["categories"])}
    hits, total = 0, 0
    for image in annotation["images"][:40]:
        size = (image["height"], image["width"])
        mask, truth = np.zeros(size, np.uint8), []
        items = [a for a in annotation["annotations"] if a["image_id"] == image["id"] and not a["iscrowd"]]
        for item in sorted(items, key=lambda item: -item["area"]):
            outline = coco_mask.merge(coco_mask.frPyObjects(item["segmentation"], *size))
            mask[coco_mask.decode(outline) == 1] = numbers[item["category_id"]] + 1
            x, y, w, h = item["bbox"]
            truth.append((numbers[item["category_id"]], np.array([x, y, x + w, y + h])))
        result = components(mask, len(numbers))
        for label, box in truth:
            candidates = result.boxes[result.labels == label]
            shared = np.minimum(candidates[:, 2:], box[2:]) - np.maximum(candidates[:, :2], box[:2])
            shared = shared.clip(min=0).prod(1)
            areas = (candidates[:, 2:] - candidates[:, :2]).prod(1) + (box[2:] - box[:2]).prod()
            hits += bool((shared / (areas - shared) >= 0.5).any())
            total += 1
    assert 0.6 < hits / total < 0.8
