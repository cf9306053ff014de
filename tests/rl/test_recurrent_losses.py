"""Losses of sequences, for the smallest network that has a memory."""

import definitions
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxq.rl import (
    heads,
    losses,
    munchausen,
    off_policy,
    recurrent_losses,
    returns,
    unrolling,
)
from jaxq.types import Network, Sequence

ACTIONS, LENGTH = 3, 14
FRESH = 0.3  # the memory at the start of an episode
EPSILON = 0.4
HEAD = heads.scalar("huber", 0.8)


def step(key, params, memory, observation):
    """The memory is a decaying sum of observations, and outputs are linear in it."""
    memory = 0.6 * memory + params["input"] * observation
    return (params["scale"] * memory + params["bias"])[:, None], memory


NETWORK = Network(
    init=lambda key, observation: None,
    apply=lambda key, params, observation: None,
    head=HEAD,
    initial_memory=lambda key: jnp.float32(FRESH),
    step=step,
)


def random_params(rng):
    params = {
        "input": rng.normal(),
        "scale": rng.normal(size=ACTIONS),
        "bias": rng.normal(size=ACTIONS),
    }
    return jax.tree.map(np.float32, params)


def random_sequence(rng, ends=0.15):
    terminated = rng.random(LENGTH) < ends
    return Sequence(
        memory=np.float32(rng.normal()),
        observation=rng.normal(size=LENGTH).astype(np.float32),
        action=rng.integers(ACTIONS, size=LENGTH).astype(np.int32),
        reward=rng.normal(size=LENGTH).astype(np.float32),
        terminated=terminated,
        truncated=(rng.random(LENGTH) < ends) & ~terminated,
        epsilon=np.float32(EPSILON),
        action_probability=rng.uniform(0.1, 1.0, LENGTH).astype(np.float32),
    )


def plain_unroll(params, memory, sequence, start, stop):
    """Outputs [L, A] and the final memory, step by step."""
    outputs = []
    for t in range(start, stop):
        output, memory = step(None, params, memory, sequence.observation[t])
        outputs.append(output[:, 0])
        if sequence.terminated[t] or sequence.truncated[t]:
            memory = FRESH
    return np.array(outputs), memory


