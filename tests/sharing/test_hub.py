from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import yaml
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file

import bombo
from bombo.errors import BomboError, ConfigError


class NoConnectionError(Exception):
    """As a network library may raise it: related to nothing."""


class Hub:
    """A hub in two folders: what lies there, and what was copied to this machine."""

    def __init__(self, root: Path) -> None:
        self.there, self.here = root / "there", root / "here"
        self.asked = 0
        self.created: dict[str, Any] = {}

    def hf_hub_download(self, repo_id: str, filename: str, *, local_files_only: bool, **_: Any) -> str:
        here = self.here / repo_id / filename
        if not local_files_only:
            self.asked += 1
            if not (self.there / repo_id / filename).is_file():
                raise LocalEntryNotFoundError(f"no {repo_id} there")
            here.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.there / repo_id / filename, here)
        if not here.is_file():
            raise LocalEntryNotFoundError(f"no {repo_id} here")
        return str(here)

    def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> None:
        assert exist_ok
        self.created[name] = private

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> None:
        assert repo_id in self.created
        shutil.copytree(folder_path, self.there / repo_id)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    fake = Hub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fake.hf_hub_download)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda **_: fake)
    return fake


def test_what_was_sent_can_be_loaded_and_is_fetched_once(
    trained: Path, world: Path, hub: Hub, bombo_command: Any
) -> None:
    ended = bombo_command("push-to-hub", trained, "jane/pets")
    assert (ended.code, ended.out.split()) == (0, ["wrote", "hf://jane/pets"])
    assert hub.created == {"jane/pets": True}
    assert {file.name for file in (hub.there / "jane/pets").iterdir()} == {
        "README.md", "classes.json", "model.safetensors",
    }  # fmt: skip
    model, own = bombo.load("hf://jane/pets"), bombo.load(trained)
    image = torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8)
    assert (model.predict(image).mask == own.predict(image).mask).all()
    bombo.load("hf://jane/pets")
    assert hub.asked == 1
    assert bombo_command("evaluate", "hf://jane/pets", data=world).code == 0


def test_the_card(trained: Path, hub: Hub, tmp_path: Path) -> None:
    bombo.push_to_hub(trained, "jane/pets", private=False)
    assert hub.created == {"jane/pets": False}
    text = (hub.there / "jane/pets/README.md").read_text()
    _, front, body = text.split("---\n", 2)
    meta = yaml.safe_load(front)
    assert meta["library_name"] == "bombo"
    val = json.loads((trained / "metrics.jsonl").read_text().splitlines()[-1])["val"]
    metrics = {m["type"]: m["value"] for result in meta["model-index"][0]["results"] for m in result["metrics"]}
    assert metrics["mIoU"] == round(100 * val["figures"]["mIoU"], 1)
    assert 'bombo.load("hf://jane/pets")' in body
    assert "4 images with boxes only, 4 with masks only, 0 with both" in body
    assert "starfish" in body
    assert "bombo train --data data.yaml --method bombo --backbone test_resnet --size 64" in body
    assert str(tmp_path.anchor + "tmp") not in text  # no path of this machine


def test_a_single_weights_file_has_a_card_that_says_what_is_unknown(trained: Path, hub: Hub, tmp_path: Path) -> None:
    alone = tmp_path / "alone" / "best.safetensors"
    alone.parent.mkdir()
    shutil.copyfile(trained / "best.safetensors", alone)
    bombo.push_to_hub(alone.parent, "jane/pets")
    text = (hub.there / "jane/pets/README.md").read_text()
    assert text.count("Unknown") == 3
    assert "starfish" in text


def test_only_write_sends_nothing(trained: Path, hub: Hub, tmp_path: Path, bombo_command: Any) -> None:
    ended = bombo_command("push-to-hub", trained, "jane/pets", only_write=tmp_path / "card")
    assert ended.code == 0
    assert (tmp_path / "card" / "README.md").is_file()
    assert not hub.created
    for taken in (tmp_path / "card", tmp_path / "card" / "README.md"):
        ended = bombo_command("push-to-hub", trained, "jane/pets", only_write=taken)
        assert ended.code == 2
        assert f"{taken}: exists already" in ended.err


def test_errors_say_what_to_do(trained: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("hf://pets", "hf://jane/pets/more", "hf://jane/"):
        with pytest.raises(ConfigError, match=r"hf://OWNER/NAME"):
            bombo.load(address)
    for name in ("jane", "hf://jane/pets"):
        with pytest.raises(ConfigError, match=rf"{name}: is no address on the hub\n  fix: write  OWNER/NAME"):
            bombo.push_to_hub(trained, name)
    with pytest.raises(BomboError, match=r"(?s)cannot be fetched .*HF_TOKEN"):
        bombo.load("hf://jane/nothing")

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("401 unauthorised\nmore")

    monkeypatch.setattr(hub, "create_repo", refuse)
    with pytest.raises(BomboError, match=r"(?s)401 unauthorised.*HF_TOKEN"):
        bombo.push_to_hub(trained, "jane/pets")


@pytest.mark.parametrize("error", [OSError, NoConnectionError])
def test_what_the_network_library_raises(
    error: type[Exception], trained: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error("no route to the hub")

    monkeypatch.setattr(hub, "create_repo", fail)
    with pytest.raises(BomboError, match=r"(?s)cannot be sent \(no route.*HF_TOKEN"):
        bombo.push_to_hub(trained, "jane/pets")


@pytest.mark.parametrize("name", ["a--b/c", "-a/b", "a/b.git", "jane/b..c"])
def test_names_the_hub_refuses(name: str, trained: Path, hub: Hub) -> None:
    with pytest.raises(ConfigError, match="is no address on the hub"):
        bombo.push_to_hub(trained, name)
    with pytest.raises(ConfigError, match="is no address on the hub"):
        bombo.load(f"hf://{name}")


def test_what_holds_no_network_is_not_sent(trained: Path, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no weights")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name in ("x.onnx", "other.safetensors"):
        with pytest.raises(BomboError, match=name):
            bombo.push_to_hub(tmp_path / name, "jane/pets", only_write=tmp_path / "card")
        assert not (tmp_path / "card").exists()


def test_a_folder_without_weights(trained: Path, hub: Hub) -> None:
    with pytest.raises(BomboError, match="holds neither"):
        bombo.push_to_hub(trained / "plots", "jane/pets")
