"""Record steps as a dataset: of a policy that plays, or those that a run replays."""

import datetime
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxq.config.fields import ConfigError
from jaxq.envs import lanes
from jaxq.envs.adapter import Environment, EnvState
from jaxq.replay import stores
from jaxq.runs import files, manifest
from jaxq.runs.policy import Policy
from jaxq.training import dataset_format, loop
from jaxq.training.dataset_format import Dataset
from jaxq.types import Array, EnvSpec, Key, PyTree, Step
from jaxq.xla import prng

_ROWS = 1_000  # of all environments, which are played by one call


class _Playing(NamedTuple):
    """State of the environments in which a policy plays; leading axis [E]."""

    env: EnvState
    memory: PyTree
    reward: Array  # of the last step of the episode, or 0


def record(
    policy: Policy,
    env: Environment,
    num_steps: int,
    epsilon: float = 0.0,
    seed: int = 0,
    num_envs: int = 16,
) -> Dataset:
    """Let a policy play, in several environments at once.

    Args:
        policy: of one seed.
        env: its environment, whose steps are recorded as they are: with the rewards and
            the time limit of the environment, whatever the run learned from.
        num_steps: N, rounded up to a multiple of num_envs.
        epsilon: probability of a random action; 1 is the random policy.
        seed: of the actions and the environments.
        num_envs: E; every one of them plays from a reset, and is cut off at the end.

    Raises:
        ConfigError: for a number that is out of range, or a policy of several seeds.
    """
    for name, value in (("steps", num_steps), ("num_envs", num_envs)):
        if value < 1:
            raise ConfigError(f"{name} = {value} must be positive.")
    if not 0 <= seed < 2**32:
        raise ConfigError(f"random_seed = {seed} must be from 0 to {2**32 - 1}.")
    if not 0 <= epsilon <= 1:
        raise ConfigError(f"epsilon = {epsilon} is not a probability.")
    if num_envs % env.spec.num_agents:
        raise ConfigError(
            f"num_envs = {num_envs} must be a multiple of {env.spec.num_agents}, the "
            f"number of agents of {env.spec.name}."
        )
    if np.ndim(policy.numbers):
        raise ConfigError(
            "record plays one policy: select it with policy.seed(NUMBER)."
        )
    length = -(-num_steps // num_envs)
    steps = _play(prng.key(seed), policy, env, length, num_envs, epsilon)
    if not np.isfinite(steps.reward).all():
        raise ConfigError(
            f"{env.spec.name} gave a reward that is not finite, from which nothing can "
            "be learned."
        )
    return from_steps(env.spec, steps)


def _play(
    key: Key,
    policy: Policy,
    env: Environment,
    length: int,
    num_envs: int,
    epsilon: float,
) -> Step:
    """The steps of a policy in E environments; Step[T, E], of frames if stacked.

    On the host: a device holds those of `_ROWS` rows at a time.
    """

    def act(key: Key, memory: PyTree, observation: PyTree, reward: Array) -> Any:
        return policy.step(key, memory, observation, epsilon, reward)

    def advance(state: _Playing, keys: Key) -> tuple[_Playing, Step]:
        act_keys, env_keys, memory_keys = keys
        observation = state.env.observation
        action, memory = jax.vmap(act)(
            act_keys, state.memory, observation, state.reward
        )
        env_state, step = lanes.step(env, env_keys, state.env, action)
        done = step.terminated | step.truncated
        initial = jax.vmap(policy.initial_memory)(memory_keys)
        memory = loop.reset_memory(done, initial, memory)
        reward = jnp.where(done, 0.0, step.reward)
        step = stores.newest_frames(env.spec, step)._replace(life_lost=None)
        return _Playing(env_state, memory, reward), step

    @jax.jit
    def start(reset_key: Key, memory_key: Key) -> _Playing:
        return _Playing(
            lanes.reset(env, jax.random.split(reset_key, num_envs)),
            jax.vmap(policy.initial_memory)(jax.random.split(memory_key, num_envs)),
            jnp.zeros(num_envs),
        )

    rows = min(length, _ROWS)

    @jax.jit
    def play(state: _Playing, key: Key) -> tuple[_Playing, Step]:
        keys = jax.random.split(key, (rows, 3, num_envs))
        return jax.lax.scan(advance, state, keys)

    reset_key, memory_key, step_key = jax.random.split(key, 3)
    state, parts = start(reset_key, memory_key), []
    for i in range(-(-length // rows)):
        state, steps = play(state, jax.random.fold_in(step_key, i))
        parts.append(jax.device_get(steps))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:length], *parts)


def from_steps(spec: EnvSpec, steps: Step) -> Dataset:
    """The dataset of a rollout, of one environment after another.

    Args:
        spec: of the environment.
        steps: Step[T, E] on the host, of frames if observations stack them.
    """
    length, num_envs = steps.action.shape

    def joined(leaf: Any) -> np.ndarray:
        leaf = np.asarray(leaf)
        return leaf.swapaxes(0, 1).reshape(length * num_envs, *leaf.shape[2:])

    flat = jax.tree.map(joined, steps._replace(memory=(), action_probability=None))
    truncated = flat.truncated & ~flat.terminated
    cut = np.arange(length * num_envs) % length == length - 1
    cut &= ~(flat.terminated | truncated)
    return Dataset(
        observation=flat.observation,
        action=flat.action.astype(np.int32),
        reward=flat.reward.astype(np.float32),
        terminated=flat.terminated,
        truncated=truncated,
        cut=cut,
        final_observation=jax.tree.map(
            lambda leaf: leaf[truncated | cut], flat.next_observation
        ),
    )


def describe(
    dataset: Dataset, spec: EnvSpec, source: Mapping[str, Any]
) -> dict[str, Any]:
    """Facts of a dataset, to be written with it.

    Args:
        dataset: the steps.
        spec: of their environment.
        source: further facts, such as the run that acted.
    """
    ended = dataset.terminated | dataset.truncated
    returns = episode_returns(dataset)
    shapes = jax.tree.map(
        lambda x: f"{x.dtype}{list(x.shape[1:])}", dataset.observation
    )
    versions = manifest.collect(spec.name, jax.local_devices(), 0)["versions"]
    return {
        "environment": spec.name,
        "num_actions": spec.num_actions,
        "observation": str(shapes),
        "steps": int(dataset.action.size),
        "episodes": int(ended.sum()),
        "mean_return": float(returns.mean()) if returns.size else None,
        "recorded": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "versions": versions,
        **source,
    }


def returns_of(facts: Mapping[str, Any]) -> str:
    """Episodes and their mean return, after the number of steps; empty if unknown."""
    mean, episodes = facts.get("mean_return"), facts.get("episodes")
    if mean is None:
        return ""
    return f", {episodes:,} episodes, mean return {mean:.5g}"


def episode_returns(dataset: Dataset) -> np.ndarray:
    """Returns of the episodes that the dataset holds to their end, undiscounted."""
    ended = dataset.terminated | dataset.truncated
    last = np.flatnonzero(ended | dataset.cut)
    first = np.concatenate([[0], last[:-1] + 1])
    totals = np.add.reduceat(dataset.reward.astype(np.float64), first)
    return totals[ended[last]]


def write(path: pathlib.Path, dataset: Dataset, facts: Mapping[str, Any]) -> None:
    """Write a dataset, atomically.

    Args:
        path: of a file that does not exist.
        dataset: the steps.
        facts: see `describe`.

    Raises:
        ConfigError: if the file exists, or its directory does not.
    """
    check_output(path)
    arrays = dataset_format.to_arrays(dataset, facts)
    try:
        files.write_arrays(path, arrays, compress=True, new=True)
    except FileExistsError:
        check_output(path)
        raise


def check_output(path: pathlib.Path) -> None:
    """Check that a dataset can be written; nothing is overwritten.

    Raises:
        ConfigError: with the path.
    """
    if path.suffix != ".npz":
        raise ConfigError(f"output = {str(path)!r} must end in .npz.")
    if path.exists():
        raise ConfigError(f"output = {str(path)!r} exists. Delete it, or name another.")
    if not path.parent.is_dir():
        raise ConfigError(f"output = {str(path)!r}: {path.parent} is not a directory.")
