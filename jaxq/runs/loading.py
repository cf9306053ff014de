"""Load trained policies."""

import pathlib
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxq.agents import acting, algorithms
from jaxq.config import flags, user_code
from jaxq.config.algorithm_table import ALGORITHMS
from jaxq.config.config import Config
from jaxq.config.fields import CheckpointError, ConfigError
from jaxq.envs import make
from jaxq.envs.adapter import Environment
from jaxq.runs import checkpoint, policy, results, resume
from jaxq.training import checks, pytree_arrays, warm_start
from jaxq.types import Array, EnvSpec, Key
from jaxq.xla import prng

Seed = int | Literal["best", "all"]


def load(
    run: str | pathlib.Path | results.Result,
    environment: Environment | None = None,
    *,
    seed: Seed = "best",
    allow_import: bool = False,
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
        allow_import: import the environment or algorithm of a user's own that the
            directory names as module:attribute, which runs its module.

    Raises:
        ConfigError: if the directory is not that of a run, it names code that may not
            be imported, the environment does not fit, or there is no such seed.
        fields.CheckpointError: if the run has saved no valid parameters.
    """
    if environment is not None and not isinstance(environment, Environment):
        raise ConfigError(
            f"environment = {environment!r} is not a jaxq environment. Pass "
            "jaxq.adapt(environment)."
        )
    if isinstance(run, results.Result):
        returns = run.curve.eval_return[:, -1]
        arrays = pytree_arrays.flatten(run.params)
        saved = _Saved(run.config, run.environment, arrays, returns)
    else:
        saved = _read(pathlib.Path(run))
        if not allow_import:
            _check_permitted(f"{run}/config.json", saved.config, environment)
    config = saved.config
    algorithms.find(config.algorithm)
    if environment is None:
        environment = make.from_config(config)
        if saved.environment not in ("", environment.spec.name):
            raise ConfigError(
                f"the run was on {saved.environment}, an environment that was passed "
                "as an object. Pass it here as well: load(run, environment)."
            )
    else:
        environment = make.with_frame_stack(config, environment)
    policies = _policies(saved, environment.spec)
    if seed == "all":
        return policies
    if seed == "best":
        best = np.argmax(np.nan_to_num(saved.returns, nan=-np.inf))
        return policies.seed(policies.seeds[int(best)])
    return policies.seed(seed)


def _check_permitted(
    source: str, config: Config, environment: Environment | None
) -> None:
    """Raise if a policy needs code that only a file names; nothing is imported."""
    names = {"algorithm": config.algorithm}
    if environment is None:
        names["environment"] = config.environment
    remedy = "Call load(..., allow_import=True), or add --allow-import to play.py."
    user_code.check_permitted(names, source, (), remedy)


class _Saved(NamedTuple):
    """The policies that a run has saved."""

    config: Config
    environment: str  # its name, or empty if it is unknown
    arrays: dict[str, np.ndarray]  # name -> parameter [S, ...]
    returns: np.ndarray  # [S] last evaluation


def _policies(saved: _Saved, spec: EnvSpec) -> policy.Policy:
    """The policies of all seeds, [S]."""
    config = saved.config
    agent = algorithms.make(config, spec)
    alone = checks.state_shape(agent, spec).learner.params
    template = warm_start.with_seeds(alone, config.num_seeds)
    try:
        params = pytree_arrays.unflatten(template, saved.arrays)
    except CheckpointError as error:
        raise ConfigError(
            f"the parameters of the run do not fit {spec.name}: {error}. Pass the "
            "environment of the run, or one with observations and actions of the same "
            "shape."
        ) from error
    numbers = jnp.asarray(results.seeds(config))
    # The memory of Bootstrapped DQN only selects a member while it explores, and that
    # of epsilon-z-greedy exploration a random action.
    explores_only = config.algorithm in ALGORITHMS and config.recurrent == "none"
    memory = jax.eval_shape(
        lambda: acting.network_memory(agent.initial_memory(prng.key(0)))
    )
    recurrent = bool(jax.tree.leaves(memory)) and not explores_only
    params = jax.tree.map(jnp.asarray, params)
    policies = policy.Policy(params, numbers, agent, spec, recurrent)
    _check_acting(config, policies)
    return policies


def _check_acting(config: Config, policies: policy.Policy) -> None:
    """Check that the agent acts by its parameters alone."""
    alone = jax.tree.map(lambda leaf: leaf[0], policies)

    def act(key: Key) -> Array:
        memory = alone.initial_memory(key)
        observation = alone.spec.example().observation
        return alone.step(key, memory, observation, reward=0.0)[0]

    try:
        jax.eval_shape(act, jax.eval_shape(lambda: prng.key(0)))
    except AttributeError as error:
        raise ConfigError(
            f"{config.algorithm} does not act by its parameters alone ({error}), and "
            "only these are saved."
        ) from error


def _read(directory: pathlib.Path) -> _Saved:
    """The configuration, parameters and last evaluation of a run's directory."""
    config = flags.read_config(directory, "run")
    manifest = resume.read_manifest(directory)
    environment = str(manifest.get("environment", ""))
    path = directory / "params.npz"
    if manifest.get("status") in ("finished", "diverged") and path.exists():
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        with np.load(directory / "metrics.npz", allow_pickle=False) as file:
            returns = file["eval_return"][:, -1]
        return _Saved(config, environment, arrays, returns)
    return _from_checkpoint(directory, config, environment)


def _from_checkpoint(
    directory: pathlib.Path, config: Config, environment: str
) -> _Saved:
    """The parameters in the newest valid checkpoint."""
    header, stored, errors = checkpoint.newest(directory)
    for warning in checkpoint.warnings(errors):
        print(warning)
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
    return _Saved(config, environment, arrays, returns)
