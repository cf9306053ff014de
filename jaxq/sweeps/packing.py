"""Packing of a sweep into the fewest compiled programs, and blocks of one width each.

Settings that differ only in traced fields, in parameters of the environment or in
traced hyper-parameters of the algorithm share a program; any other difference needs
another program. The members of a program, settings x seeds, are packed into blocks; see
`jaxq.training.blocks`.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxq.agents import algorithms
from jaxq.config import loop_lengths
from jaxq.config.aliases import HYPERPARAMETER
from jaxq.config.config import Config, static_fields, traced_fields
from jaxq.config.fields import MAX_INT32, ConfigError
from jaxq.config.validate import validate
from jaxq.envs.adapter import Environment
from jaxq.sweeps import search_space
from jaxq.training import blocks, checks, memory

# On a CPU, blocks of four seeds are as fast as wider ones, so a block can hold a single
# setting: it runs the program of a single run, with the same numbers by construction.
# With fewer seeds, and on an accelerator, a block holds several settings.
PURE_WIDTH = 4


class Program(NamedTuple):
    """The settings that one compiled program serves."""

    config: Config  # of the first setting
    env: Environment
    lengths: loop_lengths.LoopLengths
    settings: tuple[int, ...]  # indices into the sweep's settings
    changes: dict[str, np.ndarray]  # traced values that differ: [H]
    parameters: dict[str, np.ndarray]  # of the environment: [H]
    need: memory.MemoryNeed  # of one member; without a dataset that is not read


class Packing(NamedTuple):
    """The blocks of a program; member number = setting * num_seeds + seed."""

    width: int
    lanes: tuple[np.ndarray, ...]  # members of each block, at most `width`
    mixed: bool  # whether a block holds several settings


def group(configs: Sequence[Config], computed: bool = True) -> list[Program]:
    """Group settings into the fewest programs, and check each setting.

    Args:
        configs: configuration of every setting.
        computed: whether blocks are trained here, and need their datasets.

    Raises:
        ConfigError: for a setting that cannot run; the message names it.
    """
    inputs: dict[Any, frozenset[str]] = {}  # environment parameters that are traced
    groups: dict[Any, list[int]] = {}
    envs: dict[Any, Environment] = {}
    # The first of a kind is checked twice.
    check = functools.cache(functools.partial(checks.check, with_data=computed))
    for i, config in enumerate(configs):
        with search_space.naming(i):
            validate(config)
            args = _environment_args(config)
            kind = _static_values(config), frozenset(args)
            if kind not in inputs:
                inputs[kind] = frozenset(dict(check(config).parameters))
            fixed = {k: v for k, v in args.items() if k not in inputs[kind]}
            key = kind, frozenset(fixed.items())
            if key not in envs:
                envs[key] = check(config)
        groups.setdefault(key, []).append(i)
    return [_program(configs, envs[key], groups[key], computed) for key in groups]


def _static_values(config: Config) -> tuple[Any, ...]:
    """Values compiled into a program, except `environment_args`."""
    names = [name for name in static_fields() if not name.endswith("_args")]
    none = [getattr(config, name) is None for name in traced_fields()]
    own = algorithms.compiled(config).static
    return *(getattr(config, name) for name in names), *none, own


def _traced_values(config: Config) -> dict[str, Any]:
    """Values of the traced fields, and of the algorithm's own hyper-parameters."""
    own = algorithms.compiled(config).traced
    fields = {name: getattr(config, name) for name in traced_fields()}
    return fields | {HYPERPARAMETER + name: value for name, value in own.items()}


def _environment_args(config: Config) -> dict[str, str]:
    return dict(arg.partition("=")[::2] for arg in config.environment_args)


def _program(
    configs: Sequence[Config], env: Environment, settings: list[int], computed: bool
) -> Program:
    first = configs[settings[0]]
    lengths = loop_lengths.loop_lengths(first)
    rows = [_traced_values(configs[i]) for i in settings]
    fields = {name: [row[name] for row in rows] for name in rows[0]}
    parameters = {
        name: [_parameter(i, configs[i], name) for i in settings]
        for name, _ in env.parameters
    }
    measured = first if computed else dataclasses.replace(first, dataset=None)
    return Program(
        config=first,
        env=env,
        lengths=lengths,
        settings=tuple(settings),
        changes={k: np.array(v) for k, v in fields.items() if len(set(v)) > 1},
        parameters={k: np.array(v, np.float32) for k, v in parameters.items()},
        need=memory.estimate(measured, env, lengths),
    )


