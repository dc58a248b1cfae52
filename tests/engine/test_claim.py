"""Two processes never train in one folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bombo
from bombo.engine.claim import LOCK, claim, release
from bombo.errors import BomboError

HOLDER = """
import sys
from pathlib import Path
from bombo.engine.claim import claim
held = claim(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which holds the folder `run` until it is killed."""
    (tmp_path / "run").mkdir()
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_folder_in_use_is_refused_and_nothing_in_it_is_touched(
    other: subprocess.Popen[str], small: dict[str, Any], tmp_path: Path
) -> None:
    kept = tmp_path / "run" / "metrics.jsonl"
    kept.write_text("{}\n")
    with pytest.raises(BomboError, match="another process is training there"):
        bombo.train(out=tmp_path / "run", overwrite=True, steps=1, **small)
    assert kept.read_text() == "{}\n"
    (tmp_path / "run" / "config.yaml").write_text("data: data.yaml\n")
    with pytest.raises(BomboError, match="another process is training there"):
        bombo.train(resume=tmp_path / "run", **small)


def test_a_killed_process_leaves_its_folder_to_others(other: subprocess.Popen[str], tmp_path: Path) -> None:
    other.kill()
    other.wait()
    held = claim(tmp_path / "run")
    assert held is not None
    release(held)
    assert not (tmp_path / "run" / LOCK).exists()


def test_the_same_process_may_try_again(tmp_path: Path) -> None:
    first = claim(tmp_path)  # of a training that failed, and that a traceback keeps alive
    second = claim(tmp_path)
    release(second)
    release(first)
