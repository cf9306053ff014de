"""Behaviour policies and schedules against their definitions."""

import definitions
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxq.rl import epsilon_schedules, exploration

choose = jax.jit(jax.vmap(exploration.epsilon_greedy, in_axes=(0, None, None)))


def action_counts(q_values, epsilon, draws=20_000):
    keys = jax.random.split(jax.random.key(0), draws)
    actions = choose(keys, jnp.asarray(q_values, jnp.float32), jnp.float32(epsilon))
    return np.bincount(np.asarray(actions), minlength=len(q_values))


def agree(counts, policy):
    """Whether counts pass a chi-square test against probabilities, zeros included."""
    policy = np.asarray(policy, np.float64)
    assert not counts[policy == 0].any()
    counts, policy = counts[policy > 0], policy[policy > 0]
    expected = policy / policy.sum() * counts.sum()
    return scipy.stats.chisquare(counts, expected).pvalue > 1e-4


@pytest.mark.parametrize(
    ("q_values", "epsilon", "policy"),
    [
        ([0.0, 1.0, -1.0], 0.3, [0.1, 0.8, 0.1]),
        ([2.0, 1.0, 2.0, 0.0], 0.2, [0.45, 0.05, 0.45, 0.05]),
        ([0.0, 0.0, 0.0], 0.0, [1 / 3, 1 / 3, 1 / 3]),
        ([5.0, 1.0], 1.0, [0.5, 0.5]),
        ([-np.inf, 1.0, 0.0, -np.inf], 0.4, [0, 0.8, 0.2, 0]),
        ([-np.inf, 1.0, 0.0, 0.0], 1.0, [0, 1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_actions_follow_the_policy(q_values, epsilon, policy, strict):
    assert agree(action_counts(q_values, epsilon), policy)


def test_the_epsilon_greedy_policy_equals_its_definition(rng, strict):
    compiled = jax.jit(exploration.epsilon_greedy_policy)
    for _ in range(50):
        # Small integers, so that ties are common.
        q_values = rng.integers(3, size=5).astype(np.float32)
        q_values[rng.random(5) < 0.3] = -np.inf
        q_values[0] = 0.0
        epsilon = np.float32(rng.random())
        expected = definitions.epsilon_greedy(q_values, epsilon)
        np.testing.assert_allclose(compiled(q_values, epsilon), expected, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.01, 0.5, 10.0])
def test_the_softmax_policy_equals_its_definition(temperature, rng, strict):
    compiled = jax.jit(exploration.boltzmann_policy)
    for _ in range(20):
        q_values = (3 * rng.normal(size=4)).astype(np.float32)
        expected = definitions.softmax(q_values.astype(np.float64) / temperature)
        policy = compiled(q_values, jnp.float32(temperature))
        np.testing.assert_allclose(policy, expected, rtol=1e-3, atol=1e-7)
    with_invalid = compiled(jnp.array([0.0, -jnp.inf, 0.0]), jnp.float32(temperature))
    np.testing.assert_array_equal(with_invalid, [0.5, 0.0, 0.5])


@pytest.mark.parametrize("epsilon", [0.0, 0.25, 1.0])
def test_softmax_actions_are_uniform_with_probability_epsilon(epsilon, strict):
    q_values, temperature = np.array([1.0, -np.inf, 0.0, 2.0]), 0.8
    policy = epsilon * np.array([1, 0, 1, 1]) / 3
    policy += (1 - epsilon) * definitions.softmax(q_values / temperature)
    sample = jax.jit(jax.vmap(exploration.boltzmann, in_axes=(0, None, None, None)))
    actions = sample(
        jax.random.split(jax.random.key(3), 20_000),
        jnp.asarray(q_values, jnp.float32),
        jnp.float32(temperature),
        jnp.float32(epsilon),
    )
    assert agree(np.bincount(np.asarray(actions), minlength=4), policy)


def test_draw_samples_from_any_policy(strict):
    policy = jnp.array([0.0, 0.15, 0.0, 0.5, 0.05, 0.3, 0.0])
    keys = jax.random.split(jax.random.key(4), 20_000)
    actions = jax.jit(jax.vmap(exploration.draw, in_axes=(0, None)))(keys, policy)
    assert actions.dtype == jnp.int32
    assert agree(np.bincount(np.asarray(actions), minlength=7), policy)


@pytest.mark.parametrize("size", [3, 18])
def test_the_greedy_policy_never_selects_another_action(size):
    q_values = np.zeros(size)
    q_values[[0, size // 2]] = 1.0
    assert action_counts(q_values, 0.0)[[0, size // 2]].sum() == 20_000


def test_environments_explore_independently():
    keys = jax.random.split(jax.random.key(1), 1000)
    actions = choose(keys, jnp.arange(4.0), jnp.float32(0.5))
    assert len(set(np.asarray(actions).tolist())) == 4


def test_schedules_equal_their_definitions(strict):
    start, end, scale = jnp.float32(1.0), jnp.float32(0.1), jnp.float32(100.0)
    for t in (0, 1, 50, 100, 2**31 - 1):
        steps = jnp.int32(t).astype(jnp.float32)
        linear = epsilon_schedules.linear_schedule(steps, start, end, scale)
        np.testing.assert_allclose(linear, max(0.1, 1 - 0.9 * t / 100), rtol=1e-6)
        exponential = epsilon_schedules.exponential_schedule(steps, start, end, scale)
        np.testing.assert_allclose(exponential, 0.1 + 0.9 * np.exp(-t / 100), rtol=1e-6)
        episodic = epsilon_schedules.episodic_schedule(
            steps, start, end, jnp.float32(0.01)
        )
        np.testing.assert_allclose(episodic, max(0.1, 1 - 0.01 * t), rtol=1e-5)


def test_the_epsilon_ladder_equals_its_definition(strict):
    compiled = jax.jit(epsilon_schedules.epsilon_ladder, static_argnums=0)
    ladder = compiled(8, jnp.float32(0.4), jnp.float32(7.0))
    expected = [0.4 ** (1 + 7 * i / 7) for i in range(8)]
    np.testing.assert_allclose(ladder, expected, rtol=1e-5)
    single = compiled(1, jnp.float32(0.4), jnp.float32(7.0))
    np.testing.assert_allclose(single, [0.4], rtol=1e-6)
