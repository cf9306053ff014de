"""Files of recorded steps: named arrays in an npz file, without pickle.

facts              JSON: "schema", and what is known of the recording
observation        [N, ...], or observation/NAME for each of several arrays
action             [N] int32
reward             [N] float32
terminated         [N] bool: the task ended with the step
truncated          [N] bool: the clock ran out with it
cut                [N] bool: the recording, or what was kept of it, ended with it
final_observation  [K, ...] successors of the K steps that are truncated or cut

in which the successor of every other step that is not terminated is the next
observation. A step has at most one of the three flags, and the last step has one.
Frames that an agent sees in stacks are stored one by one.
"""

import hashlib
import json
import pathlib
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxq.config.fields import CheckpointError, ConfigError
from jaxq.training import pytree_arrays
from jaxq.types import EnvSpec, PyTree

SCHEMA = "jaxq-dataset/1"
ENDS = ("terminated", "truncated", "cut")
# What reading a damaged file raises.
_DAMAGE = (
    ValueError, EOFError, KeyError, RuntimeError, MemoryError, OverflowError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_REMEDY = "experiments/record_dataset.py writes datasets."


class Dataset(NamedTuple):
    """Recorded steps of one environment after another; see the module docstring."""

    observation: PyTree
    action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    cut: np.ndarray
    final_observation: PyTree


def to_arrays(dataset: Dataset, facts: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The content of a file."""
    text = json.dumps({"schema": SCHEMA, **facts}, allow_nan=False)
    return {"facts": np.array(text), **pytree_arrays.flatten(dataset._asdict())}


def read(path: pathlib.Path, spec: EnvSpec) -> tuple[Dataset, dict[str, Any], str]:
    """Read a dataset, and check that it is one of an environment.

    Args:
        path: of the file.
        spec: of the environment.

    Returns:
        The dataset, its facts, and the SHA-256 of its arrays.

    Raises:
        ConfigError: with the first thing found wrong.
    """
    arrays, facts = _load(path)
    size = np.shape(arrays.get("action", ()))[:1] or (0,)
    flags = [arrays.get(name, np.zeros(size, bool)) for name in ENDS[1:]]
    if any(flag.dtype != bool or flag.shape != size for flag in flags):
        raise _wrong(path, f"truncated and cut must be bool{list(size)}")
    finals = (int(np.sum(flags[0] | flags[1])),)
    try:
        fields = pytree_arrays.unflatten(_shapes(spec, size, finals), arrays)
    except CheckpointError as error:
        raise _wrong(path, f"it does not fit {spec.name}: {error}") from error
    dataset = Dataset(**fields)
    _check(path, dataset, spec)
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(dataset):
        digest.update(np.ascontiguousarray(leaf).data)
    return dataset, facts, digest.hexdigest()


def _wrong(path: pathlib.Path, reason: str) -> ConfigError:
    return ConfigError(f"dataset = {str(path)!r}: {reason}. {_REMEDY}")


def _load(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the facts of a file."""
    try:
        content = np.load(path, allow_pickle=False)
        if not isinstance(content, np.lib.npyio.NpzFile):
            raise _wrong(path, "it holds a single array")
        with content as file:
            arrays = dict(file)
    except OSError as error:
        raise _wrong(path, f"it cannot be read ({error.strerror or error})") from error
    except ConfigError:
        raise
    except _DAMAGE as error:
        raise _wrong(path, f"it is corrupt or not an npz file ({error})") from error
    try:
        facts = json.loads(str(arrays.pop("facts")))
        schema = facts["schema"]
    except (KeyError, TypeError, ValueError) as error:
        raise _wrong(path, "it has no facts, so it was not written by jaxq") from error
    if schema != SCHEMA:
        raise _wrong(path, f"its schema is {schema!r}, not {SCHEMA!r}")
    return arrays, facts


def _shapes(spec: EnvSpec, size: tuple[int, ...], finals: tuple[int, ...]) -> Any:
    """Shapes and dtypes of the arrays that a dataset of an environment holds."""
    frame = spec.observation if spec.frame is None else spec.frame

    def several(count: tuple[int, ...]) -> PyTree:
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((*count, *leaf.shape), leaf.dtype), frame
        )

    dtypes = {"action": "int32", "reward": "float32", **dict.fromkeys(ENDS, "bool")}
    return {
        "observation": several(size),
        **{k: jax.ShapeDtypeStruct(size, np.dtype(v)) for k, v in dtypes.items()},
        "final_observation": several(finals),
    }


def _check(path: pathlib.Path, dataset: Dataset, spec: EnvSpec) -> None:
    """Check the values of a dataset, whose shapes are right."""
    if not dataset.action.size:
        raise _wrong(path, "it has no steps")
    ends = np.stack([getattr(dataset, name) for name in ENDS])
    checks: list[tuple[str, np.ndarray, np.ndarray]] = [
        (
            f"action = {{}} is not one of the {spec.num_actions} actions 0 to "
            f"{spec.num_actions - 1}",
            dataset.action,
            (dataset.action < 0) | (dataset.action >= spec.num_actions),
        ),
        ("reward = {} is not finite", dataset.reward, ~np.isfinite(dataset.reward)),
        (
            "{} of terminated, truncated and cut are set; at most one may be",
            ends.sum(axis=0),
            ends.sum(axis=0) > 1,
        ),
    ]
    for text, values, bad in checks:
        _refuse(path, text, values, bad)
    if not ends[:, -1].any():
        raise _wrong(path, "its last step is neither terminated nor truncated nor cut")
    for name in ("observation", "final_observation"):
        for leaf in jax.tree.leaves(getattr(dataset, name)):
            _check_observations(path, name, leaf, spec)
    _check_masks(path, dataset, spec)


def _refuse(path: pathlib.Path, text: str, values: np.ndarray, bad: np.ndarray) -> None:
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise _wrong(path, f"{text.format(values[first])}, at step {first}")


def _check_observations(
    path: pathlib.Path, name: str, leaf: np.ndarray, spec: EnvSpec
) -> None:
    if not leaf.size:
        return
    flat = leaf.reshape(leaf.shape[0], -1)
    if flat.dtype.kind == "f":
        bad = ~np.isfinite(flat).all(axis=1)
        _refuse(path, f"{name} {{}} is not finite", flat, bad)
    if spec.num_categories is not None and leaf.ndim == 1:
        outside = np.asarray((flat < 0) | (flat >= spec.num_categories))
        bad = np.any(outside, axis=1)
        text = f"{name} = {{}} is not one of {spec.num_categories} states"
        _refuse(path, text, flat[:, 0], bad)


def _check_masks(path: pathlib.Path, dataset: Dataset, spec: EnvSpec) -> None:
    """Check that the actions taken were valid, if observations hold masks."""
    masks = getattr(dataset.observation, "action_mask", None)
    if masks is not None:
        taken = np.take_along_axis(masks, dataset.action[:, None], axis=1)[:, 0]
        _refuse(path, "action = {} was not valid", dataset.action, ~taken)
