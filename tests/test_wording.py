from __future__ import annotations

import pytest

from bombo.wording import counted


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "image", "0 images"),
        (1, "epoch", "1 epoch"),
        (1, "box", "1 box"),
        (2, "box", "2 boxes"),
        (3, "class", "3 classes"),
        (12_345, "training image", "12,345 training images"),
    ],
)
def test_a_number_with_what_it_counts(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text
