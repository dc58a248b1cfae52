from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d, one_hot

import bombo
from bombo.data.image_io import read_image
from bombo.data.label_space import LabelSpace
from bombo.data.scenes import make_scene
from bombo.engine.model import Model
from bombo.engine.result import Result
from bombo.errors import ConfigError
from bombo.models.box_coding import encode
from bombo.models.network import Predictions

CPU = {"device": "cpu", "precision": "32"}
SPACE = LabelSpace(("a", "b"), ("grass",))
SIDE = 96
OBJECT, PURE = 250, 3  # blue says that a pixel is an object's and nothing else's


@dataclass(frozen=True)
class Reads(Model):
    """A network that reads pictures of `painted`: red is the mask value times 60, green the object's number."""

    batches: list[int] = field(default_factory=list)

    def forward(self, inputs: Tensor) -> Predictions:
        self.batches.append(len(inputs))
        height, width = self.size
        anchor = torch.tensor([0.0, 0.0, width, height])
        slots = 32
        logits, deltas = torch.full((len(inputs), slots, 2), -9.0), torch.zeros(len(inputs), slots, 4)
        values = (inputs[:, 0].float() / 60).round().long().clamp(max=3)
        for image, (red, green, blue) in enumerate(inputs):
            pure = blue.int() >= OBJECT - PURE
            for slot, number in enumerate(green[pure].unique().tolist()):
                rows, columns = ((green == number) & pure).nonzero(as_tuple=True)
                box = torch.stack((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)).float()
                label = round(red[rows[0], columns[0]].item() / 60) - 1
                logits[image, slot, label], deltas[image, slot] = 2 + number / 200, encode(box, anchor)
        maps = one_hot(values, 4).permute(0, 3, 1, 2).float()
        return Predictions(
            logits, deltas, anchor.expand(slots, 4), 8 * interpolate(maps, scale_factor=1 / 4, mode="area")
        )


@dataclass(frozen=True)
class Painted:
    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    mask: np.ndarray


def painted(size: tuple[int, int], boxes: Any, labels: Any, first: int = 1) -> Painted:
    """Rectangles in front of grass on the left and nothing on the right."""
    mask = np.zeros(size, dtype=np.uint8)
    mask[:, : size[1] // 2] = 3
    image = np.zeros((*size, 3), dtype=np.uint8)
    for number, ((x1, y1, x2, y2), label) in enumerate(zip(boxes, labels, strict=True), first):
        mask[y1:y2, x1:x2] = label + 1
        image[y1:y2, x1:x2, 1:] = number, OBJECT
    image[..., 0] = mask * 60
    return Painted(image, np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64), mask)


def scene(seed: int, first: int) -> Painted:
    """Up to three rectangles that do not touch, no more than a quarter of a tile in size."""
    rng = np.random.default_rng(seed)
    corners = [(4, 4), (36, 8), (68, 60), (10, 64)]
    chosen = rng.permutation(4)[: rng.integers(1, 4)]
    boxes = [(*corners[i], *(np.array(corners[i]) + rng.integers(8, 24, 2)).tolist()) for i in chosen]
    return painted((SIDE, SIDE), boxes, rng.integers(0, 2, len(boxes)), first)


def found(result: Result) -> list[tuple[Any, ...]]:
    """Boxes to a tenth of a pixel (deltas do not come back exactly), labels and scores, in a fixed order."""
    rows = zip(np.rint(result.boxes * 10) / 10, result.labels, result.scores, strict=True)
    return sorted((*box.tolist(), int(label), round(float(score), 4)) for box, label, score in rows)


def far_from_borders(mask: np.ndarray, pixels: int) -> np.ndarray:
    values = torch.from_numpy(mask).float()[None, None]
    same = max_pool2d(values, 2 * pixels + 1, 1, pixels) == -max_pool2d(-values, 2 * pixels + 1, 1, pixels)
    return same[0, 0].numpy()


@pytest.fixture
def reader() -> Reads:
    return Reads(SPACE, (SIDE, SIDE), "squash")


