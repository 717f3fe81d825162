"""Ctrl-C and SIGTERM as a request: the step in progress finishes, the run is saved, the process exits by itself."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any


class StopRequest:
    """Context that turns the first SIGINT or SIGTERM into `requested`; a second one acts as if there were no handler.

    Outside the main thread Python delivers no signals: nothing is installed there. `wake`, if given, is called with the first: it must
    end what may wait for ever.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, wake: Callable[[], None] | None = None) -> None:
        self._wake = wake
        self.requested = False
        self.signal_name = ""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._on_signal) for number in self._SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self._restore()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self.signal_name = signal.Signals(number).name
        self._restore()  # a second signal must be able to end a run that hangs
        if self._wake is not None:
            self._wake()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
