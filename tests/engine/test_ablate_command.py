from __future__ import annotations

import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import bombo
from bombo.engine import side_runs
from bombo.engine.ladder import DEFAULT_LADDER, read_ladder
from bombo.engine.progress import TrainingProgress
from bombo.engine.settings import TrainSettings
from bombo.errors import ConfigError, DataError


def write(file: Path, content: Any) -> Path:
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def base(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings of a run of two steps, with what an ablation must not heed."""
    settings = yaml.safe_load((trained / "config.yaml").read_text())
    changed = {"steps": 2, "eval_every": 1, "patience": 1, "max_time": "1s", "clip": math.inf, "dice": 0.5}
    return write(tmp_path_factory.mktemp("base") / "base.yaml", settings | changed)


@pytest.fixture(scope="module")
def made(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ablation with two of the built-in arms, two seeds each."""
    out = tmp_path_factory.mktemp("ablation") / "made"
    ablation = bombo.ablate(config=base, arms="skip,oracle", seeds=[0, 1], parallel=2, out=out)
    assert not ablation.failed, ablation.failed
    return out


settings_of: dict[str, TrainSettings] = {}  # of the arms whose runs were noted


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs are noted instead of made."""
    noted: list[str] = []

    def note(runs: Any, *_: Any) -> bool:
        noted.extend(run.name for run in runs)
        settings_of.update((run.arm, run.settings) for run in runs)
        return False

    monkeypatch.setattr(side_runs, "make", note)
    return noted


class TestRuns:
    def test_each_is_an_ordinary_run(self, made: Path, base: Path) -> None:
        runs = sorted(str(path.parent.relative_to(made)) for path in made.glob("*/*/last.safetensors"))
        assert runs == ["oracle/seed-0", "oracle/seed-1", "skip/seed-0", "skip/seed-1"]
        for run in runs:
            config = yaml.safe_load((made / run / "config.yaml").read_text())
            assert (config["eval_every"], config["patience"], config["max_time"]) == (0, None, None)
            assert (config["seed"], config["dice"], config["clip"]) == (int(run[-1]), 0.5, math.inf)
            assert [line["step"] for line in metrics(made / run) if "val" in line] == [2]

    def test_the_oracle_may_read_both(self, made: Path, world: Path) -> None:
        full = yaml.safe_load((made / "oracle.yaml").read_text())
        assert [source["use"] for source in full["train"]] == ["both", "both"]
        assert full["stuff"] == yaml.safe_load(world.read_text())["stuff"]
        skip, oracle = (metrics(made / arm / "seed-0")[0] for arm in ("skip", "oracle"))
        assert (skip["images_with_boxes"], oracle["images_with_boxes"]) == (4, 8)

    def test_cost_is_logged(self, made: Path) -> None:
        line = metrics(made / "skip" / "seed-0")[0]
        assert 0 < line["cpu_seconds"] < 600
        assert 1e8 < line["memory"] < 1e11

    def test_results_say_how_to_repeat_the_run(self, made: Path) -> None:
        run = made / "oracle" / "seed-1"
        result = json.loads((run / "result.json").read_text())
        evaluation = metrics(run)[-1]["val"]
        assert result["figures"] == evaluation["figures"]
        assert result["per_class"] == evaluation["per_class"]
        assert (result["arm"], result["seed"], result["device"]) == ("oracle", 1, "cpu")
        assert {"python", "torch", "torchvision", "timm", "bombo"} <= result["versions"].keys()
        assert result["cost"]["steps"] == 2
        assert 0 < result["cost"]["cpu_seconds"] == round(metrics(run)[0]["cpu_seconds"] / 2, 4)
        assert result["settings"]["data"] == str(made / "oracle.yaml")
        program, verb, *words = shlex.split(result["command"])
        assert (program, verb) == ("bombo", "train")
        given = dict(zip(words[::2], words[1::2], strict=True))
        again = TrainSettings.resolve({"config": given["--config"], "seed": given["--seed"], "out": given["--out"]})
        assert {n: v for n, v in again.model_dump(mode="json").items() if n in result["settings"] and n != "clip"} == {
            n: v for n, v in result["settings"].items() if n != "clip"
        }

    def test_everything_is_written(self, made: Path) -> None:
        everything = json.loads((made / "results.json").read_text())
        assert list(everything["arms"]) == ["skip", "oracle"]
        assert len(everything["runs"]) == 4
        seeds = [run["figures"]["mIoU"] for run in everything["runs"] if run["arm"] == "skip"]
        figure = everything["comparison"]["figures"]["skip"]["mIoU"]
        assert figure["mean"] == pytest.approx(sum(seeds) / 2)
        assert figure["spread"] == pytest.approx(abs(seeds[0] - seeds[1]) / 2)
        assert "± half the range of two seeds" in (made / "ablation.md").read_text()
        assert (made / "ablation.png").read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in (made / "ablation.svg").read_bytes()

    def test_what_is_finished_is_not_made_again(
        self, made: Path, base: Path, bombo_command: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = {file: file.read_bytes() for file in made.rglob("*") if file.is_file()}
        monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a run is made again"))
        ended = bombo_command("ablate", config=base, arms="skip,oracle", seeds="0,1", out=made)
        assert ended.code == 0
        assert "4 runs: 4 finished already" in ended.out
        assert re.search(r"^ ?skip +2 .* ± .* GiB", ended.out, re.MULTILINE)
        assert {file: file.read_bytes() for file in made.rglob("*") if file.is_file()} == before

    def test_classes_on_request(self, made: Path, base: Path, bombo_command: Any) -> None:
        ended = bombo_command("ablate", "--per-class", config=base, arms="skip", seeds="0,1", out=made)
        assert "IoU by class" in ended.out
        assert "starfish" in ended.out
        assert "**AP50-95 by class**" in (made / "ablation.md").read_text()
        assert "gap closed" not in ended.out

    def test_a_narrow_terminal_gets_whole_cells(
        self, made: Path, base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("COLUMNS", "30")
        bombo.ablate(config=base, arms="skip,oracle", seeds=[0, 1], out=made)
        out = capsys.readouterr().out
        assert re.search(r"^ ?oracle +2 .{60,} GiB *$", out, re.MULTILINE)
        assert "…" not in out

    def test_other_settings_than_those_of_the_run_there(
        self, made: Path, base: Path, tmp_path: Path, bombo_command: Any
    ) -> None:
        other = write(tmp_path / "other.yaml", yaml.safe_load(base.read_text()) | {"lr": 0.5})
        before = (made / "skip" / "settings.yaml").read_bytes()
        ended = bombo_command("ablate", config=other, arms="skip,oracle", seeds="0,1", out=made)
        assert ended.code == 2
        assert "arm skip" in ended.err
        assert "`lr` is 0.005 there and 0.5 now" in ended.err
        assert f"delete {made / 'skip' / 'seed-0'} to train it anew" in ended.err
        assert (made / "skip" / "settings.yaml").read_bytes() == before

    def test_one_goes_on_one_starts_anew_and_one_fails(
        self, made: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bombo_command: Any
    ) -> None:
        out, show = tmp_path / "out", TrainingProgress.show

        def show_and_signal(self: TrainingProgress, *given: Any) -> None:
            show(self, *given)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.001)

        with monkeypatch.context() as patch:
            patch.setattr(TrainingProgress, "show", show_and_signal)
            run = bombo.train(config=made / "skip" / "settings.yaml", seed=0, out=out / "skip" / "seed-0")
        assert run.stopped == "interrupted"
        begun = torch.load(run.path / "state.pt", weights_only=True)
        assert (begun["step"], begun["cpu_seconds"] > 0) == (1, True)
        (out / "skip" / "seed-1").mkdir()  # died before it saved anything
        shutil.copy(made / "skip" / "seed-1" / "config.yaml", out / "skip" / "seed-1")
        arms = {"bad": {"backbone": "resnet81"}, "skip": {"method": "skip"}}
        ladder = write(tmp_path / "ladder.yaml", {"arms": arms})

        ended = bombo_command("ablate", config=base, ladder=ladder, seeds="0,1", out=out, parallel=2)
        assert ended.code == 1
        assert "4 runs: 0 finished already, 1 to go on with; 2 at a time" in ended.out
        assert "resumed at step 1" in (run.path / "log.txt").read_text()
        for seed in ("seed-0", "seed-1"):
            one, other = (json.loads((o / "skip" / seed / "result.json").read_text()) for o in (made, out))
            assert one["figures"] == other["figures"]
        assert torch.load(run.path / "state.pt", weights_only=True)["cpu_seconds"] > begun["cpu_seconds"]

        assert "bad seed 0: failed" in ended.out
        assert "Did you mean `resnet18`" in ended.out
        assert re.search(r"^ ?skip +2 ", ended.out, re.MULTILINE)
        results = json.loads((out / "results.json").read_text())
        assert list(results["comparison"]["seeds"]) == ["skip"]
        assert "resnet81" in results["failed"][str(out / "bad" / "seed-1")]


def test_ctrl_c_stops_all_and_loses_nothing(base: Path, tmp_path: Path) -> None:
    long = write(tmp_path / "long.yaml", yaml.safe_load(base.read_text()) | {"steps": 100_000})
    words = ["ablate", "--config", str(long), "--arms", "skip", "--seeds", "0,1,2", "--parallel", "2"]
    command = [sys.executable, "-m", "bombo", *words, "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    runs = [tmp_path / "out" / "skip" / f"seed-{seed}" for seed in (0, 1)]
    deadline = time.monotonic() + 300
    try:
        while not all((run / "metrics.jsonl").is_file() for run in runs):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        out, _ = process.communicate(timeout=300)
    finally:
        if process.poll() is None:
            for _ in range(3):  # a polite one, then one that stops all at once
                os.killpg(process.pid, signal.SIGINT)
                time.sleep(0.5)
            process.wait(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in out
    for run in runs:
        assert "everything is saved" in (run / "log.txt").read_text()
        assert torch.load(run / "state.pt", weights_only=True)["step"] > 0
    assert not (tmp_path / "out" / "skip" / "seed-2").exists()


def test_cores_are_shared_out(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    class Done:
        returncode = 1

        def __init__(self, *_: Any, env: dict[str, str], **__: Any) -> None:
            threads.append(env["OMP_NUM_THREADS"])

        def poll(self) -> int:
            return 1

    monkeypatch.setattr(subprocess, "Popen", Done)
    monkeypatch.setattr(side_runs, "_PAUSE", 0.0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for parallel in (1, 2, 7):
        ablation = bombo.ablate(config=base, arms="skip", seeds=[0], parallel=parallel, out=tmp_path / str(parallel))
        assert ablation.failed == {tmp_path / str(parallel) / "skip" / "seed-0": "it ended with code 1"}
        assert ablation.comparison is None
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    bombo.ablate(config=base, arms="skip", seeds=[0], out=tmp_path / "asked")
    assert threads == ["6", "3", "1", "2"]


LADDERS = {
    "an unknown setting": ({"arms": {"mine": {"lrr": 1}}}, r"ladder.yaml, line 3.*arm `mine`: `lrr` .* mean `lr`"),
    "a value out of range": ({"arms": {"mine": {"dice": -1}}}, r"arm mine, dice: -1"),
    "a value of the wrong kind": ({"arms": {"mine": {"steps": "many"}}}, r"arm mine, steps: 'many'"),
    "a seed": ({"arms": {"mine": {"seed": 1}}}, r"`seed` is the same for all arms"),
    "a folder": ({"arms": {"mine": {"out": "here"}}}, r"`out` is the same for all arms"),
    "choosing": ({"arms": {"mine": {"patience": 2}}}, r"`patience` is the same for all arms"),
    "no arms": ({"arms": {}}, "is no ladder"),
    "arms in the open": ({"skip": {}}, "is no ladder"),
    "more than arms": ({"arms": {"a": {}}, "seeds": [1]}, "is no ladder"),
    "a list": ({"arms": {"mine": [1]}}, "arm `mine` holds no settings"),
    "a name that leads elsewhere": ({"arms": {"../mine": {}}}, "cannot name an arm"),
    "a number as name": ({"arms": {1: {}}}, "cannot name an arm"),
    "data that is not there": ({"arms": {"mine": {"data": "no.yaml"}}}, r"no\.yaml: file is missing"),
}


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize(("content", "message"), LADDERS.values(), ids=LADDERS)
def test_unusable_ladders(content: Any, message: str, base: Path, tmp_path: Path) -> None:
    ladder = write(tmp_path / "ladder.yaml", content)
    with pytest.raises(ConfigError) as caught:
        bombo.ablate(config=base, ladder=ladder, out=tmp_path / "out")
    assert re.search(message, str(caught.value))
    assert not (tmp_path / "out").exists()


SLIPS = {
    "an arm that is not there": ({"arms": "skip,orcale"}, "there is no arm `orcale`. Did you mean `oracle`?"),
    "a seed twice": ({"seeds": "1,1"}, "different numbers"),
    "a seed below 0": ({"seeds": "-1"}, "different numbers"),
    "a word for a seed": ({"seeds": "one"}, "integer"),
    "nothing side by side": ({"parallel": 0}, "parallel"),
    "an oracle that is not there": ({"oracle": "no.yaml"}, "no.yaml: file is missing"),
    "data that is not there": ({"data": "no.yaml"}, "bombo: no.yaml: file is missing"),
    "a configuration that is not there": ({"config": "no.yaml"}, "no.yaml: file is missing\n  fix: check the path\n"),
}


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize(("given", "message"), SLIPS.values(), ids=SLIPS)
def test_slips(given: dict[str, Any], message: str, base: Path, tmp_path: Path, bombo_command: Any) -> None:
    ended = bombo_command("ablate", **{"config": base, "out": tmp_path / "out", **given})
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert not list(tmp_path.glob("out/*/*"))


@pytest.mark.usefixtures("idle")
def test_a_data_file_is_needed_and_something_to_validate_on(devkit: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no data file"):
        bombo.ablate(out=tmp_path / "out")
    data = devkit(train=[("train_boxes", "boxes")])
    with pytest.raises(ConfigError, match=r"arm skip, .*nothing to validate on"):
        bombo.ablate(data=data, arms="skip", out=tmp_path / "out")


def test_arms_keep_the_order_of_the_ladder_and_paths_start_there(base: Path, tmp_path: Path, idle: list[str]) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "own.pt").touch()
    data = yaml.safe_load(base.read_text())["data"]
    arms = {
        "oracle": {"data": os.path.relpath(data, tmp_path / "there")},
        "own": {"weights": "own.pt"},
        "skip": None,
        "b4m": {"weights": "none"},
    }
    ladder = write(tmp_path / "there" / "ladder.yaml", {"arms": arms})
    bombo.ablate(config=base, ladder=ladder, arms=["skip", "own", "oracle"], seeds=[3, 1], out=tmp_path / "out")
    assert idle == [f"{arm} seed {seed}" for arm in ("oracle", "own", "skip") for seed in (3, 1)]
    read = read_ladder(ladder)
    assert Path(read["oracle"]["data"]) == Path(data).resolve()
    assert read["own"]["weights"] == str(tmp_path / "there" / "own.pt")
    assert read["b4m"] == {"weights": "none"}
    bombo.ablate(config=base, ladder=ladder, oracle=tmp_path / "no.yaml", arms=["skip"], out=tmp_path / "out")


class TestOracle:
    """Two folders of masks: no boxes are known, so that no oracle can be made of them."""

    @pytest.fixture
    def masks_only(self, world: Path, tmp_path: Path) -> Path:
        devkit = world.parent / "devkit"
        source = {
            "format": "folder",
            "root": str(devkit),
            "images": "JPEGImages",
            "masks": "SegmentationClass",
            "use": "masks",
        }
        names = (devkit / "labelmap.txt").read_text().splitlines()
        classes = [line.split(":")[0] for line in names if not line.startswith("#")]
        source["names"] = [name for name in classes if name != "background"]  # type: ignore[assignment]
        val = {"format": "voc", "root": str(devkit), "list": "val", "use": "both"}
        return write(tmp_path / "masks.yaml", {"train": [source], "val": [val]})

    def test_is_left_out_where_it_cannot_be(
        self, masks_only: Path, tmp_path: Path, idle: list[str], bombo_command: Any
    ) -> None:
        ended = bombo_command("ablate", data=masks_only, seeds="0", out=tmp_path / "out")
        assert ended.code == 0
        assert "no oracle (give one with --oracle FILE)" in ended.out
        assert "no only-boxes: " in ended.out
        assert idle == [f"{arm} seed 0" for arm in DEFAULT_LADDER if arm not in ("oracle", "only-boxes")]
        assert not (tmp_path / "out" / "oracle.yaml").exists()

    @pytest.mark.usefixtures("idle")
    def test_is_missed_where_it_was_asked_for(self, masks_only: Path, tmp_path: Path) -> None:
        with pytest.raises((ConfigError, DataError), match="a folder of masks holds no boxes"):
            bombo.ablate(data=masks_only, arms="skip,oracle", out=tmp_path / "out")

    def test_can_be_given(self, masks_only: Path, world: Path, tmp_path: Path, idle: list[str]) -> None:
        bombo.ablate(data=masks_only, arms="skip,oracle", oracle=world, seeds=[0], out=tmp_path / "out")
        assert idle == ["skip seed 0", "oracle seed 0"]


def test_one_network_per_task_sees_its_images_at_the_same_pace(base: Path, tmp_path: Path, idle: list[str]) -> None:
    bombo.ablate(config=base, arms="only-boxes,only-masks,skip", seeds=[0], out=tmp_path / "out")
    assert idle == [f"{arm} seed 0" for arm in ("only-boxes", "only-masks", "skip")]
    for kind in ("boxes", "masks"):
        view = yaml.safe_load((tmp_path / "out" / f"only-{kind}.yaml").read_text())
        assert [source["use"] for source in view["train"]] == [kind]
        assert view["stuff"] == ["water"]
    full = TrainSettings.resolve({"config": base}).batch_size
    sizes = [settings_of[arm].batch_size for arm in ("only-boxes", "only-masks", "skip")]
    assert sizes == [full // 2, full // 2, full]


def test_no_arm_trains_for_longer_than_the_others(
    world: Path, small: dict[str, Any], tmp_path: Path, idle: list[str]
) -> None:
    content = yaml.safe_load(world.read_text())
    few = [source for source in content["train"] if source["use"] == "boxes"]  # 4 of the 8 images
    root = {"root": str(world.parent / few[0]["root"])}
    content["train"] = [source | root for source in (*few, *content["train"])]  # so boxes are two thirds
    content["val"] = [source | root for source in content["val"]]
    data = write(tmp_path / "uneven.yaml", content)
    config = write(tmp_path / "config.yaml", {**small, "data": str(data), "steps": None, "epochs": 5, "batch_size": 2})
    bombo.ablate(config=config, oracle=world, arms="only-boxes,only-masks,skip,oracle", seeds=[0], out=tmp_path / "out")
    common = len(idle) and 5 * 6  # 12 images, two a step
    assert [settings_of[arm].steps for arm in ("only-boxes", "only-masks", "skip", "oracle")] == [
        *(common, common, None, common)
    ]
