import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxq import exploration

choose = jax.jit(jax.vmap(exploration.epsilon_greedy, in_axes=(0, None, None)))


def frequencies(q_values, epsilon, draws=20_000):
    keys = jax.random.split(jax.random.key(0), draws)
    actions = choose(keys, jnp.asarray(q_values, jnp.float32), jnp.float32(epsilon))
    return np.bincount(np.asarray(actions), minlength=len(q_values))


@pytest.mark.parametrize(
    ("q_values", "epsilon", "policy"),
    [
        ([0.0, 1.0, -1.0], 0.3, [0.1, 0.8, 0.1]),
        ([2.0, 1.0, 2.0, 0.0], 0.2, [0.45, 0.05, 0.45, 0.05]),
        ([0.0, 0.0, 0.0], 0.0, [1 / 3, 1 / 3, 1 / 3]),
        ([5.0, 1.0], 1.0, [0.5, 0.5]),
    ],
)
def test_actions_follow_the_policy(q_values, epsilon, policy, strict):
    counts = frequencies(q_values, epsilon)
    assert scipy.stats.chisquare(counts, np.array(policy) * counts.sum()).pvalue > 1e-4


@pytest.mark.parametrize("size", [2, 3, 6, 18])
def test_greedy_never_chooses_another_action(size):
    q_values = np.zeros(size)
    q_values[[0, size // 2]] = 1.0
    assert frequencies(q_values, 0.0)[[0, size // 2]].sum() == 20_000


def test_every_environment_tosses_its_own_coin():
    keys = jax.random.split(jax.random.key(1), 1000)
    actions = choose(keys, jnp.arange(4.0), jnp.float32(0.5))
    assert len(set(np.asarray(actions).tolist())) == 4


def test_schedules_equal_their_definitions(strict):
    start, end, scale = jnp.float32(1.0), jnp.float32(0.1), jnp.float32(100.0)
    for t in (0, 1, 50, 100, 2**31 - 1):
        steps = jnp.int32(t).astype(jnp.float32)
        linear = exploration.linear_schedule(steps, start, end, scale)
        np.testing.assert_allclose(linear, max(0.1, 1 - 0.9 * t / 100), rtol=1e-6)
        exponential = exploration.exponential_schedule(steps, start, end, scale)
        np.testing.assert_allclose(exponential, 0.1 + 0.9 * np.exp(-t / 100), rtol=1e-6)
        episodic = exploration.episodic_schedule(steps, start, end, jnp.float32(0.01))
        np.testing.assert_allclose(episodic, max(0.1, 1 - 0.01 * t), rtol=1e-5)
