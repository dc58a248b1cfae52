from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bombo.errors import BomboError
from bombo.losses.method import WeakWeights
from bombo.reporting.gather import names, read_run, run_before
from bombo.reporting.words import TERMS

FOLDERS = {
    "one": (["runs/pets-1"], ["pets-1"]),
    "a seed alone": (["runs/ablation/skip/seed-0"], ["skip/seed-0"]),
    "neighbours": (["runs/pets-1", "runs/pets-2"], ["pets-1", "pets-2"]),
    "arms": (["abl/skip/seed-0", "abl/bombo/seed-0"], ["skip", "bombo"]),
    "seeds": (["abl/skip/seed-0", "abl/skip/seed-1"], ["seed-0", "seed-1"]),
    "arms and seeds": (["abl/skip/seed-0", "abl/bombo/seed-1"], ["skip/seed-0", "bombo/seed-1"]),
    "one within another": (["runs/a", "runs/a/b"], ["a", "a/b"]),
}


@pytest.mark.parametrize(("folders", "expected"), FOLDERS.values(), ids=FOLDERS)
def test_names_tell_runs_apart(folders: list[str], expected: list[str]) -> None:
    assert names([Path(folder) for folder in folders]) == expected


def test_the_run_before_has_the_same_classes_and_data(tmp_path: Path, make_run: Any) -> None:
    make_run(tmp_path / "pets-1")
    make_run(tmp_path / "pets-2", ("cat", "cow", "sky"))
    make_run(tmp_path / "pets-3", settings={"data": "other.yaml"})
    (tmp_path / "pets-4").mkdir()
    now = read_run(make_run(tmp_path / "pets-10"))
    before = run_before(now)
    assert before is not None
    assert before.name == "pets-1"
    assert run_before(before) is None
    assert run_before(read_run(make_run(tmp_path / "skip" / "seed-1"))) is None


def test_steps_planned_are_known_of_a_run_that_stopped(tmp_path: Path, make_run: Any) -> None:
    by_steps = read_run(make_run(tmp_path / "a", steps=400, done=200))
    by_epochs = read_run(make_run(tmp_path / "b", steps=400, done=200, settings={"steps": None, "epochs": 7}))
    assert (by_steps.steps, by_steps.planned) == (200, 400)
    assert (by_epochs.steps, by_epochs.planned) == (200, 700)  # an epoch has 100 steps


def test_an_evaluation_of_an_earlier_step_is_not_taken_for_the_last(tmp_path: Path, make_run: Any) -> None:
    folder = make_run(tmp_path / "a", done=200)
    text = (folder / "evaluation.json").read_text()
    assert "confusion" in (read_run(folder).evaluation or {})
    (folder / "evaluation.json").write_text(text.replace('"step": 200', '"step": 100'))
    assert "confusion" not in (read_run(folder).evaluation or {})


@pytest.mark.parametrize("name", ["classes.json", "environment.json", "data.json", "evaluation.json"])
def test_damaged_files_are_named(name: str, tmp_path: Path, make_run: Any) -> None:
    folder = make_run(tmp_path / "a")
    for content in ('{"half', "[]"):
        (folder / name).write_text(content)
        with pytest.raises(BomboError, match="cannot be read") as caught:
            read_run(folder)
        assert caught.value.where == str(folder / name)


def test_half_a_line_of_metrics_is_left_out(tmp_path: Path, make_run: Any) -> None:
    folder = make_run(tmp_path / "a")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 999, "lr')
    assert read_run(folder).steps == 400


def test_every_weak_loss_is_explained() -> None:
    assert WeakWeights().by_name().keys() < TERMS.keys()


COMMANDS = {
    "/opt/env/bin/bombo train": "bombo train",
    "/opt/lib/bombo/__main__.py train": "bombo train",
    "/home/me/other/__main__.py": "__main__.py",
    "/home/me/mine.py --fast": "mine.py --fast",
}


@pytest.mark.parametrize(("typed", "told"), COMMANDS.items(), ids=COMMANDS)
def test_a_command_is_told_without_its_place(typed: str, told: str, tmp_path: Path, make_run: Any) -> None:
    folder = make_run(tmp_path / "a")
    (folder / "environment.json").write_text(json.dumps({"command": typed}))
    assert read_run(folder).command == told


def test_the_method_is_the_one_it_was_trained_with(tmp_path: Path, make_run: Any) -> None:
    settings = {"pseudo_boxes": "weighted", "segmentation_weight": 0.0}
    method = read_run(make_run(tmp_path / "a", settings=settings)).method
    assert method.boxes == "weighted"
    assert method.weights.any("m4b")
    assert not method.weights.any("b4m")


def test_a_damaged_run_before_is_passed_over(tmp_path: Path, make_run: Any) -> None:
    make_run(tmp_path / "pets-1")
    (make_run(tmp_path / "pets-2") / "data.json").write_text("{")
    before = run_before(read_run(make_run(tmp_path / "pets-3")))
    assert before is not None
    assert before.name == "pets-1"
