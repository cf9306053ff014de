"""How much memory a run will take, before anything is compiled."""

import collections
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxq.agents import algorithms
from jaxq.config import loop_lengths
from jaxq.config.config import Config, ConfigError
from jaxq.envs.adapter import Environment
from jaxq.training import loop
from jaxq.training.blocks import Block
from jaxq.types import Counter, LearnerState, PyTree, is_key
from jaxq.xla import prng

# Beside the states: the program, the allocator's gaps, and what others may take.
SHARE = 0.9


class MemoryNeed(NamedTuple):
    """Bytes that one seed takes."""

    learner: int  # parameters, target parameters, optimizer
    experience: int  # the store of experience, or the newest rollout
    environment: int  # environments, memories and running means
    work: int  # an estimate of what an update needs besides
    rollout: int  # the same, of evaluating a rollout beside a minibatch of it

    @property
    def total(self) -> int:
        """Bytes of one seed."""
        return sum(self)

    @property
    def update(self) -> int:
        """Bytes that an update goes through: what should stay near a core."""
        return self.learner + self.work


def need(config: Config, env: Environment) -> MemoryNeed:
    """Memory of one seed, from shapes alone.

    The work of an update is taken for three copies of the parameters (a gradient, a
    direction, and new ones), four of the minibatch in float32, and seven of what its
    layers give for it (of the estimate, the target and the gradient, before and after
    an activation, and one transposed).
    """
    agent = algorithms.make(config, env.spec)
    key = jax.eval_shape(lambda: prng.key(0))
    state = jax.eval_shape(lambda key: loop.init(key, agent, env, config.num_envs), key)
    learner: LearnerState = state.agent.learner
    lengths = loop_lengths.loop_lengths(config)
    batch = minibatch = config.batch_size
    if config.rollout_length:
        batch = lengths.rollout_length * config.num_envs
        minibatch = batch // config.num_minibatches
    elif config.recurrent != "none":
        batch = minibatch = batch * (loop_lengths.window(config) + 1)
    observation = 4 * int(np.prod(env.spec.observation.shape, dtype=np.int64))
    inside = size(state.agent)
    return MemoryNeed(
        learner=size(learner),
        experience=inside - size(learner),
        environment=size(state) - inside,
        work=3 * size(learner.params)
        + 4 * 2 * minibatch * observation
        + 7 * 4 * minibatch * _outputs(learner.params),
        rollout=4 * 2 * (batch - minibatch) * observation,
    )


def _outputs(params: PyTree) -> int:
    """Numbers that all layers give for one input, a convolution's for one position."""
    kernels = [leaf.shape for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
    return sum(int(np.prod((*shape[:-2], shape[-1]))) for shape in kernels)


def size(tree: PyTree) -> int:
    """Bytes of the leaves that every seed has for itself."""

    def leaf_bytes(leaf: jax.ShapeDtypeStruct) -> int:
        if is_key(leaf):
            return 8 * leaf.size
        return leaf.size * leaf.dtype.itemsize

    own = jax.tree.map(
        lambda leaf: None if isinstance(leaf, Counter) else leaf,
        tree,
        is_leaf=lambda leaf: isinstance(leaf, Counter),
    )
    return sum(leaf_bytes(leaf) for leaf in jax.tree.leaves(own))


def check(config: Config, each: MemoryNeed, placed: Sequence[Block]) -> str:
    """Refuse a run that cannot fit.

    Args:
        config: of the run.
        each: what a seed needs.
        placed: its blocks; those that are filled up with repeats take memory for them.

    Returns:
        What it will take, in words.

    Raises:
        ConfigError: with the number of seeds that would fit.
    """
    lanes: collections.Counter = collections.Counter()
    for block in placed:  # CPU devices share one memory
        on_host = block.device.platform == "cpu"
        lanes[placed[0].device if on_host else block.device] += block.seeds.size
    takes = lanes.total() * each.total
    rows = loop_lengths.loop_lengths(config).buffer_rows * config.num_envs
    text = f"memory: {readable(each.total)} a seed"
    if not config.rollout_length:
        text += f" ({each.experience / rows:.0f} bytes a transition)"
    text += f", {readable(takes)} in all"
    free = {device: available([device]) for device in lanes}
    known = {device: count for device, count in free.items() if count is not None}
    if len(known) < len(lanes):
        return text
    if any(lanes[device] * each.total > SHARE * known[device] for device in lanes):
        least = int(SHARE * min(known.values()) // each.total)
        width = config.seed_block or 1
        fit = least // width * width * len(lanes)
        way = f"--num-seeds {fit}" if fit else "a smaller --buffer-size"
        if least and not fit:
            way = f"--seed-block {least}, or less, and as many seeds"
        raise ConfigError(
            f"num_seeds = {config.num_seeds} would take {readable(takes)} "
            f"({readable(each.total)} a seed, of which {readable(each.experience)} are "
            f"experience, in {len(placed)} blocks of {placed[0].seeds.size}), but "
            f"{readable(sum(known.values()))} are free: {fit} seeds fit. Use {way}, or "
            "more devices."
        )
    return f"{text}, of {readable(sum(known.values()))} free"


def available(devices: list[jax.Device]) -> int | None:
    """Free bytes of the devices together, or None where they cannot be told."""
    if devices[0].platform == "cpu":
        return _free_on_host()
    free = 0
    for device in devices:
        stats = device.memory_stats() or {}
        if "bytes_limit" not in stats:
            return None
        free += stats["bytes_limit"] - stats["bytes_in_use"]
    return free


def _free_on_host() -> int | None:
    """Free memory of this machine, or of the control group that this process is in."""
    try:
        text = pathlib.Path("/proc/meminfo").read_text()
        lines = dict(line.split(":") for line in text.splitlines())
        free = 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError):
        return None
    group = pathlib.Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        stats = (group / "memory.stat").read_text().splitlines()
        cache = int(dict(line.split() for line in stats)["inactive_file"])
    except (OSError, ValueError, KeyError):
        return free
    return free if limit == "max" else min(free, int(limit) - used + cache)


def readable(count: float) -> str:
    """Bytes with a unit, three digits."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
