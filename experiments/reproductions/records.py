"""Records of reproductions in results/reproduced: what ran, its curves, the verdict.

NAME.json holds the configuration, manifest and duration of every run, and the outcome
of the test; NAME.npz holds the curves, or the numbers per seed, that were judged.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.reproductions.criteria import Values
from experiments.reproductions.target import Run, Target, verdict
from experiments.support.provenance import ROOT
from jaxq import Config
from jaxq.config import flags
from jaxq.runs import files

if TYPE_CHECKING:
    from jaxq import Result

DIRECTORY = ROOT / "results" / "reproduced"
_SCHEMA = "jaxq-reproduction/1"
_CURVES = "steps", "train_return", "train_episodes", "eval_return"


class Record(NamedTuple):
    """A committed reproduction."""

    facts: dict[str, Any]  # NAME.json
    runs: dict[str, Run]  # by label; empty for a simulation
    values: Values  # the numbers that are judged, by label, [S]

    @property
    def manifests(self) -> list[dict[str, Any]]:
        """Manifests of all runs."""
        return [run["manifest"] for run in self.facts["runs"].values()]


def paths(name: str, directory: pathlib.Path = DIRECTORY) -> tuple[pathlib.Path, ...]:
    """The JSON file and the arrays of a target."""
    return directory / f"{name}.json", directory / f"{name}.npz"


def write(
    name: str,
    target: Target,
    runs: Mapping[str, "Result"],
    directory: pathlib.Path = DIRECTORY,
) -> Record:
    """Write the record of finished runs, judged, and return it."""
    arrays, facts = {}, {}
    for label, result in runs.items():
        for curve in _CURVES:
            values = np.asarray(getattr(result.curve, curve))
            kind = np.int64 if curve == "steps" else np.float32
            arrays[f"{label}/{curve}"] = values.astype(kind)
        assert result.directory is not None
        manifest = result.directory / "manifest.json"
        facts[label] = {
            "config": dataclasses.asdict(result.config),
            "manifest": json.loads(manifest.read_text(encoding="utf-8")),
            "seconds": result.summary["seconds"],
        }
    return _write(name, target, facts, arrays, directory)


def write_simulation(
    name: str,
    target: Target,
    values: Values,
    manifest: dict[str, Any],
    seconds: float,
    directory: pathlib.Path = DIRECTORY,
) -> Record:
    """Write the record of a simulation, judged, and return it."""
    facts = {"simulation": {"manifest": manifest, "seconds": seconds}}
    arrays = {label: np.asarray(x, np.float32) for label, x in values.items()}
    return _write(name, target, facts, arrays, directory)


def _write(
    name: str,
    target: Target,
    runs: dict[str, Any],
    arrays: dict[str, np.ndarray],
    directory: pathlib.Path,
) -> Record:
    directory.mkdir(parents=True, exist_ok=True)
    facts_path, arrays_path = paths(name, directory)
    facts: dict[str, Any] = {"schema": _SCHEMA, "target": name, "runs": runs}
    record = _record(target, facts, arrays)
    facts |= {
        "passed": target.criterion.judge(record.values).passed,
        "means": _means(record.values),
    }
    files.write_arrays(arrays_path, arrays, compress=True)
    files.write_json(facts_path, facts)
    return record


def read(name: str, target: Target, directory: pathlib.Path = DIRECTORY) -> Record:
    """The committed record of a target.

    Raises:
        FileNotFoundError: if there is none.
    """
    facts_path, arrays_path = paths(name, directory)
    facts = json.loads(facts_path.read_text(encoding="utf-8"))
    with np.load(arrays_path, allow_pickle=False) as archive:
        arrays = dict(archive)
    return _record(target, facts, arrays)


def _record(
    target: Target, facts: dict[str, Any], arrays: dict[str, np.ndarray]
) -> Record:
    if target.simulate is not None:
        return Record(facts, {}, {k: v.astype(float) for k, v in arrays.items()})
    runs = {
        label: Run(
            flags.from_json(run["config"]),
            *(arrays[f"{label}/{curve}"] for curve in _CURVES),
        )
        for label, run in facts["runs"].items()
    }
    values = {
        label: quantity.measure(runs[quantity.run])
        for label, quantity in target.quantities.items()
    }
    return Record(facts, runs, values)


def verdict_of(name: str, target: Target, directory: pathlib.Path = DIRECTORY) -> str:
    """The verdict on a target, or "not run" if it has no record."""
    path, _ = paths(name, directory)
    if not path.exists():
        return "not run"
    return verdict(target, json.loads(path.read_text(encoding="utf-8"))["passed"])


def problems(
    name: str, target: Target, directory: pathlib.Path = DIRECTORY
) -> list[str]:
    """What is wrong with the committed record of a target; empty if nothing is.

    The numbers and the outcome are computed again from the curves, and the
    configurations are compared with those of the declaration.
    """
    try:
        record = read(name, target, directory)
    except (OSError, KeyError, ValueError) as error:
        return [f"{name}: the record cannot be read ({error})"]
    found = []
    for label, config in target.runs.items():
        if label not in record.runs:
            found.append(f"{name}: there is no run {label!r}")
        elif changed := _changed(record.runs[label].config, config):
            found.append(f"{name}: the run {label!r} had other {', '.join(changed)}")
    if found:
        return found
    passed, sentence = target.criterion.judge(record.values)
    means = _means(record.values)
    stored = record.facts["means"]
    if means.keys() != stored.keys() or not np.allclose(
        list(means.values()), list(stored.values()), rtol=1e-5
    ):
        found.append(f"{name}: the means are recorded as {stored}, but are {means}")
    if passed != record.facts["passed"]:
        found.append(
            f"{name}: recorded as {'' if record.facts['passed'] else 'not '}passed, "
            f"but the curves give {sentence}"
        )
    try:
        verdict(target, passed)
    except ValueError as error:
        found.append(f"{name}: {error}")
    return found


def _means(values: Values) -> dict[str, float]:
    return {label: float(numbers.mean()) for label, numbers in values.items()}


def _changed(ran: Config, declared: Config) -> list[str]:
    """Names of the fields that differ."""
    return [
        field.name
        for field in dataclasses.fields(Config)
        if getattr(ran, field.name) != getattr(declared, field.name)
    ]
