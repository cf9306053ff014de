"""What a checkpoint of a run says, and whether a run may go on from one."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxq.config import loop_lengths
from jaxq.config.config import (
    Config,
    ConfigError,
    from_json,
)
from jaxq.config.fields import CheckpointError
from jaxq.runs import checkpoint, files
from jaxq.runs.manifest import SCHEMA
from jaxq.training import evaluate, metrics, pytree_arrays
from jaxq.training.population import Measurement

# What the numbers of a run depend on besides its configuration.
_VERSIONS = ("jaxq", "jax", "jaxlib", "flax", "optax", "gymnax")
LONGER = ("total_steps", "eval_points")  # what may be more than before


class ResumePoint(NamedTuple):
    """A checkpoint that a run goes on from."""

    config: Config  # perhaps longer than it was
    arrays: dict[str, np.ndarray]  # states of the population
    points: list[Measurement]
    levels: dict[str, float]
    width: int  # of a block
    notes: list[str]  # for the user


def made_with(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What the numbers of a run depend on besides its configuration."""
    versions = {name: manifest["versions"].get(name) for name in _VERSIONS}
    device = manifest["devices"][0]
    return {
        "environment": manifest["environment"],
        "platform": manifest["platform"],
        "device": device,
        "cpu": manifest["cpu"],
        "deterministic": "xla_gpu_deterministic_ops=true" in manifest["xla_flags"],
        **versions,
    }


def about(
    config: Config,
    manifest: Mapping[str, Any],
    width: int,
    iterations: int,
    levels: Mapping[str, float],
    points: Sequence[Measurement],
) -> dict[str, Any]:
    """The header of a checkpoint; the same bytes whenever it is written."""
    return {
        "schema": SCHEMA,
        "iterations": iterations,
        "config": dataclasses.asdict(config),
        "made_with": made_with(manifest),
        "seed_block": width,
        "levels": files.plain({name: float(value) for name, value in levels.items()}),
        "extra": sorted(points[0].extra) if points else [],
    }


def pack(points: Sequence[Measurement]) -> dict[str, np.ndarray]:
    """Measurements as named arrays with a leading axis of points."""
    if not points:
        return {}
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *points)
    return pytree_arrays.flatten(stacked, "points/")


def unpack(arrays: Mapping[str, np.ndarray], extra: Sequence[str]) -> list[Measurement]:
    """The inverse of `pack`; extra: what was measured besides."""
    zeros = evaluate.Evaluation(0, 0, 0)  # type: ignore[arg-type]
    one = Measurement(metrics.zeros(), zeros, 0, 0, dict.fromkeys(extra, 0))  # type: ignore[arg-type]
    names = [f"points/{name}" for name in pytree_arrays.flatten(one)]
    missing = [name for name in names if name not in arrays]
    if missing:
        if len(missing) < len(names):
            raise CheckpointError(f"it has no {missing[0]}")
        return []
    stacked = [arrays[name] for name in names]
    structure = jax.tree.structure(one)
    return [
        jax.tree.unflatten(structure, [leaf[i] for leaf in stacked])
        for i in range(len(stacked[0]))
    ]


def load(
    directory: pathlib.Path, config: Config, manifest: Mapping[str, Any], force: bool
) -> ResumePoint:
    """The newest whole checkpoint of a run, if `config` is what it was made with.

    Args:
        directory: of the run.
        config: its configuration, composed; more steps may be asked for.
        manifest: of the process that would go on.
        force: go on though versions or devices differ.

    Raises:
        ConfigError: with every difference.
        CheckpointError: if no checkpoint is whole.
    """
    said, arrays, wrong = checkpoint.newest(directory)
    try:
        old = from_json(said["config"])
        points = unpack(arrays, said["extra"])
        width = int(said["seed_block"])
        levels = {  # JSON has no nan
            name: float("nan") if value is None else float(value)
            for name, value in said["levels"].items()
        }
        before, iterations = dict(said["made_with"]), int(said["iterations"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"its header is wrong: {error!r}") from error
    changed = differences(dataclasses.asdict(old), dataclasses.asdict(config), LONGER)
    if changed:
        raise ConfigError(
            f"{directory} was run with another configuration: {'; '.join(changed)}. "
            "Leave these flags out, or start a new run."
        )
    if before["environment"] != manifest["environment"]:
        raise ConfigError(
            f"{directory} was run on {before['environment']}, and this is "
            f"{manifest['environment']}. If that was an object of your own, go on from "
            "Python: run.run(config, environment, resume=directory)."
        )
    changed = differences(before, made_with(manifest))
    if changed and not force:
        raise ConfigError(
            f"{directory} was made with another version or device: "
            f"{'; '.join(changed)}. The rest would not be the same run; --force-resume "
            "goes on all the same."
        )
    notes = [f"warning: {text}; the checkpoint before it is used" for text in wrong]
    notes += [f"warning: {text}" for text in changed]
    first = read_manifest(directory)
    commit = [first, *first.get("resumed", [])][-1].get("commit")
    if commit != manifest["commit"]:
        notes.append(f"warning: the commit was {commit} and is {manifest['commit']}")
    config = longer(old, config, iterations)
    return ResumePoint(config, arrays, points, levels, width, notes)


def read_manifest(directory: pathlib.Path) -> dict[str, Any]:
    """The manifest of a run's directory; empty if it cannot be read."""
    try:
        manifest = json.loads((directory / "manifest.json").read_text())
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def check_extras(saved: ResumePoint, measured: bool) -> None:
    """Refuse to go on without, or with, what was measured besides the returns.

    Raises:
        ConfigError: with what that was.
    """
    extra = list(saved.points[0].extra) if saved.points else []
    if saved.points and bool(extra) != measured:
        raise ConfigError(
            f"the run measured {', '.join(extra) or 'nothing'} besides the returns. Go "
            "on with the experiment that began it; its manifest.json has the command."
        )


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], allowed: Sequence[str] = ()
) -> list[str]:
    """What is not the same, in words."""
    return [
        f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
        for name in sorted(set(before) | set(now))
        if name not in allowed and before.get(name) != now.get(name)
    ]


def longer(old: Config, new: Config, iterations: int) -> Config:
    """A run's configuration with more steps, its points as far apart as they were.

    Args:
        old: of the run.
        new: the same, but for `LONGER`.
        iterations: done so far.
    """
    lengths = loop_lengths.loop_lengths(old)
    if all(getattr(old, name) == getattr(new, name) for name in LONGER):
        return old
    points = max(1, -(-(new.total_steps - lengths.warmup_steps) // lengths.point_steps))
    if new.eval_points not in (old.eval_points, points):
        raise ConfigError(
            f"eval_points was {old.eval_points} and is {new.eval_points}: the points "
            "of a run keep their distance. Leave it out."
        )
    done = -(-iterations // (lengths.chunk_iterations * lengths.point_chunks))
    if points < done:
        steps = lengths.warmup_steps + done * lengths.point_steps
        raise ConfigError(
            f"total_steps = {new.total_steps}, but the run has done {steps} already. "
            "Give more, or leave it out."
        )
    total = lengths.warmup_steps + points * lengths.point_steps
    return dataclasses.replace(old, total_steps=total, eval_points=points)
