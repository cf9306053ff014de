"""Readers of a replay ring: n-step transitions, and sequences."""

import functools

import chex
import jax
import jax.numpy as jnp

from jaxq.replay import ring
from jaxq.rl import returns
from jaxq.types import Array, Sequence, Transition
from jaxq.xla import indexing


def transitions(
    example: Array | jax.ShapeDtypeStruct, n: int, gamma: Array | float
) -> ring.Reader:
    """Reader of n-step transitions.

    Args:
        example: an observation, or its shape and dtype.
        n: steps in a window; n rows must follow the first.
        gamma: [] discount factor.
    """

    def read(
        state: ring.ReplayState, row: Array, env: Array
    ) -> tuple[Transition, Array]:
        chex.assert_rank([row, env], 0)
        get = functools.partial(indexing.ring_get, column=env)
        window = row + jnp.arange(n)
        ended = get(state.ended, window)
        n_step, weight = returns.n_step_return_from_ring(
            get(state.reward, window),
            ended & ring.TERMINATED != 0,
            ended & ring.TRUNCATED != 0,
            gamma,
        )
        successor = row + n_step.length
        transition = Transition(
            observation=ring.unpack(get(state.observation, row), example),
            action=get(state.action, row).astype(jnp.int32),
            reward=n_step.reward,
            discount=n_step.discount,
            next_observation=ring.unpack(get(state.observation, successor), example),
            next_action=get(state.action, successor).astype(jnp.int32),
            memory=jax.tree.map(lambda stored: get(stored, row), state.memory),
        )
        return transition, weight

    return read


def sequences(example: Array | jax.ShapeDtypeStruct, length: int) -> ring.Reader:
    """Reader of sequences of `length` rows, with the memory before the first.

    Args:
        example: an observation, or its shape and dtype.
        length: L; length - 1 rows must follow the first.
    """

    def read(state: ring.ReplayState, row: Array, env: Array) -> tuple[Sequence, Array]:
        chex.assert_rank([row, env], 0)
        get = functools.partial(indexing.ring_get, column=env)
        window = row + jnp.arange(length)
        packed = get(state.observation, window)
        ended = get(state.ended, window)
        sequence = Sequence(
            memory=jax.tree.map(lambda stored: get(stored, row), state.memory),
            observation=jax.vmap(lambda leaf: ring.unpack(leaf, example))(packed),
            action=get(state.action, window).astype(jnp.int32),
            reward=get(state.reward, window),
            terminated=ended & ring.TERMINATED != 0,
            truncated=ended & ring.TRUNCATED != 0,
        )
        return sequence, jnp.ones(())

    return read
