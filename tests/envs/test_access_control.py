"""The access-control queue against its description, and exact average rewards."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.reproductions import access_control as reproduction
from jaxq import ConfigError
from jaxq.envs import access_control, adapter, make, mdp, sutton_barto

ENV = access_control.AccessControl()
PRIORITY = 1, 2, 4, 8


def plain_gain(at_once, epsilon=0.0, sweeps=4000):
    """Relative value iteration, state by state, and the greedy actions.

    Args:
        at_once: whether a customer who was just accepted may leave in the same step.
        epsilon: share of random actions.
    """

    def outcomes(free, accept):
        """Probability of every number of free servers after a step."""
        accept = accept and free > 0
        busy = 10 - free + (accept and at_once)
        for leave in range(busy + 1):
            chance = math.comb(busy, leave) * 0.06**leave * 0.94 ** (busy - leave)
            yield chance, free - accept + leave

    value, gain = np.zeros(11), 0.0  # before the priority of the customer is known
    for _ in range(sweeps):
        new, accepted = np.zeros(11), np.zeros((4, 11), bool)
        after = [
            [sum(p * value[n] for p, n in outcomes(free, accept)) for accept in (0, 1)]
            for free in range(11)
        ]
        for free in range(11):
            for i, priority in enumerate(PRIORITY):
                reject, accept = after[free]
                accept += priority * (free > 0)
                accepted[i, free] = accept > reject
                best, mean = max(accept, reject), (accept + reject) / 2
                new[free] += ((1 - epsilon) * best + epsilon * mean) / 4
        gain, value = new[0] - value[0], new - new[0]
    return gain, accepted


def test_the_largest_average_reward_equals_that_of_the_plain_recursion():
    model = access_control.model()
    np.testing.assert_allclose(model.transition.sum(axis=2), 1.0, rtol=1e-12)
    gain, q_values = mdp.relative_value_iteration(model)
    assert gain == pytest.approx(2.7476, abs=5e-5)
    plain, accepted = plain_gain(at_once=True, sweeps=600)
    assert gain == pytest.approx(plain, abs=1e-6)
    policy = mdp.greedy_policy(q_values)
    assert mdp.average_reward(model, policy) == pytest.approx(gain, abs=1e-9)
    # Never 1, 2 with at least four free servers, 4 and 8 always.
    accept = (q_values[:, 1] > q_values[:, 0]).reshape(4, 11)
    first = [11, 4, 1, 1]
    expected = np.arange(11) >= np.array(first)[:, None]
    np.testing.assert_array_equal(accept, expected)
    np.testing.assert_array_equal(accepted, expected)


def test_the_best_soft_policy_has_the_known_average_reward():
    model = access_control.model()
    gain, q_values = mdp.relative_value_iteration(model, epsilon=0.1)
    assert gain == pytest.approx(2.6469, abs=5e-5)
    policy = 0.9 * mdp.greedy_policy(q_values) + 0.1 / 2
    assert mdp.average_reward(model, policy) == pytest.approx(gain, abs=1e-9)


def test_if_a_new_customer_cannot_leave_at_once_the_average_is_smaller():
    """The value in the docstring of the environment, for the other reading."""
    assert plain_gain(at_once=False, sweeps=600)[0] == pytest.approx(2.6732, abs=5e-5)


@pytest.mark.parametrize(("number", "action"), [(0, 1), (24, 1), (43, 0), (43, 1)])
def test_steps_have_the_frequencies_of_the_model(number, action):
    count, model = 20_000, access_control.model()
    state = sutton_barto.State(jnp.int32(number), jnp.int32(3))

    def step(key):
        _, after, reward, terminated, truncated, _ = ENV.step(
            key, state, jnp.int32(action), ENV.default_params
        )
        return after.number, reward, terminated | truncated

    keys = jax.random.split(jax.random.key(number + action), count)
    after, reward, ended = map(np.asarray, jax.jit(jax.vmap(step))(keys))
    assert not ended.any()
    np.testing.assert_array_equal(reward, model.reward[number, action])
    expected = model.transition[number, action]
    frequency = np.bincount(after, minlength=44) / count
    assert np.all(expected[frequency > 0] > 0)
    common = count * expected >= 10  # where counts are nearly normal
    assert expected[common].sum() > 0.99
    error = np.sqrt(expected * (1 - expected) / count)
    assert np.all((np.abs(frequency - expected) <= 4.5 * error)[common])


def test_all_servers_are_free_at_the_start_and_the_customer_is_random():
    env = adapter.adapt(ENV)
    assert (env.spec.num_states, env.spec.num_actions) == (44, 2)
    keys = jax.random.split(jax.random.key(0), 100)
    observation = np.asarray(jax.vmap(env.reset)(keys).observation)
    assert set(observation) == {10, 21, 32, 43}
    assert make.make("AccessControl").spec.name == "AccessControl"


def test_where_an_episode_ends_the_next_one_starts():
    """One step with reward 1, or two with 0 and 3, of which the latter end."""
    transition = np.zeros((2, 2, 2))
    transition[0, 1, 1] = 1.0
    reward = np.array([[1.0, 0.0], [3.0, 3.0]])
    model = mdp.MDP(transition, reward, np.array([1.0, 0.0]), 100)
    gain, q_values = mdp.relative_value_iteration(model)
    assert gain == pytest.approx(1.5)
    assert q_values[0, 1] - q_values[0, 0] == pytest.approx(0.5)
    always_short = np.array([[1.0, 0.0], [0.5, 0.5]])
    assert mdp.average_reward(model, always_short) == pytest.approx(1.0)
    soft = np.full((2, 2), 0.5)  # half of the episodes have two steps
    assert mdp.average_reward(model, soft) == pytest.approx(2.0 / 1.5)


def test_a_gain_that_depends_on_the_start_is_an_error(monkeypatch):
    monkeypatch.setattr(mdp, "MAX_SWEEPS", 50)
    transition = np.eye(2)[:, None, :]
    model = mdp.MDP(transition, np.array([[0.0], [1.0]]), np.array([0.5, 0.5]), 100)
    with pytest.raises(ConfigError, match="may depend on the initial state"):
        mdp.relative_value_iteration(model)


def test_the_reproduction_is_judged_by_the_exact_gains():
    exact = reproduction.TARGETS["access_control"].criterion.values
    for label, epsilon in (("greedy", 0.0), ("estimate", 0.0), ("epsilon-greedy", 0.1)):
        gain, _ = mdp.relative_value_iteration(access_control.model(), epsilon)
        assert exact[label] == pytest.approx(gain, abs=5e-5)
