"""Readers of a replay ring: n-step transitions, windows, and sequences."""

import functools
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from jaxq.replay import ring
from jaxq.rl import frames, off_policy, recall, returns, self_prediction
from jaxq.types import Array, PyTree, Sequence, Transition
from jaxq.xla import indexing


def transitions(
    example: PyTree,
    n: int,
    gamma: Array | float,
    stack: int = 1,
    continuing: bool = False,
    limit: Array | None = None,
) -> ring.Reader:
    """Reader of n-step transitions.

    Args:
        example: an observation, or its shapes and dtypes; of a stack, one frame.
        n: steps in a window; n rows must follow the first.
        gamma: [] discount factor.
        stack: frames in an observation.
        continuing: whether a terminated step leads to the next episode, which the next
            row starts.
        limit: [] int32: length of the window, if it is shorter than n.
    """
    observe = observations(example, stack)

    def read(
        state: ring.ReplayState, row: Array, env: Array
    ) -> tuple[Transition, Array]:
        chex.assert_rank([row, env], 0)
        get = functools.partial(indexing.ring_get, column=env)
        window = row + jnp.arange(n)
        ended = get(state.ended, window)
        reward = get(state.reward, window)
        ends = jnp.zeros(n, bool) if continuing else ended & ring.TERMINATED != 0
        n_step, weight = returns.n_step_return_from_ring(
            reward,
            ends,
            ended & ring.TRUNCATED != 0,
            gamma,
            limit,
        )
        successor = row + n_step.length
        transition = Transition(
            observation=observe(state, row, env),
            action=get(state.action, row).astype(jnp.int32),
            reward=n_step.reward,
            discount=n_step.discount,
            next_observation=observe(state, successor, env),
            next_action=get(state.action, successor).astype(jnp.int32),
            memory=jax.tree.map(lambda stored: get(stored, row), state.memory),
        )
        if continuing:
            count = returns.duration(n_step.length, n, gamma)
            transition = transition._replace(duration=count)
        return transition, weight

    return read


def windows(
    example: PyTree,
    n: int,
    gamma: Array | float,
    stack: int = 1,
    limit: Array | None = None,
) -> ring.Reader:
    """Reader of windows of n steps, for a corrected return.

    Args:
        example: an observation, or its shapes and dtypes; of a stack, one frame.
        n: steps in a window; n rows must follow the first.
        gamma: [] discount factor.
        stack: frames in an observation.
        limit: [] int32: length of the window, if it is shorter than n.
    """
    observe = rows_of_observations(example, stack)

    def read(
        state: ring.ReplayState, row: Array, env: Array
    ) -> tuple[off_policy.Window, Array]:
        chex.assert_rank([row, env], 0)
        get = functools.partial(indexing.ring_get, column=env)
        steps = row + jnp.arange(n)
        observation = observe(state, row + jnp.arange(n + 1), env)
        action = get(state.action, row + jnp.arange(n + 1)).astype(jnp.int32)
        ended = get(state.ended, steps)
        truncated = ended & ring.TRUNCATED != 0
        window = off_policy.Window(
            observation=jax.tree.map(lambda leaf: leaf[0], observation),
            action=action[0],
            reward=get(state.reward, steps),
            discount=jnp.where(ended & ring.TERMINATED != 0, 0.0, gamma),
            continues=off_policy.continues_in_ring(truncated, limit),
            next_observation=jax.tree.map(lambda leaf: leaf[1:], observation),
            next_action=action[1:],
            next_probability=jax.tree.map(
                lambda stored: get(stored, steps + 1), state.action_probability
            ),
        )
        return window, 1.0 - truncated[0].astype(jnp.float32)

    return read


def with_following(
    read: ring.Reader, example: PyTree, steps: int, stack: int = 1
) -> ring.Reader:
    """Reader of examples with the steps that follow their observations.

    Args:
        read: of transitions or windows.
        example: an observation, or its shapes and dtypes; of a stack, one frame.
        steps: K; K rows must follow the first.
        stack: frames in an observation.
    """
    observe = rows_of_observations(example, stack)

    def read_following(
        state: ring.ReplayState, row: Array, env: Array
    ) -> tuple[PyTree, Array]:
        transition, weight = read(state, row, env)
        get = functools.partial(indexing.ring_get, column=env)
        window = row + jnp.arange(steps)
        following = self_prediction.Following(
            action=get(state.action, window).astype(jnp.int32),
            observation=observe(state, window + 1, env),
            reached=self_prediction.reached(get(state.ended, window) > 0),
        )
        return transition._replace(following=following), weight

    return read_following


