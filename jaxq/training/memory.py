"""Memory estimate of a run, before anything compiles."""

import collections
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxq.agents import algorithms
from jaxq.config import loop_lengths
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.envs.adapter import Environment
from jaxq.training import datasets, loop
from jaxq.training.blocks import Block
from jaxq.types import Counter, PyTree, is_key
from jaxq.xla import prng

USABLE_SHARE = 0.9  # the rest is for the program, fragmentation and other processes
_FLOAT_BYTES = 4


class MemoryNeed(NamedTuple):
    """Bytes per seed."""

    learner: int  # parameters, target parameters and optimizer state
    experience: int  # replay buffer, or the current rollout
    environment: int  # environments, agent memories and running means
    work: int  # temporaries of an update (estimated)
    rollout: int  # temporaries of evaluating a rollout beyond a minibatch (estimated)
    dataset: int = 0  # per device, whatever the number of seeds

    @property
    def total(self) -> int:
        """Bytes per seed, everything included that is not shared."""
        return sum(self) - self.dataset

    @property
    def update(self) -> int:
        """Working set of an update, in bytes per seed."""
        return self.learner + self.work


def estimate(
    config: Config, env: Environment, lengths: loop_lengths.LoopLengths
) -> MemoryNeed:
    """Estimate the memory of one seed from shapes alone."""
    config = datasets.loaded(config, env.spec)
    state = _run_state(config, env)
    agent, learner = bytes_per_seed(state.agent), bytes_per_seed(state.agent.learner)
    batch, minibatch = _batch_sizes(config, lengths)
    leaves = jax.tree.leaves(env.spec.observation)
    observation = _FLOAT_BYTES * sum(leaf.size for leaf in leaves)
    return MemoryNeed(
        learner=learner,
        experience=agent - learner,
        environment=bytes_per_seed(state) - agent,
        work=_work(state.agent.learner.params, minibatch, observation),
        rollout=4 * 2 * (batch - minibatch) * observation,
        dataset=bytes_per_seed(config.dataset),
    )


def _run_state(config: Config, env: Environment) -> loop.RunState:
    """Shapes and dtypes of one seed's state."""
    agent = algorithms.make(config, env.spec)

    def init() -> loop.RunState:
        return loop.init(prng.key(0), agent, env, config.num_envs)

    return jax.eval_shape(init)


def _batch_sizes(config: Config, lengths: loop_lengths.LoopLengths) -> tuple[int, int]:
    """Observations evaluated together, and those of one gradient step."""
    if config.rollout_length:
        batch = lengths.rollout_length * config.num_envs
        return batch, batch // config.num_minibatches
    reads = config.recurrent, config.return_estimator, config.spr_steps
    window = 0 if reads == ("none", "n_step", None) else loop_lengths.window(config)
    return (window + 1) * config.batch_size, (window + 1) * config.batch_size


def _work(params: PyTree, minibatch: int, observation_bytes: int) -> int:
    """Temporaries of an update, in bytes.

    They are counted as three copies of the parameters (gradient, direction, result),
    four of the minibatch's observations and successors, and seven of the layers'
    outputs (prediction, target and gradient, each before and after the activation, and
    one transposed copy).
    """
    return (
        3 * bytes_per_seed(params)
        + 4 * 2 * minibatch * observation_bytes
        + 7 * _FLOAT_BYTES * minibatch * _num_outputs(params)
    )


