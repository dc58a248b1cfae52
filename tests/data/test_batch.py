from __future__ import annotations

import pytest
import torch

from bombo.data.batch import Batch, collate
from bombo.data.label_space import ANY_CLASS, VOID
from bombo.data.sample import Sample

IMAGE = torch.zeros(3, 4, 6, dtype=torch.uint8)
MASK = torch.full((4, 6), 2, dtype=torch.uint8)


def boxed(*labels: int, mask: torch.Tensor | None = None) -> Sample:
    boxes = torch.arange(4.0).repeat(len(labels), 1) + 1
    targets = torch.tensor([label >= 0 for label in labels], dtype=torch.bool)
    return Sample(IMAGE, boxes, torch.tensor(labels, dtype=torch.int64), targets, mask)


MASKED = Sample(IMAGE, None, None, None, MASK)


def test_every_kind_in_one_batch() -> None:
    batch = collate([boxed(3), MASKED, boxed(1, ANY_CLASS, mask=MASK), boxed()], ("a", "b", "c", "d"), (("x", "bad"),))
    assert len(batch) == 4
    assert batch.images.shape == (4, 3, 4, 6)
    assert batch.images.dtype == batch.masks.dtype == torch.uint8
    assert batch.boxes.dtype == torch.float32
    # annotated and empty is not the same as not annotated
    assert batch.has_boxes.tolist() == [True, False, True, True]
    assert batch.has_mask.tolist() == [False, True, True, False]
    assert batch.labels.tolist() == [[3, 0], [0, 0], [1, ANY_CLASS], [0, 0]]
    assert batch.is_target.tolist() == [[True, False], [False, False], [True, False], [False, False]]
    box, nothing = [1.0, 2.0, 3.0, 4.0], [0.0] * 4
    assert batch.boxes.tolist() == [[box, nothing], [nothing, nothing], [box, box], [nothing, nothing]]
    assert [mask.unique().tolist() for mask in batch.masks] == [[VOID], [2], [2], [VOID]]
    assert (batch.names, batch.skipped) == (("a", "b", "c", "d"), (("x", "bad"),))


@pytest.mark.parametrize("samples", [[MASKED], [MASKED, MASKED], [boxed()], [boxed(), MASKED]])
def test_no_boxes_at_all(samples: list[Sample]) -> None:
    batch = collate(samples)
    assert batch.boxes.shape == (len(samples), 0, 4)
    assert batch.labels.shape == batch.is_target.shape == (len(samples), 0)
    assert batch.has_boxes.tolist() == [sample.boxes is not None for sample in samples]


def test_collating_copies() -> None:
    sample = boxed(0, mask=MASK.clone())
    batch = collate([sample])
    batch.masks.fill_(9)
    batch.boxes.fill_(9)
    assert sample.mask is not None
    assert sample.boxes is not None
    assert 9 not in sample.mask
    assert 9 not in sample.boxes


def test_moving_keeps_everything() -> None:
    batch = collate([boxed(3), MASKED], ("a", "b"), (("x", "bad"),))
    moved = batch.to(torch.device("meta"))
    assert {tensor.device.type for tensor in moved.tensors().values()} == {"meta"}
    assert (moved.names, moved.skipped) == (batch.names, batch.skipped)
    same = batch.to(torch.device("cpu"))
    assert all(torch.equal(tensor, same.tensors()[name]) for name, tensor in batch.tensors().items())


def test_tensors_rebuild_the_batch() -> None:
    batch = collate([boxed(3), MASKED], ("a", "b"))
    tensors = batch.tensors()
    assert [*tensors] == ["images", "boxes", "labels", "is_target", "masks", "has_boxes", "has_mask"]
    assert Batch(**tensors).has_boxes.tolist() == [True, False]


def test_images_of_two_sizes_do_not_fit() -> None:
    other = Sample(IMAGE[:, :2], None, None, None, None)
    with pytest.raises(RuntimeError, match="equal size"):
        collate([other, Sample(IMAGE, None, None, None, None)])
