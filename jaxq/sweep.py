"""A sweep: settings x seeds, block after block; every finished block is kept.

A directory holds sweep.json, what is tried and how it is packed, and blocks/, a
checksummed file for each block. Whatever is there is not computed again, so the same
command goes on after any stop; shares of the blocks may be computed elsewhere and
merged.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxq import checkpoint, files, memory, packing, results, resume, spaces
from jaxq import plan as plans
from jaxq.config import Config, ConfigError, from_json
from jaxq.fields import CheckpointError

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
    settings: list[spaces.Setting]
    ranges: list[str]  # the words that they come from, if any
    configs: list[Config]  # of every setting
    programs: list[packing.Program]
    packings: list[packing.Packing]

    @property
    def jobs(self) -> list[Job]:
        """Every block."""
        blocks = [range(len(packed.lanes)) for packed in self.packings]
        return [Job(p, b) for p, found in enumerate(blocks) for b in found]

    def steps(self, job: Job) -> int:
        """Environment steps of all members of a block."""
        loop = plans.plan(self.programs[job.program].config)
        return loop.total_steps * self.packings[job.program].lanes[job.block].size


class Curves(NamedTuple):
    """What was measured of one setting."""

    steps: np.ndarray  # [P]
    arrays: dict[str, np.ndarray]  # results.Curve's fields [S, P]; eval_returns


def make(
    base: Config,
    settings: Sequence[spaces.Setting],
    ranges: Sequence[str],
    devices: Sequence[jax.Device],
    widths: Sequence[int] = (),
) -> Sweep:
    """Plan a sweep; nothing is compiled.

    Args:
        base: what the settings change.
        settings: field -> value; one that comes twice is tried once.
        ranges: the words they come from.
        devices: of the workers.
        widths: of the blocks of every program; none are chosen.

    Raises:
        ConfigError: for a setting that cannot run.
    """
    found = {spaces.apply(base, setting): setting for setting in settings}
    if not found:
        raise ConfigError("nothing is tried: use --grid, --random or --settings.")
    configs = list(found)
    programs = packing.group(configs)
    packings = [
        packing.pack(program, devices, width)
        for program, width in zip(programs, widths or [0] * len(programs), strict=True)
    ]
    return Sweep(base, list(found.values()), list(ranges), configs, programs, packings)


def describe(sweep: Sweep, done: int = 0) -> str:
    """Programs, members, bytes and blocks, in words."""
    base, count = sweep.base, len(sweep.programs)
    lines = [
        f"{len(sweep.settings)} settings x {base.num_seeds} seeds of {base.algorithm} "
        f"on {base.environment} | compiled programs: {count} | blocks: "
        f"{len(sweep.jobs)}" + (f", of which {done} are there" if done else "")
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


def contents(sweep: Sweep, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What sweep.json says."""
    content = {
        "schema": SCHEMA,
        "config": dataclasses.asdict(sweep.base),
        "settings": sweep.settings,
        "ranges": sweep.ranges,
        "programs": [
            {"settings": list(program.settings), "width": packed.width}
            for program, packed in zip(sweep.programs, sweep.packings, strict=True)
        ],
        "made_with": resume.made_with(manifest),
    }
    return json.loads(json.dumps(content))  # as it is read: lists, not tuples


def read(directory: pathlib.Path) -> dict[str, Any]:
    """What sweep.json says.

    Raises:
        ConfigError: if the directory holds no sweep.
    """
    path = directory / "sweep.json"
    try:
        content = json.loads(path.read_text())
        if content["schema"] != SCHEMA:
            raise ValueError(f"its schema is {content['schema']!r}, not {SCHEMA!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{directory} is no directory of a sweep: sweep.json cannot be read "
            f"({error})."
        ) from error
    return content


def load(directory: pathlib.Path, devices: Sequence[jax.Device]) -> Sweep:
    """The sweep of a directory, packed as it was."""
    content = read(directory)
    settings = [
        {k: tuple(v) if isinstance(v, list) else v for k, v in setting.items()}
        for setting in content["settings"]
    ]
    widths = [program["width"] for program in content["programs"]]
    base = from_json(content["config"])
    return make(base, settings, content["ranges"], devices, widths)


