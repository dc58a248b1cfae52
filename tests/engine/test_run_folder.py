from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import bombo
from bombo.engine import run_folder
from bombo.engine.run_folder import RunFolder, latest
from bombo.engine.settings import TrainSettings
from bombo.errors import BomboError

FILES = {
    "config.yaml",
    "classes.json",
    "environment.json",
    "data.json",
    "plots",
    "gallery",
    "pseudo_labels",
    "evaluation.json",
    "report.html",
    "metrics.jsonl",
    "best.safetensors",
    "last.safetensors",
    "state.pt",
}
UNTOLD = {"classes.json", "environment.json", "plots", "gallery", "pseudo_labels"}  # by themselves they are no run


def test_a_run_leaves_these_files(trained: Path) -> None:
    assert {file.name for file in trained.iterdir()} == FILES


def test_the_config_says_all_settings_and_starts_the_same_run_elsewhere(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = yaml.safe_load((trained / "config.yaml").read_text())
    assert content.keys() == TrainSettings.model_fields.keys() - {"config", "out", "overwrite", "resume"}
    run = bombo.train(config=trained / "config.yaml")
    assert run.path == Path("runs/data-1")
    assert (run.path / "config.yaml").read_text() == (trained / "config.yaml").read_text()
    assert (run.path / "last.safetensors").read_bytes() == (trained / "last.safetensors").read_bytes()


def test_a_resumed_run_keeps_a_config_that_starts_a_new_one(small: dict[str, Any], tmp_path: Path) -> None:
    run = bombo.train(out=tmp_path / "run", steps=1, **small)
    before = (run.path / "config.yaml").read_text()
    bombo.train(resume=run.path)
    assert (run.path / "config.yaml").read_text() == before


def test_the_class_table(trained: Path) -> None:
    table = json.loads((trained / "classes.json").read_text())
    assert table["others"] == "background"
    assert table["classes"][0] == {"name": "starfish", "label": 0, "mask_value": 1, "kind": "thing"}
    assert table["classes"][-1] == {"name": "water", "label": 6, "mask_value": 7, "kind": "stuff"}


def test_the_environment(trained: Path) -> None:
    environment = json.loads((trained / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert environment["device"] == "cpu"
    assert environment["precision"] == "torch.float32"
    assert environment["command"]


def test_the_metrics_are_json_without_nan(trained: Path) -> None:
    def no_constants(name: str) -> float:
        raise AssertionError(f"{name} is no JSON")

    lines = (trained / "metrics.jsonl").read_text().splitlines()
    entries = [json.loads(line, parse_constant=no_constants) for line in lines]
    trainings, (evaluation,) = entries[:-1], entries[-1:]
    assert {"step", "epoch", "lr", "det_cls", "det_box", "seg_ce", "images_with_boxes", "seconds"} < trainings[0].keys()
    assert [entry["step"] for entry in trainings] == [2, 4, 6, 8]
    assert [entry["images_with_masks"] for entry in trainings] == [4, 8, 12, 16]
    assert None in evaluation["val"]["figures"].values()  # there are no large objects at 64 pixels


def test_infinite_and_undefined_numbers_become_null(tmp_path: Path) -> None:
    RunFolder(tmp_path).log(step=1, one=float("nan"), two=float("inf"), three=0.5)
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 1, "one": None, "two": None, "three": 0.5}


def test_the_state_is_plain(trained: Path) -> None:
    state = torch.load(trained / "state.pt", weights_only=True)
    assert state["step"] == 8


@pytest.mark.parametrize("name", sorted(FILES - UNTOLD | {"plots/batch-1.jpg", "gallery/index.json"}))
def test_no_file_of_a_run_is_replaced_unasked(
    name: str, small: dict[str, Any], tmp_path: Path, bombo_command: Any
) -> None:
    out = tmp_path / "run"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("precious")
    ended = bombo_command("train", out=out, steps=1, **small)
    assert ended.code == 1
    assert f"holds a run already ({Path(name).name})" in ended.err
    assert f"--resume {out}" in ended.err
    assert "--overwrite" in ended.err
    assert [(file, file.read_text()) for file in out.rglob("*") if file.is_file()] == [(out / name, "precious")]


def test_overwriting_removes_the_old_run_and_nothing_else(
    small: dict[str, Any], tmp_path: Path, bombo_command: Any, devkit: Any
) -> None:
    out = tmp_path / "run"
    bombo.train(out=out, epochs=2, **small)
    (out / "notes.txt").write_text("mine")
    (out / "bad_batch_3.pt").write_text("old")
    (out / "wandb_id.txt").write_text("old")
    (out / "tensorboard").mkdir()
    (out / "tensorboard" / "events.out").write_text("old")
    data = devkit(train=[("train_boxes", "boxes")])  # no validation: no best weights
    ended = bombo_command("train", "--overwrite", out=out, epochs=1, **small | {"data": data})
    assert ended.code == 0
    assert {file.name for file in out.iterdir()} == (FILES - {"best.safetensors", "evaluation.json"}) | {
        *("notes.txt", "tensorboard")
    }
    assert not list((out / "tensorboard").iterdir())
    assert not list((out / "gallery").iterdir())
    assert {json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()} == {1}


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    for out in (tmp_path / "run", tmp_path / "run" / "deeper"):
        with pytest.raises(BomboError, match="cannot be made") as caught:
            RunFolder.create(out, "pets", overwrite=True)
        assert caught.value.where == str(out)


def test_runs_that_start_at_once_get_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/pets-1").mkdir(parents=True)
    answers = iter(["runs/pets-1", "runs/pets-1", "runs/pets-2"])  # another run was quicker, twice
    monkeypatch.setattr(run_folder, "next_free", lambda *_: Path(next(answers)))
    assert RunFolder.create(None, "pets", overwrite=True).path == Path("runs/pets-2")


def test_the_latest_run_has_the_highest_number_not_the_last_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert latest("pets", None) is None
    for name in ("pets-2", "pets-10", "pets-x", "cats-11"):
        Path("runs", name).mkdir(parents=True)
        Path("runs", name, "state.pt").touch()
    Path("runs/pets-12").mkdir()
    assert latest("pets", None) == Path("runs/pets-10")
    assert latest("pets", Path("runs/pets-12")) is None
    assert latest("pets", Path("runs/cats-11")) == Path("runs/cats-11")


def test_the_output_names_the_folder(small: dict[str, Any], tmp_path: Path, bombo_command: Any) -> None:
    ended = bombo_command("train", out=tmp_path / "run", steps=1, **small)
    for name in ("best.safetensors", "last.safetensors"):
        assert str(tmp_path / "run" / name) in ended.out
    assert re.search(r"^next +bombo predict", ended.out, flags=re.MULTILINE)


def test_the_commit_is_that_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=nobody", "-c", "user.email=nobody@localhost")
        return subprocess.run(["git", *who, *words], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    code = tmp_path / "code.py"
    code.write_text("")
    monkeypatch.setattr(run_folder, "__file__", str(code))
    assert run_folder._commit() is None  # no checkout
    git("init")
    assert run_folder._commit() is None  # a checkout of something else
    git("add", ".")
    git("commit", "-m", "code")
    commit = git("rev-parse", "HEAD").strip()
    assert run_folder._commit() == commit
    code.write_text("changed")
    assert run_folder._commit() == f"{commit}-dirty"
