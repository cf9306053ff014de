"""How a sweep is computed: the fewest compiled programs, and blocks of one width.

Settings that differ in traced fields or in parameters of the environment share a
program; every other difference needs one of its own. The members of a program, settings
x seeds, are packed into blocks; see `jaxq.training.blocks`.
"""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxq.config import loop_lengths
from jaxq.config.config import (
    Config,
    static_fields,
    traced_fields,
)
from jaxq.config.fields import MAX_INT32, ConfigError
from jaxq.config.validate import validate
from jaxq.envs.adapter import Environment
from jaxq.training import blocks, checks, memory

# A CPU is as quick with blocks of four seeds as with wider ones, so a block holds one
# setting: its numbers are those of a single run by construction, as it is the same
# program. With fewer seeds, and on an accelerator, a block holds several settings.
PURE_WIDTH = 4


class Program(NamedTuple):
    """Settings that one compiled program serves."""

    config: Config  # of the first setting
    env: Environment
    settings: tuple[int, ...]  # positions in the sweep
    changes: dict[str, np.ndarray]  # traced fields that differ: [H]
    parameters: dict[str, np.ndarray]  # of the environment: [H]
    need: memory.MemoryNeed  # of one member


class Packing(NamedTuple):
    """Blocks of a program; its members are numbered setting * num_seeds + seed."""

    width: int
    lanes: tuple[np.ndarray, ...]  # for each block the members in it, at most `width`
    mixed: bool  # whether a block holds several settings


def group(configs: Sequence[Config]) -> list[Program]:
    """The fewest programs that serve all settings, each checked.

    Args:
        configs: of the settings, with the components of their algorithms.

    Raises:
        ConfigError: for a setting that cannot run; it names the setting.
    """
    free: dict[Any, frozenset[str]] = {}  # parameters that a program takes as inputs
    found: dict[Any, list[int]] = {}
    envs: dict[Any, Environment] = {}
    check = functools.cache(checks.check)  # the first of a kind is asked for twice
    for i, config in enumerate(configs):
        with _named(i):
            validate(config)
            static, words = _static(config), _words(config)
            kind = static, frozenset(words)
            if kind not in free:
                free[kind] = frozenset(dict(check(config).parameters))
            fixed = {k: v for k, v in words.items() if k not in free[kind]}
            key = kind, frozenset(fixed.items())
            if key not in envs:
                envs[key] = check(config)
        found.setdefault(key, []).append(i)
    return [_program(configs, envs[key], found[key]) for key in found]


@contextlib.contextmanager
def _named(index: int) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"setting {index}: {error}") from error


def _static(config: Config) -> tuple[Any, ...]:
    """What is compiled into a program, but for the words of `environment_args`."""
    names = [name for name in static_fields() if name != "environment_args"]
    none = [getattr(config, name) is None for name in traced_fields()]
    return *(getattr(config, name) for name in names), *none


def _words(config: Config) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in config.environment_args)


def _program(
    configs: Sequence[Config], env: Environment, settings: list[int]
) -> Program:
    own = [configs[i] for i in settings]
    fields = {name: [getattr(c, name) for c in own] for name in traced_fields()}
    free = [name for name, _ in env.parameters]
    values = {name: [_number(i, configs[i], name) for i in settings] for name in free}
    return Program(
        config=own[0],
        env=env,
        settings=tuple(settings),
        changes={k: np.array(v) for k, v in fields.items() if len(set(v)) > 1},
        parameters={k: np.array(v, np.float32) for k, v in values.items()},
        need=memory.estimate(own[0], env, loop_lengths.loop_lengths(own[0])),
    )


def _number(index: int, config: Config, name: str) -> float:
    text = _words(config)[name]
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
    """Blocks that fit in memory, one a worker at a time.

    On a CPU the width does not depend on how many workers there are.

    Args:
        program: whose members are packed.
        devices: of the workers.
        width: of a block; 0 takes `seed_block`, or chooses.
        computed: whether blocks will be computed here, and so have to fit.

    Raises:
        ConfigError: if they do not.
    """
    seeds, settings = program.config.num_seeds, len(program.settings)
    width = width or program.config.seed_block
    fit = _fit(program, devices) if computed else MAX_INT32
    if width > fit:
        raise ConfigError(
            f"seed_block = {width} members of {memory.readable(program.need.total)} "
            f"for each of {len(devices)} workers do not fit in memory: {fit} do. Use a "
            "smaller --seed-block, or fewer --cpu-cores; a sweep that goes on has the "
            "blocks that it was begun with."
        )
    on_cpu = devices[0].platform == "cpu"
    if on_cpu:
        fit = min(fit, blocks.widest_on_cpu(program.need.update))
    if on_cpu or width or settings == 1:
        alone = width or blocks.balanced(seeds, fit)
        whole = seeds % alone == 0 if width else alone >= min(fit, PURE_WIDTH)
        if whole or settings == 1:
            lanes = [
                part + setting * seeds
                for setting in range(settings)
                for part in _parts(seeds, alone)
            ]
            return Packing(alone, tuple(lanes), mixed=False)
    members = settings * seeds
    share = members if on_cpu else -(-members // len(devices))
    width = width or blocks.balanced(share, fit)
    return Packing(width, tuple(_parts(members, width)), mixed=True)


def _parts(count: int, width: int) -> list[np.ndarray]:
    return np.split(np.arange(count), range(width, count, width))


def _fit(program: Program, devices: Sequence[jax.Device]) -> int:
    """Members of a block for every worker that fit in the free memory.

    Raises:
        ConfigError: if not even one does.
    """
    free = memory.available(list(devices))
    if free is None:
        return MAX_INT32
    fit = int(memory.USABLE_SHARE * free / len(devices) / program.need.total)
    if not fit:
        raise ConfigError(
            f"a member takes {memory.readable(program.need.total)}, but "
            f"{memory.readable(free)} are free for {len(devices)} workers. Use a "
            "smaller --buffer-size, or fewer --cpu-cores."
        )
    return fit


def block(
    program: Program, packing: Packing, index: int, worker: int, device: jax.Device
) -> blocks.Block:
    """A block to compute, filled up with repeats of its last member."""
    lanes = packing.lanes[index]
    lanes = np.append(lanes, np.full(packing.width - lanes.size, lanes[-1]))
    setting, seed = np.divmod(lanes, program.config.num_seeds)
    which: Any = setting if packing.mixed else setting[0]
    return blocks.Block(
        (program.config.first_seed + seed).astype(np.uint32),
        worker,
        device,
        {name: values[which] for name, values in program.changes.items()},
        {name: values[which] for name, values in program.parameters.items()},
    )
