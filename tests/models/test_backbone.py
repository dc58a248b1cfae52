from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from timm.layers import convert_sync_batchnorm

from bombo.errors import ConfigError
from bombo.models.backbone import Backbone

FAMILIES = [
    "test_resnet",
    "resnet10t",
    "mobilenetv3_small_050",
    "test_efficientnet",
    "convnext_atto",
    "ghostnet_050",
    pytest.param("test_mambaout", id="test_mambaout (channels last)"),
    pytest.param("swin_tiny_patch4_window7_224", id="swin (channels last, made for 224 px)"),
]


@pytest.mark.parametrize("name", FAMILIES)
def test_four_maps_at_strides_4_to_32(name: str) -> None:
    backbone = Backbone(name).eval()
    with torch.no_grad():
        maps = backbone(torch.randn(2, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [
        (2, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(backbone.channels, (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_parameter_is_used(name: str) -> None:
    # DistributedDataParallel waits for the gradients of all of them
    backbone = Backbone(name).eval()
    sum(m.sum() for m in backbone(torch.randn(1, 3, 32, 32))).backward()
    assert [n for n, p in backbone.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", FAMILIES)
def test_freeze_stem_keeps_what_the_feature_at_stride_4_is_made_of(name: str) -> None:
    torch.manual_seed(0)
    backbone = Backbone(name).eval()
    backbone(torch.randn(2, 3, 64, 64))[0].sum().backward()
    stem = {n for n, p in backbone.named_parameters() if p.grad is not None}
    assert 0 < len(stem) < len(list(backbone.parameters()))
    backbone.zero_grad()

    backbone.freeze_stem()
    backbone.train()
    before = {n: t.clone() for n, t in backbone.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=0.1)
    sum(m.square().mean() for m in backbone(torch.randn(2, 3, 64, 64))).backward()
    assert {n for n, p in backbone.named_parameters() if p.grad is None} == stem
    optimiser.step()
    after = backbone.state_dict()
    changed = {n for n in before if not torch.equal(before[n], after[n])}
    in_stem = {n for n in before if any(n.rpartition(".")[0] == s.rpartition(".")[0] for s in stem)}
    assert changed & in_stem == set()
    if any("running_mean" in n for n in before):
        assert {n for n in before if "running_mean" in n} - in_stem <= changed
    learnt = changed & {n for n, _ in backbone.named_parameters()}
    assert len(learnt) > len(stem) / 2  # not all: timm starts residual branches at zero


def test_a_frozen_stem_stays_frozen_when_training_goes_on() -> None:
    backbone = Backbone("test_resnet")
    backbone.freeze_stem()
    backbone.eval().train()
    assert not backbone.body.bn1.training
    assert backbone.body.layer2.training


def test_freeze_norm_keeps_statistics_and_lets_weights_learn() -> None:
    backbone = Backbone("test_resnet")
    backbone.freeze_norm()
    backbone.train()
    before = {n: b.clone() for n, b in backbone.named_buffers()}
    sum(m.sum() for m in backbone(torch.randn(4, 3, 64, 64))).backward()
    assert all(torch.equal(before[n], b) for n, b in backbone.named_buffers())
    assert all(p.grad is not None for p in backbone.parameters())


@pytest.mark.parametrize("freeze", [Backbone.freeze_norm, Backbone.freeze_stem])
def test_what_is_frozen_stays_so_with_synchronised_batch_norm(freeze) -> None:  # type: ignore[no-untyped-def]
    backbone = Backbone("test_resnet")
    freeze(backbone)
    convert_sync_batchnorm(backbone)
    backbone.train()
    assert isinstance(backbone.body.bn1, torch.nn.SyncBatchNorm)
    assert not backbone.body.bn1.training


@pytest.mark.parametrize(
    ("name", "weights", "where", "message"),
    [
        pytest.param("resnet81", "none", "backbone", "Did you mean `resnet18`", id="typing error"),
        pytest.param("", "none", "backbone", "Did you mean", id="no name"),
        pytest.param("vit_tiny_patch16_224", "none", "backbone", r"\[4, 8, 32\] are needed", id="one stride"),
        pytest.param("mixer_s32_224", "none", "backbone", "mixer_s32_224", id="no features"),
        pytest.param("test_resnet", "nowhere.safetensors", "weights", "is no file", id="missing file"),
    ],
)
def test_unusable_settings(name: str, weights: str, where: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Backbone(name, weights)
    assert caught.value.where == where
    assert caught.value.fix
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["hiera_tiny_224", "coat_tiny"])  # a tensor that does not fit; an assertion of timm's
def test_a_network_for_images_of_one_size_is_refused_for_others(name: str) -> None:
    backbone = Backbone(name)
    with pytest.raises(ConfigError, match=rf"{name} cannot take images of 96×96 pixels \(.+\)"):
        backbone.require_size(96)


def test_looking_whether_a_size_fits_changes_nothing() -> None:
    backbone = Backbone("test_resnet")
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    random = torch.get_rng_state()
    backbone.require_size(64)
    assert backbone.training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_the_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    real = timm.create_model

    def offline(*args, **options):  # type: ignore[no-untyped-def]
        if options.get("pretrained"):
            raise OSError("We couldn't connect to the hub\nlong story")
        return real(*args, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        ConfigError, match=r"ImageNet weights for test_resnet \(We couldn't connect to the hub\)"
    ) as caught:
        Backbone("test_resnet", "imagenet")
    assert "--weights PATH" in caught.value.fix


def saved(path: Path, name: str) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = timm.create_model(name).state_dict()
    for key, tensor in state.items():
        if key.endswith(("running_mean", "running_var")):
            tensor.uniform_(0.5, 1.5)
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    return state


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("name", ["test_resnet", "convnext_atto", "mobilenetv3_small_050", "test_mambaout"])
def test_weights_of_a_local_file(name: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    state = saved(path, name)
    backbone = Backbone(name, str(path))
    kept = {key.replace(".", "_"): tensor for key, tensor in state.items()}
    for key, tensor in backbone.body.state_dict().items():
        assert torch.equal(tensor, kept[key.replace(".", "_")]), key


def test_random_numbers_after_building_do_not_depend_on_where_weights_come_from(tmp_path: Path) -> None:
    saved(tmp_path / "w.pth", "test_resnet")
    numbers = []
    for weights in ("none", str(tmp_path / "w.pth")):
        torch.manual_seed(3)
        Backbone("test_resnet", weights)
        numbers.append(torch.rand(1))
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "cannot read", id="empty"),
        pytest.param(b"no weights at all" * 100, "cannot read", id="something else"),
        pytest.param("resnet10t", "cannot read", id="another network's"),
        pytest.param("cut", "holds no weights for", id="some layers missing"),
    ],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_unusable_weights(content: bytes | str, message: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "cut":
        state = {k: v for k, v in saved(path, "test_resnet").items() if not k.startswith("layer4")}
        safetensors.torch.save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    else:
        saved(path, content)
    with pytest.raises(ConfigError, match=message) as caught:
        Backbone("test_resnet", str(path))
    assert caught.value.where == "weights"
    assert caught.value.fix
    assert str(path) in str(caught.value)


def test_weights_of_the_real_world(shared_data: Path) -> None:
    path = shared_data / "weights" / "mobilenetv2_100.imagenet.safetensors"
    backbone = Backbone("mobilenetv2_100", str(path))
    state = safetensors.torch.load_file(path)
    torch.testing.assert_close(backbone.body.conv_stem.weight.data, state["conv_stem.weight"].float())