def sequences(
    example: PyTree, length: int, stack: int = 1, horizon: PyTree = ()
) -> ring.Reader:
    """Reader of sequences of `length` rows, with the memory before the first.

    Args:
        example: an observation, or its shapes and dtypes; of a stack, one frame.
        length: L; length - 1 rows must follow the first.
        stack: frames in an observation.
        horizon: of the returns along the sequence, if it is annealed.
    """
    observe = rows_of_observations(example, stack)

    def read(state: ring.ReplayState, row: Array, env: Array) -> tuple[Sequence, Array]:
        chex.assert_rank([row, env], 0)
        get = functools.partial(indexing.ring_get, column=env)
        window = row + jnp.arange(length)
        ended = get(state.ended, window)
        memory = jax.tree.map(
            lambda stored: get(stored, row), recall.of_network(state.memory)
        )
        observation = observe(state, window, env)
        if isinstance(state.memory, recall.Memory):
            rows = state.memory._replace(network=())
            rows = jax.tree.map(lambda stored: get(stored, window), rows)
            observation = recall.seen(rows, observation)
        sequence = Sequence(
            memory=memory,
            observation=observation,
            action=get(state.action, window).astype(jnp.int32),
            reward=get(state.reward, window),
            terminated=ended & ring.TERMINATED != 0,
            truncated=ended & ring.TRUNCATED != 0,
            action_probability=jax.tree.map(
                lambda stored: get(stored, window), state.action_probability
            ),
            horizon=horizon,
        )
        return sequence, jnp.ones(())

    return read


def rows_of_observations(
    example: PyTree, stack: int = 1
) -> Callable[[ring.ReplayState, Array, Array], PyTree]:
    """Reader of the observations of several rows; without stacks, in one lookup.

    Args:
        example, stack: as in `observations`.

    Returns:
        (ring, rows[N], environment) -> observations [N, ...].
    """
    observe_stack = observations(example, stack)

    def observe(state: ring.ReplayState, rows: Array, env: Array) -> PyTree:
        if stack > 1:
            return jax.vmap(lambda row: observe_stack(state, row, env))(rows)
        packed = jax.tree.map(
            lambda stored: indexing.ring_get(stored, rows, env), state.observation
        )
        return jax.vmap(lambda leaf: ring.unpack(leaf, example))(packed)

    return observe


def observations(
    example: PyTree, stack: int = 1
) -> Callable[[ring.ReplayState, Array, Array], PyTree]:
    """Reader of observations: (ring, row, environment) -> observation.

    A stack is put together from the rows of its frames. Those before the start of the
    episode are copies of its first frame, as in `rl.frames`.

    Args:
        example: an observation, or its shapes and dtypes; of a stack, one frame.
        stack: k, the frames in an observation; k - 1 rows must precede a row that is
            read, unless one of them is the first of an episode.
    """

    def read_frame(state: ring.ReplayState, row: Array, env: Array) -> PyTree:
        packed = jax.tree.map(
            lambda stored: indexing.ring_get(stored, row, env), state.observation
        )
        return ring.unpack(packed, example)

    def read_stack(state: ring.ReplayState, row: Array, env: Array) -> PyTree:
        # Nothing precedes row 0, the first ever written.
        before = row - jnp.arange(1, stack)
        ended = indexing.ring_get(state.ended, jnp.maximum(before, 0), env)
        first = jnp.max(jnp.where((ended > 0) & (before >= 0), before + 1, 0))
        rows = jnp.maximum(row - jnp.arange(stack)[::-1], first)
        each = jax.vmap(lambda row: read_frame(state, row, env))
        return frames.join(each(rows))

    return read_frame if stack == 1 else read_stack
