"""Sums over teams against plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxq.rl import heads, returns, value_decomposition
from jaxq.types import Network, Regression, Sequence, feed_forward

AGENTS, ACTIONS, STATES, LENGTH = 3, 4, 5, 6


@pytest.fixture
def network():
    return feed_forward(
        lambda key, observation: None,
        lambda key, params, observation: jnp.asarray(params)[observation],
        heads.scalar(),
    )


def test_the_loss_is_that_of_the_sum_of_the_estimates(network):
    rng = np.random.default_rng(0)
    table = rng.normal(size=(STATES, ACTIONS, 1)).astype(np.float32)
    loss = value_decomposition.regression_loss(network)
    for _ in range(10):
        seen = rng.integers(0, STATES, AGENTS)
        action = rng.integers(0, ACTIONS, AGENTS)
        target = np.float32(rng.normal())
        example = Regression(jnp.asarray(seen), jnp.asarray(action), target)
        value, info = loss(jax.random.key(0), table, (), example)
        total = sum(float(table[s, a, 0]) for s, a in zip(seen, action, strict=True))
        np.testing.assert_allclose(value, 0.5 * (total - target) ** 2, rtol=1e-5)
        np.testing.assert_allclose(info.q_value, total, rtol=1e-5)
        gradient = jax.grad(lambda t: loss(jax.random.key(0), t, (), example)[0])(table)  # noqa: B023
        expected = np.zeros_like(table)
        for s, a in zip(seen, action, strict=True):
            expected[s, a, 0] += total - target
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


def test_the_loss_along_a_sequence_is_the_mean_over_its_steps(rng):
    """Each agent has a memory of its own, which the end of an episode resets."""
    fresh = 0.3

    def step(key, params, memory, observation):
        memory = 0.6 * memory + observation
        return (params * memory)[:, None], memory

    network = Network(
        init=lambda key, observation: None,
        apply=lambda key, params, observation: None,
        head=heads.scalar(),
        initial_memory=lambda key: jnp.float32(fresh),
        step=step,
    )
    params = rng.normal(size=ACTIONS).astype(np.float32)
    memory = rng.normal(size=AGENTS).astype(np.float32)
    seen = rng.normal(size=(AGENTS, LENGTH)).astype(np.float32)
    action = rng.integers(0, ACTIONS, (AGENTS, LENGTH))
    target = rng.normal(size=LENGTH).astype(np.float32)
    terminated, truncated = np.zeros((2, AGENTS, LENGTH), bool)
    terminated[:, 1] = truncated[:, 3] = True
    example = Sequence(
        *map(jnp.asarray, (memory, seen, action, target, terminated, truncated))
    )
    value, info = value_decomposition.sequence_loss(network)(
        jax.random.key(0), params, (), example
    )
    totals = np.zeros(LENGTH)
    for i in range(AGENTS):
        remembered = memory[i]
        for t in range(LENGTH):
            remembered = 0.6 * remembered + seen[i, t]
            totals[t] += params[action[i, t]] * remembered
            if terminated[i, t] or truncated[i, t]:
                remembered = fresh
    np.testing.assert_allclose(value, np.mean(0.5 * (totals - target) ** 2), rtol=1e-4)
    np.testing.assert_allclose(info.q_value, totals.mean(), rtol=1e-4, atol=1e-5)


def test_the_sum_of_the_returns_is_the_return_of_the_sums():
    """Of the rewards and of the values of the successors, whatever ends an episode."""
    rng = np.random.default_rng(2)
    reward, value = rng.normal(size=(2, 2, AGENTS, LENGTH)).astype(np.float32)
    terminated, truncated = rng.random((2, 2, LENGTH)) < 0.3
    truncated &= ~terminated

    def returned(reward, value, team):
        discount = 0.9 * (1.0 - jnp.float32(terminated[team]))
        trace = jnp.full(LENGTH, 0.7)
        ended = jnp.asarray(truncated[team])
        return returns.lambda_returns(reward, discount, ended, value, trace)

    each = jnp.stack(
        [returned(reward[k, i], value[k, i], k) for k in (0, 1) for i in range(AGENTS)]
    )
    total = value_decomposition.team_returns(each, AGENTS)
    for k in (0, 1):
        expected = returned(reward[k].sum(0), value[k].sum(0), k)
        np.testing.assert_allclose(total[k], expected, rtol=1e-4, atol=1e-5)
