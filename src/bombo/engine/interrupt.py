"""Ctrl-C, SIGTERM and a closed terminal as a polite request: finish the step, save, stop. A second Ctrl-C: at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

_HANGUP = (signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()  # Windows has none


class Interrupt:
    """While active, notes signals in `asked`; after a Ctrl-C the handlers that were there before get later ones.

    SIGTERM may come twice for one request: from a job queue to every process, and from `torchrun`, which got it too.
    A hangup that is ignored already (`nohup`) stays so.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}
        self._terminals = [stream for stream in (1, 2) if os.isatty(stream)]

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python does not allow handlers
            for number in (signal.SIGINT, signal.SIGTERM, *_HANGUP):
                if number not in _HANGUP or signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if number in _HANGUP:
            self._fall_silent()
        if number == signal.SIGINT:
            self._restore()

    def _fall_silent(self) -> None:
        """What would go to the terminal that is gone goes nowhere, instead of raising an error before all is saved."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in self._terminals:
            os.dup2(nowhere, stream)
        os.close(nowhere)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def leave_to_main(worker: int) -> None:
    """Makes a loader's process, which the step in progress still needs, deaf to signals meant for all of them.

    A terminal sends Ctrl-C and its end to every process, and a job queue SIGTERM; only the main process's SIGTERM still
    ends it.
    """
    for number in (signal.SIGINT, *_HANGUP):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # on Linux; elsewhere the sender cannot be told
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_obey_main, daemon=True).start()


def _obey_main() -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != os.getppid():
        pass
    os._exit(0)
