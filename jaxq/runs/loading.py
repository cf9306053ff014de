"""Load trained policies."""

import json
import pathlib
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxq.agents import algorithms
from jaxq.config.config import Config, from_json
from jaxq.config.fields import CheckpointError, ConfigError
from jaxq.envs import make
from jaxq.envs.adapter import Environment
from jaxq.runs import checkpoint, policy, results, resume
from jaxq.training import pytree_arrays, warm_start

Seed = int | Literal["best", "all"]


def load(
    run: str | pathlib.Path | results.Result,
    environment: Environment | None = None,
    *,
    seed: Seed = "best",
) -> policy.Policy:
    """The trained policy of a run.

    Args:
        run: directory of a run, finished or not, or a Result. An unfinished run gives
            the policy of its last checkpoint.
        environment: that the run was given as an object, or another one with
            observations and actions of the same shape; None makes the one that the
            run's configuration names.
        seed: number of a seed; "best", the seed with the highest last evaluation
            return; or "all", with a leading axis [S].

    Raises:
        ConfigError: if the directory is not that of a run, the environment does not
            fit, or there is no such seed.
        fields.CheckpointError: if the run has saved no valid parameters.
    """
    if not isinstance(run, results.Result):
        saved = _read(pathlib.Path(run), environment)
    else:
        returns = run.curve.eval_return[:, -1]
        saved = _Saved(run.config, pytree_arrays.flatten(run.params), returns)
    config = saved.config
    spec = (environment or make.from_config(config)).spec
    agent = algorithms.make(config, spec)
    template = warm_start.params_shape(agent, spec, config.num_seeds)
    try:
        params = pytree_arrays.unflatten(template, saved.arrays)
    except CheckpointError as error:
        raise ConfigError(
            f"the parameters of the run do not fit {spec.name}: {error}. Pass the "
            "environment of the run, or one with observations and actions of the same "
            "shape."
        ) from error
    numbers = tuple(range(config.first_seed, config.first_seed + config.num_seeds))
    params = jax.tree.map(jnp.asarray, params)
    if len(numbers) == 1:
        params = jax.tree.map(lambda leaf: leaf[0], params)
    policies = policy.Policy(params, agent, spec, numbers)
    if seed == "all":
        return policies
    if seed == "best":
        best = np.argmax(np.nan_to_num(saved.returns, nan=-np.inf))
        return policies.seed(numbers[int(best)])
    return policies.seed(seed)


class _Saved(NamedTuple):
    """The policies that a run has saved."""

    config: Config
    arrays: dict[str, np.ndarray]  # name -> parameter [S, ...]
    returns: np.ndarray  # [S] last evaluation


def _read(directory: pathlib.Path, environment: Environment | None) -> _Saved:
    """The configuration, parameters and last evaluation of a run's directory."""
    try:
        text = (directory / "config.json").read_text(encoding="utf-8")
        config = from_json(json.loads(text))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{str(directory)!r} is not the directory of a run: config.json cannot be "
            f"read ({error})."
        ) from error
    manifest = resume.read_manifest(directory)
    if environment is None and "environment" in manifest:
        name = make.from_config(config).spec.name
        if manifest["environment"] != name:
            raise ConfigError(
                f"{directory} was run on {manifest['environment']}, an environment "
                "that was passed as an object: load(directory, environment)."
            )
    path = directory / "params.npz"
    if manifest.get("status") in ("finished", "diverged") and path.exists():
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        with np.load(directory / "metrics.npz", allow_pickle=False) as file:
            returns = file["eval_return"][:, -1]
        return _Saved(config, arrays, returns)
    return _from_checkpoint(directory, config)


def _from_checkpoint(directory: pathlib.Path, config: Config) -> _Saved:
    """The parameters in the newest valid checkpoint."""
    header, stored, _ = checkpoint.newest(directory)
    points = resume.unpack(stored, header["extra"])
    marker = "agent/learner/params/"
    blocks: dict[str, list[np.ndarray]] = {}
    for name, array in stored.items():  # blocks follow each other in the file
        block, _, leaf = name.partition("/")
        if block.startswith("block") and leaf.startswith(marker):
            blocks.setdefault(leaf.removeprefix(marker), []).append(array)
    arrays = {
        name: np.concatenate(parts)[: config.num_seeds]
        for name, parts in blocks.items()
    }
    returns = np.zeros(config.num_seeds)
    if points:
        returns = np.mean(points[-1].evaluation.episode_return, axis=1)
    return _Saved(config, arrays, returns)
