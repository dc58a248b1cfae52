"""Pictures that stand twice: in the same list, or, worse, in two of train, val and test."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bombo.checks.finding import REPAIR, Defect, Hit
from bombo.checks.fingerprint import Fingerprint

_LEAK = (
    "figures measured on what was trained on are too good to be true: the command leaves them out of train (out of val "
    "if the other one stands in test)"
)
_TWICE = "nothing has to be done; name all but one of them in a `list` if it should not count twice"
LEAK_FILE = Defect(
    "leak-file", "warning", "image stands in two of train, val and test", "images stand in two of train, val and test",
    _LEAK, REPAIR,
)  # fmt: skip
LEAK_CONTENT = Defect(
    "leak-content", "warning",
    "image has the same content as one of another list", "images have the same content as one of another list", _LEAK,
    REPAIR,
)  # fmt: skip
LEAK_NEAR = Defect(
    "leak-near", "warning", "image looks like one of another list", "images look like one of another list",
    f"frames of one film, or copies? Then {_LEAK}", REPAIR,
)  # fmt: skip
TWICE_FILE = Defect(
    "twice-file", "warning", "image stands twice in a list", "images stand twice in a list",
    "if one source has it all, name that once, with `use: both`; the command writes each image once, with the boxes of "
    "one and the mask of the other", REPAIR,
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
    """Names every image that repeats an earlier one; see `repeats`."""
    hits = []
    for index, earlier, defect in repeats(images):
        image, other = images[index], images[earlier]
        detail = f"in {image.split}, as {other.path} in {other.split}"
        if other.path == image.path:
            detail = f"in {other.split} and in {image.split}"
        hits.append(Hit(defect, str(image.path), detail))
    return hits


def repeats(images: Sequence[Seen]) -> list[tuple[int, int, Defect]]:
    """Every image that repeats an earlier one, that one, and how; the closest twin in another list counts first.

    Args:
        images: In the order of the lists.
    """
    relations = (
        (LEAK_FILE, TWICE_FILE, _same([image.path.resolve() for image in images], images)),
        (LEAK_CONTENT, TWICE_CONTENT, _same([image.print.content for image in images], images)),
        (LEAK_NEAR, TWICE_NEAR, _near(images)),
    )
    found = []
    for index in range(len(images)):
        leaks = [(leak, pairs[index][0]) for leak, _, pairs in relations]
        again = [(twice, pairs[index][1]) for _, twice, pairs in relations]
        closest = ((defect, earlier) for defect, earlier in leaks + again if earlier is not None)
        found += [(index, earlier, defect) for defect, earlier in islice(closest, 1)]
    return found


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
