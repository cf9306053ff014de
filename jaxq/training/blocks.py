"""Assignment of seeds to blocks, and of blocks to devices.

A block is a fixed number of seeds vectorised together. A worker is a thread that drives
a device and computes one block at a time; a CPU has one worker per core. A seed's
numbers depend on the width of its block, because XLA chooses kernels by it, but neither
on the other seeds nor on the number of blocks. The last block is filled up with
repeats, whose results are dropped.
"""

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxq.config.config import Config

MAX_CPU_BLOCK = 16  # seeds; wider blocks gain nothing
# Working set of a CPU block's update, which should stay in cache: 6 to 14 % faster,
# see results/performance.md#cpu-blocks.
MAX_CPU_BYTES = 5_700_000


class Block(NamedTuple):
    """Members that are vectorised together: seeds, possibly with different settings.

    The values of `changes` and `parameters` are [], or [width] for one per member.
    """

    seeds: np.ndarray  # [width] uint32
    worker: int  # preferred worker; any worker of the same device may compute it
    device: jax.Device
    changes: Mapping[str, Any] = MappingProxyType({})  # replace traced Config fields
    parameters: Mapping[str, Any] = MappingProxyType({})  # replace the environment's


def workers(cores: int = 0) -> list[jax.Device]:
    """The device of every worker: all local devices, or the CPU once per core.

    A second core gains more from a second block than from a second XLA thread, and two
    threads on one CPU device share its executable, where two CPU devices would compile
    one each; see results/performance.md#cpu-workers.

    Args:
        cores: CPU cores to use; 0 means all.
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
    devices: Sequence[jax.Device],
    update_bytes: int = 0,
    width: int = 0,
) -> list[Block]:
    """Distribute the seeds over workers, in blocks of one width.

    Args:
        config: num_seeds, first_seed and seed_block. If seed_block is 0, there are as
            few equal blocks as occupy every worker; on a CPU a block has at most
            `MAX_CPU_BLOCK` seeds and `MAX_CPU_BYTES`.
        devices: of the workers, to which blocks are assigned in turn; see `workers`.
        update_bytes: working set of an update, per seed; see `memory.MemoryNeed`.
        width: overrides seed_block, as a resumed run must keep its width; 0 uses
            seed_block.
    """
    widest = config.num_seeds
    if devices[0].platform == "cpu":
        widest = widest_on_cpu(update_bytes)
    share = -(-config.num_seeds // len(devices))
    width = width or config.seed_block or balanced(share, widest)
    num_blocks = -(-config.num_seeds // width)
    lanes = np.minimum(np.arange(num_blocks * width), config.num_seeds - 1)
    seeds = (config.first_seed + lanes).astype(np.uint32)
    return [
        Block(part, i % len(devices), devices[i % len(devices)])
        for i, part in enumerate(np.split(seeds, num_blocks))
    ]


def widest_on_cpu(update_bytes: int) -> int:
    """Seeds in the widest CPU block, given the working set of an update per seed."""
    return max(1, min(MAX_CPU_BLOCK, MAX_CPU_BYTES // max(1, update_bytes)))


def balanced(count: int, widest: int) -> int:
    """Width of the fewest equal blocks that hold `count` seeds, at most `widest`."""
    return -(-count // -(-count // widest))


def used_devices(blocks: Sequence[Block]) -> list[jax.Device]:
    """The device of every worker that has blocks."""
    return list({block.worker: block.device for block in blocks}.values())
