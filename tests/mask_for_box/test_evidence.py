from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bombo.data.label_space import ANY_CLASS
from bombo.mask_for_box.evidence import Evidence, class_evidence, hulls, present_things


def canvas(*patches: tuple[int, int, int, int, int], side: int = 32) -> Tensor:
    """(1, side, side) from patches (value, x1, y1, x2, y2), later ones on top."""
    mask = torch.zeros(1, side, side, dtype=torch.uint8)
    for value, x1, y1, x2, y2 in patches:
        mask[:, y1:y2, x1:x2] = value
    return mask


def extents(evidence: Evidence) -> dict[int, list[float]]:
    return dict(zip(evidence.label.tolist(), hulls(evidence.maps).tolist(), strict=True))


NOWHERE = [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        pytest.param(canvas(), {ANY_CLASS: NOWHERE}, id="background"),
        pytest.param(canvas((1, 4, 5, 9, 11)), {0: [4, 5, 9, 11], ANY_CLASS: NOWHERE}, id="one object"),
        pytest.param(canvas((3, 4, 5, 9, 11)), {ANY_CLASS: NOWHERE}, id="stuff"),
        pytest.param(
            canvas((255, 2, 3, 11, 13), (1, 4, 5, 9, 11)), {0: [2, 3, 11, 13], ANY_CLASS: NOWHERE}, id="rim around"
        ),
        pytest.param(
            canvas((255, 9, 5, 17, 11), (1, 4, 5, 9, 11)),
            {0: [4, 5, 13, 11], ANY_CLASS: NOWHERE},
            id="of thin void 4 px",
        ),
        pytest.param(
            canvas((255, 15, 5, 17, 11), (1, 4, 5, 9, 11)), {0: [4, 5, 9, 11], ANY_CLASS: NOWHERE}, id="rim elsewhere"
        ),
        pytest.param(
            canvas((1, 4, 5, 9, 11), (255, 18, 18, 28, 28)),
            {0: [4, 5, 28, 28], ANY_CLASS: [18, 18, 28, 28]},
            id="a blob is any class",
        ),
        pytest.param(canvas((255, 0, 0, 32, 32)), {ANY_CLASS: [0, 0, 32, 32]}, id="all void"),
        pytest.param(
            canvas((255, 0, 0, 32, 32), (0, 10, 0, 32, 32), (1, 10, 4, 14, 9)),
            {0: [10, 4, 14, 9], ANY_CLASS: NOWHERE},
            id="padding on the left",
        ),
        pytest.param(
            canvas((255, 0, 0, 32, 32), (0, 0, 12, 32, 20), (1, 3, 14, 7, 20)),
            {0: [3, 14, 7, 20], ANY_CLASS: NOWHERE},
            id="letterbox",
        ),
        pytest.param(
            canvas((255, 0, 10, 32, 22)), {ANY_CLASS: [0, 10, 32, 22]}, id="a band in the middle is no padding"
        ),
    ],
)
def test_by_hand(mask: Tensor, expected: dict[int, list[float]]) -> None:
    assert extents(class_evidence(mask, 2)) == expected


def test_images_do_not_mix() -> None:
    masks = torch.cat((canvas((2, 1, 1, 3, 3)), canvas((255, 0, 0, 32, 32)), canvas((1, 4, 4, 9, 9))))
    evidence = class_evidence(masks, 2)
    assert evidence.image.tolist() == [0, 2, 0, 1, 2]
    assert evidence.label.tolist() == [1, 0, ANY_CLASS, ANY_CLASS, ANY_CLASS]
    assert hulls(evidence.maps).tolist() == [[1, 1, 3, 3], [4, 4, 9, 9], NOWHERE, [0, 0, 32, 32], NOWHERE]


def test_four_by_four_by_hand(draw: Callable[..., Tensor]) -> None:
    masks = draw(
        "11..",
        "1xx.",
        "..2.",
        "...x",
    )[None]  # fmt: skip
    evidence = class_evidence(masks, 3)
    assert evidence.maps[0].int().tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    assert evidence.maps[1].int().tolist() == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert not evidence.maps[2].any()


def test_flip(make_scene: Callable[..., tuple[Tensor, Tensor, Tensor]]) -> None:
    masks = torch.stack([make_scene(seed, rim=seed % 2 == 0)[0] for seed in range(12)])
    masks[3, 20:60, 30:50] = 255
    evidence, mirrored = class_evidence(masks, 3), class_evidence(masks.flip(-1), 3)
    assert torch.equal(mirrored.maps, evidence.maps.flip(-1))
    assert torch.equal(mirrored.label, evidence.label)


def test_no_image_and_no_thing() -> None:
    assert class_evidence(torch.zeros(0, 4, 4, dtype=torch.uint8), 3).maps.shape == (0, 4, 4)
    assert class_evidence(torch.ones(2, 4, 4, dtype=torch.uint8), 0).label.tolist() == [ANY_CLASS] * 2
    assert present_things(torch.tensor([[[0, 2], [255, 4]]], dtype=torch.uint8), 3).tolist() == [[False, True, False]]
