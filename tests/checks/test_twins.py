from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bombo.checks import twins as module
from bombo.checks.fingerprint import Fingerprint, fingerprint
from bombo.checks.twins import Seen, twins
from bombo.data.scenes import make_scene

SPLITS = ("train", "val", "test")
# few pictures and hashes that differ in few bits, so that twins of all kinds are frequent
images = st.tuples(
    st.sampled_from(SPLITS), st.integers(0, 5), st.integers(0, 3), st.sampled_from([0, 1, 7, 63, 2**60 - 1])
)


def closest(index: int, seen: list[Seen], alike: np.ndarray) -> tuple[str, int] | None:
    """By looking at all pairs: another list first, then file, content, looks; the first of several."""
    for leak in (True, False):
        for name in ("file", "content", "near"):
            for earlier in range(index):
                one, other = seen[index], seen[earlier]
                near = (one.print.gradients ^ other.print.gradients).bit_count() <= 4 and alike[index, earlier]
                equal = {
                    "file": one.path == other.path,
                    "content": one.print.content == other.print.content,
                    "near": near,
                }
                if (one.split != other.split) == leak and equal[name]:
                    return f"{'leak' if leak else 'twice'}-{name}", earlier
    return None


@settings(max_examples=60, deadline=None)
@given(st.lists(images, max_size=12))
def test_the_closest_twin_is_found_among_all_pairs(listed: list[tuple[str, int, int, int]]) -> None:
    listed = sorted(listed, key=lambda image: SPLITS.index(image[0]))
    pictures = np.random.default_rng(0).integers(0, 255, (4, 16, 16)).astype(np.uint8)
    seen = [
        Seen(split, Path(f"/{path}.jpg"), Fingerprint(bytes([path, content]), gradients, pictures[content]))
        for split, path, content, gradients in listed
    ]
    alike = np.array([[one[2] == other[2] for other in listed] for one in listed])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ROWS", 5)  # several blocks
        hits = iter(twins(seen))
    for index, image in enumerate(seen):
        expected = closest(index, seen, alike)
        if expected is not None:
            hit = next(hits)
            assert (hit.defect.code, hit.where) == (expected[0], str(image.path))
            assert seen[expected[1]].split in hit.detail
    assert next(hits, None) is None


def changed(pixels: np.ndarray, how: str) -> np.ndarray:
    image = Image.fromarray(pixels)
    match how:
        case "smaller":
            image = image.resize((96, 96), Image.Resampling.LANCZOS)
        case "larger":
            image = image.resize((200, 200), Image.Resampling.BICUBIC)
        case "darker":
            image = image.point([int(0.7 * value) for value in range(256)] * 3)
        case "compressed":
            image = image.quantize(64).convert("RGB")
    return np.asarray(image)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return [make_scene(seed, 128).image for seed in range(10)]


@pytest.mark.parametrize("how", ["smaller", "larger", "darker", "compressed"])
def test_a_changed_copy_is_recognised_and_other_pictures_are_not(how: str, pictures: list[np.ndarray]) -> None:
    train = [Seen("train", Path(f"{n}.jpg"), fingerprint(pixels)) for n, pixels in enumerate(pictures)]
    assert not twins(train)
    hits = twins([*train, Seen("val", Path("copy.png"), fingerprint(changed(pictures[5], how)))])
    assert [(hit.defect.code, hit.where, "5.jpg" in hit.detail) for hit in hits] == [("leak-near", "copy.png", True)]


def test_pictures_without_structure_are_not_alike_unless_equal() -> None:
    plain = [np.full((20, 20, 3), grey, np.uint8) for grey in (0, 90, 90, 255)]
    hits = twins([Seen("train", Path(f"{n}.png"), fingerprint(pixels)) for n, pixels in enumerate(plain)])
    assert [(hit.defect.code, hit.where) for hit in hits] == [("twice-content", "2.png")]


def test_content_is_more_than_bytes() -> None:
    tall, wide = np.zeros((2, 8, 3), np.uint8), np.zeros((8, 2, 3), np.uint8)
    assert fingerprint(tall).content != fingerprint(wide).content
