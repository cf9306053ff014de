"""Random logs of steps, and the transitions and returns they define, step by step."""

import operator

import jax
import jax.numpy as jnp
import numpy as np

from jaxq.types import EnvSpec, Step

NUM_ACTIONS = 3
SPEC = EnvSpec("log", jax.ShapeDtypeStruct((), jnp.float32), NUM_ACTIONS)
EXAMPLE = Step(
    jnp.float32(0),
    jnp.int32(0),
    jnp.float32(0),
    jnp.bool_(0),
    jnp.bool_(0),
    jnp.float32(0),
)


def make_stream(rng, time, envs, p_terminated=0.1, p_truncated=0.1, memory=False):
    """Steps [time, envs] with unique observations: t * envs + e.

    The true successor of the last step of an episode is unique as well: a negative
    number, and not the observation in the next row, which starts another episode.
    """
    observation = np.arange(time * envs, dtype=np.float32).reshape(time, envs)
    terminated = rng.random((time, envs)) < p_terminated
    truncated = (rng.random((time, envs)) < p_truncated) & ~terminated
    next_row = observation + envs
    successor = np.where(terminated | truncated, -1 - observation, next_row)
    return Step(
        observation=observation,
        action=rng.integers(0, NUM_ACTIONS, (time, envs)).astype(np.int32),
        reward=rng.normal(size=(time, envs)).astype(np.float32),
        terminated=terminated,
        truncated=truncated,
        next_observation=successor.astype(np.float32),
        memory=np.stack([observation, -observation], -1) if memory else (),
    )


def example(memory=False):
    return EXAMPLE._replace(memory=jnp.zeros(2) if memory else ())


def rollouts(stream, length):
    """Cut a stream into rollouts."""
    for start in range(0, stream.action.shape[0], length):
        part = operator.itemgetter(slice(start, start + length))
        yield jax.tree.map(part, stream)


def plain_transition(stream, t, e, n, gamma):
    """(reward, discount, row of the successor) of step (t, e), by the definition.

    None if the step is truncated; the row is None if the window terminates.
    """
    if stream.truncated[t, e]:
        return None
    reward, discount = 0.0, 1.0
    for k in range(n):
        if stream.truncated[t + k, e]:  # bootstrap from its observation
            return reward, discount, t + k
        reward += discount * stream.reward[t + k, e]
        discount *= gamma
        if stream.terminated[t + k, e]:
            return reward, 0.0, None
    return reward, discount, t + n


def check_transition(transition, stream, t, e, n, gamma):
    """Assert that a transition (unbatched) is the one that starts at (t, e)."""
    reward, discount, successor = plain_transition(stream, t, e, n, gamma)
    assert transition.observation == stream.observation[t, e]
    assert transition.action == stream.action[t, e]
    np.testing.assert_allclose(transition.reward, reward, atol=1e-5)
    np.testing.assert_allclose(transition.discount, discount, rtol=1e-6)
    if successor is not None:
        assert transition.next_observation == stream.observation[successor, e]
        assert transition.next_action == stream.action[successor, e]


def unbatched(examples):
    """The examples of a minibatch as a list, with NumPy leaves."""
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, examples))
    return [structure.unflatten(row) for row in zip(*leaves, strict=True)]


def random_rollout(rng, time, envs, states):
    """Steps between numbered states; after an episode the next row is another state."""
    shape = (time, envs)
    terminated = rng.random(shape) < 0.15
    truncated = ~terminated & (rng.random(shape) < 0.25)
    observation = rng.integers(0, states, shape)
    next_row = np.vstack([observation[1:], rng.integers(0, states, (1, envs))])
    other = (next_row + rng.integers(1, states, shape)) % states
    successor = np.where(terminated | truncated, other, next_row)
    return Step(
        observation=observation.astype(np.int32),
        action=rng.integers(0, NUM_ACTIONS, shape).astype(np.int32),
        reward=rng.normal(size=shape).astype(np.float32),
        terminated=terminated,
        truncated=truncated,
        next_observation=successor.astype(np.int32),
    )


def plain_returns(rollout, next_value, trace, gamma):
    """The recursive definition of lambda-returns, from the end of the rollout.

    trace[t, e]: weight of the return of step t + 1, unless step t ends an episode.
    """
    returns = np.zeros(rollout.action.shape)
    for t, e in reversed(list(np.ndindex(returns.shape))):
        value = next_value[t, e]
        if t + 1 < len(returns) and not rollout.truncated[t, e]:
            value = (1 - trace[t, e]) * value + trace[t, e] * returns[t + 1, e]
        discount = 0.0 if rollout.terminated[t, e] else gamma
        returns[t, e] = rollout.reward[t, e] + discount * value
    return returns


def plain_table_returns(values, rollout, gamma, decay, cut):
    """`plain_returns` for the values[S, A] of a table."""
    trace = np.full(rollout.action.shape, decay)
    for t, e in np.ndindex(len(trace) - 1, trace.shape[1]):
        q_values = values[rollout.observation[t + 1, e]]
        if cut and q_values[rollout.action[t + 1, e]] < q_values.max():
            trace[t, e] = 0.0
    next_value = values[rollout.next_observation].max(-1)
    return plain_returns(rollout, next_value, trace, gamma)
