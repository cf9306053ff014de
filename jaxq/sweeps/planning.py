"""Plan of a sweep: settings x seeds in the fewest programs, block by block."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxq.agents import algorithms
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.runs import results
from jaxq.sweeps import packing, search_space
from jaxq.training import memory

SCHEMA = "jaxq-sweep/1"
MAX_LINES = 12  # programs that are described


class Job(NamedTuple):
    """One block of a sweep, to be trained."""

    program: int  # index into the sweep's programs
    block: int  # index into the program's blocks

    @property
    def name(self) -> str:
        """Name of the block's file."""
        return f"{self.program:04}-{self.block:06}.jaxq"


class Sweep(NamedTuple):
    """The settings of a sweep, and their programs and blocks."""

    base: Config  # its seeds are those of every setting
    settings: list[search_space.Setting]
    ranges: list[str]  # as given, if the settings come from ranges
    configs: list[Config]  # of every setting
    programs: list[packing.Program]
    packings: list[packing.Packing]

    @property
    def jobs(self) -> list[Job]:
        """One job per block."""
        return [
            Job(program, block)
            for program, packed in enumerate(self.packings)
            for block in range(len(packed.lanes))
        ]

    @property
    def widths(self) -> list[int]:
        """Block width of every program."""
        return [packed.width for packed in self.packings]

    def members(self, job: Job) -> list[int]:
        """The first and the last member of a block."""
        lanes = self.packings[job.program].lanes[job.block]
        return [int(lanes[0]), int(lanes[-1])]

    def steps(self, job: Job) -> int:
        """Environment steps of all members of a block."""
        lanes = self.packings[job.program].lanes[job.block]
        return self.programs[job.program].lengths.total_steps * lanes.size


class Curves(NamedTuple):
    """The learning curves of one setting."""

    steps: np.ndarray  # [P]
    arrays: dict[str, np.ndarray]  # results.Curve and diagnostics [S, P], eval_returns


def plan(
    base: Config,
    settings: Sequence[search_space.Setting],
    ranges: Sequence[str],
    devices: Sequence[jax.Device],
    widths: Sequence[int] = (),
    computed: bool = True,
) -> Sweep:
    """Plan a sweep, without compiling anything.

    Args:
        base: the configuration that settings change.
        settings: field -> value; duplicates are dropped.
        ranges: the ranges they come from, as given.
        devices: of the workers.
        widths: block width of every program; empty chooses.
        computed: whether blocks are trained here, and therefore must fit in memory and
            find their datasets.

    Raises:
        ConfigError: for a setting that cannot run.
    """
    unique = {resolved(base, setting): setting for setting in settings}
    if not unique:
        raise ConfigError("the sweep is empty: use --grid, --random or --settings.")
    configs = list(unique)
    programs = packing.group(configs, computed)
    packings = [
        packing.pack(program, devices, width, computed)
        for program, width in zip(programs, widths or [0] * len(programs), strict=True)
    ]
    return Sweep(base, list(unique.values()), list(ranges), configs, programs, packings)


def resolved(base: Config, setting: search_space.Setting) -> Config:
    """The configuration of a setting, with all hyper-parameters of its algorithm.

    Raises:
        ConfigError: if there is no such algorithm or hyper-parameter, or the value is
            out of range; the message names the setting.
    """
    with search_space.naming(setting):
        return algorithms.resolved(search_space.apply(base, setting))


def describe(sweep: Sweep) -> str:
    """The settings, programs, blocks and memory of a sweep, as text."""
    base, count = sweep.base, len(sweep.programs)
    lines = [
        f"{len(sweep.settings)} settings x {base.num_seeds} seeds of {base.algorithm} "
        f"on {base.environment} | compiled programs: {count} | blocks: "
        f"{len(sweep.jobs)}"
    ]
    pairs = zip(sweep.programs[:MAX_LINES], sweep.packings, strict=False)
    for number, (program, packed) in enumerate(pairs):
        lines.append(f"  program {number}: {_describe_program(program, packed)}")
    if count > MAX_LINES:
        lines.append(f"  and {count - MAX_LINES} more programs")
    return "\n".join(lines)


def _describe_program(program: packing.Program, packed: packing.Packing) -> str:
    size = memory.readable(packed.width * program.need.total)
    inputs = ", ".join([*program.changes, *program.parameters])
    return (
        f"{len(program.settings)} settings in {len(packed.lanes)} blocks of "
        f"{packed.width} members, {size} each"
        + (", several settings per block" if packed.mixed else "")
        + (f" | inputs: {inputs}" if inputs else "")
    )


def directory(root: pathlib.Path, kind: str, base: Config, search: Any) -> pathlib.Path:
    """Directory of a search; the same search always gets the same one.

    Args:
        root: of all results.
        kind: of the search: sweep or tune.
        base: the configuration that settings change.
        search: JSON-serializable description, such as the settings.
    """
    given = sorted(base.given)  # type: ignore[attr-defined]
    text = json.dumps([dataclasses.asdict(base), given, search], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    name = f"{results.file_name(base.environment)}-{digest}"
    return root / kind / results.file_name(base.algorithm) / name


def assemble(
    sweep: Sweep, measured: Mapping[Job, Mapping[str, np.ndarray]]
) -> list[Curves]:
    """The curves of every setting.

    Args:
        sweep: the sweep.
        measured: the arrays of every block; see `BlockTrainer.result`.
    """
    curves: dict[int, Curves] = {}
    seeds = sweep.base.num_seeds
    pairs = zip(sweep.programs, sweep.packings, strict=True)
    for number, (program, packed) in enumerate(pairs):
        blocks = [measured[Job(number, i)] for i in range(len(packed.lanes))]
        steps, arrays = concatenate(blocks)
        for i, setting in enumerate(program.settings):
            rows = slice(i * seeds, (i + 1) * seeds)
            selected = {name: values[rows] for name, values in arrays.items()}
            curves[setting] = Curves(steps, selected)
    return [curves[i] for i in range(len(sweep.settings))]


def concatenate(
    parts: Sequence[Mapping[str, np.ndarray]],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Join the arrays of several groups of members along their axis.

    Returns:
        `steps` [P], which the groups share, and the other arrays.
    """
    arrays = {
        name: np.concatenate([part[name] for part in parts])
        for name in parts[0]
        if name != "steps"
    }
    return parts[0]["steps"], arrays
