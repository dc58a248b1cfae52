from __future__ import annotations

import math

import pytest
import torch

from bombo.box_for_mask.colour_affinity import affinity_loss, lab

ALL = torch.ones(1, 4, 4, dtype=torch.bool)
GREY = torch.full((1, 3, 16, 16), 90, dtype=torch.uint8)


def cell(*places: tuple[int, int]) -> torch.Tensor:
    """(1, 4, 4), True at the places (y, x)."""
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    for y, x in places:
        mask[0, y, x] = True
    return mask


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        pytest.param((0, 0, 0), (0, 0, 0), id="black"),
        pytest.param((255, 255, 255), (100, 0, 0), id="white"),
        pytest.param((128, 128, 128), (53.585, 0, 0), id="grey"),
        pytest.param((255, 0, 0), (53.24, 80.09, 67.20), id="red"),
        pytest.param((0, 255, 0), (87.73, -86.18, 83.18), id="green"),
        pytest.param((0, 0, 255), (32.30, 79.19, -107.86), id="blue"),
        pytest.param((255, 255, 0), (97.14, -21.55, 94.48), id="yellow"),
        pytest.param((0, 255, 255), (91.11, -48.09, -14.13), id="cyan"),
        pytest.param((5, 5, 5), (1.371, 0, 0), id="nearly black: the straight parts of both curves"),
    ],
)
def test_textbook_colours(rgb: tuple[int, int, int], expected: tuple[float, float, float], dtype: torch.dtype) -> None:
    found = lab(torch.tensor(rgb, dtype=dtype).view(1, 3, 1, 1))
    assert found.flatten().tolist() == pytest.approx(expected, abs=0.012)


def test_lab_is_not_computed_in_half_precision() -> None:
    image = torch.randint(256, (1, 3, 8, 8), dtype=torch.uint8)
    with torch.autocast("cpu", torch.bfloat16):
        found = lab(image)
    torch.testing.assert_close(found, lab(image.double()).float(), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("inside", "valid", "edges"),
    [
        pytest.param(ALL, ALL, 8 + 8 + 4 + 4, id="right, down, two diagonals"),
        pytest.param(cell((0, 0)), ALL, 3, id="a corner"),
        pytest.param(cell((0, 0), (0, 2)), ALL, 3 + 3 - 1, id="both ends of one edge"),
        pytest.param(cell((0, 0)), ~cell((0, 2)), 2, id="an end that is not valid"),
        pytest.param(cell((0, 0)), ~cell((0, 0)), 0, id="the end in the box is not valid"),
        pytest.param(~ALL, ALL, 0, id="no box"),
        pytest.param(ALL, ~ALL, 0, id="nothing valid"),
    ],
)
def test_edges_of_one_colour(inside: torch.Tensor, valid: torch.Tensor, edges: int) -> None:
    logits = torch.zeros(1, 2, 4, 4, requires_grad=True)
    value, number = affinity_loss(logits, GREY, inside, valid)
    value.backward()
    assert number == edges
    assert value.item() == pytest.approx(math.log(2) if edges else 0)
    assert logits.grad is not None


def test_affinity_by_hand() -> None:
    p = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).view(1, 3, 1, 1).repeat(1, 1, 4, 4)
    p[0, :, 0, 0] = torch.tensor([0.7, 0.2, 0.1])
    p[0, :, 2, 2] = torch.tensor([0.1, 0.1, 0.8])
    value, number = affinity_loss(p.log() + 5, GREY, cell((0, 0)), ALL)
    right_and_down = 0.7 * 0.2 + 0.2 * 0.5 + 0.1 * 0.3
    diagonal = 0.7 * 0.1 + 0.2 * 0.1 + 0.1 * 0.8
    assert number == 3
    assert value.item() == pytest.approx(-(2 * math.log(right_and_down) + math.log(diagonal)) / 3)


@pytest.mark.parametrize(
    ("other", "edges"),
    [
        pytest.param(90, 24, id="one colour"),
        pytest.param(95, 24, id="2.0 apart"),
        pytest.param(97, 8, id="2.8 apart: only down"),
        pytest.param(255, 8, id="white"),
    ],
)
def test_edges_do_not_cross_a_contour(other: int, edges: int) -> None:
    images = GREY.clone()
    images[..., 8:] = other
    assert affinity_loss(torch.zeros(1, 2, 4, 4), images, ALL, ALL).number == edges


def test_colours_are_averaged_over_a_cell() -> None:
    chequered = torch.zeros(1, 3, 16, 16)
    chequered[..., ::2] = 180
    torch.testing.assert_close(
        affinity_loss(torch.randn(1, 2, 4, 4), chequered, ALL, ALL).number,
        affinity_loss(torch.randn(1, 2, 4, 4), GREY, ALL, ALL).number,
    )


def test_affinity_gradient() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    images = torch.randint(60, 75, (2, 3, 16, 16), dtype=torch.uint8)
    inside, valid = torch.rand(2, 4, 4) > 0.5, torch.rand(2, 4, 4) > 0.2
    assert affinity_loss(logits, images, inside, valid).number > 5
    assert torch.autograd.gradcheck(lambda x: affinity_loss(x, images, inside, valid).value, logits)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (2, 2), (3, 1)])
def test_grids_too_small_for_some_edges(size: tuple[int, int]) -> None:
    logits = torch.zeros(1, 2, *size, requires_grad=True)
    valid = torch.ones(1, *size, dtype=torch.bool)
    value, number = affinity_loss(logits, GREY, valid, valid)
    value.backward()
    (height, width) = size
    assert number == height * max(width - 2, 0) + max(height - 2, 0) * width
    assert value.item() == pytest.approx(math.log(2) if number else 0)
