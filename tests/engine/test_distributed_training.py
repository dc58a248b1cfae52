"""Two processes (gloo, CPU) do what one does; one launch goes through torchrun, the others fork, which is cheaper."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.multiprocessing as mp
from PIL import Image

import bombo
from bombo.engine.progress import TrainingProgress

# the backbone's batch statistics are frozen: each process would take them from its own images (torch synchronises them
# on GPUs only). SGD, because AdamW divides by the gradient's size and so makes a rounding error of a tiny gradient a
# whole step
TRAINING: dict[str, Any] = {
    "backbone": "test_resnet",
    "freeze_norm": True,
    "optimiser": "sgd",
    "lr": 0.05,
    "weight_decay": 0.0,
    "warmup": 0.0,
    "ema": 0.0,
    "steps": 4,
    "accumulate": 2,
    # one process gets the box image, the other the mask image
    "batch_size": 2,
}
CPU: dict[str, Any] = {"device": "cpu", "precision": "32"}


def launch(*words: object) -> str:
    """Runs torchrun with two processes, at most two minutes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        printed, _ = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun ends its processes
        pytest.fail(f"no end within two minutes: {process.communicate(timeout=60)[0]}")
    assert process.returncode == 0, printed
    return printed


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "last.safetensors")


@pytest.fixture(scope="module")
def small_once(world: Path) -> dict[str, Any]:
    sizes = {"channels": 16, "segmentation_channels": 16, "head_depth": 0, "size": 64}
    return {"data": world, "weights": "none", "workers": 0, **sizes, **CPU}


@pytest.fixture(scope="module")
def together(small_once: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("two") / "run"
    given = small_once | TRAINING | {"out": out}
    options = [
        word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value) if word is not True
    ]
    return out, launch("-m", "bombo", "train", *options)


