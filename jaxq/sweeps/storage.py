"""The directory of a sweep: what is tried, and every finished block.

sweep.json says what is tried and how it is packed; blocks/ has a checksummed file for
each block. Whatever is there is not computed again, so the same command goes on after
any stop; shares of the blocks may be computed elsewhere and merged.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxq.config.config import Config, ConfigError, changed, from_json
from jaxq.config.fields import CheckpointError
from jaxq.runs import checkpoint, files, resume
from jaxq.sweeps import search_space
from jaxq.sweeps.sweep import (
    SCHEMA,
    Curves,
    Job,
    Sweep,
    assemble,
    make,
)


def contents(sweep: Sweep, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What sweep.json says."""
    content = {
        "schema": SCHEMA,
        "config": dataclasses.asdict(sweep.base),
        "given": sorted(sweep.base.given),  # type: ignore[attr-defined]
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
        [program["width"] for program in content["programs"]]
        [content[name] for name in ("config", "settings", "ranges", "made_with")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{directory} is no directory of a sweep: sweep.json cannot be read "
            f"({error})."
        ) from error
    return content


def load(
    directory: pathlib.Path, devices: Sequence[jax.Device], computed: bool = True
) -> Sweep:
    """The sweep of a directory, packed as it was; see `sweep.make`."""
    content = read(directory)
    settings = [search_space.from_json(setting) for setting in content["settings"]]
    widths = [program["width"] for program in content["programs"]]
    base = _base(content)
    return make(base, settings, content["ranges"], devices, widths, computed)


def _base(content: Mapping[str, Any]) -> Config:
    """The base configuration, with the memory of which fields were given."""
    if "given" in content:
        return from_json(content["config"], content["given"])
    # Earlier sweeps took the fields that differ from their defaults as given.
    stored = from_json(content["config"])
    return Config(**{name: getattr(stored, name) for name in changed(stored)})


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
            load_block(path, job, sweep.members(job))
        except CheckpointError as error:
            wrong.append(f"{path} is damaged and computed again: {error}")
        else:
            found.add(job)
    return found, wrong


def load_block(
    path: pathlib.Path, job: Job, members: list[int] | None = None
) -> dict[str, np.ndarray]:
    """What was measured of a block.

    Args:
        path: of its file.
        job: which it is.
        members: who must be in it, `Sweep.members`; None takes any.

    Raises:
        CheckpointError: if it is not as it was written, or is another block.
    """
    about, arrays = checkpoint.load(path)
    if (about.get("program"), about.get("block")) != job:
        raise CheckpointError("it is another block, renamed")
    if members not in (None, about.get("members", members)):
        raise CheckpointError("it was packed in another way, by another process")
    return arrays


def keep(
    directory: pathlib.Path,
    job: Job,
    members: list[int],
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Write what was measured of a block, and of whom."""
    (directory / "blocks").mkdir(exist_ok=True)
    about = {"schema": SCHEMA, **job._asdict(), "members": members}
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
        ConfigError: for shares of different sweeps, or packed in different ways, and
            for a damaged block.
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
            _sound_block(path, Job(*map(int, path.stem.split("-"))))
            (target / "blocks").mkdir(exist_ok=True)
            files.copy(path, target / "blocks" / path.name)
            copied += 1
    return copied


def collect(directory: pathlib.Path, sweep: Sweep) -> list[Curves]:
    """The curves of every setting, from the files of the blocks.

    Raises:
        ConfigError: for a block that is missing or damaged.
    """
    blocks = directory / "blocks"
    return assemble(
        sweep,
        {
            job: _sound_block(blocks / job.name, job, sweep.members(job))
            for job in sweep.jobs
        },
    )


def clear(directory: pathlib.Path, sweep: Sweep) -> None:
    """Remove what processes that were killed have left; the directory must be held.

    Unfinished writes may be those of shares that are computed at the same time.
    """
    if not any(directory.glob(".lock-*")):
        files.clear(directory)
        files.clear(directory / "blocks")
    for job in sweep.jobs:
        if (directory / "blocks" / job.name).exists():
            part_of(directory, job).unlink(missing_ok=True)


def _sound_block(
    path: pathlib.Path, job: Job, members: list[int] | None = None
) -> dict[str, np.ndarray]:
    """A block that must be there and whole."""
    try:
        return load_block(path, job, members)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path} is missing: not every share is finished, or merged."
        ) from error
    except CheckpointError as error:
        raise ConfigError(
            f"{path} is damaged: {error}. The command of its share computes it again."
        ) from error
