"""One named loss: its value and how much it spoke for."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Term(NamedTuple):
    """A loss value with the number of things it was computed from.

    Attributes:
        value: Scalar, attached to the graph.
        number: Scalar, how many images (or pixels, anchors: the loss says which) it speaks for.
    """

    value: Tensor
    number: Tensor
