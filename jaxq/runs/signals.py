"""Ctrl-C and SIGTERM: stop where nothing is lost."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, Self


class Stopped(KeyboardInterrupt):
    """The process was asked to stop."""

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class Stopper:
    """Turns the first signal into `Stopped`, and the second into the end.

    The first raises at once, or, inside `deferred`, when that is done. Only the main
    thread can do so; elsewhere signals keep their handlers, and so does a signal that
    is ignored.
    """

    end_process = False  # at the second signal; else it raises KeyboardInterrupt

    def __init__(self) -> None:
        self.twice = False  # asked not to wait for anything
        self._number: int | None = None
        self._busy = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._number is not None:
            if self.end_process:
                os._exit(128 + number)
            self.twice = True
            raise KeyboardInterrupt
        self._number = number
        if not self._busy:
            raise Stopped(number)
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # a closed pipe
            print("stopping; once more to stop at once", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def deferred(self, last: bool = False) -> Iterator[None]:
        """Let what is begun come to its end before `Stopped` is raised.

        Args:
            last: nothing is left to stop after it, and nothing is raised.
        """
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
        if self._number is not None and not last:
            raise Stopped(self._number)
