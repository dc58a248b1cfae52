"""What a newcomer reads first: every command's --help, and what happens on a slip of the finger."""

from __future__ import annotations

import inspect
import runpy
from types import SimpleNamespace
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
import torch
import typer
from typer.testing import CliRunner

import bombo
from bombo import cli
from bombo.engine.settings import TrainSettings
from bombo.errors import BomboError, ConfigError

COMMANDS = {
    "train": ["--data", "which images carry which annotation", "bombo train --data pets.yaml", "--resume"],
    "evaluate": ["mAP and mIoU, per class", "bombo evaluate runs/pets-1 --data pets.yaml", "--json", "--split"],
    "predict": ["overlays, masks and COCO results", "bombo predict runs/pets-1 photos/", "photos/*.jpg", "--min-score"],
    "check": ["what it holds, what is wrong with it", "bombo check pets.yaml", "--strict", "--out", "--json"],
    "split": ["a part with boxes only and a part with masks only", "bombo split pets.yaml --out partial"],
    "convert": ["tell what is lost", "bombo convert VOCdevkit/VOC2012 voc_as_coco --to coco", "--boxes-from-masks"],
    "derive": ["what boxes say about masks", "bombo derive pets.yaml --model runs/pets-1"],
    "ablate": ["several seeds", "bombo ablate --data pets.yaml", "--per-class"],
    "export": ["as ONNX or torch.export", "bombo export runs/pets-1", "--dynamic-batch", "--end-to-end", "--format"],
    "demo": ["small world", "bombo demo"],
    "complete": ["the most doubtful first", "bombo complete pets.yaml --model runs/pets-1", "Label Studio"],
    "report": ["one HTML file", "bombo report runs/pets-1 runs/pets-2 --out both.html"],
    "push-to-hub": ["model card", "bombo push-to-hub runs/pets-1 jane/pets", "--only-write"],
}


def typed(*words: str, width: int = 200) -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, words, env={"COLUMNS": str(width), "TERM": "dumb"}, prog_name="bombo")
    return result.exit_code, result.output


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_the_first_page_names_all_commands(words: list[str]) -> None:
    _, text = typed(*words)
    assert "One network for detection and segmentation" in text
    for command in COMMANDS:
        assert f"│ {command} " in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_speaks_to_machines_and_from_python(command: str) -> None:
    assert "--json" in typed(command, "--help")[1]
    assert callable(getattr(bombo, command.replace("-", "_")))


@pytest.mark.parametrize(("command", "phrases"), COMMANDS.items())
def test_every_command_teaches(command: str, phrases: list[str]) -> None:
    code, text = typed(command, "--help")
    assert code == 0
    for phrase in phrases:
        assert phrase in text


def options(command: str) -> dict[str, Any]:
    group = typer.main.get_command(cli.app)
    shown = [p for p in group.commands[command].params if not getattr(p, "hidden", False)]  # type: ignore[attr-defined]
    return {p.name: p for p in shown if p.name != "help"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_does(command: str) -> None:
    assert not [name for name, parameter in options(command).items() if not getattr(parameter, "help", None)]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_legible_in_a_window_of_any_width(command: str, width: int) -> None:
    _, text = typed(command, "--help", width=width)
    assert not [line for line in text.splitlines() if len(line) > width]
    for ugly in ("typing.", "Annotated", "FieldInfo", "…"):
        assert ugly not in text


def test_training_options_stand_in_groups() -> None:
    _, text = typed("train", "--help")
    groups = ("Run", "Network", "Images", "Schedule", "Losses", "Weak", "Machine")
    places = [text.index(f"─ {group} ─") for group in groups]
    assert places == sorted(places)


@pytest.mark.parametrize("command", COMMANDS)
def test_python_and_the_command_line_have_the_same_parameters(command: str) -> None:
    function = getattr(bombo, command.replace("-", "_"))
    expected = {
        name: None if p.default is inspect.Parameter.empty else p.default
        for name, p in inspect.signature(function).parameters.items()
    }
    found = {name: p.default for name, p in options(command).items() if name != "as_json"}
    # click turns the default of a `list` into None, and a Path's into text
    assert {name: str(value) for name, value in found.items()} == {n: str(v) for n, v in expected.items()}


def test_the_command_line_knows_the_types_of_the_settings() -> None:
    hints = get_type_hints(TrainSettings)
    for name, parameter in options("train").items():
        if name == "as_json":
            continue
        kinds = {kind for kind in (*get_args(hints[name]), hints[name]) if kind in (int, float, bool, str)}
        if kinds:
            assert f"<{kinds.pop().__name__}>" == parameter.display_type_rich(None), name


def test_every_switch_has_a_hidden_opposite() -> None:
    group = typer.main.get_command(cli.app)
    hidden = {p.opts[0] for p in group.commands["train"].params if getattr(p, "hidden", False)}  # type: ignore[attr-defined]
    hints = get_type_hints(TrainSettings)
    switches = [name for name, hint in hints.items() if bool in (hint, *get_args(hint))]
    assert hidden == {f"--no-{name.replace('_', '-')}" for name in switches}
    assert len(hidden) >= 7


def test_a_switch_and_its_opposite_reach_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(cli.train, "train", lambda **settings: given.update(settings) or SimpleNamespace(stopped=""))
    typed("train", "--no-compile", "--freeze-norm", "--no-channels-last", "--epochs", "3", "--resume", "runs/a")
    assert given == {"compile": False, "freeze_norm": True, "channels_last": False, "epochs": 3, "resume": "runs/a"}


def test_ranges_are_checked_for_python_too() -> None:
    for name in ("evaluate", "predict"):
        function = getattr(bombo, name)
        for parameter, hint in get_type_hints(function, include_extras=True).items():
            if get_origin(hint) is Annotated and any(getattr(info, "min", None) is not None for info in get_args(hint)):
                with pytest.raises(ConfigError, match="below"):
                    function("run", **{"data" if name == "evaluate" else "source": "x", parameter: -1})


SLIPS = {
    "a command": (["trian"], "train"),
    "an option": (["train", "--epoch", "3"], "--epochs"),
    "an option of another command": (["evaluate", "run", "--dat", "x"], "--data"),
    "a missing argument": (["predict", "run"], "source"),
}


@pytest.mark.parametrize(("words", "expected"), SLIPS.values(), ids=SLIPS)
def test_slips_are_met_with_what_was_meant(words: list[str], expected: str) -> None:
    code, text = typed(*words)
    assert code == 2
    assert expected in text.lower()
    assert "Traceback" not in text


ENDINGS = {
    "an unusable setting": (ConfigError("no", where="epochs", fix="more"), 2, "bombo: epochs: no\n  fix: more\n"),
    "any other mendable error": (BomboError("no [/] markup"), 1, "bombo: no [/] markup\n"),
    "a full GPU": (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), 1, "--batch-size"),
}


@pytest.mark.parametrize(("error", "code", "message"), ENDINGS.values(), ids=ENDINGS)
def test_errors_end_in_a_message_and_a_code(
    error: Exception,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err


def test_a_mistake_in_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main()


def test_the_module_is_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["bombo", "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("bombo", run_name="__main__")
    assert end.value.code == 0
    assert "Usage: " in capsys.readouterr().out
