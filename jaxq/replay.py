"""A replay buffer that stores every observation once.

The buffer is a ring of rows, one row for one step of all E environments, so the
successor of a transition is the observation in the next row and is not stored again.
Observations of booleans are kept as one bit an element.

The last step of a truncated episode has a true successor that no row holds: the next
row starts another episode. Such a step is never a transition (its sampling weight is
zero), and a longer window that meets it ends just before it and bootstraps from the
observation it starts in, which is stored. Terminal steps need no successor and are
always learned from. The newest n rows wait until their successors are there.

The number of rows written is a `Counter`: the same for every seed, so that a write is
one slice in place.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxq import returns
from jaxq.types import Array, Counter, Key, Step, Transition, counter


class ReplayState(NamedTuple):
    """The ring; leading axes [rows, E]."""

    observation: Array  # [rows, E, ...], bits packed into bytes for booleans
    action: Array  # [rows, E] uint8 or int32
    reward: Array  # [rows, E] float32
    terminated: Array  # [rows, E] bool
    truncated: Array  # [rows, E] bool
    added: Counter  # rows written since the start


class Sample(NamedTuple):
    """A minibatch, leading axis [B]."""

    transition: Transition
    weight: Array  # [B] float32: 0 where the drawn step is no transition, else 1
    place: Array  # [B, 2] int32: row and environment


def pack(observation: Array) -> Array:
    """Narrowest exact form of a stored observation: booleans become bits.

    Args:
        observation: [...].

    Returns:
        [ceil(size / 8)] uint8 for booleans, the observation itself otherwise.
    """
    if observation.dtype == bool:
        return jnp.packbits(observation.reshape(-1))
    return observation


def unpack(packed: Array, example: Array | jax.ShapeDtypeStruct) -> Array:
    """Inverse of `pack`.

    Args:
        packed: what `pack` returned.
        example: an array, or its shape and dtype, of the observation.
    """
    if example.dtype != bool:
        return packed
    bits = jnp.unpackbits(packed, count=example.size)
    return bits.reshape(example.shape).astype(bool)


def init(example: Step, rows: int, num_envs: int, num_actions: int) -> ReplayState:
    """An empty ring.

    Args:
        example: one step, without time and environment axes.
        rows: steps of every environment that are kept.
        num_envs: environments.
        num_actions: actions; up to 256 are stored as bytes.
    """

    def ring(leaf: Array) -> Array:
        return jnp.zeros((rows, num_envs, *leaf.shape), leaf.dtype)

    action_type = jnp.uint8 if num_actions <= 256 else jnp.int32
    return ReplayState(
        observation=ring(pack(example.observation)),
        action=ring(example.action.astype(action_type)),
        reward=ring(example.reward),
        terminated=ring(example.terminated),
        truncated=ring(example.truncated),
        added=counter(),
    )


def add(state: ReplayState, rollout: Step) -> ReplayState:
    """Write a rollout over the oldest rows.

    Args:
        state: the ring; its number of rows is a multiple of T.
        rollout: Step with leading axes [T, E].

    Returns:
        The ring with T more rows written.
    """
    rows = state.action.shape[0]
    length = rollout.action.shape[0]
    if rows % length:
        raise ValueError(
            f"a ring of {rows} rows cannot take rollouts of {length} steps: the number "
            "of rows must be a multiple of the rollout's length"
        )
    start = state.added.value % rows

    def write(ring: Array, leaf: Array) -> Array:
        leaf = leaf.astype(ring.dtype)
        return jax.lax.dynamic_update_slice_in_dim(ring, leaf, start, axis=0)

    return ReplayState(
        observation=write(
            state.observation, jax.vmap(jax.vmap(pack))(rollout.observation)
        ),
        action=write(state.action, rollout.action),
        reward=write(state.reward, rollout.reward),
        terminated=write(state.terminated, rollout.terminated),
        truncated=write(state.truncated, rollout.truncated),
        added=Counter(state.added.value + length),
    )


def num_starts(state: ReplayState, n: int) -> Array:
    """Rows from which a window of n steps and its successor are stored. [] int32."""
    rows = state.action.shape[0]
    return jnp.minimum(state.added.value, rows) - n


def sample_uniform(
    key: Key,
    state: ReplayState,
    example: Array | jax.ShapeDtypeStruct,
    batch_size: int,
    n: int,
    gamma: Array | float,
) -> Sample:
    """Draw n-step transitions uniformly, with replacement.

    The cost does not depend on the capacity. At least n + 1 rows must be written.

    Args:
        key: consumed by one draw of integers.
        state: the ring.
        example: shape and dtype of an observation.
        batch_size: B.
        n: steps in a window.
        gamma: [] discount factor.
    """
    num_envs = state.action.shape[1]
    starts = num_starts(state, n)
    draw = jax.random.randint(key, (batch_size,), 0, starts * num_envs)
    # Without the fence XLA fuses the random bits into every gather that uses them and
    # computes them anew for each element: 3.6 times the time of an iteration of MinAtar
    # DQN with 128 seeds on an H100.
    draw = jax.lax.optimization_barrier(draw)
    oldest = state.added.value - starts - n
    row, env = oldest + draw // num_envs, draw % num_envs
    transition, weight = jax.vmap(read, (None, None, 0, 0, None, None))(
        state, example, row, env, n, gamma
    )
    transition = jax.lax.optimization_barrier(transition)
    return Sample(transition, weight, jnp.stack([row % state.action.shape[0], env], 1))


def read(
    state: ReplayState,
    example: Array | jax.ShapeDtypeStruct,
    row: Array,
    env: Array,
    n: int,
    gamma: Array | float,
) -> tuple[Transition, Array]:
    """The n-step transition that starts at one row of the ring, and its weight.

    Args:
        state: the ring.
        example: shape and dtype of an observation.
        row: [] int32, counted since the start; this row and n more are stored.
        env: [] int32 environment.
        n: steps in a window.
        gamma: [] discount factor.
    """
    chex.assert_rank([row, env], 0)
    rows = state.action.shape[0]
    window = (row + jnp.arange(n)) % rows

    def get(ring: Array, index: Array) -> Array:
        return ring.at[index, env].get(mode="promise_in_bounds")

    truncated = get(state.truncated, window)
    # A truncated step is cut off: the step before it ends the window.
    cut = jnp.concatenate([truncated[1:], jnp.zeros(1, bool)])
    folded = returns.fold(
        get(state.reward, window), get(state.terminated, window), cut, gamma
    )
    transition = Transition(
        observation=unpack(get(state.observation, window[0]), example),
        action=get(state.action, window[0]).astype(jnp.int32),
        reward=folded.reward,
        discount=folded.discount,
        next_observation=unpack(
            get(state.observation, (row + folded.length) % rows), example
        ),
    )
    return transition, 1.0 - truncated[0].astype(jnp.float32)
