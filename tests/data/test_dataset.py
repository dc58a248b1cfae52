from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from bombo.data.augment import Augment
from bombo.data.batch import Batch
from bombo.data.data_file import label_space, load_data_file, read_split
from bombo.data.dataset import TrainingBatches, WholeImages, load, ready, seen_through
from bombo.data.derived import Derived
from bombo.data.label_space import ANY_CLASS, VOID
from bombo.data.sample import BoxAnnotation, Record, Sample
from bombo.data.sampler import BalancedBatches, Draw
from bombo.data.scenes import make_scene
from bombo.data.view import View
from bombo.data.writers import write_voc
from bombo.errors import DataError

HEIGHT, WIDTH, BOX = 40, 60, (10, 5, 30, 25)
SIZES = [(32, 32), (48, 32)]


@dataclass(frozen=True)
class Painted:
    """A mask with a rectangle of one value."""

    value: int

    def load(self, size: tuple[int, int]) -> np.ndarray:
        mask = np.zeros(size, np.uint8)
        mask[BOX[1] : BOX[3], BOX[0] : BOX[2]] = self.value
        return mask


@dataclass(frozen=True)
class Broken:
    """A mask that must not be opened, or cannot be."""

    def load(self, size: tuple[int, int]) -> np.ndarray:
        raise DataError("the mask was opened", where="mask.png", fix="repair it")


