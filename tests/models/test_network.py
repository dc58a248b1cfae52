from __future__ import annotations

from itertools import product

import pytest
import torch
from pydantic import ValidationError

from bombo.models.anchors import PER_CELL, STRIDES, make_anchors
from bombo.models.detection_head import DetectionHead
from bombo.models.network import Network, NetworkConfig, Predictions


def network(backbone: str = "test_resnet", **sizes: int) -> Network:
    return Network(
        NetworkConfig(
            backbone=backbone,
            **({"num_things": 3, "num_mask_values": 5, "channels": 16, "segmentation_channels": 16} | sizes),
        )
    )


@pytest.mark.parametrize(
    "backbone",
    ["test_resnet", "resnet10t", "mobilenetv3_small_050", "test_efficientnet", "test_convnext", "test_mambaout"],
)
@pytest.mark.parametrize("size", [(32, 32), (64, 32), (96, 160)])
def test_shapes(backbone: str, size: tuple[int, int]) -> None:
    height, width = size
    with torch.no_grad():
        found = network(backbone).eval()(torch.randint(256, (2, 3, height, width), dtype=torch.uint8))
    cells = [(-(-height // stride), -(-width // stride)) for stride in STRIDES]
    count = PER_CELL * sum(h * w for h, w in cells)
    assert found.class_logits.shape == (2, count, 3)
    assert found.box_deltas.shape == (2, count, 4)
    assert found.mask_logits.shape == (2, 5, height // 4, width // 4)
    torch.testing.assert_close(found.anchors, make_anchors(cells))
    assert all(tensor.isfinite().all() for tensor in found)


@pytest.mark.parametrize("channels", [16, 24, 32, 48])
def test_one_small_image_with_few_channels(channels: int) -> None:
    # the coarsest level has one cell: a normalisation over a single value would fail or erase it
    net = network(channels=channels, segmentation_channels=channels)
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    one, other = (net.train()(images[i : i + 1]) for i in (0, 1))
    coarsest = slice(-PER_CELL, None)
    assert not torch.equal(one.class_logits[:, coarsest], other.class_logits[:, coarsest])


def test_anchors_stand_in_the_order_of_the_predictions() -> None:
    # only the centre tap of output k sees the input, with weight k + 1; one cell of one level is lit
    head = DetectionHead(16, num_things=2, depth=0)
    for layer in (head.class_logits, head.box_deltas):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
        layer.weight.data[:, 0, 1, 1] = torch.arange(1.0, layer.out_channels + 1)
    shapes = [(4, 6), (2, 3), (1, 2), (1, 1)]
    anchors = make_anchors(shapes)
    centres, sides = (anchors[:, :2] + anchors[:, 2:]) / 2, anchors[:, 2:] - anchors[:, :2]
    for level, (height, width) in enumerate(shapes):
        for y, x in product(range(height), range(width)):
            levels = [torch.zeros(1, 16, *shape) for shape in shapes]
            levels[level][0, 0, y, x] = 1
            logits, deltas = (output[0].detach() for output in head(levels))
            stride = STRIDES[level]
            here = torch.isclose(centres, torch.tensor([(x + 0.5) * stride, (y + 0.5) * stride])).all(1)
            here &= sides.prod(1).sqrt() < 4.5 * stride
            here &= sides.prod(1).sqrt() > 2.5 * stride
            assert here.sum() == PER_CELL
            assert torch.equal(logits[here].flatten(), torch.arange(1.0, 2 * PER_CELL + 1))
            assert torch.equal(deltas[here].flatten(), torch.arange(1.0, 4 * PER_CELL + 1))
            assert not logits[~here].any()
            assert not deltas[~here].any()


def test_before_training_every_score_is_about_one_in_a_hundred() -> None:
    scores = network().eval()(torch.randint(256, (1, 3, 64, 64), dtype=torch.uint8)).class_logits.sigmoid()
    assert 0.005 < scores.min() < scores.max() < 0.02


def test_without_things_there_are_no_columns_and_every_parameter_is_reached() -> None:
    net = network(num_things=0).train()
    found = net(torch.zeros(2, 3, 32, 32))
    assert found.class_logits.shape == (2, len(found.anchors), 0)
    found.zero().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("kept", [(True, False, False), (False, True, False), (False, False, True), (False,) * 3])
def test_zero_reaches_every_parameter_beside_any_loss(kept: tuple[bool, ...]) -> None:
    net = network().train()
    found = net(torch.rand(2, 3, 32, 32) * 255)
    outputs = (found.class_logits, found.box_deltas, found.mask_logits)
    total = sum((out.sum() for out, keep in zip(outputs, kept, strict=True) if keep), start=found.zero())
    total.backward()
    assert [n for n, p in net.named_parameters() if p.grad is None] == []
    assert any(kept) == any(p.grad.any() for p in net.parameters() if p.grad is not None)


def test_zero_is_zero_even_where_half_precision_would_overflow() -> None:
    big = [torch.full(shape, -60000.0, dtype=torch.float16) for shape in ((2, 9, 3), (2, 9, 4), (2, 5, 8, 8))]
    assert Predictions(big[0], big[1], torch.zeros(9, 4), big[2]).zero() == 0


def test_each_image_is_seen_alone() -> None:
    net = network().eval()
    images = torch.randint(256, (3, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        together, alone = net(images), net(images[1:2])
    torch.testing.assert_close(together.class_logits[1:2], alone.class_logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(together.mask_logits[1:2], alone.mask_logits, rtol=1e-4, atol=1e-4)


def test_bytes_and_floats_are_the_same_image() -> None:
    net = network().eval()
    image = torch.randint(256, (1, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(net(image).mask_logits, net(image.float()).mask_logits)


def test_normalisation_is_the_backbones() -> None:
    net = network()
    net.backbone.forward = lambda images: pytest.fail(str(images.flatten(2)[0].mean(1)))  # type: ignore[method-assign]
    with pytest.raises(pytest.fail.Exception, match=r"tensor\(\[1\., 1\., 1\.\]\)"):  # 255 with mean 0.5 and std 0.5
        net(torch.full((1, 3, 32, 32), 255.0))


def test_saved_and_loaded_gives_the_same() -> None:
    net = network().eval()
    again = Network(NetworkConfig.model_validate_json(net.config.model_dump_json())).eval()
    again.load_state_dict(net.state_dict())
    image = torch.randint(256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(net(image), again(image), strict=True))


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param({"channels": 20}, id="channels no multiple of 8"),
        pytest.param({"num_mask_values": 1}, id="background alone"),
        pytest.param({"num_things": -1}, id="less than nothing"),
        pytest.param({"depth": 3}, id="unknown"),
    ],
)
def test_impossible_sizes(sizes: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        network(**sizes)
