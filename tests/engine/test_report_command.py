from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bombo
from bombo.engine import report as module
from bombo.errors import BomboError, ConfigError


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return shutil.copytree(trained, tmp_path / "pets-1")


def test_training_writes_it(trained: Path) -> None:
    page = (trained / "report.html").read_text()
    for there in ("Did it work?", "starfish", "b4m_label", "data:image/jpeg;base64,", "val_0000", "true ↓"):
        assert there in page
    assert 'class="missing"' not in page
    details = json.loads((trained / "evaluation.json").read_text())
    assert details["step"] == 8
    assert details["curves"].keys() == {"starfish", "crab", "turtle", "ball", "fish", "shell"}


def test_the_command_says_what_it_wrote(run: Path, bombo_command: Any) -> None:
    (run / "report.html").unlink()
    ended = bombo_command("report", run)
    assert ended.code == 0
    assert "1 run" in ended.out
    assert f"wrote     {run / 'report.html'}" in ended.out
    first = (run / "report.html").read_bytes()
    assert bombo_command("report", run).code == 0  # a run's own report is made anew
    assert (run / "report.html").read_bytes() == first


def test_json_for_machines(run: Path, tmp_path: Path, bombo_command: Any) -> None:
    (run / "data.json").unlink()
    ended = bombo_command("report", run, "--json", out=tmp_path / "new" / "r.html")
    assert json.loads(ended.out) == {
        "path": str(tmp_path / "new" / "r.html"),
        "runs": [str(run)],
        "missing": {str(run): ["counts of the training data"]},
    }


def test_what_an_older_run_lacks_is_made_from_the_data(run: Path, world: Path, bombo_command: Any) -> None:
    kept = {name: (run / name).read_bytes() for name in ("data.json", "evaluation.json", "gallery/index.json")}
    for name in kept:
        (run / name).unlink()
    ended = bombo_command("report", run)
    assert f"make them:   bombo report {run} --data" in ended.out
    assert 'class="missing"' in (run / "report.html").read_text()
    assert bombo_command("report", run, data=world, device="cpu").code == 0
    assert 'class="missing"' not in (run / "report.html").read_text()
    for name in ("data.json", "gallery/index.json"):
        assert json.loads((run / name).read_text()) == json.loads(kept[name])


def test_without_validation_images_it_says_what_the_data_file_lacks(
    small: dict[str, Any], devkit: Callable[..., Path], tmp_path: Path, bombo_command: Any
) -> None:
    data = devkit(train=[("train_boxes", "boxes"), ("train_masks", "masks")])
    ended = bombo_command("train", out=tmp_path / "run", steps=1, **small | {"data": data})
    assert re.search(r"^schedule +1 step of 4 images .*, 1 epoch$", ended.out, re.MULTILINE)
    assert re.search(r"^done +1 step in ", ended.out, re.MULTILINE)
    page = (tmp_path / "run" / "report.html").read_text()
    assert re.search(r"1 step in \d+( s|:\d\d) on cpu", page)
    assert "its data file has no <code>val</code>" in page
    ended = bombo_command("report", tmp_path / "run")
    assert ended.code == 0
    assert f"its data file has no `val`; once it has:   bombo report {tmp_path / 'run'} --data {data}" in ended.out


def test_a_data_file_is_read_even_where_nothing_is_missing(run: Path, bombo_command: Any) -> None:
    ended = bombo_command("report", run, data="no.yaml")
    assert ended.code == 2
    assert "no.yaml: file is missing" in ended.err


def test_several_runs_in_one_file(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bombo_command: Any
) -> None:
    other = shutil.copytree(run, tmp_path / "pets-2")
    monkeypatch.chdir(tmp_path)
    ended = bombo_command("report", run, other)
    assert "2 runs side by side" in ended.out
    page = (tmp_path / "report.html").read_text()
    assert "pets-1, pets-2" in page
    ended = bombo_command("report", run, other)
    assert ended.code == 1
    assert "report.html: is there already" in ended.err
    assert "--overwrite" in ended.err
    assert bombo_command("report", run, other, "--overwrite").code == 0


def test_one_path_is_a_list_of_one_in_python(run: Path, tmp_path: Path) -> None:
    written = bombo.report(run, out=tmp_path / "r.html")
    assert written.path == tmp_path / "r.html"
    assert written.runs == [run]
    assert written.missing == {}


MISTAKES: dict[str, tuple[Callable[[Path], list[Path]], int, str]] = {
    "nothing there": (lambda run: [run / "nowhere"], 1, "there is no such folder"),
    "no run": (lambda run: [run.parent], 1, "is no folder of a run"),
    "a file": (lambda run: [run / "config.yaml"], 1, "is no folder of a run"),
    "no runs": (lambda run: [], 2, "Missing argument"),
}


@pytest.mark.parametrize(("given", "code", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(given: Callable[[Path], list[Path]], code: int, message: str, run: Path, bombo_command: Any) -> None:
    ended = bombo_command("report", *given(run))
    assert ended.code == code
    assert message in ended.err


def test_more_runs_than_lines_can_be_told_apart_are_refused(run: Path, tmp_path: Path) -> None:
    runs = [run, *(shutil.copytree(run, tmp_path / f"more-{i}") for i in range(8))]
    with pytest.raises(ConfigError, match="9 runs: more than 8 lines"):
        bombo.report(runs)
    assert bombo.report([run] * 9, out=tmp_path / "r.html").runs == [run]


def test_a_damaged_picture_is_named(run: Path) -> None:
    (run / "plots" / "batch-1.jpg").write_bytes(b"none")
    with pytest.raises(BomboError, match="cannot be read") as caught:
        bombo.report(run)
    assert caught.value.where.endswith("batch-1.jpg")


@pytest.mark.parametrize("error", [BomboError("no room", where="x"), RuntimeError("bug"), MemoryError()])
def test_a_report_that_fails_does_not_lose_the_run(
    error: Exception, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bombo_command: Any
) -> None:
    def fail(*_: object) -> str:
        raise error

    monkeypatch.setattr(module, "render", fail)
    ended = bombo_command("train", out=tmp_path / "run", steps=1, **small)
    assert ended.code == 0
    assert f"try again:   bombo report {tmp_path / 'run'}" in ended.out
    assert (tmp_path / "run" / "last.safetensors").is_file()


def test_a_run_without_validation_has_one_too(small: dict[str, Any], tmp_path: Path, devkit: Any) -> None:
    data = devkit(train=[("train_boxes", "boxes")])
    bombo.train(out=tmp_path / "run", steps=1, **small | {"data": data})
    assert "was not measured" in (tmp_path / "run" / "report.html").read_text()
