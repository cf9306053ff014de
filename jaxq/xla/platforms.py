"""A choice between two functions by the platform, made around a gradient.

`jax.lax.platform_dependent` inside a differentiated function keeps the residuals of
both branches, and its CPU program then differs from that of the CPU function alone.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax


class _Trace(threading.local):
    """One per thread, since several threads may trace at the same time."""

    platform: str | None = None  # "cpu" or "default"; None: for either
    asked: bool = False  # whether a choice was made since the trace began


_trace = _Trace()


def by_platform(
    cpu: Callable[..., Any], default: Callable[..., Any]
) -> Callable[..., Any]:
    """`cpu` on a CPU, `default` on an accelerator.

    Args:
        cpu, default: functions of pytrees of arrays, equal up to rounding.
    """

    def chosen(*arguments: Any) -> Any:
        _trace.asked = True
        if _trace.platform is None:
            return jax.lax.platform_dependent(*arguments, cpu=cpu, default=default)
        return (cpu if _trace.platform == "cpu" else default)(*arguments)

    return chosen


@contextlib.contextmanager
def tracing(platform: str) -> Iterator[Callable[[], bool]]:
    """Make the choices of everything traced inside the context for one platform.

    Args:
        platform: "cpu", or "default" for an accelerator.

    Yields:
        Returns whether there was a choice so far.
    """
    before = _trace.platform, _trace.asked
    _trace.platform, _trace.asked = platform, False
    try:
        yield lambda: _trace.asked
    finally:
        _trace.platform, _trace.asked = before


def either(
    cpu: Callable[..., Any], function: Callable[..., Any], differs: bool
) -> Callable[..., Any]:
    """The program of a function on each platform.

    Args:
        cpu: the function, as it was traced for a CPU.
        function: the function itself, to be traced for an accelerator.
        differs: whether that trace made a choice; otherwise both have one program.
    """
    if not differs:
        return cpu

    def accelerated(*arguments: Any) -> Any:
        with tracing("default"):
            return function(*arguments)

    def dispatched(*arguments: Any) -> Any:
        return jax.lax.platform_dependent(*arguments, cpu=cpu, default=accelerated)

    return dispatched
