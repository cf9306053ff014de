"""A replay buffer that stores every observation once.

The buffer is a ring of rows, each one step of all E environments, so the successor of a
transition is the observation in the next row and is not stored again. Boolean
observations are packed into one bit per element.

The last step of a truncated episode has a true successor that no row holds: the next
row starts another episode. Such a step is never a transition (its sampling weight is
zero); a longer window that reaches it ends just before it and bootstraps from its
observation, which is stored. Terminal steps need no successor and are always learned
from. The newest n rows cannot be sampled until their successors are stored.

The number of rows written is a `Counter`, equal for all seeds, so that a write is one
slice update in place.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxq.types import Array, Counter, Key, PyTree, Step, counter
from jaxq.xla import indexing, ops

TERMINATED, TRUNCATED = 1, 2


class ReplayState(NamedTuple):
    """The ring; leading axes [rows, E]."""

    observation: PyTree  # [rows, E, ...], bits packed into bytes for booleans
    action: Array  # [rows, E] uint8 or int32
    reward: Array  # [rows, E] float32
    ended: Array  # [rows, E] uint8: TERMINATED, TRUNCATED, or 0
    memory: PyTree  # [rows, E, ...], the agent's memory before the step
    added: Counter  # rows written since the start
    action_probability: Array | None = None  # [rows, E] float32, if the agent needs it


class Sample(NamedTuple):
    """A minibatch, leading axis [B]."""

    example: PyTree  # Transition, Window or Sequence
    weight: Array  # [B] float32, of the loss; 0 if the sampled step is not a transition
    place: Array  # [B] int32: row of the ring times E, plus the environment


# (ring, row, which is taken modulo the number of rows, environment)
# -> (example, weight)
Reader = Callable[[ReplayState, Array, Array], tuple[PyTree, Array]]


def pack(observation: PyTree) -> PyTree:
    """Narrowest exact form of an observation: booleans become bits.

    Args:
        observation: an array [...], or a pytree of arrays.

    Returns:
        [ceil(size / 8)] uint8 for booleans, the array itself otherwise.
    """

    def pack_array(x: Array) -> Array:
        return jnp.packbits(x.reshape(-1)) if x.dtype == bool else x

    return jax.tree.map(pack_array, observation)


def unpack(packed: PyTree, example: PyTree) -> PyTree:
    """Inverse of `pack`.

    Args:
        packed: a packed observation.
        example: an observation, or its shapes and dtypes.
    """

    def unpack_array(like: Array | jax.ShapeDtypeStruct, x: Array) -> Array:
        if like.dtype != bool:
            return x
        bits = jnp.unpackbits(x, count=like.size)
        return bits.reshape(like.shape).astype(bool)

    return jax.tree.map(unpack_array, example, packed)


def ending(step: Step) -> Array:
    """End-of-episode flags of a step, packed into one byte that one lookup reads."""
    terminated, truncated = map(jnp.uint8, (step.terminated, step.truncated))
    return TERMINATED * terminated | TRUNCATED * truncated


def init(example: Step, rows: int, num_envs: int, num_actions: int) -> ReplayState:
    """An empty ring.

    Args:
        example: one step, with the agent's memory, without time and environment axes.
        rows: capacity, in steps of every environment.
        num_envs: environments.
        num_actions: actions; up to 256 are stored as bytes.
    """
    action_type = jnp.uint8 if num_actions <= 256 else jnp.int32
    stored = example._replace(
        observation=pack(example.observation),
        action=example.action.astype(action_type),
    )
    ring = zeros(stored, rows, num_envs)
    return ReplayState(
        observation=ring.observation,
        action=ring.action,
        reward=ring.reward,
        ended=ending(ring),
        memory=ring.memory,
        added=counter(),
        action_probability=ring.action_probability,
    )


def zeros(example: Step, rows: int, num_envs: int) -> Step:
    """Zeros shaped like `rows` steps of `num_envs` environments; [rows, E]."""
    shape = (rows, num_envs)
    return jax.tree.map(
        lambda leaf: jnp.zeros((*shape, *leaf.shape), leaf.dtype), example
    )


def add(state: ReplayState, rollout: Step) -> ReplayState:
    """Overwrite the oldest rows with a rollout.

    Args:
        state: the ring; its number of rows is a multiple of T.
        rollout: Step with leading axes [T, E].

    Returns:
        The ring with T more rows written.

    Raises:
        ValueError: if T does not divide the number of rows.
    """
    rows = state.action.shape[0]
    length = rollout.action.shape[0]
    if rows % length:
        raise ValueError(
            f"a ring of {rows} rows cannot hold rollouts of {length} steps: the number "
            "of rows must be a multiple of the rollout length"
        )
    start = state.added.value % rows

    def write(ring: Array, leaf: Array) -> Array:
        leaf = leaf.astype(ring.dtype)
        return jax.lax.dynamic_update_slice_in_dim(ring, leaf, start, axis=0)

    return ReplayState(
        observation=jax.tree.map(
            write, state.observation, jax.vmap(jax.vmap(pack))(rollout.observation)
        ),
        action=write(state.action, rollout.action),
        reward=write(state.reward, rollout.reward),
        ended=write(state.ended, ending(rollout)),
        memory=jax.tree.map(write, state.memory, rollout.memory),
        added=Counter(state.added.value + length),
        action_probability=jax.tree.map(
            write, state.action_probability, rollout.action_probability
        ),
    )


def num_starts(state: ReplayState, window: int, history: int = 0) -> Array:
    """Number of rows from which an example can be read; [] int32.

    They are followed by at least `window` rows, and preceded by `history` rows; until
    the ring is full, by all rows since the start.
    """
    rows = state.action.shape[0]
    starts = jnp.minimum(state.added.value, rows) - window
    if history:
        starts -= jnp.where(state.added.value >= rows, history, 0)
    return starts


def sample_uniform(
    key: Key,
    state: ReplayState,
    read: Reader,
    batch_size: int,
    window: int,
    history: int = 0,
) -> Sample:
    """Sample uniformly, with replacement, at a cost independent of the capacity.

    Args:
        key: consumed.
        state: the ring, with at least window + 1 rows written.
        read: reads the example that starts at a row; see `transition_readers`.
        batch_size: B.
        window: rows that must follow the first of an example.
        history: rows before the first that its observation may need.
    """
    num_envs = state.action.shape[1]
    starts = num_starts(state, window, history)
    place = ops.randint(key, batch_size, starts * num_envs)
    row, env = indexing.row_and_column(place, num_envs)
    oldest = state.added.value - starts - window
    return gather(state, read, oldest + row, env)


def sample_latest(state: ReplayState, read: Reader, length: int, window: int) -> Sample:
    """The newest `length` rows that a window follows, for all environments, each once.

    If every rollout has that length, every step is sampled exactly once. Rows from
    before the first one written have weight 0.
    """
    num_envs = state.action.shape[1]
    row, env = indexing.row_and_column(jnp.arange(length * num_envs), num_envs)
    row += state.added.value - window - length
    sample = gather(state, read, jnp.maximum(row, 0), env)
    return sample._replace(weight=jnp.where(row >= 0, sample.weight, 0.0))


def gather(state: ReplayState, read: Reader, row: Array, env: Array) -> Sample:
    """The examples that start at row[B] of environment env[B]."""
    example, weight = indexing.gather(lambda row, env: read(state, row, env), row, env)
    rows, num_envs = state.action.shape
    return Sample(example, weight, row % rows * num_envs + env)
