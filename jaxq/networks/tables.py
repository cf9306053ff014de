"""The table, as the simplest network."""

import jax
import jax.numpy as jnp

from jaxq import types
from jaxq.types import Array, EnvSpec, Head, Key, Network, PyTree


def table(
    spec: EnvSpec,
    head: Head,
    initial_value: Array | float = 0.0,
    initial_spread: float = 0.0,
) -> Network:
    """A table of values with one row per state.

    Args:
        spec: `state_index` maps an observation to one of `num_states` rows; the values
            of actions that are invalid in a state are minus infinity.
        head: represents the return by K outputs per entry.
        initial_value: [] mean of the initial entries.
        initial_spread: their standard deviation, of a normal distribution.

    Raises:
        ValueError: if the states of the environment are not numbered.
    """
    index, rows, valid = spec.state_index, spec.num_states, spec.valid_actions
    if index is None or rows is None:
        raise ValueError(
            f"{spec.name} has no numbered states, so a table cannot hold its values. "
            "Use network = 'mlp' with algorithm = 'dqn', or pass an environment whose "
            "spec has num_states and state_index."
        )

    def init(key: Key, observation: PyTree) -> PyTree:
        del observation
        values = jnp.full((rows, spec.num_actions, head.num_outputs), initial_value)
        if initial_spread:
            values += initial_spread * jax.random.normal(key, values.shape)
        return {"table": values.astype(jnp.float32)}

    def apply(key: Key | None, params: PyTree, observation: PyTree) -> Array:
        del key
        row = jnp.asarray(params["table"]).at[index(observation)].get(mode="clip")
        if valid is None:
            return row
        return jnp.where(valid(observation)[:, None], row, -jnp.inf)

    return types.feed_forward(init, apply, head)
