"""Losses of sequences, with the smallest network that has a memory."""

import definitions
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxq.rl import heads, recurrent_losses
from jaxq.types import Network, Sequence

ACTIONS, LENGTH = 3, 14
FRESH = 0.3  # memory at the start of an episode
HEAD = heads.scalar("huber", 0.8)


def take(key, params, memory, observation):
    """A decaying sum of what was observed, and outputs in proportion to it."""
    memory = 0.6 * memory + params["input"] * observation
    return (params["scale"] * memory + params["bias"])[:, None], memory


NETWORK = Network(
    init=lambda key, observation: None,
    apply=lambda key, params, observation: None,
    head=HEAD,
    initial_memory=lambda key: jnp.float32(FRESH),
    step=take,
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
    )


def plain_unroll(params, memory, sequence, start, stop):
    """Outputs [L, A] and the memory afterwards, step by step."""
    outputs = []
    for t in range(start, stop):
        output, memory = take(None, params, memory, sequence.observation[t])
        outputs.append(output[:, 0])
        if sequence.terminated[t] or sequence.truncated[t]:
            memory = FRESH
    return np.array(outputs), memory


def test_unroll_starts_anew_after_an_end(rng, strict):
    unroll = jax.jit(
        lambda params, memory, observation, ended: recurrent_losses.unroll(
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


def plain_targets(params, target_params, sequence, burn_in, n, gamma, double):
    """For every step after the burn-in its target, or None where it has none."""
    rows = []
    for each in (params, target_params):
        _, memory = plain_unroll(each, sequence.memory, sequence, 0, burn_in)
        rows.append(plain_unroll(each, memory, sequence, burn_in, LENGTH)[0])
    online, judge = rows
    targets = []
    for t in range(burn_in, LENGTH - n):
        if sequence.truncated[t]:  # its successor was not stored
            targets.append(None)
            continue
        total, power, after = 0.0, 1.0, t
        while True:
            total += power * sequence.reward[after]
            power *= gamma
            after += 1
            if sequence.terminated[after - 1]:
                power = 0.0
                break
            if after - t == n or sequence.truncated[after]:
                break
        selector = online if double else judge
        best = np.argmax(selector[after - burn_in])
        targets.append(total + power * judge[after - burn_in, best])
    return targets


def plain_loss(params, memory, targets, sequence, burn_in):
    """Mean Huber loss, errors [.] and estimates [.], from the memory after burn-in."""
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
        )  # the order of ravel_pytree: sorted names

    return restore(definitions.slope(at, flat).astype(np.float32))


def assert_trees_close(found, expected, **tolerance):
    assert found.keys() == expected.keys()
    for name, leaf in found.items():
        np.testing.assert_allclose(leaf, expected[name], **tolerance)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize(("burn_in", "n"), [(0, 1), (4, 3), (3, 5)])
def test_td_loss_equals_its_definition(burn_in, n, double, rng, strict):
    gamma, eta = 0.9, 0.7
    loss = recurrent_losses.td_loss(
        NETWORK, burn_in, n, jnp.float32(gamma), double, jnp.float32(eta)
    )
    compiled = jax.jit(jax.value_and_grad(loss, argnums=(1, 2), has_aux=True))
    terminations, truncations = set(), set()
    for seed in range(20):
        params, target_params = random_params(rng), random_params(rng)
        sequence = random_sequence(rng)
        (value, info), gradients = compiled(
            jax.random.key(seed), params, target_params, sequence
        )
        targets = plain_targets(
            params, target_params, sequence, burn_in, n, gamma, double
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
        # The memory after the burn-in counts as given.
        expected = plain_gradient(lambda p, rest=rest: plain_loss(p, *rest)[0], params)
        assert_trees_close(gradients[0], expected, rtol=2e-3, atol=2e-4)
        assert not any(np.any(leaf) for leaf in gradients[1].values())
        terminations.add(bool(sequence.terminated[burn_in:-n].any()))
        truncations.add(None in targets)
    assert len(terminations) == len(truncations) == 2


def test_burn_in_refreshes_the_memory_but_is_not_learned_from(rng):
    loss = recurrent_losses.td_loss(NETWORK, 4, 2, 0.9)
    params, target_params = random_params(rng), random_params(rng)
    sequence = jax.tree.map(jnp.asarray, random_sequence(rng, ends=0.0))
    floats = sequence.memory, sequence.observation, sequence.reward

    def of_inputs(memory, observation, reward):
        changed = sequence._replace(
            memory=memory, observation=observation, reward=reward
        )
        return loss(jax.random.key(0), params, target_params, changed)[0]

    gradient = jax.jit(jax.grad(of_inputs, argnums=(0, 1, 2)))(*floats)
    assert gradient[0] == 0 and not np.any(gradient[1][:4])
    # The last two steps are only successors, whose values are targets.
    assert np.all(gradient[1][4:-2]) and not np.any(gradient[1][-2:])
    assert not np.any(gradient[2])
    value = jax.jit(of_inputs)
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
