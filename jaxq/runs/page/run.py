"""The page of a run."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from jaxq.config import algorithm_table, field_usage, loop_lengths
from jaxq.config.config import Config
from jaxq.runs import results
from jaxq.runs.page import build, curves
from jaxq.stats import intervals

MAX_NAMES = 32  # of seeds in a warning


def page(
    title: str,
    config: Config,
    lengths: loop_lengths.LoopLengths,
    manifest: Mapping[str, Any],
    arrays: results.Arrays,
    levels: Mapping[str, float],
) -> build.Page:
    """The page of a run, finished or not.

    Args:
        title: algorithm and environment.
        config: the configuration.
        lengths: its loop lengths.
        manifest: its provenance.
        arrays: the measurements so far.
        levels: reference returns, such as the random policy's.
    """
    curve, seeds = arrays.curve, results.seeds(config)
    measured = results.per_seed(curve, arrays.extra)
    diverged = measured.pop("diverged")
    names = [*curves.LABELS, *arrays.extra]
    measured = {name: measured[name] for name in names}
    done, total = int(curve.steps[-1]), lengths.total_steps
    final = intervals.describe(curve.eval_return[:, -1], label=", 95 % CI ")
    unfinished = f", {total:,} planned" if done < total else ""
    return build.Page(
        title,
        f"Return after {done:,} steps{unfinished}: {final}, over {seeds.size} "
        f"seed{'s' if seeds.size > 1 else ''}",
        _warnings(seeds, diverged[:, -1]),
        facts(manifest),
        [
            curves.of_seeds("Curves", curve.steps, measured, seeds, diverged, levels),
            *configuration(config),
        ],
    )


def _warnings(seeds: np.ndarray, diverged: np.ndarray) -> list[str]:
    if not diverged.any():
        return []
    count = int(diverged.sum())
    names = ", ".join(map(str, seeds[diverged][:MAX_NAMES]))
    names += ", ..." if count > MAX_NAMES else ""
    return [
        f"Diverged and frozen: {count} of {seeds.size} seeds ({names}). Statistics "
        "include them with their last finite parameters."
    ]


def facts(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Provenance in words; a fact that is not known is left out."""
    versions = manifest.get("versions", {})
    commit = manifest.get("commit")
    if commit and manifest.get("uncommitted_changes"):
        commit += ", with uncommitted changes"
    devices = manifest.get("devices", [])
    names = ", ".join(f"{devices.count(n)} x {n}" for n in dict.fromkeys(devices))
    known = {
        "version": ", ".join(f"{name} {v}" for name, v in versions.items() if v),
        "commit": commit,
        "command": manifest.get("command"),
        "started": manifest.get("started"),
        "resumed": ", ".join(entry["started"] for entry in manifest.get("resumed", [])),
        "devices": names,
    }
    return {name: str(text) for name, text in known.items() if text}


def configuration(
    config: Config, leave_out: Collection[str] = ()
) -> list[build.Section]:
    """Tables of the fields in use that are not at their defaults, and of the others.

    Args:
        config: the configuration.
        leave_out: fields in neither table.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(Config)}
    values = dataclasses.asdict(config)
    values = {name: values[name] for name in values if name not in leave_out}
    # An algorithm that is registered may read fields that jaxq's own would not.
    is_known = config.algorithm in algorithm_table.ALGORITHMS
    unused = field_usage.unused(config) if is_known else []
    differing = [name for name in values if values[name] != defaults[name]]
    names = [name for name in differing if name not in unused]
    others = [name for name in values if name not in names]
    return [
        build.table(
            "Configuration",
            ("field", "value", "default"),
            [(name, values[name], defaults[name]) for name in names],
            ["The fields that differ from their plain defaults."],
            "config.json",
            build.TABLE_BYTES // 2,
        ),
        build.table(
            f"The other {len(others)} fields, at their defaults or without effect here",
            ("field", "value"),
            [(name, values[name]) for name in others],
            (),
            "config.json",
            build.TABLE_BYTES // 2,
            folded=True,
        ),
    ]
