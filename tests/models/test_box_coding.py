from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bombo.models.box_coding import decode, encode

ANCHOR = torch.tensor([10.0, 20, 30, 60])  # 20 wide, 40 high


@pytest.mark.parametrize(
    ("box", "deltas"),
    [
        pytest.param((10.0, 20.0, 30.0, 60.0), (0.0, 0.0, 0.0, 0.0), id="same"),
        pytest.param((12.0, 20.0, 32.0, 60.0), (1.0, 0.0, 0.0, 0.0), id="a tenth of the width to the right"),
        pytest.param((10.0, 12.0, 30.0, 52.0), (0.0, -2.0, 0.0, 0.0), id="a fifth of the height up"),
        pytest.param((0.0, 20.0, 40.0, 60.0), (0.0, 0.0, math.log(2) / 0.2, 0.0), id="twice as wide"),
        pytest.param((10.0, 30.0, 30.0, 50.0), (0.0, 0.0, 0.0, -math.log(2) / 0.2), id="half as high"),
    ],
)
def test_known_corrections(box: tuple[float, ...], deltas: tuple[float, ...]) -> None:
    torch.testing.assert_close(encode(torch.tensor(box), ANCHOR), torch.tensor(deltas))
    torch.testing.assert_close(decode(torch.tensor(deltas), ANCHOR), torch.tensor(box))


@st.composite
def some_box(draw: st.DrawFn) -> torch.Tensor:
    x, y = (draw(st.floats(-500, 500)) for _ in "xy")
    w, h = (draw(st.floats(1, 500)) for _ in "wh")
    return torch.tensor([x, y, x + w, y + h], dtype=torch.float64)


@given(some_box(), some_box())
def test_decode_undoes_encode_up_to_the_largest_correction(box: torch.Tensor, anchor: torch.Tensor) -> None:
    ratio = (box[2:] - box[:2]) / (anchor[2:] - anchor[:2])
    if ratio.max() < 1000 / 16:
        torch.testing.assert_close(decode(encode(box, anchor), anchor), box, rtol=1e-6, atol=1e-6)


def test_a_box_without_area_gives_finite_deltas() -> None:
    assert encode(torch.tensor([15.0, 30, 15, 30]), ANCHOR).isfinite().all()


@pytest.mark.parametrize("value", [200.0, -200.0, 1e4, -1e4])
def test_extreme_deltas_give_finite_boxes_and_gradients(value: float) -> None:
    deltas = torch.full((4,), value, requires_grad=True)
    box = decode(deltas, ANCHOR)
    box.sum().backward()
    assert box.isfinite().all()
    assert (box[2:] - box[:2] <= 63 * (ANCHOR[2:] - ANCHOR[:2])).all()
    assert deltas.grad is not None
    assert deltas.grad.isfinite().all()


def test_gradient_of_decode() -> None:
    deltas = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda d: decode(d, ANCHOR.double()), deltas)