def test_scenes_put_together_hold_what_each_holds_alone(reader: Reads) -> None:
    scenes = [[scene(10 * row + column, 1 + 15 * row + 3 * column) for column in range(5)] for row in range(3)]
    whole = np.concatenate([np.concatenate([one.image for one in row], axis=1) for row in scenes])
    mask = np.concatenate([np.concatenate([one.mask for one in row], axis=1) for row in scenes])
    expected = []
    for y, row in enumerate(scenes):
        for x, one in enumerate(row):
            alone = reader.predict(one.image)
            assert len(alone) == len(one.boxes)
            shift = np.array([x, y, x, y], dtype=np.float32) * SIDE
            moved = Result(whole, alone.boxes + shift, alone.labels, alone.scores, mask, alone.classes)
            expected += found(moved)
    result = reader.predict(whole, tile=SIDE)
    assert found(result) == sorted(expected)
    assert (result.scores[1:] <= result.scores[:-1]).all()
    inner = far_from_borders(mask, 4)
    assert inner.mean() > 0.4
    assert (result.mask == mask)[inner].all()
    assert (result.mask == mask).mean() > 0.97


PLACES = {
    "in the middle of a window": (30, 30, 50, 50),
    "across a border of windows": (88, 30, 110, 50),
    "across two": (86, 80, 106, 104),
    "larger than the overlap": (40, 30, 150, 60),
    "larger than a window": (10, 12, 230, 170),
    "all of it": (0, 0, 240, 180),
}


@pytest.mark.parametrize("box", PLACES.values(), ids=PLACES)
def test_an_object_is_found_once_wherever_it_is(box: tuple[int, ...], reader: Reads) -> None:
    one = painted((180, 240), [box], [1])
    result = reader.predict(one.image, tile=SIDE)
    np.testing.assert_allclose(result.boxes, one.boxes, atol=0.01)
    assert result.labels.tolist() == [1]
    inner = far_from_borders(one.mask, 4)
    assert (result.mask == one.mask)[inner].all()


@pytest.mark.parametrize("fit", ["squash", "letterbox"])
@pytest.mark.parametrize(("size", "tile"), [((300, 420), 192), ((500, 130), 200), ((120, 700), 300)])
def test_windows_of_any_size_go_through_the_view(size: tuple[int, int], tile: int, fit: Any) -> None:
    boxes = [(size[1] - 90, size[0] - 80, size[1] - 40, size[0] - 30), (20, 24, 60, 70)]
    one = painted(size, boxes, [0, 1])
    result = Reads(SPACE, (SIDE, SIDE), fit).predict(one.image, tile=tile)
    assert sorted(result.labels.tolist()) == [0, 1]
    given = result.boxes[np.argsort(result.labels)]
    np.testing.assert_allclose(given, one.boxes, atol=2.5 * tile / SIDE)  # mixed pixels around an object are not pure
    inner = far_from_borders(one.mask, int(4 * tile / SIDE))
    assert (result.mask == one.mask)[inner].all()


@pytest.mark.parametrize("down", [False, True], ids=["side by side", "one above the other"])
def test_logits_count_less_towards_the_border_of_a_window(down: bool) -> None:
    @dataclass(frozen=True)
    class SaysWhereItIs(Reads):
        """Class 1 where the image begins, class 2 in other windows; equally sure all over."""

        def forward(self, inputs: Tensor) -> Predictions:
            seen = super().forward(inputs)
            logits = torch.zeros_like(seen.mask_logits)
            begins = inputs[:, 0, 0, 0] == 0
            logits[begins, 1], logits[~begins, 2] = 1.0, 1.0
            return seen._replace(mask_logits=logits)

    image = np.full((96, 168, 3), 60, dtype=np.uint8)
    image[:, :5] = 0
    shown = image.transpose(1, 0, 2) if down else image
    mask = SaysWhereItIs(SPACE, (SIDE, SIDE), "squash").predict(shown, tile=SIDE).mask
    mask = mask.T if down else mask
    assert (mask[:, :83] == 1).all()  # the windows are 0 to 96 and 72 to 168: their common middle is 84
    assert (mask[:, 85:] == 2).all()


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_the_batch_size_counts_windows_and_changes_nothing(batch_size: int, reader: Reads) -> None:
    one = painted((180, 240), [(88, 30, 110, 50), (40, 100, 150, 140)], [0, 1])
    expected = Reads(SPACE, (SIDE, SIDE), "squash").predict(one.image, tile=SIDE)
    result = reader.predict(one.image, tile=SIDE, batch_size=batch_size)
    assert max(reader.batches) <= batch_size
    assert sum(reader.batches) == 3 * 3  # a stride of 72
    assert found(result) == found(expected)
    assert np.array_equal(result.mask, expected.mask)


