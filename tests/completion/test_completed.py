from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bombo.box_for_mask.candidate_sets import candidate_sets
from bombo.box_for_mask.grabcut import GrabCut
from bombo.box_for_mask.shapes import Fill
from bombo.completion.complete import completed
from bombo.completion.completed import Completed
from bombo.conversion.objects import objects_in_boxes
from bombo.conversion.shapes import to_pixels, to_rle
from bombo.data.label_space import ANY_CLASS, VOID, LabelSpace
from bombo.data.masks import Outline
from bombo.data.sample import BoxAnnotation, Record
from bombo.data.scenes import Scene, label_space, make_scene
from bombo.engine.model import Model

SPACE = LabelSpace(("cat", "dog"), ("grass",))
Judge, MakeRecord = Callable[..., Model], Callable[..., Record]
reuse = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def annotation(scene: Scene) -> BoxAnnotation:
    return BoxAnnotation.build(scene.boxes.tolist(), scene.labels.tolist())


def pixels(done: Completed) -> list[np.ndarray]:
    """(H, W) bool of every object; none where it has no outline."""
    size = done.image.size
    return [
        np.zeros(size, bool) if item.shape is None else to_pixels(item.shape, size) for item in done.image.objects or ()
    ]


def boxes_of(done: Completed) -> list[list[float]]:
    return [list(item.box) for item in done.image.objects or ()]


def ious(objects: list[np.ndarray], scene: Scene) -> list[float]:
    truth = [scene.instances == row + 1 for row in range(len(scene.labels))]
    return [float((one & other).sum() / (one | other).sum()) for one, other in zip(objects, truth, strict=True)]


