"""A window that is closed, or a line that breaks, ends a run as Ctrl-C does: it saves."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

pty = pytest.importorskip("pty", reason="only Unix has terminals of this kind")


@pytest.mark.parametrize("nohup", [False, True])
def test_a_hangup_ends_a_run_politely_unless_it_was_started_with_nohup(
    nohup: bool, small: dict[str, Any], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = [word for name, value in small.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    words += ["--steps", "60", "--eval-every", "0", "--out", str(run)]
    child, terminal = pty.fork()
    if child == 0:
        if nohup:  # which also writes to a file
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            file = os.open(tmp_path / "nohup.out", os.O_WRONLY | os.O_CREAT)
            os.dup2(file, 1)
            os.dup2(file, 2)
        os.execv(sys.executable, [sys.executable, "-m", "bombo", "train", *words])
    deadline, said = time.monotonic() + 300, b""
    try:
        while not (run / "metrics.jsonl").is_file():
            if select.select([terminal], [], [], 0.1)[0]:
                said += os.read(terminal, 4096)
            assert time.monotonic() < deadline, said
        os.kill(child, signal.SIGHUP)  # as the system does when the window is closed
        with suppress(OSError):  # the last process has left the terminal
            while os.read(terminal, 4096):
                pass
    finally:
        os.close(terminal)
    _, status = os.waitpid(child, 0)
    state = torch.load(run / "state.pt", weights_only=True)
    if nohup:
        assert (os.waitstatus_to_exitcode(status), state["step"]) == (0, 60)
    else:
        assert os.waitstatus_to_exitcode(status) == 130
        assert 2 <= state["step"] < 60