def test_a_network_without_things_segments_in_tiles() -> None:
    @dataclass(frozen=True)
    class Segments(Reads):
        def forward(self, inputs: Tensor) -> Predictions:
            seen = super().forward(inputs)
            return seen._replace(class_logits=seen.class_logits[..., :0])

    one = painted((180, 240), [(40, 30, 120, 100)], [0])
    result = Segments(LabelSpace((), ("a", "b", "grass")), (SIDE, SIDE), "squash").predict(one.image, tile=SIDE)
    assert len(result) == 0
    assert (result.mask == one.mask).mean() > 0.97


def test_lines_and_letters_suit_a_tile(reader: Reads) -> None:
    one = painted((1000, 1000), [(500, 500, 540, 540)], [0])
    result = reader.predict(one.image, tile=SIDE)
    plain = np.asarray(result.plot(boxes=False)) != np.asarray(result.plot())
    rows = plain.any(axis=(1, 2)).nonzero()[0]
    assert len(rows) < 40 + 30  # the box with its label; letters that suit the image are twice as high


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with four scenes in one, and a single one."""
    folder = tmp_path_factory.mktemp("large")
    images = [make_scene(seed, size=64).image for seed in range(4)]
    rows = [np.concatenate(images[:2], axis=1), np.concatenate(images[2:], axis=1)]
    Image.fromarray(np.concatenate(rows)).save(folder / "four.png")
    Image.fromarray(images[0]).save(folder / "one.png")
    return folder


def files(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_a_tile_as_large_as_the_image_changes_nothing(
    trained: Path, large: Path, tmp_path: Path, bombo_command: Any
) -> None:
    whole, tiled = tmp_path / "whole", tmp_path / "tiled"
    assert bombo_command("predict", trained, large, out=whole, min_score=0.01, batch_size=1, **CPU).code == 0
    assert bombo_command("predict", trained, large, out=tiled, min_score=0.01, tile=128, **CPU).code == 0
    written = files(whole)
    assert len(json.loads(written["predictions.json"])) > 1
    assert {name: held for name, held in files(tiled).items() if "overlays" not in name} == {
        name: held for name, held in written.items() if "overlays" not in name
    }


def test_typed_and_called(trained: Path, large: Path, tmp_path: Path, bombo_command: Any) -> None:
    ended = bombo_command("predict", trained, large, "--tile", 64, "--json", out=tmp_path / "a", min_score=0.01, **CPU)
    assert ended.code == 0
    entries = bombo.predict(trained, large, out=tmp_path / "b", min_score=0.01, tile=64, **CPU)
    assert json.loads(ended.out) == entries
    model = bombo.load(trained, **CPU)
    results = model.predict(large, min_score=0.01, tile=64)
    assert [entry for i, result in enumerate(results, 1) for entry in result.to_coco(i)] == [
        {name: value for name, value in entry.items() if name != "file_name"} for entry in entries
    ]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a" / "masks" / "four.png")), results[0].mask)
    image = read_image(large / "four.png")
    assert len(results[0]) > len(model.predict(image, min_score=0.01))
    corner = model.predict(image[:64, :64], min_score=0.01).mask
    assert np.array_equal(results[0].mask[:32, :32], corner[:32, :32])  # no other window shows these pixels


@pytest.mark.parametrize("tile", [0, -3, 31])
def test_tiles_too_small_are_refused(tile: int, trained: Path, large: Path, tmp_path: Path, bombo_command: Any) -> None:
    ended = bombo_command("predict", trained, large, f"--tile={tile}", out=tmp_path / "seen", **CPU)
    assert ended.code == 2
    assert ended.err.startswith(f"bombo: tile: {tile} ")
    assert "fix: " in ended.err
    assert not (tmp_path / "seen").exists()
    with pytest.raises(ConfigError, match="32 pixels"):
        Reads(SPACE, (SIDE, SIDE), "squash").predict(large / "one.png", tile=tile)


def test_an_image_too_long_for_a_jpeg_is_shown_smaller(trained: Path, tmp_path: Path) -> None:
    Image.new("RGB", (66_000, 8)).save(tmp_path / "scan.png")
    bombo.predict(trained, tmp_path / "scan.png", out=tmp_path / "seen", **CPU)
    assert Image.open(tmp_path / "seen" / "masks" / "scan.png").size == (66_000, 8)
    assert Image.open(tmp_path / "seen" / "overlays" / "scan.jpg").width == 65_500
