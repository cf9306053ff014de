"""Several processes that compute one sweep: jax's own runtime, and who writes.

Nothing passes between processes while they train. What they measured is gathered at
the end of every round, and process 0 writes it.
"""

from typing import Any

import jax
import numpy as np

from jaxq.config.fields import ConfigError

LONGEST = 7 * 24 * 3600  # seconds


def start(words: str) -> None:
    """Join the other processes, before jax starts.

    Args:
        words: `auto` where jax finds them by itself (SLURM, Open MPI, TPU pods, GKE),
            or `ADDRESS:PORT,INDEX/COUNT` with the address of process 0.

    Raises:
        ConfigError: if they cannot be joined.
    """
    # Process 0 goes on alone when all is computed: others wait for it as they end.
    arguments: dict[str, Any] = {"shutdown_timeout_seconds": LONGEST}
    if words != "auto":
        address, _, place = words.rpartition(",")
        index, _, count = place.partition("/")
        if not (address and index.isdigit() and count.isdigit()):
            raise ConfigError(
                f"distributed = {words!r}: use auto, or ADDRESS:PORT,INDEX/COUNT such "
                "as 10.0.0.1:1234,0/2."
            )
        if int(index) >= int(count):
            raise ConfigError(
                f"distributed = {words!r}: the processes are 0 to {int(count) - 1}."
            )
        arguments |= {
            "coordinator_address": address,
            "num_processes": int(count),
            "process_id": int(index),
        }
    try:
        jax.distributed.initialize(**arguments)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"distributed = {words!r}: the processes do not find one another: {error}"
        ) from error


def index() -> int:
    """Number of this process, of `count()`."""
    return jax.process_index()


def count() -> int:
    """Processes that compute together."""
    return jax.process_count()


def gather(data: bytes) -> list[bytes]:
    """What every process passes, in the order of processes; all must call it."""
    if count() == 1:
        return [data]
    from jax.experimental import multihost_utils

    sizes = multihost_utils.process_allgather(np.int32(len(data)))
    padded = np.zeros(max(1, int(sizes.max())), np.uint8)
    padded[: len(data)] = np.frombuffer(data, np.uint8)
    rows = multihost_utils.process_allgather(padded)
    return [row[:size].tobytes() for row, size in zip(rows, sizes, strict=True)]
