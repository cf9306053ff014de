"""Ctrl-C and SIGTERM: stop at a point where no work is lost."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, Self


class Stopped(KeyboardInterrupt):
    """Raised in the main thread by the first Ctrl-C or SIGTERM."""

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class Stopper:
    """Raises `Stopped` on the first signal and aborts on the second.

    The first signal raises immediately, or at the end of the enclosing `deferred`
    block. Python runs signal handlers in the main thread only; in any other thread this
    context manager does nothing. Ignored signals stay ignored.
    """

    # Whether the second signal ends the process; otherwise it raises KeyboardInterrupt.
    end_process = False

    def __init__(self) -> None:
        self.twice = False  # a second signal arrived: do not wait for anything
        self._number: int | None = None
        self._busy = False
        self._handlers: dict[int, Any] = {}  # to be restored

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._handlers[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
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
            print(
                "stopping; press Ctrl-C again to stop immediately",
                file=sys.stderr,
                flush=True,
            )

    @contextlib.contextmanager
    def deferred(self, last: bool = False) -> Iterator[None]:
        """Let the enclosed block finish before `Stopped` is raised.

        Args:
            last: no work follows this block, so do not raise at its end.
        """
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
        if self._number is not None and not last:
            raise Stopped(self._number)
