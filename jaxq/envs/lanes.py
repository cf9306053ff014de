"""Many environments at once: one row for each, or for each agent of a team."""

import jax

from jaxq.envs.adapter import Environment, EnvState
from jaxq.types import Array, Key, PyTree, Step


def reset(env: Environment, keys: Key) -> EnvState:
    """Start E episodes.

    Args:
        env: the environment. Of a team of N agents, E / N environments start; the rows
            of an environment's agents follow one another.
        keys: [E].

    Returns:
        Their states; the observation has the leading axis [E], and the environment's
        own state [E / N].
    """
    if env.spec.num_agents == 1:
        return jax.vmap(env.reset)(keys)
    state = jax.vmap(env.reset)(keys[:: env.spec.num_agents])
    return state._replace(observation=_rows(state.observation))


def step(
    env: Environment, keys: Key, state: EnvState, action: Array
) -> tuple[EnvState, Step]:
    """One step of E environments, or of E / N teams of N agents; see `reset`.

    Args:
        env: the environment.
        keys: [E].
        state: from `reset` or `step`.
        action: [E].

    Returns:
        The states after the step, and Step[E].
    """
    size = env.spec.num_agents
    if size == 1:
        return jax.vmap(env.step)(keys, state, action)
    teams = EnvState(state.inner, _teams(state.observation, size))
    after, steps = jax.vmap(env.step)(keys[::size], teams, _teams(action, size))
    return after._replace(observation=_rows(after.observation)), _rows(steps)


def _rows(tree: PyTree) -> PyTree:
    """Leaves [E / N, N, ...] as [E, ...]."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)


def _teams(tree: PyTree, size: int) -> PyTree:
    """Leaves [E, ...] as [E / N, N, ...]."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, size, *leaf.shape[1:]), tree)
