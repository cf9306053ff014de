"""Which seeds are computed together, and where.

Seeds are vectorised in blocks of a fixed width, one block a worker at a time. A worker
is a thread that drives a device; a CPU has one for each core. A seed's numbers depend
on the width, because XLA chooses its kernels by it, but neither on its neighbours nor
on how many blocks there are; the last block is filled up with repeats, which are
dropped.
"""

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxq.config.config import Config

MAX_CPU_BLOCK = 16  # no gain beyond it
# What the updates of a CPU's block go through, which shall stay near its core.
# Microseconds an iteration of one seed on two cores, in blocks of 16 and 8: CartPole
# with a minibatch of 32 (250 kB a seed), 10.9 and 11.4; of 128 (611 kB), 41.3 and 38.5;
# Rejax's PQN (619 kB), 4,700 and 4,300. Steps a second in blocks of 4, 2 and 1:
# 256-256 units, batch of 64 (2.8 MB), 23,500, 25,200 and 24,700; MinAtar PQN (6 MB),
# 14,500, 15,800 and 16,500.
MAX_CPU_BYTES = 5_700_000


class Block(NamedTuple):
    """Seeds that are vectorised together, perhaps each with a setting of its own."""

    seeds: np.ndarray  # [width] uint32
    worker: int  # which is to take it, or another one of its device
    device: jax.Device
    # In place of the configuration's traced fields, and of the environment's
    # parameters: name -> [], or [width] for one a seed.
    changes: Mapping[str, Any] = MappingProxyType({})
    parameters: Mapping[str, Any] = MappingProxyType({})


def workers(cores: int = 0) -> list[jax.Device]:
    """The device of every worker: all local devices, or a CPU once for each core.

    A second core is worth more as a second block of seeds than as a second thread of
    XLA's, and two threads that run one program on one device compile it once. Two CPU
    devices have to compile it each: seconds until the first 1,000 updates of 8 seeds,
    5.9 and 8.7 (CartPole), 7.8 and 11.8 (MinAtar), at the same speed after that.

    Args:
        cores: CPU cores to use; 0 takes all.
    """
    devices = jax.local_devices()
    if len(devices) > 1 or devices[0].platform != "cpu":
        return devices
    return devices * (cores or available_cores())


def available_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def layout(
    config: Config,
    devices: list[jax.Device],
    update_bytes: int = 0,
    width: int = 0,
) -> list[Block]:
    """Distribute seeds over workers, in blocks of one width.

    Args:
        config: num_seeds, first_seed and seed_block; 0 takes the fewest equal blocks
            that fill every worker; on a CPU a block is at most `MAX_CPU_BLOCK` wide and
            `MAX_CPU_BYTES` large.
        devices: of the workers, which take blocks in turn; see `workers`.
        update_bytes: of one seed; see `memory.Need`.
        width: of a block, which a run that goes on must keep; 0 chooses.
    """
    widest = config.num_seeds
    if devices[0].platform == "cpu":
        widest = widest_on_cpu(update_bytes)
    share = -(-config.num_seeds // len(devices))
    width = width or config.seed_block or balanced(share, widest)
    count = -(-config.num_seeds // width)
    lanes = np.minimum(np.arange(count * width), config.num_seeds - 1)
    seeds = (config.first_seed + lanes).astype(np.uint32)
    return [
        Block(part, i % len(devices), devices[i % len(devices)])
        for i, part in enumerate(np.split(seeds, count))
    ]


def widest_on_cpu(update_bytes: int) -> int:
    """Seeds in the widest block of a CPU, for the bytes of a seed's update."""
    return max(1, min(MAX_CPU_BLOCK, MAX_CPU_BYTES // max(1, update_bytes)))


def balanced(count: int, widest: int) -> int:
    """Width of the fewest equal blocks of `count` seeds, at most `widest`."""
    return -(-count // -(-count // widest))


def used_devices(blocks: list[Block]) -> list[jax.Device]:
    """The device of every worker that has blocks."""
    return list({block.worker: block.device for block in blocks}.values())