def make_record(folder: Path, name: str, kind: str = "both", label: int = 1, seed: int = 0) -> Record:
    pixels = np.random.default_rng(seed).integers(0, 90, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    pixels[BOX[1] : BOX[3], BOX[0] : BOX[2]] = (255, 0, 0)
    path = folder / f"{name}.png"
    Image.fromarray(pixels).save(path)
    boxes = BoxAnnotation.build([BOX], [label]) if kind != "masks" else None
    mask = Painted(label + 1) if kind != "boxes" else None
    return Record(path, boxes, mask, name, (HEIGHT, WIDTH), where=f"{name}.xml", entry=name)


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    kinds = ["boxes", "masks", "both", "boxes", "masks", "boxes", "both", "masks"]
    return [make_record(tmp_path, f"{kind}{i}", kind, i % 3, seed=i) for i, kind in enumerate(kinds)]


def draws(records: list[Record], stop: int = 4) -> BalancedBatches:
    return BalancedBatches([record.kind for record in records], 6, SIZES, seed=5, stop=stop)


def assert_equal(one: Batch, other: Batch) -> None:
    assert (one.names, one.skipped) == (other.names, other.skipped)
    for name, tensor in one.tensors().items():
        assert torch.equal(tensor, other.tensors()[name]), name


def test_load(tmp_path: Path) -> None:
    sample = load(make_record(tmp_path, "a", label=2))
    assert sample.image.shape == (3, HEIGHT, WIDTH)
    assert sample.image.dtype == torch.uint8
    assert sample.boxes is not None
    assert sample.labels is not None
    assert sample.is_target is not None
    assert sample.mask is not None
    assert (sample.boxes.tolist(), sample.labels.tolist(), sample.is_target.tolist()) == ([[*BOX]], [2], [True])
    red = (sample.image[0] == 255) & (sample.image[1] == 0)
    assert torch.equal(red, sample.mask == 3)


def test_not_annotated_stays_none(tmp_path: Path) -> None:
    only_boxes, only_mask = (load(make_record(tmp_path, kind, kind)) for kind in ("boxes", "masks"))
    assert only_boxes.mask is None
    assert only_boxes.boxes is not None
    assert (only_mask.boxes, only_mask.labels, only_mask.is_target) == (None, None, None)
    view = View.window((HEIGHT, WIDTH), (40, 30, 10, 10), (16, 16))  # the object is elsewhere
    assert seen_through(only_boxes, view).mask is None
    assert seen_through(only_mask, view).boxes is None


def test_crowds_and_boxes_without_a_class_are_regions(tmp_path: Path) -> None:
    boxes = BoxAnnotation.build(
        [(0, 0, 9, 9)] * 4, [1, ANY_CLASS, 0, 2], crowd=[False, False, True, False], difficult=[True] + [False] * 3
    )
    sample = load(replace(make_record(tmp_path, "a"), boxes=boxes))
    assert sample.is_target is not None
    assert sample.is_target.tolist() == [True, False, False, True]


def test_annotated_and_empty_is_not_none(tmp_path: Path) -> None:
    record = replace(make_record(tmp_path, "a"), boxes=BoxAnnotation.build([], []), mask=Painted(0))
    sample = seen_through(load(record), View.whole((HEIGHT, WIDTH), (32, 32), "letterbox"))
    assert sample.boxes is not None
    assert sample.boxes.shape == (0, 4)
    assert sample.mask is not None
    assert {*sample.mask.unique().tolist()} == {0, VOID}


def test_boxes_are_cut_to_the_image_and_the_record_stays_as_it_is(tmp_path: Path) -> None:
    record = replace(make_record(tmp_path, "a"), boxes=BoxAnnotation.build([(-0.5, -3, 60.25, 40)], [0]))
    sample = load(record)
    assert sample.boxes is not None
    assert sample.boxes.tolist() == [[0, 0, WIDTH, HEIGHT]]
    assert record.boxes is not None
    assert record.boxes.boxes.tolist() == [[-0.5, -3, 60.25, 40]]


def test_boxes_belong_to_the_image_as_it_is_shown(tmp_path: Path) -> None:
    record = make_record(tmp_path, "a")
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side; to be turned clockwise
    Image.open(record.image).transpose(Image.Transpose.ROTATE_90).save(record.image, exif=exif)
    assert Image.open(record.image).size == (HEIGHT, WIDTH)
    sample = load(record)
    assert sample.mask is not None
    assert torch.equal((sample.image[0] == 255) & (sample.image[1] == 0), sample.mask == 2)
    on_its_side = replace(record, size=(WIDTH, HEIGHT))
    with pytest.raises(DataError, match=r"a\.png: the annotation \(a\.xml\) says 40×60 .* has 60×40(.|\n)*EXIF"):
        load(on_its_side)


def test_a_crop_moves_boxes_and_mask_and_keeps_what_it_cut_off(tmp_path: Path) -> None:
    sample = load(make_record(tmp_path, "a"))
    seen = seen_through(sample, View.window((HEIGHT, WIDTH), (26, 5, 20, 20), (40, 40)))
    assert seen.boxes is not None
    assert seen.is_target is not None
    assert seen.mask is not None
    assert seen.boxes.tolist() == [[0, 0, 8, 40]]
    assert seen.is_target.tolist() == [False]  # a fifth of it is left
    assert (seen.mask == 2).nonzero().amax(0).tolist() == [39, 7]
    away = seen_through(sample, View.window((HEIGHT, WIDTH), (40, 20, 20, 20), (40, 40)))
    assert away.boxes is not None
    assert away.boxes.shape == (0, 4)
    assert away.mask is not None
    assert (away.mask == 0).all()


def test_what_is_left_keeps_its_label(tmp_path: Path) -> None:
    boxes = BoxAnnotation.build([(0, 0, 9, 9), (40, 20, 50, 30), (0, 0, 60, 40)], [0, 2, 1])
    sample = load(replace(make_record(tmp_path, "a"), boxes=boxes))
    seen = seen_through(sample, View.window((HEIGHT, WIDTH), (35, 15, 20, 20), (40, 40)))
    assert seen.boxes is not None
    assert seen.labels is not None
    assert seen.is_target is not None
    assert seen.boxes.tolist() == [[10, 10, 30, 30], [0, 0, 40, 40]]
    assert (seen.labels.tolist(), seen.is_target.tolist()) == ([2, 1], [True, False])


def test_every_draw_becomes_its_place_in_the_batch(records: list[Record]) -> None:
    for drawn in draws(records):
        batch = ready(TrainingBatches(records, Augment())[drawn])
        assert batch.images.shape == (6, 3, *drawn[0].size)
        assert batch.names == tuple(records[draw.image].name for draw in drawn)
        assert batch.has_boxes.tolist() == [records[draw.image].boxes is not None for draw in drawn]
        assert batch.has_mask.tolist() == [records[draw.image].mask is not None for draw in drawn]
        assert batch.skipped == ()


def test_same_batches_whatever_the_workers(records: list[Record]) -> None:
    images, sampler = TrainingBatches(records, Augment()), draws(records)
    direct = [ready(images[drawn]) for drawn in sampler]
    for workers in (0, 2):
        torch.manual_seed(workers)
        loaded = [ready(item) for item in DataLoader(images, batch_size=None, sampler=sampler, num_workers=workers)]
        assert len(loaded) == len(direct)
        for one, other in zip(direct, loaded, strict=True):
            assert_equal(one, other)
    assert any(not torch.equal(one.images[0], two.images[0]) for one, two in pairwise(direct))


def test_leaves_the_global_generator_alone(records: list[Record]) -> None:
    state = torch.get_rng_state()
    for drawn in draws(records):
        ready(TrainingBatches(records, Augment())[drawn])
    assert torch.equal(torch.get_rng_state(), state)


def test_one_image_drawn_twice_is_seen_twice(records: list[Record]) -> None:
    twice = TrainingBatches(records, Augment())[[Draw(2, (32, 32), seed) for seed in (1, 2, 1)]]
    images = ready(twice).images
    assert not torch.equal(images[0], images[1])
    assert torch.equal(images[0], images[2])


def test_masks_of_box_annotated_images_are_never_opened(tmp_path: Path) -> None:
    write_voc({"a": [make_scene(i, 48) for i in range(3)], "b": [make_scene(i, 48) for i in range(3, 6)]}, tmp_path)
    for index in range(3):
        (tmp_path / f"SegmentationClass/a_{index:05d}.png").write_bytes(b"no image")
        (tmp_path / f"Annotations/b_{index:05d}.xml").write_bytes(b"no XML")
    lines = "\n".join(
        f"  - {{format: voc, root: ., list: {name}, use: {use}}}" for name, use in (("a", "boxes"), ("b", "masks"))
    )
    (tmp_path / "data.yaml").write_text(f"stuff: [water]\ntrain:\n{lines}\n")
    file = load_data_file(tmp_path / "data.yaml")
    found = read_split(file, "train", label_space(file)).records
    assert [record.kind for record in found] == ["boxes"] * 3 + ["masks"] * 3
    for drawn in draws(found):
        batch = ready(TrainingBatches(found, Augment())[drawn])
        assert (batch.masks[~batch.has_mask] == VOID).all()
        assert not batch.is_target[~batch.has_boxes].any()


def break_image(record: Record) -> None:
    record.image.write_bytes(record.image.read_bytes()[:200])


def test_a_bad_file_comes_back_as_a_value_and_is_raised_by_ready(records: list[Record]) -> None:
    break_image(records[4])
    images, sampler = TrainingBatches(records, Augment()), draws(records, stop=6)
    messages = []
    for workers in (0, 2):
        items = [*DataLoader(images, batch_size=None, sampler=sampler, num_workers=workers)]
        bad = [item for item in items if isinstance(item, DataError)]
        assert bad
        assert len(bad) < len(items)  # the others are not lost
        with pytest.raises(DataError) as caught:
            ready(bad[0])
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert messages[0].startswith(f"{records[4].image}: cannot be read as an image (")
    assert messages[0].endswith("fix: repair or replace the file")


def test_an_unreadable_mask_is_an_error_and_no_empty_mask(records: list[Record]) -> None:
    records[1] = replace(records[1], mask=Broken())
    with pytest.raises(DataError, match="the mask was opened"):
        ready(TrainingBatches(records, Augment())[[Draw(1, (32, 32), 0)]])


@pytest.mark.parametrize(
    ("broken", "drawn", "taken", "skipped"),
    [
        ([0], 0, 3, [0]),
        ([0, 3], 0, 5, [0, 3]),
        ([5], 5, 0, [5]),
        ([1, 7], 7, 4, [7, 1]),
        ([2], 2, 6, [2]),
        ([0, 3], 1, 1, []),
    ],
    ids=["next", "the one after", "round the end", "round the end and on", "both", "none of its kind"],
)
def test_skip_bad_takes_the_next_of_the_same_kind(
    records: list[Record], broken: list[int], drawn: int, taken: int, skipped: list[int]
) -> None:
    for index in broken:
        break_image(records[index])
    batch = ready(TrainingBatches(records, Augment(), skip_bad=True)[[Draw(drawn, (32, 32), 0)]])
    assert batch.names == (records[taken].name,)
    assert records[taken].kind == records[drawn].kind
    assert [name for name, _ in batch.skipped] == [records[index].name for index in skipped]
    for (_, message), index in zip(batch.skipped, skipped, strict=True):
        assert message.startswith(f"{records[index].image}: cannot be read")


def test_skip_bad_needs_one_good_image_of_the_kind(records: list[Record]) -> None:
    for index in (2, 6):
        break_image(records[index])
    with pytest.raises(DataError, match=r"none of the images with `use: both` can be read\n  fix: "):
        ready(TrainingBatches(records, Augment(), skip_bad=True)[[Draw(6, (32, 32), 0)]])


def test_whole_images(records: list[Record]) -> None:
    images = WholeImages(records, (32, 48), "letterbox")
    assert len(images) == 8
    index, seen, view, sample = ready(images[2])
    assert (index, seen.shape, seen.dtype) == (2, (3, 32, 48), torch.uint8)
    assert view == View.whole((HEIGHT, WIDTH), (32, 48), "letterbox")
    assert torch.equal(seen, view.image(sample.image))
    assert sample.image.shape == (3, HEIGHT, WIDTH)
    break_image(records[2])
    with pytest.raises(DataError, match="cannot be read"):
        ready(images[2])


def test_boxes_and_masks_of_real_images_agree_after_augmentation(shared_data: Path, tmp_path: Path) -> None:
    root, classes = shared_data / "voc6/VOC2012", ["cat", "cow", "dog", "horse", "sheep", "person"]
    source = f"{{format: voc, root: {root}, list: val, use: both}}"
    (tmp_path / "data.yaml").write_text(f"classes: {classes}\ntrain: [{source}]\n")
    file = load_data_file(tmp_path / "data.yaml")
    found = read_split(file, "train", label_space(file)).records[:60]
    batches = BalancedBatches([record.kind for record in found], 20, [(160, 160)], stop=3)
    inside, outside = [], []
    for batch in (ready(TrainingBatches(found, Augment())[drawn]) for drawn in batches):
        for boxes, labels, targets, mask in zip(batch.boxes, batch.labels, batch.is_target, batch.masks, strict=True):
            covered = torch.zeros(len(classes), 160, 160, dtype=torch.bool)
            for (x1, y1, x2, y2), label, target in zip(boxes.round().int().tolist(), labels, targets, strict=True):
                part = mask[y1:y2, x1:x2]
                if target and part.numel() > 400:
                    inside.append((part == label + 1).float().mean().item())
                covered[label, max(0, y1 - 2) : y2 + 2, max(0, x1 - 2) : x2 + 2] = True
            for label in range(len(classes)):
                if (pixels := mask == label + 1).any():
                    outside.append((pixels & ~covered[label]).sum().item() / pixels.sum().item())
    assert len(inside) > 40
    assert np.mean(np.array(inside) > 0.2) > 0.9  # an object fills a good part of its box
    assert np.mean(outside) < 0.02  # and lies in it


def test_skip_bad_covers_what_weak_targets_are_made_of(records: list[Record]) -> None:
    def derive(record: Record, sample: Sample) -> Derived:
        if record.name == records[0].name:
            raise DataError("the mask of another image", where=record.name)
        return Derived.nothing(sample.image)

    batch = ready(TrainingBatches(records, Augment(), skip_bad=True, derive=derive)[[Draw(0, (32, 32), 0)]])
    assert batch.names != (records[0].name,)
    assert [name for name, _ in batch.skipped] == [records[0].name]
    with pytest.raises(DataError, match="the mask of another image"):
        ready(TrainingBatches(records, Augment(), derive=derive)[[Draw(0, (32, 32), 0)]])