def _parameter(index: int, config: Config, name: str) -> float:
    """The number that a setting gives a parameter of its environment."""
    text = _environment_args(config)[name]
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(
            f"setting {index}: {name} = {text!r} of {config.environment} must be a "
            "number."
        ) from error


def pack(
    program: Program,
    devices: Sequence[jax.Device],
    width: int = 0,
    computed: bool = True,
) -> Packing:
    """Pack the members of a program into blocks; one per worker must fit in memory.

    On a CPU the width does not depend on the number of workers.

    Args:
        program: the program whose members are packed.
        devices: of the workers.
        width: of a block; 0 uses `seed_block`, or chooses.
        computed: whether blocks are trained here, and must fit in memory.

    Raises:
        ConfigError: if they do not fit.
    """
    seeds, settings = program.config.num_seeds, len(program.settings)
    width = width or program.config.seed_block
    limit = _limit(program, devices, width) if computed else MAX_INT32
    on_cpu = devices[0].platform == "cpu"
    if on_cpu:
        limit = min(limit, blocks.widest_on_cpu(program.need.update))
    if on_cpu or width or settings == 1:
        pure_width = width or blocks.balanced(seeds, limit)
        if settings == 1 or _is_pure(seeds, pure_width, bool(width), limit):
            lanes = [
                lane + setting * seeds
                for setting in range(settings)
                for lane in _split(seeds, pure_width)
            ]
            return Packing(pure_width, tuple(lanes), mixed=False)
    members = settings * seeds
    share = members if on_cpu else -(-members // len(devices))
    width = width or blocks.balanced(share, limit)
    return Packing(width, tuple(_split(members, width)), mixed=True)


def _is_pure(seeds: int, width: int, fixed: bool, limit: int) -> bool:
    """Whether blocks of one setting each are as fast as blocks of several."""
    if fixed:
        return seeds % width == 0
    return width >= min(limit, PURE_WIDTH)


def _split(count: int, width: int) -> list[np.ndarray]:
    return np.split(np.arange(count), range(width, count, width))


def _limit(program: Program, devices: Sequence[jax.Device], width: int) -> int:
    """Members per block that fit in the free memory, with one block per worker.

    Raises:
        ConfigError: if not even one fits, or fewer than `width`.
    """
    free = memory.available(list(devices))
    if free is None:
        return MAX_INT32
    room = memory.USABLE_SHARE * free - len(set(devices)) * program.need.dataset
    limit = int(max(0.0, room) / len(devices) / program.need.total)
    if not limit:
        data, smaller = "", "buffer-size"
        if program.need.dataset:
            data, smaller = (
                f" and its dataset {memory.readable(program.need.dataset)} per device",
                "dataset",
            )
        raise ConfigError(
            f"a member needs {memory.readable(program.need.total)}{data}, but only "
            f"{memory.readable(free)} is free for {len(devices)} workers. Use a "
            f"smaller --{smaller}, or fewer --cpu-cores."
        )
    if width > limit:
        raise ConfigError(
            f"seed_block = {width} members of {memory.readable(program.need.total)} "
            f"for each of {len(devices)} workers do not fit in memory: only {limit} "
            "do. Use a smaller --seed-block, or fewer --cpu-cores; a sweep that is "
            "resumed keeps the blocks that it was started with."
        )
    return limit


def block(
    program: Program, packing: Packing, index: int, worker: int, device: jax.Device
) -> blocks.Block:
    """One block to train, padded with repeats of its last member."""
    lanes = packing.lanes[index]
    lanes = np.append(lanes, np.full(packing.width - lanes.size, lanes[-1]))
    setting, seed = np.divmod(lanes, program.config.num_seeds)
    row: Any = setting if packing.mixed else setting[0]
    return blocks.Block(
        (program.config.first_seed + seed).astype(np.uint32),
        worker,
        device,
        {name: values[row] for name, values in program.changes.items()},
        {name: values[row] for name, values in program.parameters.items()},
    )
