"""Logs of what happened, and what replay should make of them, step by step."""

import operator

import jax
import jax.numpy as jnp
import numpy as np

from jaxq.types import EnvSpec, Step

NUM_ACTIONS = 3
SPEC = EnvSpec("log", jax.ShapeDtypeStruct((), jnp.float32), NUM_ACTIONS)
EXAMPLE = Step(
    jnp.float32(0), jnp.int32(0), jnp.float32(0), jnp.bool_(0), jnp.bool_(0),
    jnp.float32(0),
)  # fmt: skip


def make_stream(rng, time, envs, p_terminated=0.1, p_truncated=0.1, memory=False):
    """Steps [time, envs] whose observations are unique: t * envs + e.

    The true successor of the last step of an episode is a number of its own, below
    zero, and not the observation in the next row, which starts another episode.
    """
    observation = np.arange(time * envs, dtype=np.float32).reshape(time, envs)
    terminated = rng.random((time, envs)) < p_terminated
    truncated = (rng.random((time, envs)) < p_truncated) & ~terminated
    following = observation + envs
    final = np.where(terminated | truncated, -1 - observation, following)
    return Step(
        observation=observation,
        action=rng.integers(0, NUM_ACTIONS, (time, envs)).astype(np.int32),
        reward=rng.normal(size=(time, envs)).astype(np.float32),
        terminated=terminated,
        truncated=truncated,
        next_observation=final.astype(np.float32),
        memory=np.stack([observation, -observation], -1) if memory else (),
    )


def example(memory=False):
    return EXAMPLE._replace(memory=jnp.zeros(2) if memory else ())


def rollouts(stream, length):
    """The stream, cut into rollouts."""
    for start in range(0, stream.action.shape[0], length):
        part = operator.itemgetter(slice(start, start + length))
        yield jax.tree.map(part, stream)


def plain_transition(stream, t, e, n, gamma):
    """(reward, discount, row of the successor) from the stream itself.

    None if step t is truncated; the row is None if the window ends in a termination.
    """
    if stream.truncated[t, e]:
        return None
    reward, discount = 0.0, 1.0
    for k in range(n):
        if stream.truncated[t + k, e]:  # ends before it, in what it observes
            return reward, discount, t + k
        reward += discount * stream.reward[t + k, e]
        discount *= gamma
        if stream.terminated[t + k, e]:
            return reward, 0.0, None
    return reward, discount, t + n


def check_transition(found, stream, t, e, n, gamma):
    """Whether a Transition without batch axis is the one that starts at (t, e)."""
    reward, discount, after = plain_transition(stream, t, e, n, gamma)
    assert found.observation == stream.observation[t, e]
    assert found.action == stream.action[t, e]
    np.testing.assert_allclose(found.reward, reward, atol=1e-5)
    np.testing.assert_allclose(found.discount, discount, rtol=1e-6)
    if after is not None:
        assert found.next_observation == stream.observation[after, e]
        assert found.next_action == stream.action[after, e]


def unbatched(examples):
    """The examples of a minibatch, one by one, in NumPy."""
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, examples))
    return [structure.unflatten(row) for row in zip(*leaves, strict=True)]


def random_rollout(rng, time, envs, states):
    """Steps between numbered states; after an end, the next row is elsewhere."""
    shape = (time, envs)
    terminated = rng.random(shape) < 0.15
    truncated = ~terminated & (rng.random(shape) < 0.25)
    observation = rng.integers(0, states, shape)
    after = np.vstack([observation[1:], rng.integers(0, states, (1, envs))])
    elsewhere = (after + rng.integers(1, states, shape)) % states
    return Step(
        observation=observation.astype(np.int32),
        action=rng.integers(0, NUM_ACTIONS, shape).astype(np.int32),
        reward=rng.normal(size=shape).astype(np.float32),
        terminated=terminated,
        truncated=truncated,
        next_observation=np.where(terminated | truncated, elsewhere, after).astype(
            np.int32
        ),
    )


def plain_returns(rollout, next_value, trace, gamma):
    """The recursion, from the end of the rollout, one environment at a time.

    trace[t, e]: weight of the return of step t + 1, unless the episode ends with t.
    """
    returns = np.zeros(rollout.action.shape)
    for t, e in reversed(list(np.ndindex(returns.shape))):
        value = next_value[t, e]
        if t + 1 < len(returns) and not rollout.truncated[t, e]:
            value = (1 - trace[t, e]) * value + trace[t, e] * returns[t + 1, e]
        going = 0.0 if rollout.terminated[t, e] else gamma
        returns[t, e] = rollout.reward[t, e] + going * value
    return returns


def plain_table_returns(values, rollout, gamma, decay, cut):
    """`plain_returns` for the values[S, A] of a table."""
    trace = np.full(rollout.action.shape, decay)
    for t, e in np.ndindex(len(trace) - 1, trace.shape[1]):
        here = values[rollout.observation[t + 1, e]]
        if cut and here[rollout.action[t + 1, e]] < here.max():
            trace[t, e] = 0.0
    next_value = values[rollout.next_observation].max(-1)
    return plain_returns(rollout, next_value, trace, gamma)
