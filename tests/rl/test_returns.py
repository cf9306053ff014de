"""N-step and lambda-returns against recursive definitions."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from definitions import table_network

from jaxq.agents import q_lambda
from jaxq.rl import heads, returns
from jaxq.types import Step


def plain_n_step_return(reward, terminated, truncated, gamma):
    """The definition, step by step."""
    total, power = 0.0, 1.0
    for length, (r, end, cut) in enumerate(
        zip(reward, terminated, truncated, strict=True), start=1
    ):
        total += power * r
        power *= gamma
        if end:
            return total, 0.0, length
        if cut:
            break
    return total, power, length


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_n_step_return_equals_its_definition(n, rng, strict):
    compiled = jax.jit(jax.vmap(returns.n_step_return, in_axes=(0, 0, 0, None)))
    reward = rng.normal(size=(200, n)).astype(np.float32)
    terminated, truncated = rng.random((2, 200, n)) < 0.2
    result = compiled(reward, terminated, truncated, jnp.float32(0.9))
    for i in range(200):
        expected = plain_n_step_return(reward[i], terminated[i], truncated[i], 0.9)
        actual = [np.asarray(field)[i] for field in result]
        np.testing.assert_allclose(actual, expected, atol=1e-6)


@pytest.mark.parametrize("limit", [1, 2, 4, 7])
def test_a_limit_is_that_of_a_shorter_window(limit, rng, strict):
    reward = rng.normal(size=(200, 7)).astype(np.float32)
    terminated, truncated = rng.random((2, 200, 7)) < 0.2
    arguments = reward, terminated, truncated, jnp.float32(0.9)
    plain = [plain_n_step_return, plain_n_step_return_from_ring]
    for ring, definition in enumerate(plain):
        of = [returns.n_step_return, returns.n_step_return_from_ring][ring]
        compiled = jax.jit(jax.vmap(of, in_axes=(0, 0, 0, None, None)))
        result = compiled(*arguments, jnp.int32(limit))
        result = result[0] if ring else result
        for i in range(200):
            rows = (x[i, :limit] for x in (reward, terminated, truncated))
            expected = definition(*rows, 0.9)
            if expected is not None:
                actual = [np.asarray(field)[i] for field in result]
                np.testing.assert_allclose(actual, expected, atol=1e-6)


def plain_n_step_return_from_ring(reward, terminated, truncated, gamma):
    """(reward, discount, length), or None, if successors of truncations are unknown.

    No window may contain a truncated step, whose successor has an unknown value: the
    return is that of the longest window without one.
    """
    if truncated[0]:
        return None
    length = 1
    while length < len(reward):
        if terminated[length - 1] or truncated[length]:
            break
        length += 1
    total = sum(gamma**j * reward[j] for j in range(length))
    return total, gamma**length * (not terminated[length - 1]), length


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_windows_from_the_ring_contain_no_truncated_step(n, rng, strict):
    compiled = jax.jit(
        jax.vmap(returns.n_step_return_from_ring, in_axes=(0, 0, 0, None))
    )
    reward = rng.normal(size=(300, n)).astype(np.float32)
    terminated = rng.random((300, n)) < 0.2
    truncated = (rng.random((300, n)) < 0.2) & ~terminated
    result, weights = jax.tree.map(
        np.asarray, compiled(reward, terminated, truncated, jnp.float32(0.9))
    )
    assert set(weights) == {0.0, 1.0}
    for i in range(300):
        expected = plain_n_step_return_from_ring(
            reward[i], terminated[i], truncated[i], 0.9
        )
        assert weights[i] == (expected is not None)
        if expected is not None:
            actual = [field[i] for field in result]
            np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_the_discount_of_one_step_is_exactly_gamma():
    result = jax.jit(returns.n_step_return)(
        jnp.ones(1), jnp.zeros(1, bool), jnp.zeros(1, bool), jnp.float32(0.99)
    )
    assert result.discount == np.float32(0.99)
    assert result.reward == 1


def test_n_step_bootstraps_from_the_true_successor_of_its_last_step(strict):
    window = Step(
        observation=np.arange(4, dtype=np.float32),
        action=np.arange(4, dtype=np.int32),
        reward=np.ones(4, np.float32),
        terminated=np.zeros(4, bool),
        truncated=np.array([False, True, False, False]),
        next_observation=np.array([1, 50, 3, 4], np.float32),
        memory=np.array([10, 20, 30, 40], np.int32),
    )
    transition = jax.jit(returns.n_step)(window, jnp.float32(0.5))
    assert transition.observation == 0 and transition.action == 0
    assert transition.memory == 10
    assert transition.reward == 1.5 and transition.discount == 0.25
    assert transition.next_observation == 50.0


def test_n_step_return_raises_for_a_batch():
    with pytest.raises(AssertionError):
        returns.n_step_return(
            jnp.ones((2, 2)), jnp.zeros(2, bool), jnp.zeros(2, bool), 0.9
        )


def plain_lambda_return(t, reward, discount, truncated, value, trace):
    """G_t by recursion."""
    if t == len(reward) - 1 or truncated[t]:
        return reward[t] + discount[t] * value[t]
    next_return = plain_lambda_return(t + 1, reward, discount, truncated, value, trace)
    mixed = (1 - trace[t]) * value[t] + trace[t] * next_return
    return reward[t] + discount[t] * mixed


LENGTH = 12
compiled = jax.jit(returns.lambda_returns)


def rollout(rng, gamma=0.9):
    """(reward, discount, truncated, next_value); any step may end an episode."""
    reward, value = rng.normal(size=(2, LENGTH)).astype(np.float32)
    terminated, truncated = rng.random((2, LENGTH)) < 0.2
    discount = (gamma * ~terminated).astype(np.float32)
    return reward, discount, truncated, value


@pytest.mark.parametrize("trace", [0.0, 0.65, 1.0, "varying"])
def test_lambda_returns_equal_their_definition(trace, rng, strict):
    last_step = set()
    for _ in range(60):
        steps = rollout(rng)
        lambda_ = rng.random(LENGTH) if trace == "varying" else trace
        lambda_ = jnp.asarray(lambda_, jnp.float32)
        actual = compiled(*steps, lambda_)
        weight = np.broadcast_to(lambda_, LENGTH)
        expected = [plain_lambda_return(t, *steps, weight) for t in range(LENGTH)]
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
        last_step.add((bool(steps[1][-1]), bool(steps[2][-1])))
    assert len(last_step) == 4


def test_lambda_interpolates_between_one_step_and_the_whole_return(rng):
    reward, value = rng.normal(size=(2, LENGTH)).astype(np.float32)
    discount, truncated = np.full(LENGTH, 0.9, np.float32), np.zeros(LENGTH, bool)
    one_step = compiled(reward, discount, truncated, value, 0.0)
    np.testing.assert_allclose(one_step, reward + 0.9 * value, rtol=1e-5, atol=1e-6)
    whole = compiled(reward, discount, truncated, value, 1.0)
    for t in range(LENGTH):
        k = LENGTH - t
        total = sum(0.9**j * reward[t + j] for j in range(k)) + 0.9**k * value[-1]
        np.testing.assert_allclose(whole[t], total, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("terminated", [False, True])
def test_returns_do_not_depend_on_the_next_episode(terminated, rng):
    reward, value = rng.normal(size=(2, LENGTH)).astype(np.float32)
    discount, truncated = np.full(LENGTH, 0.9, np.float32), np.zeros(LENGTH, bool)
    discount[5], truncated[5] = (0.0, False) if terminated else (0.9, True)
    other_reward, other_value = reward.copy(), value.copy()
    other_reward[6:] += 100.0
    other_value[6:] -= 50.0
    if terminated:
        other_value[5] += 100.0
    before = compiled(reward, discount, truncated, value, 0.9)
    after = compiled(other_reward, discount, truncated, other_value, 0.9)
    np.testing.assert_array_equal(before[:6], after[:6])
    assert (abs(before[6:] - after[6:]) > 1).all()


GAMMA, LAMBDA = 0.9, 0.8


def backward_view(q_values, state, action, reward, watkins):
    """Sum of delta * e over an episode, with accumulating traces and offline updates.

    Watkins's Q(lambda) is figure 7.14 of Sutton and Barto (1998). Peng's is figure
    7.16, which never cuts the trace, and whose error is that of the greedy value.
    """
    trace, update = np.zeros_like(q_values), np.zeros_like(q_values)
    for t in range(len(reward)):
        ended = t == len(reward) - 1
        best = 0.0 if ended else q_values[state[t + 1]].max()
        target = reward[t] + GAMMA * best
        if watkins:
            trace[state[t], action[t]] += 1
            update += (target - q_values[state[t], action[t]]) * trace
        else:
            update += (target - q_values[state[t]].max()) * trace
            update[state[t], action[t]] += target - q_values[state[t], action[t]]
            trace[state[t], action[t]] += 1
        trace *= GAMMA * LAMBDA
        greedy = ended or q_values[state[t + 1], action[t + 1]] == best
        if watkins and not greedy:
            trace[:] = 0
    return update


@pytest.mark.parametrize("watkins", [True, False])
def test_the_forward_view_equals_eligibility_traces(watkins, rng):
    """For whole episodes that revisit states."""
    q_values = rng.normal(size=(4, 2)).astype(np.float32)
    config = types.SimpleNamespace(
        discount=GAMMA,
        trace_decay=LAMBDA,
        trace_cut=watkins,
        num_envs=1,
        average_reward="none",
    )
    network = table_network(heads.scalar())
    forward_returns = jax.jit(
        lambda params, steps: q_lambda.q_lambda_returns(
            network, params, steps, config, config.discount
        )
    )
    for _ in range(20):
        state = rng.integers(4, size=LENGTH + 1)
        action = rng.integers(2, size=LENGTH)
        last = np.arange(LENGTH) == LENGTH - 1
        reward = rng.normal(size=LENGTH).astype(np.float32)
        steps = Step(
            state[:-1], action, reward, last, np.zeros(LENGTH, bool), state[1:]
        )
        result = forward_returns(q_values[..., None], jax.tree.map(jnp.asarray, steps))
        forward = np.zeros((4, 2))
        for t in range(LENGTH):
            forward[state[t], action[t]] += result[t] - q_values[state[t], action[t]]
        backward = backward_view(q_values, state, action, reward, watkins)
        np.testing.assert_allclose(forward, backward, rtol=1e-3, atol=1e-4)
