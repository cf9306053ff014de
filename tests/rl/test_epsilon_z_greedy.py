"""Epsilon-z-greedy exploration against its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxq.rl import exploration


def plain_zeta(exponent, largest):
    mass = [z ** -float(exponent) for z in range(1, largest + 1)]
    return np.array([m / sum(mass) for m in mass])


@pytest.mark.parametrize(("exponent", "largest"), [(2.0, 100), (0.0, 3), (5.0, 1)])
def test_zeta_probabilities_equal_their_definition(exponent, largest, strict):
    zeta = jax.jit(exploration.zeta, static_argnums=1)(jnp.float32(exponent), largest)
    np.testing.assert_allclose(zeta, plain_zeta(exponent, largest), rtol=1e-5)


def walk(q_values, epsilon, exponent, largest, steps, seed=0):
    """Actions [N] of one environment, and the steps left after each."""
    cumulative = jnp.cumsum(exploration.zeta(jnp.float32(exponent), largest))
    q_values = jnp.broadcast_to(
        jnp.asarray(q_values, jnp.float32), (steps, np.shape(q_values)[-1])
    )

    def step(repetition, inputs):
        key, values = inputs
        action, repetition = exploration.epsilon_z_greedy(
            key, values, jnp.float32(epsilon), repetition, cumulative
        )
        return repetition, (action, repetition.steps_left)

    keys = jax.random.split(jax.random.key(seed), steps)
    run = jax.jit(lambda xs: jax.lax.scan(step, exploration.no_repetition(), xs)[1])
    return [np.asarray(x) for x in run((keys, q_values))]


@pytest.mark.parametrize(("exponent", "largest"), [(2.0, 6), (0.5, 3), (2.0, 1)])
def test_durations_follow_the_zeta_distribution(exponent, largest, strict):
    """All actions are random, so that a repetition follows each that ends."""
    actions, left = walk(np.zeros(50), 1.0, exponent, largest, 20_000)
    starts = np.flatnonzero(np.r_[0, left[:-1]] == 0)
    durations = np.diff(starts)
    np.testing.assert_array_equal(durations, left[starts[:-1]] + 1)
    counts = np.bincount(durations, minlength=largest + 1)[1:]
    expected = plain_zeta(exponent, largest) * counts.sum()
    if largest > 1:
        assert scipy.stats.chisquare(counts, expected).pvalue > 1e-4
    assert counts.size == largest and counts.all()
    for start, duration in zip(starts, durations, strict=False):
        assert (actions[start : start + duration] == actions[start]).all()
    drawn = np.bincount(actions[starts], minlength=50)
    assert scipy.stats.chisquare(drawn).pvalue > 1e-4


def test_the_fraction_of_random_steps_is_that_of_their_duration(strict):
    """Of 1 + epsilon (E[z] - 1) steps per decision, epsilon E[z] are random."""
    epsilon, actions = 0.1, 1000  # so that hardly a random action is the greedy one
    q_values = np.zeros(actions)
    q_values[3] = 1.0
    chosen, _ = walk(q_values, epsilon, 2.0, 20, 40_000)
    mean = plain_zeta(2.0, 20) @ np.arange(1, 21)
    expected = epsilon * mean / (1 + epsilon * (mean - 1))
    assert expected > 0.2
    np.testing.assert_allclose(np.mean(chosen != 3), expected, atol=0.015)


def test_a_largest_duration_of_one_is_epsilon_greedy(strict):
    q_values = [0.0, 1.0, -1.0, -np.inf]
    chosen, left = walk(q_values, 0.3, 2.0, 1, 20_000)
    assert not left.any()
    counts = np.bincount(chosen, minlength=4)
    assert counts[3] == 0
    assert scipy.stats.chisquare(counts[:3], [2000, 16_000, 2000]).pvalue > 1e-4


def test_without_epsilon_the_policy_is_greedy(strict):
    chosen, left = walk([0.0, 2.0, 1.0], 0.0, 2.0, 50, 500)
    assert (chosen == 1).all() and not left.any()


def test_a_repetition_continues_against_the_values_unless_it_is_invalid(strict):
    cumulative = jnp.cumsum(exploration.zeta(2.0, 9))
    repetition = exploration.Repetition(jnp.int32(2), jnp.int32(5))
    choose = jax.jit(exploration.epsilon_z_greedy)

    def after(q_values, left=5):
        action, state = choose(
            jax.random.key(0), jnp.float32(q_values), jnp.float32(0.0),
            repetition._replace(steps_left=jnp.int32(left)), cumulative,
        )  # fmt: skip
        return int(action), int(state.steps_left)

    assert after([9.0, 0.0, -4.0]) == (2, 4)
    assert after([9.0, 0.0, -4.0], left=1) == (2, 0)
    assert after([9.0, 0.0, -4.0], left=0) == (0, 0)
    assert after([9.0, 0.0, -jnp.inf]) == (0, 0)