class TestBoxesGetAMask:
    @reuse
    @given(st.integers(0, 2**32), st.integers(0, 5))
    def test_whatever_the_network_says_the_mask_respects_the_boxes(
        self, judge: Judge, record: MakeRecord, seed: int, number: int
    ) -> None:
        rng = np.random.default_rng(seed)
        low = rng.uniform(0, 24, (number, 2))
        boxes = np.concatenate((low, np.minimum(low + rng.uniform(1, 20, (number, 2)), 32)), 1).astype(np.float32)
        labels, crowd = rng.integers(-1, 2, number), rng.random(number) < 0.2
        own = BoxAnnotation.build(boxes.tolist(), labels.tolist(), crowd=crowd.tolist())
        logits = torch.from_numpy(rng.normal(0, 3, (4, 32, 32))).float()
        image = rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)
        done = completed(record(image, own), judge(SPACE, (32, 32), logits=logits), Fill())

        mask = done.image.mask
        assert mask is not None
        possible = candidate_sets(torch.from_numpy(boxes)[None], torch.from_numpy(labels)[None], 2, 4, (32, 32), (1, 1))
        said = mask != VOID
        assert np.take_along_axis(possible[0].numpy(), np.where(said, mask, 0)[None], 0)[0][said].all()
        assert boxes_of(done) == boxes.tolist()  # what a person drew stays
        things = [(item, own_pixels) for item, own_pixels in zip(done.image.objects or (), pixels(done), strict=True)]
        objects = np.zeros((32, 32), int)
        for item, own_pixels in things:
            if not item.crowd and item.label < 3:
                assert (mask[own_pixels] == item.label + 1).all()
                assert item.score is not None
                assert 0 <= item.score <= 1
                objects += own_pixels
        assert objects.max(initial=0) <= 1
        assert ((objects == 1) == ((mask > 0) & (mask <= 2))).all()  # a thing's pixel is an object's

    def test_a_thing_that_the_network_strikes_out_keeps_pixels_with_little_weight(
        self, judge: Judge, record: MakeRecord
    ) -> None:
        background = np.zeros((32, 32), np.uint8)
        own = BoxAnnotation.build([(4, 4, 20, 20)], [1])
        image = np.full((32, 32, 3), 90, np.uint8)
        done = completed(record(image, own), judge(LabelSpace(("cat", "dog")), (32, 32), mask=background), Fill())
        (item,) = done.image.objects or ()
        assert pixels(done)[0].sum() == 16 * 16
        assert item.score == pytest.approx(0.3)

    def test_crowds_and_regions_of_any_class_are_void_and_no_objects(self, judge: Judge, record: MakeRecord) -> None:
        own = BoxAnnotation.build([(0, 0, 16, 16), (16, 16, 32, 32)], [0, ANY_CLASS], crowd=[True, False])
        sees_cats = np.ones((32, 32), np.uint8)
        image = np.zeros((32, 32, 3), np.uint8)
        done = completed(record(image, own), judge(SPACE, (32, 32), mask=sees_cats), Fill())
        crowd, region = done.image.objects or ()
        assert (crowd.label, crowd.crowd, region.label, region.crowd) == (0, True, len(SPACE.names), False)
        assert done.image.mask is not None
        assert (done.image.mask[:16, :16] == VOID).all()
        assert pixels(done)[0].sum() == 16 * 16

    def test_better_than_filled_boxes_and_better_still_with_a_network_that_sees(
        self, judge: Judge, record: MakeRecord
    ) -> None:
        space, quality = label_space(), {"filled": 0.0, "colours": 0.0, "network": 0.0}
        scenes = [make_scene(seed, 96) for seed in range(4)]
        for scene in scenes:
            given = record(scene.image, annotation(scene))
            filled = Fill()(scene.image, scene.boxes, scene.labels, np.zeros(len(scene.labels), bool), space)
            rows = objects_in_boxes(filled.values, scene.boxes, scene.labels)
            made = {
                "filled": [rows == row + 1 for row in range(len(scene.labels))],
                "colours": pixels(completed(given, judge(space, (96, 96)), GrabCut())),
                "network": pixels(completed(given, judge(space, (96, 96), mask=scene.mask), GrabCut())),
            }
            for name, objects in made.items():
                quality[name] += float(np.mean(ious(objects, scene))) / len(scenes)
        assert quality["filled"] + 0.05 < quality["colours"] < quality["network"]
        assert quality["network"] > 0.7

    def test_the_surer_object_is_the_better_one(self, judge: Judge, record: MakeRecord) -> None:
        scene = make_scene(3, 96)
        half = scene.mask.copy()
        half[:, :48] = 0  # the network is blind on the left
        done = completed(record(scene.image, annotation(scene)), judge(label_space(), (96, 96), mask=half), GrabCut())
        scores = np.array([item.score for item in done.image.objects or ()])
        quality = np.array(ious(pixels(done), scene))
        left = scene.boxes[:, 2] <= 48
        assert left.any()
        assert (scene.boxes[:, 0] >= 48).any()
        assert scores[left].mean() < scores[scene.boxes[:, 0] >= 48].mean()
        assert quality[left].mean() < quality[scene.boxes[:, 0] >= 48].mean()
        assert done.changed > 0.1

    @pytest.mark.parametrize("stuff", [(), ("grass",)])
    def test_outlines_that_a_person_drew_stay(self, judge: Judge, record: MakeRecord, stuff: tuple[str, ...]) -> None:
        triangle = [np.array([4.0, 4, 24, 4, 4, 24])]
        inner = np.zeros((32, 32), np.uint8)
        inner[6:9, 6:9] = 1
        crowd = np.zeros((32, 32), np.uint8)
        crowd[28:, :20] = 1
        outlines = [
            Outline(1, triangle, False, "cat"),
            None,
            Outline(2, to_rle(inner == 1, (32, 32)), False, "dog"),
            Outline(VOID, to_rle(crowd == 1, (32, 32)), True, "cats"),
        ]
        own = BoxAnnotation.build(
            [(4, 4, 24, 24), (16, 16, 32, 32), (6, 6, 9, 9), (0, 28, 20, 32)],
            [0, 1, 1, 0],
            crowd=[False, False, False, True],
            areas=[123, 256, 9, 80],
            outlines=outlines,
        )
        image = np.full((32, 32, 3), 90, np.uint8)
        space = LabelSpace(("cat", "dog"), stuff)
        done = completed(record(image, own), judge(space, (32, 32), mask=np.full((32, 32), 1, np.uint8)), Fill())
        cat, dog, small, crowded = done.image.objects or ()
        assert isinstance(cat.shape, list)
        assert np.array_equal(cat.shape, triangle)
        assert (cat.area, cat.score, small.score, crowded.score) == (123, None, None, None)
        assert dog.score is not None
        drawn, mask = pixels(done), done.image.mask
        assert mask is not None
        assert np.array_equal(drawn[2], inner == 1)
        assert np.array_equal(drawn[3], crowd == 1)
        assert (mask[drawn[2]] == 2).all()  # the smallest on top
        assert (mask[drawn[0] & ~drawn[2]] == 1).all()
        assert ((mask == 1) <= drawn[0]).all()
        assert drawn[1].any()
        assert (mask[drawn[1]] == 2).all()
        assert mask[20, 12] == (VOID if stuff else 0)  # beside the triangle, in no other box
        assert (mask[drawn[3] & ~drawn[1]] == VOID).all()