def begin(
    sweep: Sweep,
    directory: pathlib.Path,
    manifest: Mapping[str, Any],
    devices: Sequence[jax.Device],
    force: bool = False,
) -> Sweep:
    """Write sweep.json, or go on with the packing that it says.

    Raises:
        ConfigError: with every difference, if it was begun with other versions or
            another device, unless forced.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / "sweep.json").exists():
        files.write_json(directory / "sweep.json", contents(sweep, manifest))
        files.write_json(directory / "manifest.json", manifest)
        return sweep
    content = read(directory)
    changed = resume.differences(content["made_with"], resume.made_with(manifest))
    if changed and not force:
        raise ConfigError(
            f"{directory} was begun with another environment, version or device: "
            f"{'; '.join(changed)}. Give another --output, or go on all the same with "
            "--force-resume."
        )
    widths = [program["width"] for program in content["programs"]]
    if widths == [packed.width for packed in sweep.packings]:
        return sweep
    return load(directory, devices)


def finished(directory: pathlib.Path, sweep: Sweep) -> tuple[set[Job], list[str]]:
    """The blocks that are there and whole, and what is wrong with others."""
    found, wrong = set(), []
    for job in sweep.jobs:
        path = directory / "blocks" / job.name
        if not path.exists():
            continue
        try:
            checkpoint.load(path)
        except (CheckpointError, OSError) as error:
            wrong.append(f"{path} is damaged and computed again: {error}")
        else:
            found.add(job)
    return found, wrong


def keep(directory: pathlib.Path, job: Job, arrays: Mapping[str, np.ndarray]) -> None:
    """Write what was measured of a block."""
    (directory / "blocks").mkdir(exist_ok=True)
    about = {"schema": SCHEMA, "program": job.program, "block": job.block}
    checkpoint.save(directory / "blocks" / job.name, about, arrays)


def part_of(directory: pathlib.Path, job: Job) -> pathlib.Path:
    """Where a block that is under way is kept."""
    return directory / "blocks" / f"{job.name}.part"


def keep_part(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the states and measurements of a block that is under way."""
    path.parent.mkdir(exist_ok=True)
    checkpoint.save(path, {"schema": SCHEMA}, arrays)


def merge(target: pathlib.Path, others: Sequence[pathlib.Path]) -> int:
    """Copy the finished blocks of shares of one sweep to the first of them.

    Returns:
        How many were copied.

    Raises:
        ConfigError: for shares of different sweeps, or packed in different ways.
        CheckpointError: for a damaged block.
    """
    own, copied = read(target), 0
    for other in others:
        changed = resume.differences(own, read(other))
        if changed:
            names = ", ".join(text.split(" was ")[0] for text in changed)
            raise ConfigError(
                f"{other} is no share of the sweep of {target}: they differ in "
                f"{names}. Give every share the same command, versions, kind of device "
                "and --seed-block."
            )
        for path in sorted((other / "blocks").glob("*.jaxq")):
            if (target / "blocks" / path.name).exists():
                continue
            about, arrays = checkpoint.load(path)
            keep(target, Job(about["program"], about["block"]), arrays)
            copied += 1
    return copied


def collect(directory: pathlib.Path, sweep: Sweep) -> list[Curves]:
    """The curves of every setting, from the files of the blocks.

    Raises:
        CheckpointError: for a block that is missing or damaged.
    """
    found = {}
    for job in sweep.jobs:
        path = directory / "blocks" / job.name
        if not path.exists():
            raise CheckpointError(f"{path} is missing: its share is not finished")
        found[job] = checkpoint.load(path)[1]
    return assemble(sweep, found)


def assemble(
    sweep: Sweep, measured: Mapping[Job, Mapping[str, np.ndarray]]
) -> list[Curves]:
    """The curves of every setting, from what was measured of all blocks."""
    found: dict[int, Curves] = {}
    seeds = sweep.base.num_seeds
    for number, program in enumerate(sweep.programs):
        blocks = [measured[job] for job in sweep.jobs if job.program == number]
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
