"""Conditions under which a run may resume from a checkpoint."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxq.config import loop_lengths
from jaxq.config.config import Config, from_json
from jaxq.config.fields import CheckpointError, ConfigError
from jaxq.runs import checkpoint, files, manifest
from jaxq.training import evaluate, metrics, pytree_arrays

# Packages whose versions can change the results of a run.
_PACKAGES = ("jaxq", "jax", "jaxlib", "flax", "optax", "gymnax")
EXTENSIBLE = ("total_steps", "eval_points")  # may increase when a run resumes


class ResumePoint(NamedTuple):
    """A checkpoint from which a run resumes."""

    config: Config  # possibly with more steps than before
    arrays: dict[str, np.ndarray]  # states of the population
    points: list[metrics.Measurement]
    levels: dict[str, float]
    width: int  # of a block
    notes: list[str]  # warnings to print


def made_with(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Facts that results depend on besides the configuration.

    Args:
        provenance: of a process; see `manifest.collect`.
    """
    versions = {name: provenance["versions"].get(name) for name in _PACKAGES}
    return {
        "environment": provenance["environment"],
        "platform": provenance["platform"],
        "device": provenance["devices"][0],
        "cpu": provenance["cpu"],
        "deterministic": "xla_gpu_deterministic_ops=true" in provenance["xla_flags"],
        **versions,
        **{k: v["sha256"] for k, v in provenance.items() if k == "dataset"},
    }


def header(
    config: Config,
    provenance: Mapping[str, Any],
    iterations: int,
    levels: Mapping[str, float],
    points: Sequence[metrics.Measurement],
) -> dict[str, Any]:
    """The header of a checkpoint, independent of the time at which it is written."""
    return {
        "schema": manifest.SCHEMA,
        "iterations": iterations,
        "config": dataclasses.asdict(config),
        "made_with": made_with(provenance),
        "seed_block": provenance["seed_block"],
        "levels": files.plain({name: float(value) for name, value in levels.items()}),
        "extra": sorted(points[0].extra) if points else [],
    }


def pack(points: Sequence[metrics.Measurement]) -> dict[str, np.ndarray]:
    """Measurements as named arrays, with a leading axis for the points."""
    if not points:
        return {}
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *points)
    return pytree_arrays.flatten(stacked, "points/")


def unpack(
    arrays: Mapping[str, np.ndarray], extra: Sequence[str]
) -> list[metrics.Measurement]:
    """The inverse of `pack`.

    Args:
        arrays: name -> array; those of the measurements and possibly others.
        extra: names of the experiment's extra metrics.

    Raises:
        CheckpointError: if some of the arrays are missing.
    """
    zero: Any = 0
    evaluation = evaluate.Evaluation(zero, zero, zero)
    template = metrics.Measurement(
        metrics.zeros(), evaluation, zero, zero, dict.fromkeys(extra, zero)
    )
    names = [f"points/{name}" for name in pytree_arrays.flatten(template)]
    missing = [name for name in names if name not in arrays]
    if missing:
        if len(missing) < len(names):
            raise CheckpointError(f"array {missing[0]} is missing")
        return []
    stacked = [arrays[name] for name in names]
    structure = jax.tree.structure(template)
    return [
        jax.tree.unflatten(structure, [leaf[i] for leaf in stacked])
        for i in range(len(stacked[0]))
    ]


