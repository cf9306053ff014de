"""Directory of a sweep: its plan and its blocks, which may be merged from shards.

sweep.json holds the settings and how they are packed; blocks/ has one checksummed file
per block. Finished blocks are not trained again, so the same command resumes a sweep
that was stopped; shards may be trained elsewhere and merged.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from jaxq.config.config import Config, changed, from_json
from jaxq.config.fields import ConfigError
from jaxq.runs import files, resume
from jaxq.sweeps import block_files, planning, search_space
from jaxq.sweeps.planning import SCHEMA, Curves, Job, Sweep
from jaxq.training import datasets


def contents(sweep: Sweep, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The contents of sweep.json."""
    content = {
        "schema": SCHEMA,
        "config": dataclasses.asdict(sweep.base),
        "given": sorted(sweep.base.given),  # type: ignore[attr-defined]
        "settings": sweep.settings,
        "ranges": sweep.ranges,
        "programs": [
            {"settings": list(program.settings), "width": width}
            for program, width in zip(sweep.programs, sweep.widths, strict=True)
        ],
        "made_with": resume.made_with(manifest) | _datasets(sweep),
    }
    return json.loads(json.dumps(content))  # as when read back: lists, not tuples


def _datasets(sweep: Sweep) -> dict[str, str]:
    """SHA-256 of every dataset that the sweep learns from."""
    return {
        f"dataset {program.config.dataset}": datasets.facts(
            program.config, program.env.spec
        )["sha256"]
        for program in sweep.programs
        if program.config.dataset is not None
    }


def read(directory: pathlib.Path) -> dict[str, Any]:
    """Read sweep.json.

    Raises:
        ConfigError: if the directory holds no sweep.
    """
    path = directory / "sweep.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError(f"its schema is {content['schema']!r}, not {SCHEMA!r}")
        _widths(content)
        for name in ("config", "settings", "ranges", "made_with"):
            content[name]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{directory} is not a sweep's directory: sweep.json cannot be read "
            f"({error})."
        ) from error
    return content


def _widths(content: Mapping[str, Any]) -> list[int]:
    return [program["width"] for program in content["programs"]]


def load(
    directory: pathlib.Path, devices: Sequence[jax.Device], computed: bool = True
) -> Sweep:
    """Load the sweep of a directory, with its packing; see `planning.plan`."""
    content = read(directory)
    settings = [search_space.from_json(setting) for setting in content["settings"]]
    base, widths = _base(content), _widths(content)
    return planning.plan(base, settings, content["ranges"], devices, widths, computed)


def _base(content: Mapping[str, Any]) -> Config:
    """The base configuration, including which of its fields were given."""
    if "given" in content:
        return from_json(content["config"], content["given"])
    # Earlier versions treated the fields that differ from their defaults as given.
    stored = from_json(content["config"])
    return Config(**{name: getattr(stored, name) for name in changed(stored)})


def start_or_resume(
    sweep: Sweep,
    directory: pathlib.Path,
    manifest: Mapping[str, Any],
    devices: Sequence[jax.Device],
    force: bool = False,
) -> Sweep:
    """Write sweep.json, or adopt the packing of the one that exists.

    Raises:
        ConfigError: if the sweep was started with other versions or another device,
            unless forced; the message lists the differences.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / "sweep.json").exists():
        files.write_json(directory / "sweep.json", contents(sweep, manifest))
        files.write_json(directory / "manifest.json", manifest)
        return sweep
    content, current = read(directory), contents(sweep, manifest)
    different = [
        name
        for name in ("config", "given", "settings")
        if name in content and content[name] != current[name]
    ]
    if different:
        raise ConfigError(
            f"{directory} holds another sweep: {', '.join(different)} differ. Choose "
            "another --output."
        )
    changed = resume.differences(content["made_with"], current["made_with"])
    if changed and not force:
        raise ConfigError(
            f"{directory} was started with another environment, version or device: "
            f"{'; '.join(changed)}. Choose another --output, or resume anyway with "
            "--force-resume."
        )
    if _widths(content) == sweep.widths:
        return sweep
    return load(directory, devices)


def merge(target: pathlib.Path, others: Sequence[pathlib.Path]) -> int:
    """Copy the finished blocks of other shards of a sweep to its directory.

    Returns:
        Number of blocks copied.

    Raises:
        ConfigError: for shards of different sweeps, or packed differently, and for a
            corrupt block.
    """
    content, copied = read(target), 0
    for other in others:
        changed = resume.differences(content, read(other))
        if changed:
            names = ", ".join(text.split(" was ")[0] for text in changed)
            raise ConfigError(
                f"{other} is not a shard of the sweep in {target}: they differ in "
                f"{names}. Train every shard with the same command, versions, kind of "
                "device and --seed-block."
            )
        for path in sorted((other / "blocks").glob("*.jaxq")):
            if (target / "blocks" / path.name).exists():
                continue
            block_files.require_block(path, Job(*map(int, path.stem.split("-"))))
            (target / "blocks").mkdir(exist_ok=True)
            files.copy(path, target / "blocks" / path.name)
            copied += 1
    return copied


def load_curves(directory: pathlib.Path, sweep: Sweep) -> list[Curves]:
    """Load the curves of every setting from the files of the blocks.

    Raises:
        ConfigError: for a block that is missing or corrupt.
    """
    blocks = directory / "blocks"
    measured = {
        job: block_files.require_block(blocks / job.name, job, sweep.members(job))
        for job in sweep.jobs
    }
    return planning.assemble(sweep, measured)


def clean_up(directory: pathlib.Path, sweep: Sweep) -> None:
    """Delete temporary files of killed processes; caller must hold the lock.

    Temporary files are left alone while another shard may be writing them.
    """
    if not any(directory.glob(".lock-*")):
        files.clear(directory)
        files.clear(directory / "blocks")
    for job in sweep.jobs:
        if (directory / "blocks" / job.name).exists():
            block_files.partial_path(directory, job).unlink(missing_ok=True)
