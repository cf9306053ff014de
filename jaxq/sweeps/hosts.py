"""Several processes that share one sweep, through jax's distributed runtime.

Processes exchange nothing while they train. At the end of every round the measurements
are gathered, and process 0 writes them.
"""

from typing import Any

import jax
import numpy as np

from jaxq.config.fields import ConfigError

MAX_WAIT = 7 * 24 * 3600  # seconds


def start(address: str) -> None:
    """Join the other processes; must be called before jax starts.

    Args:
        address: `auto` where jax detects the others (SLURM, Open MPI, TPU pods,
            GKE), or `ADDRESS:PORT,INDEX/COUNT` with the address of process 0.

    Raises:
        ConfigError: if it is malformed, or the processes cannot connect.
    """
    # The others wait at shutdown while process 0 confirms the best setting alone.
    arguments: dict[str, Any] = {"shutdown_timeout_seconds": MAX_WAIT}
    if address != "auto":
        arguments |= _parse(address)
    try:
        jax.distributed.initialize(**arguments)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"distributed = {address!r}: the processes cannot connect: {error}"
        ) from error


def _parse(address: str) -> dict[str, Any]:
    """Arguments of `jax.distributed.initialize` from ADDRESS:PORT,INDEX/COUNT."""
    coordinator, _, rank = address.rpartition(",")
    index, _, count = rank.partition("/")
    if not (coordinator and index.isdigit() and count.isdigit()):
        raise ConfigError(
            f"distributed = {address!r}: use auto, or ADDRESS:PORT,INDEX/COUNT such "
            "as 10.0.0.1:1234,0/2."
        )
    if int(index) >= int(count):
        raise ConfigError(
            f"distributed = {address!r}: the index must be in [0, {int(count) - 1}]."
        )
    return {
        "coordinator_address": coordinator,
        "num_processes": int(count),
        "process_id": int(index),
    }


def index() -> int:
    """Index of this process, below `count()`."""
    return jax.process_index()


def count() -> int:
    """Number of processes."""
    return jax.process_count()


def gather(data: bytes) -> list[bytes]:
    """The data of every process, in order of their index; all must call it."""
    if count() == 1:
        return [data]
    from jax.experimental import multihost_utils

    sizes = multihost_utils.process_allgather(np.int32(len(data)))
    padded = np.zeros(max(1, int(sizes.max())), np.uint8)
    padded[: len(data)] = np.frombuffer(data, np.uint8)
    rows = multihost_utils.process_allgather(padded)
    return [row[:size].tobytes() for row, size in zip(rows, sizes, strict=True)]
