"""Interrupted and resumed = never interrupted: real signals, through the real handlers, compared bit for bit."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import bombo
from bombo.data.batch import Batch
from bombo.engine.progress import TrainingProgress
from bombo.errors import BomboError, ConfigError
from bombo.losses.criterion import Criterion

Same = Callable[[Any, Any], bool]
COST = {"seconds", "cpu_seconds", "memory"}  # what no two runs share


@pytest.fixture
def batches_seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[str, ...], int]]:
    """Names and pixels of every batch the network learns from, in order."""
    seen: list[tuple[tuple[str, ...], int]] = []
    compute = Criterion.__call__

    def note(self: Criterion, predictions: Any, batch: Batch, *rest: Any) -> Any:
        seen.append((batch.names, int(batch.images.long().sum())))
        return compute(self, predictions, batch, *rest)

    monkeypatch.setattr(Criterion, "__call__", note)
    return seen


@pytest.fixture
def signal_after(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sends this process signals at the end of chosen steps."""
    show = TrainingProgress.show

    def plan(*steps: int, number: signal.Signals = signal.SIGINT, times: int = 1) -> None:
        def show_and_signal(self: TrainingProgress, step: int, *rest: Any) -> None:
            show(self, step, *rest)
            if step in steps:
                for _ in range(times):
                    signal.raise_signal(number)  # by this thread: two sent to the process may become one

        monkeypatch.setattr(TrainingProgress, "show", show_and_signal)

    return plan


def left_behind(folder: Path) -> dict[str, Any]:
    """Everything a run leaves that must not depend on its having been interrupted."""
    state = torch.load(folder / "state.pt", weights_only=True)
    for cost in COST:
        state.pop(cost, None)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {
        "state": state,
        "last": safetensors.torch.load_file(folder / "last.safetensors"),
        "best": safetensors.torch.load_file(folder / "best.safetensors"),
        "metrics": [{name: value for name, value in line.items() if name not in COST} for line in lines],
    }


# two steps make an epoch
INTERRUPTIONS = {
    "after two of four epochs": ({}, [4], signal.SIGINT),
    "within an epoch": ({}, [3], signal.SIGINT),
    "in bf16": ({"precision": "bf16"}, [3], signal.SIGINT),
    "three times": ({}, [1, 2, 5], signal.SIGINT),
    "with momentum, dice, several scales": (
        {"optimiser": "sgd", "dice": 1.0, "multi_scale": True, "fit": "letterbox"},
        [3],
        signal.SIGINT,
    ),
}


