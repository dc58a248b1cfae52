"""Pictures that stand twice: in the same list, or, worse, in two of train, val and test."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bombo.checks.finding import Defect, Hit
from bombo.checks.fingerprint import Fingerprint

_LEAK = "take them out of one of the lists: figures measured on what was trained on are too good to be true"
_TWICE = "nothing has to be done; leave one out if it should not count twice"
LEAK_FILE = Defect(
    "leak-file", "warning", "image stands in two of train, val and test", "images stand in two of train, val and test",
    _LEAK,
)  # fmt: skip
LEAK_CONTENT = Defect(
    "leak-content", "warning",
    "image has the same content as one of another list", "images have the same content as one of another list", _LEAK,
)  # fmt: skip
LEAK_NEAR = Defect(
    "leak-near", "warning", "image looks like one of another list", "images look like one of another list",
    f"frames of one film, or copies? Then {_LEAK}",
)  # fmt: skip
TWICE_FILE = Defect(
    "twice-file", "warning", "image stands twice in a list", "images stand twice in a list",
    "name each image once, with all its annotation (`use: both`)",
)  # fmt: skip
TWICE_CONTENT = Defect(
    "twice-content", "note", "image has the same content as another of its list",
    "images have the same content as another of their list", _TWICE,
)  # fmt: skip
TWICE_NEAR = Defect(
    "twice-near", "note", "image looks like another of its list", "images look like another of their list", _TWICE
)

_BITS = 4  # of 64 that may differ
_ALIKE = 0.97  # correlation of the thumbnails: gradients alone also join pictures that share only a horizon
_FLAT = 4.0  # grey levels of standard deviation; pictures with less have no gradients to compare
_ROWS = 256  # images compared with all before them at a time


class Seen(NamedTuple):
    """One image that was decoded."""

    split: str
    path: Path
    print: Fingerprint


def twins(images: Sequence[Seen]) -> list[Hit]:
    """Names every image that repeats an earlier one; the closest kind of twin in another list counts first.

    Args:
        images: In the order of the lists: train, then val, then test.
    """
    relations = (
        (LEAK_FILE, TWICE_FILE, _same([image.path.resolve() for image in images], images)),
        (LEAK_CONTENT, TWICE_CONTENT, _same([image.print.content for image in images], images)),
        (LEAK_NEAR, TWICE_NEAR, _near(images)),
    )
    hits = []
    for index, image in enumerate(images):
        leaks = [(leak, pairs[0]) for leak, _, found in relations if (pairs := found[index])[0] is not None]
        again = [(twice, pairs[1]) for _, twice, found in relations if (pairs := found[index])[1] is not None]
        for defect, earlier in (leaks or again)[:1]:
            assert earlier is not None
            other = images[earlier]
            detail = f"in {image.split}, as {other.path} in {other.split}"
            if other.path == image.path:
                detail = f"in {other.split} and in {image.split}"
            hits.append(Hit(defect, str(image.path), detail))
    return hits


Pair = tuple[int | None, int | None]  # the first earlier twin in another list, and in the same one


def _same(keys: Sequence[Hashable], images: Sequence[Seen]) -> list[Pair]:
    first: dict[Hashable, dict[str, int]] = {}
    pairs = []
    for index, (key, image) in enumerate(zip(keys, images, strict=True)):
        known = first.setdefault(key, {})
        other = next((place for split, place in known.items() if split != image.split), None)
        pairs.append((other, known.get(image.split)))
        known.setdefault(image.split, index)
    return pairs


def _near(images: Sequence[Seen]) -> list[Pair]:
    pairs: list[Pair] = [(None, None)] * len(images)
    if not images:
        return pairs
    gradients = np.array([image.print.gradients for image in images], np.uint64)
    thumbs = np.stack([image.print.thumb for image in images]).reshape(len(images), -1).astype(np.float32)
    flat = thumbs.std(axis=1) < _FLAT
    thumbs -= thumbs.mean(axis=1, keepdims=True)
    thumbs /= np.linalg.norm(thumbs, axis=1, keepdims=True).clip(1e-6)
    splits = np.unique([image.split for image in images], return_inverse=True)[1]
    for start in range(0, len(images), _ROWS):
        stop = min(start + _ROWS, len(images))
        close = np.bitwise_count(gradients[start:stop, None] ^ gradients[None, :stop]) <= _BITS
        close &= np.arange(stop) < np.arange(start, stop)[:, None]
        rows, others = np.nonzero(close & ~flat[start:stop, None] & ~flat[:stop])
        rows += start
        alike = np.einsum("ij,ij->i", thumbs[rows], thumbs[others]) >= _ALIKE
        for row, other in zip(rows[alike].tolist(), others[alike].tolist(), strict=True):
            across, within = pairs[row]
            if splits[row] == splits[other]:
                pairs[row] = (across, other if within is None else within)
            else:
                pairs[row] = (other if across is None else across, within)
    return pairs
