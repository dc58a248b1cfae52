from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from safetensors import safe_open

import bombo
from bombo.engine.checkpoint import load, load_state, save_model, save_state
from bombo.errors import BomboError, ConfigError


def header(file: Path) -> dict[str, Any]:
    with safe_open(file, framework="pt") as opened:
        return json.loads(opened.metadata()["bombo"])  # type: ignore[no-any-return]


def with_header(file: Path, **changed: Any) -> None:
    meta = header(file) | changed
    safetensors.torch.save_file(safetensors.torch.load_file(file), file, {"bombo": json.dumps(meta)})


def test_what_is_saved_is_what_is_loaded(trained: Path, tmp_path: Path, same: Callable[[Any, Any], bool]) -> None:
    model = bombo.load(trained, device="cpu", precision="32")
    save_model(tmp_path / "copy.safetensors", model, step=3, note="mine")
    again = load(tmp_path / "copy.safetensors", device="cpu", precision="32")
    assert same(dict(model.network.state_dict()), dict(again.network.state_dict()))
    assert (again.space, again.size, again.fit) == (model.space, model.size, model.fit)
    assert not again.network.training
    meta = header(tmp_path / "copy.safetensors")
    assert (meta["step"], meta["note"]) == (3, "mine")


def test_a_folder_means_its_best_weights_or_else_its_last(trained: Path, tmp_path: Path) -> None:
    for name in ("last", "best"):
        (tmp_path / f"{name}.safetensors").write_bytes((trained / "last.safetensors").read_bytes())
        with_header(tmp_path / f"{name}.safetensors", size=[32, 32] if name == "best" else [96, 96])
        assert load(tmp_path).size == ((32, 32) if name == "best" else (96, 96))


def test_nothing_is_downloaded(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("asked for pretrained weights")

    monkeypatch.setattr("timm.models._builder.load_pretrained", refuse)
    load(trained)


@pytest.mark.parametrize(
    "damage",
    [lambda whole: b"", lambda whole: whole[:100], lambda whole: whole[: len(whole) // 2], lambda whole: b"x" * 4096],
    ids=["empty", "header cut", "weights cut", "no weights at all"],
)
def test_a_damaged_file_is_named(damage: Callable[[bytes], bytes], trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "best.safetensors"
    file.write_bytes(damage((trained / "last.safetensors").read_bytes()))
    for path in (file, tmp_path):
        with pytest.raises(BomboError, match="cannot be read as trained weights") as caught:
            load(path)
        assert caught.value.where == str(file)


def test_weights_of_others_are_refused(trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "timm.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(1)}, file)
    with pytest.raises(BomboError, match="not written by BoMBo"):
        load(file)


HEADERS = {
    "another format": ({"format": 99}, "format 99; this version reads format 1"),
    "another network": ({"network": {"backbone": "test_resnet", "num_things": 3, "num_mask_values": 4}}, "cannot be"),
    "an unknown size": ({"network": {"backbone": "test_resnet", "colour": 1}}, "cannot be read"),
}


@pytest.mark.parametrize(("changed", "message"), HEADERS.values(), ids=HEADERS)
def test_headers_that_do_not_fit_are_refused(
    changed: dict[str, Any], message: str, trained: Path, tmp_path: Path
) -> None:
    file = tmp_path / "best.safetensors"
    file.write_bytes((trained / "last.safetensors").read_bytes())
    with_header(file, **changed)
    with pytest.raises(BomboError, match=message):
        load(file)


def test_a_backbone_timm_no_longer_has_is_named(trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "best.safetensors"
    file.write_bytes((trained / "last.safetensors").read_bytes())
    with_header(file, network=header(file)["network"] | {"backbone": "resnet_of_old"})
    with pytest.raises(ConfigError, match="resnet_of_old"):
        load(file)


@pytest.mark.parametrize("name", ["nothing", "nothing.safetensors"])
def test_what_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(BomboError, match="no such file or folder"):
        load(tmp_path / name)


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BomboError, match=r"holds neither best\.safetensors nor last\.safetensors"):
        load(tmp_path)


def test_state_is_tensors_and_plain_types(tmp_path: Path) -> None:
    state = {"step": 3, "best": -float("inf"), "rng": torch.get_rng_state(), "skipped": {"a": "b"}, "cuda_rng": None}
    save_state(tmp_path / "state.pt", state)
    again = load_state(tmp_path)
    assert again.pop("rng").equal(state.pop("rng"))
    assert again == state


def test_state_that_would_run_code_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path / "state.pt", {"step": Path("x")})
    with pytest.raises(BomboError, match="cannot be read"):
        load_state(tmp_path)