@pytest.fixture(scope="module")
def alone(small_once: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bombo.train(out=tmp_path_factory.mktemp("one") / "run", **small_once | TRAINING).path


def test_the_weights_are_those_of_one_process(
    alone: Path, together: tuple[Path, str], small_once: dict[str, Any], tmp_path: Path
) -> None:
    start = weights(bombo.train(out=tmp_path / "run", **small_once | TRAINING | {"steps": 1, "lr": 1e-30}).path)
    one, two = weights(alone), weights(together[0])
    assert one.keys() == two.keys()
    # the same sums in another order, eight batches long: a few units in the last place of numbers around one
    # (eps 1.2e-7). What a wrong mean over the processes would change is what training changed: far more
    apart = max((one[name] - two[name]).abs().max().item() for name in one)
    moved = {
        part: max((one[n] - start[n]).abs().max().item() for n in one if n.startswith(part))
        for part in ("backbone.", "detection.", "segmentation.")
    }
    assert apart < 1e-5
    assert min(moved.values()) > 1e-3


def test_the_figures_and_counts_are_those_of_one_process(alone: Path, together: tuple[Path, str]) -> None:
    one, two = (
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (alone, together[0])
    )
    assert [line["step"] for line in one] == [line["step"] for line in two]
    for name in ("lr", "images_with_boxes", "images_with_masks"):
        assert [line.get(name) for line in one] == [line.get(name) for line in two]
    assert two[-1]["val"]["images"] == {"detection": 4, "segmentation": 4}
    for name, value in one[-1]["val"]["figures"].items():
        assert two[-1]["val"]["figures"][name] == pytest.approx(value, abs=1e-3), name


def test_only_one_process_speaks(together: tuple[Path, str]) -> None:
    _, printed = together
    assert printed.count("training images") == 1
    assert "2 processes" in printed
    assert "Traceback" not in printed
    assert "Warning" not in printed


def test_the_run_says_how_it_was_made(together: tuple[Path, str]) -> None:
    assert json.loads((together[0] / "environment.json").read_text())["processes"] == 2


@pytest.fixture(scope="module")
def photos(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number, source in enumerate(sorted((world.parent / "devkit" / "JPEGImages").glob("val_*.jpg"))):
        Image.open(source).resize((60 + 7 * number, 64)).save(folder / f"{number}.jpg")
    (folder / "2.png").write_bytes(b"broken")
    (folder / "9.png").write_bytes(b"broken")
    return folder


def forked(rank: int, port: int, out: Path, trained: Path, photos: Path, small: dict[str, Any]) -> None:
    """What each of two processes does: evaluate, predict, and train until one of them is told to stop."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "RANK": str(rank)}
    torch.set_num_threads(1)
    evaluation = bombo.evaluate(trained, data=small["data"], workers=0, batch_size=3, **CPU)
    entries = bombo.predict(trained, photos, out=out / "seen", min_score=0.001, skip_bad=True, **CPU)
    show = TrainingProgress.show

    def show_and_signal(self: TrainingProgress, step: int, *rest: Any) -> None:
        show(self, step, *rest)
        if step == 3 and rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    TrainingProgress.show = show_and_signal  # type: ignore[method-assign]
    run = bombo.train(out=out / "run", epochs=4, **small)
    result = {"figures": evaluation.to_json(), "entries": entries, "stopped": run.stopped}
    (out / f"{rank}.json").write_text(json.dumps(result))


@pytest.fixture(scope="module")
def forked_pair(
    trained: Path, photos: Path, small_once: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[dict[str, Any]]]:
    if sys.platform != "linux":
        pytest.skip("forks")
    out = tmp_path_factory.mktemp("forked")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    small = small_once | {"backbone": "test_resnet", "freeze_norm": True, "batch_size": 4}
    context = mp.start_processes(
        forked, args=(port, out, trained, photos, small), nprocs=2, join=False, start_method="fork"
    )
    deadline = time.monotonic() + 120
    while not context.join(timeout=1):
        if time.monotonic() > deadline:
            for process in context.processes:
                process.kill()
            pytest.fail("no end within two minutes")
    return out, [json.loads((out / f"{rank}.json").read_text()) for rank in range(2)]


def test_evaluation_gives_the_same_figures_in_every_process(
    forked_pair: tuple[Path, list[dict[str, Any]]], trained: Path, world: Path
) -> None:
    alone = bombo.evaluate(trained, data=world, workers=0, **CPU).to_json()
    _, results = forked_pair
    assert results[0]["figures"] == results[1]["figures"]
    assert results[0]["figures"]["images"] == alone["images"]
    for name, value in alone["figures"].items():
        assert results[0]["figures"]["figures"][name] == pytest.approx(value, abs=1e-4), name


def test_prediction_writes_the_same_files(
    forked_pair: tuple[Path, list[dict[str, Any]]], trained: Path, photos: Path, tmp_path: Path
) -> None:
    out, results = forked_pair
    alone = bombo.predict(trained, photos, out=tmp_path, min_score=0.001, skip_bad=True, **CPU)
    assert results[0]["entries"] == results[1]["entries"] == json.loads((out / "seen/predictions.json").read_text())
    files = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.*")}
    assert {path.relative_to(out / "seen") for path in (out / "seen").rglob("*.*")} == files
    assert len(files) == 2 * 4 + 2
    assert (out / "seen/skipped.json").read_text() == (tmp_path / "skipped.json").read_text()
    assert len(alone) > 0
    # single images in one, pairs in the other: sums in another order
    for one, other in zip(alone, results[0]["entries"], strict=True):
        assert one["file_name"] == other["file_name"]
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)
        assert one["bbox"] == pytest.approx(other["bbox"], abs=0.02)
    for number in range(4):
        masks = [np.asarray(Image.open(folder / f"masks/{number}.png")) for folder in (tmp_path, out / "seen")]
        assert np.mean(masks[0] != masks[1]) < 0.001


def test_a_signal_to_one_process_stops_all_at_the_same_step(forked_pair: tuple[Path, list[dict[str, Any]]]) -> None:
    out, results = forked_pair
    assert [result["stopped"] for result in results] == ["interrupted", "interrupted"]
    assert torch.load(out / "run" / "state.pt", weights_only=True)["step"] == 3
    assert bombo.train(resume=out / "run").stopped == "finished"  # alone