def test_unroll_resets_the_memory_after_each_episode(rng, strict):
    unroll = jax.jit(
        lambda params, memory, observation, ended: unrolling.unroll(
            NETWORK, None, params, memory, observation, ended
        )
    )
    for _ in range(20):
        params, sequence = random_params(rng), random_sequence(rng, 0.3)
        outputs, memory = unroll(
            params,
            sequence.memory,
            sequence.observation,
            sequence.terminated | sequence.truncated,
        )
        expected = plain_unroll(params, sequence.memory, sequence, 0, LENGTH)
        np.testing.assert_allclose(outputs[..., 0], expected[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(memory, expected[1], rtol=1e-4, atol=1e-5)


def plain_targets(params, target_params, sequence, burn_in, n, gamma, double, policy):
    """The target of each step after the burn-in, or None for a step without one."""
    outputs = []
    for tree in (params, target_params):
        _, memory = plain_unroll(tree, sequence.memory, sequence, 0, burn_in)
        outputs.append(plain_unroll(tree, memory, sequence, burn_in, LENGTH)[0])
    online, evaluate = outputs
    select = online if double else evaluate
    targets = []
    for t in range(burn_in, LENGTH - n):
        if sequence.truncated[t]:  # its successor was not stored
            targets.append(None)
            continue
        total, power, successor = 0.0, 1.0, t
        while True:
            total += power * sequence.reward[successor]
            power *= gamma
            successor += 1
            if sequence.terminated[successor - 1]:
                power = 0.0
                break
            if successor - t == n or sequence.truncated[successor]:
                break
        q_values = select[successor - burn_in]
        probabilities = {
            "max": np.eye(ACTIONS)[np.argmax(q_values)],
            "sarsa": np.eye(ACTIONS)[sequence.action[successor]],
            "epsilon": definitions.epsilon_greedy(q_values, EPSILON),
        }[policy]
        targets.append(total + power * probabilities @ evaluate[successor - burn_in])
    return targets


def plain_loss(params, memory, targets, sequence, burn_in):
    """Mean Huber loss, errors and estimates, given the memory after the burn-in."""
    outputs, _ = plain_unroll(params, memory, sequence, burn_in, LENGTH)
    total, errors, estimates = 0.0, [], []
    for i, target in enumerate(targets):
        estimate = outputs[i, sequence.action[burn_in + i]]
        error = 0.0 if target is None else target - estimate
        total += definitions.huber(error, 0.8)
        errors.append(abs(error))
        estimates += [] if target is None else [estimate]
    return total / len(targets), errors, estimates


def plain_gradient(function, params):
    """Central differences with respect to every parameter, in float64."""
    flat, restore = jax.flatten_util.ravel_pytree(params)
    flat = np.asarray(flat, np.float64)

    def at(vector):
        return function(
            {"bias": vector[:3], "input": vector[3], "scale": vector[4:]}
        )  # ravel_pytree sorts by name

    return restore(definitions.slope(at, flat).astype(np.float32))


def assert_trees_close(actual, expected, **tolerance):
    assert actual.keys() == expected.keys()
    for name, leaf in actual.items():
        np.testing.assert_allclose(leaf, expected[name], **tolerance)


BOOTSTRAP_POLICIES = {
    "max": losses.greedy,
    "sarsa": losses.sarsa,
    "epsilon": losses.epsilon_greedy,
}
CASES = [
    (0, 1, "max"),
    (4, 3, "max"),
    (3, 5, "max"),
    (3, 2, "sarsa"),
    (3, 2, "epsilon"),
]


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize(("burn_in", "n", "policy"), CASES)
def test_td_loss_equals_its_definition(burn_in, n, policy, double, rng, strict):
    gamma, eta = 0.9, 0.7
    settings = burn_in, n, jnp.float32(gamma), double, jnp.float32(eta)
    loss = recurrent_losses.td_loss(NETWORK, *settings, BOOTSTRAP_POLICIES[policy])
    compiled = jax.jit(jax.value_and_grad(loss, argnums=(1, 2), has_aux=True))
    terminations, truncations = set(), set()
    for seed in range(20):
        params, target_params = random_params(rng), random_params(rng)
        sequence = random_sequence(rng)
        (value, info), gradients = compiled(
            jax.random.key(seed), params, target_params, sequence
        )
        targets = plain_targets(
            params, target_params, sequence, burn_in, n, gamma, double, policy
        )
        _, memory = plain_unroll(params, sequence.memory, sequence, 0, burn_in)
        rest = memory, targets, sequence, burn_in
        expected, errors, estimates = plain_loss(params, *rest)
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6)
        mixed = eta * max(errors) + (1 - eta) * np.mean(errors)
        np.testing.assert_allclose(info.priority, mixed, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(
            info.q_value, sum(estimates) / max(len(estimates), 1), rtol=1e-4, atol=1e-5
        )
        # No gradient flows through the memory after the burn-in.
        expected = plain_gradient(lambda p, rest=rest: plain_loss(p, *rest)[0], params)
        assert_trees_close(gradients[0], expected, rtol=2e-3, atol=2e-4)
        assert not any(np.any(leaf) for leaf in gradients[1].values())
        terminations.add(bool(sequence.terminated[burn_in:-n].any()))
        truncations.add(None in targets)
    assert len(terminations) == len(truncations) == 2


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("estimator", [None, "retrace", "peng"])
def test_a_horizon_shortens_the_returns_of_a_sequence(n, estimator, rng, strict):
    """The loss is that of returns of n steps, along a sequence that ends earlier."""
    burn_in, longest = 3, 4
    correction = estimator and off_policy.Correction(estimator, jnp.float32(0.8))
    losses_of = [
        jax.jit(recurrent_losses.td_loss(
            NETWORK, burn_in, length, jnp.float32(gamma), True, 0.7,
            correction=correction,
        ))
        for length, gamma in ((longest, 0.5), (n, 0.9))
    ]  # fmt: skip
    for seed in range(20):
        params, target_params = random_params(rng), random_params(rng)
        sequence = random_sequence(rng)
        horizon = returns.Horizon(jnp.float32(0.9), jnp.int32(n))
        arguments = params, target_params
        annealed = sequence._replace(horizon=horizon)
        actual = losses_of[0](jax.random.key(seed), *arguments, annealed)
        alone = sequence._replace(memory=(), epsilon=None)
        rows = jax.tree.map(lambda x: x[: LENGTH - longest + n], alone)
        rows = rows._replace(memory=sequence.memory, epsilon=sequence.epsilon)
        expected = losses_of[1](jax.random.key(seed), *arguments, rows)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
            actual,
            expected,
        )
        if estimator is None:
            targets = plain_targets(
                params, target_params, sequence, burn_in, n, 0.9, True, "max"
            )[: LENGTH - burn_in - longest]
            _, memory = plain_unroll(params, sequence.memory, sequence, 0, burn_in)
            value = plain_loss(params, memory, targets, sequence, burn_in)[0]
            np.testing.assert_allclose(actual[0], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("estimator", ["retrace", "tree_backup"])
def test_returns_are_corrected_towards_the_epsilon_greedy_policy(estimator, rng):
    """Retrace divides by the probability with which each action was taken."""
    gamma, lambda_, burn_in, n = 0.9, 0.8, 2, 4
    correction = off_policy.Correction(estimator, jnp.float32(lambda_))
    loss = recurrent_losses.td_loss(
        NETWORK, burn_in, n, jnp.float32(gamma), False, 0.0, losses.epsilon_greedy,
        correction=correction,
    )  # fmt: skip
    compiled = jax.jit(loss)
    for seed in range(10):
        params, target_params = random_params(rng), random_params(rng)
        sequence = random_sequence(rng)
        value, _ = compiled(jax.random.key(seed), params, target_params, sequence)
        _, memory = plain_unroll(target_params, sequence.memory, sequence, 0, burn_in)
        evaluate = plain_unroll(target_params, memory, sequence, burn_in, LENGTH)[0]
        pi = [definitions.epsilon_greedy(row, EPSILON) for row in evaluate]
        action, reward, terminated, truncated, mu = (
            getattr(sequence, name)[burn_in:]
            for name in (
                "action", "reward", "terminated", "truncated", "action_probability",
            )
        )  # fmt: skip
        targets = []
        for t in range(LENGTH - burn_in - n):
            if truncated[t]:
                targets.append(None)
                continue
            total, weight = 0.0, 1.0
            for k in range(t, t + n):
                value_next = 0.0 if terminated[k] else pi[k + 1] @ evaluate[k + 1]
                baseline = evaluate[k, action[k]] if k > t else 0.0
                total += weight * (reward[k] + gamma * value_next - baseline)
                if terminated[k] or truncated[k + 1]:
                    break
                coefficient = pi[k + 1][action[k + 1]]
                if estimator == "retrace":
                    coefficient = min(1.0, coefficient / mu[k + 1])
                weight *= gamma * lambda_ * coefficient
            targets.append(total)
        _, memory = plain_unroll(params, sequence.memory, sequence, 0, burn_in)
        expected = plain_loss(params, memory, targets, sequence, burn_in)[0]
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("estimator", ["retrace", "tree_backup", "peng"])
def test_corrected_returns_equal_their_definition(estimator, double, rng, strict):
    """Sums of traced TD errors of n steps, under the greedy policy."""
    gamma, lambda_, burn_in, n = 0.9, 0.8, 2, 4
    correction = off_policy.Correction(estimator, jnp.float32(lambda_))
    loss = recurrent_losses.td_loss(
        NETWORK, burn_in, n, jnp.float32(gamma), double, 0.0, correction=correction
    )
    compiled = jax.jit(jax.value_and_grad(loss, argnums=(1, 2), has_aux=True))
    for seed in range(10):
        params, target_params = random_params(rng), random_params(rng)
        sequence = random_sequence(rng)
        (value, info), gradients = compiled(
            jax.random.key(seed), params, target_params, sequence
        )
        outputs, memories = [], []
        for tree in (params, target_params):
            _, memory = plain_unroll(tree, sequence.memory, sequence, 0, burn_in)
            memories.append(memory)
            outputs.append(plain_unroll(tree, memory, sequence, burn_in, LENGTH)[0])
        online, evaluate = outputs
        greedy = np.argmax(online if double else evaluate, axis=1)
        targets = []
        for t in range(LENGTH - burn_in - n):
            action = sequence.action[burn_in:]
            reward, terminated, truncated = (
                getattr(sequence, name)[burn_in:]
                for name in ("reward", "terminated", "truncated")
            )
            if truncated[t]:
                targets.append(None)
                continue
            total, weight = 0.0, 1.0
            for k in range(t, t + n):
                next_value = 0.0 if terminated[k] else evaluate[k + 1, greedy[k + 1]]
                baseline = 0.0
                if k > t:
                    used = greedy[k] if estimator == "peng" else action[k]
                    baseline = evaluate[k, used]
                total += weight * (reward[k] + gamma * next_value - baseline)
                if terminated[k] or truncated[k + 1]:
                    break
                follows = estimator == "peng" or action[k + 1] == greedy[k + 1]
                weight *= gamma * lambda_ * follows
            targets.append(total)
        rest = memories[0], targets, sequence, burn_in
        expected, errors, _ = plain_loss(params, *rest)
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(info.priority, np.mean(errors), rtol=1e-4, atol=1e-5)
        expected = plain_gradient(lambda p, rest=rest: plain_loss(p, *rest)[0], params)
        assert_trees_close(gradients[0], expected, rtol=2e-3, atol=2e-4)
        assert not any(np.any(leaf) for leaf in gradients[1].values())


def test_burn_in_refreshes_the_memory_without_being_learned_from(rng):
    loss = recurrent_losses.td_loss(NETWORK, 4, 2, 0.9)
    params, target_params = random_params(rng), random_params(rng)
    sequence = jax.tree.map(jnp.asarray, random_sequence(rng, ends=0.0))
    floats = sequence.memory, sequence.observation, sequence.reward

    def value_of(memory, observation, reward):
        changed = sequence._replace(
            memory=memory, observation=observation, reward=reward
        )
        return loss(jax.random.key(0), params, target_params, changed)[0]

    gradient = jax.jit(jax.grad(value_of, argnums=(0, 1, 2)))(*floats)
    assert gradient[0] == 0 and not np.any(gradient[1][:4])
    # The last two steps are only successors, and enter only targets.
    assert np.all(gradient[1][4:-2]) and not np.any(gradient[1][-2:])
    assert not np.any(gradient[2])
    value = jax.jit(value_of)
    before = value(*floats)
    shift = np.zeros(LENGTH, np.float32)
    for index, matters in ((2, True), (LENGTH - 1, True)):
        shift[:] = 3 * (np.arange(LENGTH) == index)
        after = value(sequence.memory, sequence.observation + shift, sequence.reward)
        assert (abs(after - before) > 1e-3) == matters
    shift[:] = 3 * (np.arange(LENGTH) < 4)
    unused = value(sequence.memory, sequence.observation, sequence.reward + shift)
    assert unused == before


def test_regression_loss_equals_its_definition(rng, strict):
    loss = recurrent_losses.regression_loss(NETWORK)
    compiled = jax.jit(jax.value_and_grad(loss, argnums=(1, 2), has_aux=True))
    for seed in range(20):
        params, sequence = random_params(rng), random_sequence(rng)
        (value, info), gradients = compiled(
            jax.random.key(seed), params, random_params(rng), sequence
        )
        rest = sequence.memory, list(sequence.reward), sequence, 0
        expected, errors, estimates = plain_loss(params, *rest)
        np.testing.assert_allclose(value, expected, rtol=1e-4)
        np.testing.assert_allclose(info.priority, np.mean(errors), rtol=1e-4)
        np.testing.assert_allclose(info.q_value, np.mean(estimates), rtol=1e-4)
        expected = plain_gradient(lambda p, rest=rest: plain_loss(p, *rest)[0], params)
        assert_trees_close(gradients[0], expected, rtol=2e-3, atol=2e-4)
        assert not any(np.any(leaf) for leaf in gradients[1].values())


def plain_munchausen_target(values, sequence, t, burn_in, gamma, alpha, heat, clip):
    """The one-step target of a step, from the target network's outputs; or None."""
    if sequence.truncated[t]:
        return None
    log_pi, next_log_pi = (
        values[i] / heat - scipy.special.logsumexp(values[i] / heat)
        for i in (t - burn_in, t - burn_in + 1)
    )
    bonus = alpha * max(heat * log_pi[sequence.action[t]], clip)
    after = np.exp(next_log_pi) @ (values[t - burn_in + 1] - heat * next_log_pi)
    power = 0.0 if sequence.terminated[t] else gamma
    return sequence.reward[t] + bonus + power * after


def test_munchausens_loss_of_a_sequence_equals_its_definition(rng, strict):
    burn_in, gamma, settings = 3, 0.9, (0.7, 0.5, -0.4)
    soft = munchausen.Munchausen(*map(jnp.float32, settings))
    loss = recurrent_losses.td_loss(NETWORK, burn_in, 1, jnp.float32(gamma), soft=soft)
    compiled = jax.jit(jax.value_and_grad(loss, argnums=(1, 2), has_aux=True))
    for seed in range(20):
        params, target_params = random_params(rng), random_params(rng)
        sequence = random_sequence(rng)
        (value, _), gradients = compiled(
            jax.random.key(seed), params, target_params, sequence
        )
        _, memory = plain_unroll(target_params, sequence.memory, sequence, 0, burn_in)
        values = plain_unroll(target_params, memory, sequence, burn_in, LENGTH)[0]
        targets = [
            plain_munchausen_target(
                np.float64(values), sequence, t, burn_in, gamma, *settings
            )
            for t in range(burn_in, LENGTH - 1)
        ]
        _, memory = plain_unroll(params, sequence.memory, sequence, 0, burn_in)
        rest = memory, targets, sequence, burn_in
        expected = plain_loss(params, *rest)[0]
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6)
        expected = plain_gradient(lambda p, rest=rest: plain_loss(p, *rest)[0], params)
        assert_trees_close(gradients[0], expected, rtol=2e-3, atol=2e-4)
        assert not any(np.any(leaf) for leaf in gradients[1].values())