class TestAMaskGetsBoxes:
    @reuse
    @given(st.integers(0, 2**32))
    def test_whatever_the_network_says_the_boxes_respect_the_mask(
        self, judge: Judge, record: MakeRecord, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        scene = make_scene(seed % 1000, 64)
        number = int(rng.integers(0, 8))
        low = rng.uniform(0, 48, (number, 2))
        seen = np.concatenate((low, np.minimum(low + rng.uniform(4, 40, (number, 2)), 64)), 1)
        if number and len(scene.boxes):  # near what is there, or the rules would drop all
            seen[0] = scene.boxes[0] + rng.normal(0, 1, 4)
        labels = rng.integers(0, 6, number)
        if number and len(scene.boxes):
            labels[0] = scene.labels[0]
        network = judge(label_space(), (64, 64), seen, labels, rng.uniform(0.3, 1, number))
        done = completed(record(scene.image, mask=scene.mask), network, Fill())

        assert done.image.mask is not None
        assert (done.image.mask == scene.mask).all()
        owned = np.zeros((64, 64), int)
        for item, own in zip(done.image.objects or (), pixels(done), strict=True):
            ys, xs = np.nonzero(own)
            assert (scene.mask[own] == item.label + 1).all()
            assert list(item.box) == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]  # tight
            assert item.score is not None
            assert 0 < item.score <= 1
            owned += own
        assert owned.max(initial=0) <= 1
        lost = (scene.mask > 0) & (scene.mask <= 6) & (owned == 0)
        assert lost.sum() < 32 * max(1, len(scene.labels))  # splinters at most

    def test_touching_objects_are_taken_apart_by_a_network_that_sees_them(
        self, judge: Judge, record: MakeRecord
    ) -> None:
        mask = np.zeros((64, 64), np.uint8)
        mask[20:40, 8:52] = 1
        image = np.zeros((64, 64, 3), np.uint8)
        blind = completed(record(image, mask=mask), judge(SPACE, (64, 64)), Fill())
        assert boxes_of(blind) == [[8, 20, 52, 40]]
        assert [item.score for item in blind.image.objects or ()] == [0.5]
        network = judge(SPACE, (64, 64), [(8, 20, 30, 40), (30, 20, 52, 40)], [0, 0])
        seeing = completed(record(image, mask=mask), network, Fill())
        assert sorted(boxes_of(seeing)) == [[8, 20, 30, 40], [30, 20, 52, 40]]
        assert (blind.split, seeing.split) == (0, 1)

    def test_parts_of_one_object_are_joined_and_confirmed_ones_are_sure(self, judge: Judge, record: MakeRecord) -> None:
        mask = np.zeros((64, 64), np.uint8)
        mask[10:50, 8:24] = mask[10:50, 28:44] = 1  # something stands before it
        mask[56:64, 50:64] = 2
        network = judge(SPACE, (64, 64), [(8, 10, 44, 50), (50, 56, 64, 64)], [0, 1])
        done = completed(record(np.zeros((64, 64, 3), np.uint8), mask=mask), network, Fill())
        assert sorted(boxes_of(done)) == [[8, 10, 44, 50], [50, 56, 64, 64]]
        assert all(item.score is not None and item.score > 0.9 for item in done.image.objects or ())


def test_what_is_complete_stays_as_it_is(judge: Judge, record: MakeRecord) -> None:
    scene = make_scene(5, 64)
    own = annotation(scene)
    own.difficult[0] = True
    done = completed(record(scene.image, own, scene.mask), judge(label_space(), (64, 64)), Fill())
    assert done.filled == "nothing"
    assert boxes_of(done) == scene.boxes.tolist()
    assert [item.difficult for item in done.image.objects or ()] == own.difficult.tolist()
    assert all(item.score is None for item in done.image.objects or ())
    assert done.image.mask is not None
    assert (done.image.mask == scene.mask).all()


def test_an_image_with_neither_gets_what_the_network_sees(judge: Judge, record: MakeRecord) -> None:
    scene = make_scene(5, 64)
    network = judge(label_space(), (64, 64), scene.boxes, scene.labels, [0.6] * len(scene.labels), mask=scene.mask)
    done = completed(record(scene.image), network, GrabCut())
    assert done.filled == "both"
    assert np.allclose(sorted(boxes_of(done)), sorted(scene.boxes.tolist()), atol=0.01)
    assert all(item.score is not None and item.score <= 0.6 for item in done.image.objects or ())
