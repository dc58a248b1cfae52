"""What tells whether two files show the same picture."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
from PIL import Image

_THUMB = 16


class Fingerprint(NamedTuple):
    """Attributes of one image that others are compared with.

    Attributes:
        content: Hash of size and pixels: equal for equal pictures, whatever the file's name and format.
        gradients: 64 bits, whether the picture grows brighter from cell to cell (dHash): little changed by resizing,
            compression, brightness and contrast.
        thumb: (16, 16) uint8 grey.
    """

    content: bytes
    gradients: int
    thumb: np.ndarray


def fingerprint(pixels: np.ndarray) -> Fingerprint:
    """The fingerprint of an image (H, W, 3) uint8."""
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    grey = Image.fromarray(pixels).convert("L")
    cells = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), np.int16)
    bits = np.packbits(cells[:, 1:] > cells[:, :-1])
    thumb = np.asarray(grey.resize((_THUMB, _THUMB), Image.Resampling.BOX))
    return Fingerprint(digest.digest(), int.from_bytes(bits.tobytes(), "big"), thumb)