def _num_outputs(params: PyTree) -> int:
    """Outputs of all layers for one input; a convolution's at one position."""
    kernels = [leaf.shape for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
    return sum(int(np.prod((*shape[:-2], shape[-1]))) for shape in kernels)


def bytes_per_seed(tree: PyTree) -> int:
    """Bytes of the leaves that have a seed axis, that is of all but the counters."""
    leaves = jax.tree.leaves(tree, is_leaf=lambda leaf: isinstance(leaf, Counter))
    return sum(_num_bytes(leaf) for leaf in leaves if not isinstance(leaf, Counter))


def _num_bytes(leaf: jax.ShapeDtypeStruct) -> int:
    return leaf.size * (8 if is_key(leaf) else leaf.dtype.itemsize)


def check(
    config: Config,
    lengths: loop_lengths.LoopLengths,
    need: MemoryNeed,
    blocks: Sequence[Block],
) -> str:
    """Check that a run fits in the free memory.

    Args:
        config, lengths: of the run.
        need: memory per seed.
        blocks: of the run; the repeats that fill up the last one use memory too.

    Returns:
        The estimate, as one line to print.

    Raises:
        ConfigError: with the number of seeds that fit.
    """
    num_seeds = _seeds_per_memory(blocks)
    message = f"memory: {readable(need.total)} per seed"
    if config.dataset is not None:
        message += f", and {readable(need.dataset)} of data per device"
    elif not config.rollout_length:
        transitions = lengths.buffer_rows * config.num_envs
        message += f" ({need.experience / transitions:.0f} bytes per transition)"
    total = num_seeds.total() * need.total + len(num_seeds) * need.dataset
    message += f", {readable(total)} in total"
    free = _free(list(num_seeds))
    if free is None:
        return message
    for device, count in num_seeds.items():
        if count * need.total + need.dataset > USABLE_SHARE * free[device]:
            raise ConfigError(_does_not_fit(config, need, blocks, free, total))
    return f"{message}, of {readable(sum(free.values()))} free"


def _seeds_per_memory(blocks: Sequence[Block]) -> collections.Counter[jax.Device]:
    """Seeds on each device, repeats included; CPU devices share the first one's."""
    num_seeds: collections.Counter[jax.Device] = collections.Counter()
    for block in blocks:
        on_cpu = block.device.platform == "cpu"
        device = blocks[0].device if on_cpu else block.device
        num_seeds[device] += block.seeds.size
    return num_seeds


def _does_not_fit(
    config: Config,
    need: MemoryNeed,
    blocks: Sequence[Block],
    free: Mapping[jax.Device, int],
    total: int,
) -> str:
    """Error message with the number of seeds that fit, and ways out."""
    width = config.seed_block or 1
    usable = max(0.0, USABLE_SHARE * min(free.values()) - need.dataset)
    per_device = int(usable // need.total)
    fit = per_device // width * width * len(free)
    data, smaller = f"{readable(need.experience)} of it experience", "buffer-size"
    if config.dataset is not None:
        data, smaller = f"and {readable(need.dataset)} of data per device", "dataset"
    remedy = f"a smaller --{smaller}"
    if fit:
        remedy = f"--num-seeds {fit}"
    elif per_device:
        remedy = f"--seed-block {per_device} or less, with as many seeds"
    return (
        f"num_seeds = {config.num_seeds} needs {readable(total)} of memory "
        f"({readable(need.total)} per seed, {data}, in {len(blocks)} blocks of "
        f"{blocks[0].seeds.size}), but only {readable(sum(free.values()))} is free: "
        f"{fit} seeds fit. Use {remedy}, or more devices."
    )


def _free(devices: Sequence[jax.Device]) -> dict[jax.Device, int] | None:
    """Free bytes of each device, or None if one of them does not report it."""
    free = {device: available([device]) for device in devices}
    known = {device: count for device, count in free.items() if count is not None}
    return known if len(known) == len(free) else None


def available(devices: Sequence[jax.Device]) -> int | None:
    """Free bytes of the devices together, or None if they do not report it."""
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
    """Free bytes of this machine, or of the process's control group if that is less."""
    machine, group = _free_on_machine(), _free_in_control_group()
    if machine is None or group is None:
        return machine
    return min(machine, group)


def _free_on_machine() -> int | None:
    try:
        text = pathlib.Path("/proc/meminfo").read_text(encoding="utf-8")
        fields = dict(line.split(":") for line in text.splitlines())
        return 1024 * int(fields["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError):
        return None


def _free_in_control_group() -> int | None:
    """Free bytes of a cgroup v2, or None if there is none or it has no limit."""
    group = pathlib.Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text(encoding="utf-8").strip()
        used = int((group / "memory.current").read_text(encoding="utf-8"))
        stats = (group / "memory.stat").read_text(encoding="utf-8").splitlines()
        cache = int(dict(line.split() for line in stats)["inactive_file"])
        return None if limit == "max" else int(limit) - used + cache
    except (OSError, ValueError, KeyError):
        return None


def readable(count: float) -> str:
    """Bytes with a unit, to three digits."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
