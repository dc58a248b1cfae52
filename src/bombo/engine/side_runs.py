"""Makes runs, one after the other or several side by side, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from bombo.engine.arm_run import LOG, ArmRun
from bombo.engine.interrupt import Interrupt

_PAUSE, _SPEAK = 0.2, 1.0  # seconds


def make(
    runs: Sequence[ArmRun],
    parallel: int,
    ended: Callable[[ArmRun, str], None],
    going_on: Callable[[Sequence[ArmRun]], None],
) -> bool:
    """Brings runs to their ends, in that order.

    Ctrl-C and SIGTERM let every run finish its step and save; a second Ctrl-C stops them at once.

    Args:
        runs: What to make or to go on with.
        parallel: How many at the same time; the cores are shared out among them.
        ended: Told of each run that finished, with an empty text, or failed, with its last lines.
        going_on: Told every second which runs are being made.

    Returns:
        Whether it was interrupted.
    """
    waiting, told, spoke = list(runs), False, time.monotonic()
    going: list[tuple[ArmRun, subprocess.Popen[bytes]]] = []
    with Interrupt() as interrupt:
        try:
            while going or (waiting and not interrupt.asked):
                while waiting and len(going) < parallel and not interrupt.asked:
                    run = waiting.pop(0)
                    going.append((run, _start(run, parallel)))
                time.sleep(_PAUSE)
                if time.monotonic() - spoke > _SPEAK:
                    spoke = time.monotonic()
                    going_on([run for run, _ in going])
                if interrupt.asked and not told:
                    told = True
                    for _, process in going:
                        process.terminate()
                for run, process in [each for each in going if each[1].poll() is not None]:
                    going.remove((run, process))
                    if process.returncode == 0 and run.is_finished:
                        ended(run, "")
                    elif not interrupt.asked:
                        ended(run, "\n".join(run.last_lines) or f"it ended with code {process.returncode}")
        except KeyboardInterrupt:  # the second: at once
            for _, process in going:
                process.kill()
            raise
        finally:
            for _, process in going:
                process.terminate()  # which lets it save
            for _, process in going:
                process.wait()
    return interrupt.asked


def _start(run: ArmRun, parallel: int) -> subprocess.Popen[bytes]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, cores // parallel)))
    run.prepare()
    with (run.path / LOG).open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "bombo", *run.next_command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": threads},
            start_new_session=True,  # a terminal's Ctrl-C would come twice, and the second one means: at once
        )