def load(
    directory: pathlib.Path, config: Config, provenance: Mapping[str, Any], force: bool
) -> ResumePoint:
    """Load the newest valid checkpoint of a run, if `config` matches it.

    Args:
        directory: directory of the run.
        config: configuration of the run; it may have more steps.
        provenance: of this process; see `manifest.collect`.
        force: resume even if versions or devices differ.

    Raises:
        ConfigError: with all differences.
        CheckpointError: if no checkpoint is valid.
    """
    stored, arrays, errors = checkpoint.newest(directory)
    saved, before, iterations = _parse(stored, arrays)
    if saved.config.dataset and config.dataset:  # its content is compared below
        own = dataclasses.replace(saved.config, dataset=config.dataset)
        saved = saved._replace(config=own)
    changed = differences(
        dataclasses.asdict(saved.config), dataclasses.asdict(config), EXTENSIBLE
    )
    if changed:
        raise ConfigError(
            f"{directory} was run with a different configuration: "
            f"{'; '.join(changed)}. Omit these flags, or start a new run."
        )
    if before["environment"] != provenance["environment"]:
        raise ConfigError(
            f"{directory} was run on {before['environment']}, but the environment is "
            f"{provenance['environment']}. If the run was given an Environment object, "
            "resume it from Python: jaxq.run(config, environment, resume=directory)."
        )
    changed = differences(before, made_with(provenance))
    if changed and not force:
        raise ConfigError(
            f"{directory} was created with other versions, data or devices: "
            f"{'; '.join(changed)}. The resumed run would differ from an uninterrupted "
            "one; --force-resume resumes it anyway."
        )
    notes = checkpoint.warnings(errors)
    notes += [f"warning: {text}" for text in changed]
    original = read_manifest(directory)
    commit = [original, *original.get("resumed", [])][-1].get("commit")
    if commit != provenance["commit"]:
        notes.append(f"warning: commit was {commit} and is {provenance['commit']}")
    return saved._replace(
        config=extended(saved.config, config, iterations), notes=notes
    )


def _parse(
    stored: Mapping[str, Any], arrays: dict[str, np.ndarray]
) -> tuple[ResumePoint, dict[str, Any], int]:
    """The content of a checkpoint, its `made_with`, and its iterations."""
    try:
        saved = ResumePoint(
            config=from_json(stored["config"]),
            arrays=arrays,
            points=unpack(arrays, stored["extra"]),
            levels={  # JSON has no nan
                name: float("nan") if value is None else float(value)
                for name, value in stored["levels"].items()
            },
            width=int(stored["seed_block"]),
            notes=[],
        )
        return saved, dict(stored["made_with"]), int(stored["iterations"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"invalid header: {error!r}") from error


def read_manifest(directory: pathlib.Path) -> dict[str, Any]:
    """The manifest of a run, or an empty dictionary if it cannot be read."""
    try:
        content = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def check_extras(saved: ResumePoint, measured: bool) -> None:
    """Raise if extra metrics were recorded before but are not now, or vice versa.

    Args:
        saved: the checkpoint.
        measured: whether the experiment computes extra metrics.

    Raises:
        ConfigError: with the names of the recorded metrics.
    """
    extra = list(saved.points[0].extra) if saved.points else []
    if saved.points and bool(extra) != measured:
        raise ConfigError(
            f"the run recorded these extra metrics: {', '.join(extra) or 'none'}. "
            "Resume it with the experiment that started it; manifest.json has the "
            "command."
        )


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], allowed: Sequence[str] = ()
) -> list[str]:
    """Descriptions of all entries that differ, except those that are allowed to."""
    return [
        f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
        for name in sorted(set(before) | set(now))
        if name not in allowed and before.get(name) != now.get(name)
    ]


def extended(old: Config, new: Config, iterations: int) -> Config:
    """The configuration of a run with more steps, its points equally spaced.

    Args:
        old: configuration of the run.
        new: the same, except for `EXTENSIBLE`.
        iterations: number of iterations done so far.

    Raises:
        ConfigError: if the points would move, or the run is already longer.
    """
    if all(getattr(old, name) == getattr(new, name) for name in EXTENSIBLE):
        return old
    lengths = loop_lengths.loop_lengths(old)
    points = max(1, -(-(new.total_steps - lengths.warmup_steps) // lengths.point_steps))
    if new.eval_points not in (old.eval_points, points):
        raise ConfigError(
            f"eval_points was {old.eval_points} and is {new.eval_points}, but a "
            "resumed run keeps the spacing of its points. Omit it."
        )
    done = -(-iterations // lengths.point_iterations)
    if points < done:
        steps = lengths.warmup_steps + done * lengths.point_steps
        raise ConfigError(
            f"total_steps = {new.total_steps}, but the run has already done {steps}. "
            "Use a larger value, or omit it."
        )
    total = lengths.warmup_steps + points * lengths.point_steps
    return dataclasses.replace(old, total_steps=total, eval_points=points)