@pytest.mark.parametrize(("extra", "steps", "number"), INTERRUPTIONS.values(), ids=INTERRUPTIONS)
def test_a_resumed_run_equals_one_never_interrupted(
    extra: dict[str, Any],
    steps: list[int],
    number: signal.Signals,
    small: dict[str, Any],
    tmp_path: Path,
    same: Same,
    batches_seen: list[Any],
    signal_after: Callable[..., None],
) -> None:
    settings = {**small, "epochs": 4, "eval_every": 2, **extra}
    straight = bombo.train(out=tmp_path / "straight", **settings)
    assert straight.stopped == "finished"
    never_interrupted = [*batches_seen]
    batches_seen.clear()

    signal_after(*steps, number=number)
    run = bombo.train(out=tmp_path / "run", **settings)
    assert run.stopped == "interrupted"
    for _ in steps:
        assert run.stopped == "interrupted"
        run = bombo.train(resume=run.path)
    assert run.stopped == "finished"

    assert batches_seen == never_interrupted
    one, other = left_behind(straight.path), left_behind(run.path)
    for part in one:
        assert same(one[part], other[part]), part
    assert any(line.get("lr") for line in one["metrics"])


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="only Linux tells who sent a signal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_lets_the_step_get_its_batches(
    number: signal.Signals, small: dict[str, Any], tmp_path: Path, same: Same, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = small | {"workers": 1, "accumulate": 4, "epochs": 3}  # more batches a step than a worker loads ahead
    straight = bombo.train(out=tmp_path / "straight", **settings)

    compute, calls = Criterion.__call__, []

    def signal_in_second_step(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == 5:  # a terminal sends Ctrl-C to loading processes, too, and a job queue SIGTERM
            processes = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
            assert len(processes) == 2
            subprocess.run(["kill", f"-{number}", *map(str, processes)], check=True)
            time.sleep(0.2)
        return compute(*given)

    monkeypatch.setattr(Criterion, "__call__", signal_in_second_step)
    run = bombo.train(out=tmp_path / "run", **settings)
    assert run.stopped == "interrupted"
    assert torch.load(run.path / "state.pt", weights_only=True)["step"] == 2
    bombo.train(resume=run.path)
    one, other = left_behind(straight.path), left_behind(run.path)
    for part in one:
        assert same(one[part], other[part]), part


def test_the_command_says_how_to_go_on(
    small: dict[str, Any], tmp_path: Path, bombo_command: Any, signal_after: Callable[..., None]
) -> None:
    signal_after(3)
    ended = bombo_command("train", out=tmp_path / "run", epochs=4, **small)
    assert ended.code == 130
    assert "after step 3 of 8; everything is saved" in ended.out
    assert f"bombo train --resume {tmp_path / 'run'}" in ended.out
    ended = bombo_command("train", resume=tmp_path / "run")
    assert ended.code == 0
    assert "resumed at step 3" in ended.out


@pytest.mark.skipif(
    signal.getsignal(signal.SIGINT) is not signal.default_int_handler, reason="a background job ignores Ctrl-C"
)
def test_a_second_ctrl_c_stops_at_once(
    small: dict[str, Any], tmp_path: Path, bombo_command: Any, signal_after: Callable[..., None]
) -> None:
    signal_after(3, times=2)
    ended = bombo_command("train", out=tmp_path / "run", epochs=4, **small)
    assert ended.code == 130
    assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["step"] == 2  # the last epoch's end
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_sigterm_waits_for_the_step(
    small: dict[str, Any], tmp_path: Path, bombo_command: Any, signal_after: Callable[..., None]
) -> None:
    signal_after(3, times=2, number=signal.SIGTERM)
    assert bombo_command("train", out=tmp_path / "run", epochs=4, **small).code == 130
    assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["step"] == 3
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_in_the_last_step_comes_too_late(
    small: dict[str, Any], tmp_path: Path, signal_after: Callable[..., None]
) -> None:
    signal_after(8)
    run = bombo.train(out=tmp_path / "run", epochs=4, **small)
    assert run.stopped == "finished"
    assert run.evaluation is not None
    assert (run.path / "report.html").is_file()


def test_a_finished_run_has_nothing_left_to_do(trained: Path, bombo_command: Any, same: Same) -> None:
    before = left_behind(trained)
    ended = bombo_command("train", resume=trained)
    assert ended.code == 0
    assert "nothing is left to do" in ended.out
    assert same(left_behind(trained), before)


def test_a_finished_run_can_be_made_longer(small: dict[str, Any], tmp_path: Path) -> None:
    run = bombo.train(out=tmp_path / "run", epochs=1, **small)
    longer = bombo.train(resume=run.path, epochs=3)
    assert torch.load(run.path / "state.pt", weights_only=True)["step"] == 6
    assert longer.stopped == "finished"
    assert "epochs: 3" in (run.path / "config.yaml").read_text()


def test_settings_given_on_resume_count(small: dict[str, Any], tmp_path: Path) -> None:
    run = bombo.train(out=tmp_path / "run", epochs=1, **small)
    bombo.train(resume=run.path, epochs=2, lr=1e-5, backbone_lr=0.5, weight_decay=0.5)
    groups = torch.load(run.path / "state.pt", weights_only=True)["optimiser"]["param_groups"]
    assert {group["peak"] for group in groups} == {1e-5, 0.5e-5}
    assert {group["weight_decay"] for group in groups} == {0.0, 0.5}
    last = json.loads((run.path / "metrics.jsonl").read_text().splitlines()[-2])
    assert last["lr"] < 1e-5


MISFITS = {
    "another optimiser": ({"optimiser": "sgd"}, "another network or optimiser"),
    "another network": ({"channels": 24}, "another network or optimiser"),
    "another backbone": ({"backbone": "test_convnext"}, "another network or optimiser"),
}


@pytest.mark.parametrize(("extra", "message"), MISFITS.values(), ids=MISFITS)
def test_a_state_of_something_else_is_refused(extra: dict[str, Any], message: str, trained: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        bombo.train(resume=trained, **extra)


def test_a_state_of_other_classes_is_refused(trained: Path, devkit: Callable[..., Path]) -> None:
    swapped = "classes: [crab, starfish, turtle, ball, fish, shell]\nstuff: [water]"
    data = devkit(swapped, train=[("train_boxes", "boxes"), ("train_masks", "masks")])
    with pytest.raises(ConfigError, match=r"trained on starfish, crab, .*; the data has crab, starfish"):
        bombo.train(resume=trained, data=data)


@pytest.fixture
def copy_of(trained: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    return copy


def test_a_damaged_state_is_named(copy_of: Path) -> None:
    whole = (copy_of / "state.pt").read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"text"):
        (copy_of / "state.pt").write_bytes(damaged)
        with pytest.raises(BomboError, match="cannot be read") as caught:
            bombo.train(resume=copy_of)
        assert caught.value.where == str(copy_of / "state.pt")
        assert "last.safetensors" in caught.value.fix


def test_a_folder_without_state_is_named(copy_of: Path, bombo_command: Any) -> None:
    (copy_of / "state.pt").unlink()
    ended = bombo_command("train", resume=copy_of)
    assert ended.code == 1
    assert ended.err.startswith(f"bombo: {copy_of}: there is no state.pt")


@pytest.mark.parametrize("name", ["nothing", "nothing/else", "file"])
def test_a_folder_that_is_no_run_is_named(name: str, tmp_path: Path, bombo_command: Any) -> None:
    (tmp_path / "file").touch()
    ended = bombo_command("train", resume=tmp_path / name)
    assert ended.code == 2
    assert ended.err.startswith(f"bombo: {tmp_path / name}: is no folder of a run")


def test_a_damaged_config_is_named(copy_of: Path) -> None:
    (copy_of / "config.yaml").write_text("epochs: [")
    with pytest.raises(ConfigError, match=r"config\.yaml, line 1: is not valid YAML"):
        bombo.train(resume=copy_of)


def test_from_another_folder_the_data_file_is_asked_for(
    copy_of: Path, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bombo_command: Any
) -> None:
    config = copy_of / "config.yaml"
    config.write_text(config.read_text().replace(f"data: {world}", f"data: {world.name}"))
    monkeypatch.chdir(tmp_path)
    ended = bombo_command("train", resume="copy")
    assert ended.code == 2
    assert ended.err.startswith(f"bombo: copy/config.yaml: says `data: {world.name}`, seen from the folder the run")
    assert "or add --data FILE" in ended.err
    assert "nothing is left to do" in bombo_command("train", resume="copy", data=world).out


def test_half_a_line_of_metrics_is_dropped(
    small: dict[str, Any], tmp_path: Path, signal_after: Callable[..., None]
) -> None:
    signal_after(3)
    run = bombo.train(out=tmp_path / "run", epochs=2, **small)
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "los')
    bombo.train(resume=run.path)
    steps = [json.loads(line)["step"] for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert steps == [2, 2, 4, 4]


class TestAuto:
    @pytest.fixture(autouse=True)
    def _here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def test_starts_a_run_where_there_is_none(self, small: dict[str, Any]) -> None:
        assert bombo.train(resume="auto", steps=1, **small).path == Path("runs/data-1")

    def test_goes_on_with_the_newest(self, small: dict[str, Any], signal_after: Callable[..., None]) -> None:
        for number in (1, 2):
            assert bombo.train(steps=1, **small).path == Path(f"runs/data-{number}")
        Path("runs/data-10").mkdir()  # no state yet: died before its first epoch's end
        signal_after(1)
        bombo.train(epochs=1, **small)
        run = bombo.train(resume="auto", **small)
        assert (run.path, run.stopped) == (Path("runs/data-11"), "finished")

    def test_looks_into_the_folder_given(self, small: dict[str, Any], signal_after: Callable[..., None]) -> None:
        signal_after(1)
        given = small | {"resume": "auto", "out": "mine", "epochs": 1}
        assert bombo.train(**given).stopped == "interrupted"
        again = bombo.train(**given)
        assert (again.path, again.stopped) == (Path("mine"), "finished")

    def test_needs_a_data_file(self) -> None:
        with pytest.raises(ConfigError, match="add --data FILE"):
            bombo.train(resume="auto")
