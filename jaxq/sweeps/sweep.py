"""A sweep: settings x seeds, in the fewest programs, block after block."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxq.config import loop_lengths
from jaxq.config.config import Config, ConfigError
from jaxq.runs import results
from jaxq.sweeps import packing, search_space
from jaxq.training import memory

SCHEMA = "jaxq-sweep/1"
MAX_LINES = 12  # of the description of programs


class Job(NamedTuple):
    """A block of a sweep."""

    program: int
    block: int

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.program:04}-{self.block:06}.jaxq"


class Sweep(NamedTuple):
    """What is tried, and how it is computed."""

    base: Config  # its seeds are those of every setting
    settings: list[search_space.Setting]
    ranges: list[str]  # the words that they come from, if any
    configs: list[Config]  # of every setting
    programs: list[packing.Program]
    packings: list[packing.Packing]

    @property
    def jobs(self) -> list[Job]:
        """Every block."""
        blocks = [range(len(packed.lanes)) for packed in self.packings]
        return [Job(p, b) for p, found in enumerate(blocks) for b in found]

    def members(self, job: Job) -> list[int]:
        """The first and the last member of a block."""
        lanes = self.packings[job.program].lanes[job.block]
        return [int(lanes[0]), int(lanes[-1])]

    def steps(self, job: Job) -> int:
        """Environment steps of all members of a block."""
        lengths = loop_lengths.loop_lengths(self.programs[job.program].config)
        return lengths.total_steps * self.packings[job.program].lanes[job.block].size


class Curves(NamedTuple):
    """What was measured of one setting."""

    steps: np.ndarray  # [P]
    arrays: dict[str, np.ndarray]  # results.Curve's fields [S, P]; eval_returns


def make(
    base: Config,
    settings: Sequence[search_space.Setting],
    ranges: Sequence[str],
    devices: Sequence[jax.Device],
    widths: Sequence[int] = (),
    computed: bool = True,
) -> Sweep:
    """Plan a sweep; nothing is compiled.

    Args:
        base: what the settings change.
        settings: field -> value; one that comes twice is tried once.
        ranges: the words they come from.
        devices: of the workers.
        widths: of the blocks of every program; none are chosen.
        computed: whether blocks will be computed here, and so have to fit.

    Raises:
        ConfigError: for a setting that cannot run.
    """
    found = {search_space.apply(base, setting): setting for setting in settings}
    if not found:
        raise ConfigError("nothing is tried: use --grid, --random or --settings.")
    configs = list(found)
    programs = packing.group(configs)
    packings = [
        packing.pack(program, devices, width, computed)
        for program, width in zip(programs, widths or [0] * len(programs), strict=True)
    ]
    return Sweep(base, list(found.values()), list(ranges), configs, programs, packings)


def describe(sweep: Sweep) -> str:
    """Programs, members, bytes and blocks, in words."""
    base, count = sweep.base, len(sweep.programs)
    lines = [
        f"{len(sweep.settings)} settings x {base.num_seeds} seeds of {base.algorithm} "
        f"on {base.environment} | compiled programs: {count} | blocks: "
        f"{len(sweep.jobs)}"
    ]
    pairs = list(zip(sweep.programs, sweep.packings, strict=True))
    for number, (program, packed) in enumerate(pairs[:MAX_LINES]):
        inputs = ", ".join([*program.changes, *program.parameters])
        block = memory.readable(packed.width * program.need.total)
        lines.append(
            f"  program {number}: {len(program.settings)} settings in "
            f"{len(packed.lanes)} blocks of {packed.width} members, {block} each"
            + (", several settings in a block" if packed.mixed else "")
            + (f" | inputs: {inputs}" if inputs else "")
        )
    if count > MAX_LINES:
        lines.append(f"  and {count - MAX_LINES} programs more")
    return "\n".join(lines)


def directory_of(
    root: pathlib.Path, kind: str, base: Config, tried: Sequence[Any]
) -> pathlib.Path:
    """Where a search is kept; the same for the same search.

    Args:
        root: of all results.
        kind: of the search.
        base: what is changed.
        tried: the settings, or whatever else JSON can hold that says which they are.
    """
    text = json.dumps([dataclasses.asdict(base), tried], sort_keys=True)
    short = hashlib.sha256(text.encode()).hexdigest()[:8]
    name = f"{results.file_name(base.environment)}-{short}"
    return root / kind / base.algorithm / name


def assemble(
    sweep: Sweep, measured: Mapping[Job, Mapping[str, np.ndarray]]
) -> list[Curves]:
    """The curves of every setting, from what was measured of all blocks."""
    found: dict[int, Curves] = {}
    seeds = sweep.base.num_seeds
    pairs = zip(sweep.programs, sweep.packings, strict=True)
    for number, (program, packed) in enumerate(pairs):
        blocks = [measured[Job(number, i)] for i in range(len(packed.lanes))]
        joined = {
            name: np.concatenate([block[name] for block in blocks])
            for name in blocks[0]
            if name != "steps"
        }
        for i, setting in enumerate(program.settings):
            own = slice(i * seeds, (i + 1) * seeds)
            arrays = {name: values[own] for name, values in joined.items()}
            found[setting] = Curves(blocks[0]["steps"], arrays)
    return [found[i] for i in range(len(sweep.settings))]
