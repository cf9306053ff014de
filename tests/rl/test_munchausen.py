"""Munchausen's loss against its definition."""

import operator

import definitions
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from definitions import table_network

from jaxq.rl import heads, munchausen

BATCH = 32


def log_policy(q_values, temperature):
    """log(exp(q / T) / sum exp(q / T)), by the definition."""
    policy = definitions.softmax(np.asarray(q_values) / temperature)
    return np.log(policy)


def plain_target(plain, target_params, step, views, alpha, temperature, clip):
    """Samples [K] of the target, by the definition."""
    evaluate, select = views
    log_pi, next_log_pi = (
        log_policy(plain.q_values(select(target_params[state])), temperature)
        for state in (step.observation, step.next_observation)
    )
    bonus = alpha * max(temperature * log_pi[step.action], clip)
    next_output = evaluate(target_params[step.next_observation])
    soft = np.zeros(next_output.shape[1])
    for log_probability, z in zip(next_log_pi, next_output, strict=True):
        soft += np.exp(log_probability) * (z - temperature * log_probability)
    return step.reward + bonus + step.discount * soft


def same(row):
    return row


def fewer_samples(row):
    return row[::-1, :3]


def fewest_samples(row):
    return -row[:, :2]


def reverse(row):
    return 0.5 * row[::-1] + 0.1


CASES = {
    "scalar": (definitions.scalar("huber", 0.7), same, same),
    "scalar_views": (definitions.scalar(), reverse, operator.neg),
    "quantile": (definitions.quantile(5, 0.4), fewer_samples, fewest_samples),
}


@pytest.mark.parametrize("name", CASES)
def test_munchausen_loss_equals_its_definition(name, rng, strict):
    plain, *views = CASES[name]
    alpha, temperature, clip = 0.8, 0.4, -0.5
    others = {}
    if name != "scalar":
        evaluator, selector = (table_network(plain.head, view) for view in views)
        others = {"evaluator": evaluator, "selector": selector}
    loss = munchausen.munchausen_loss(
        table_network(plain.head),
        *map(jnp.float32, (alpha, temperature, clip)),
        **others,
    )
    params, target_params = definitions.tables(rng, plain.head.num_outputs)
    batch = definitions.transitions(rng, BATCH)
    with_gradients = jax.value_and_grad(loss, argnums=(1, 2), has_aux=True)
    (values, infos), gradients = jax.tree.map(
        np.asarray,
        jax.jit(jax.vmap(with_gradients, in_axes=(0, None, None, 0)))(
            jax.random.split(jax.random.key(0), BATCH),
            *(table.astype(np.float32) for table in (params, target_params)),
            batch,
        ),
    )
    clipped = set()
    for i in range(BATCH):
        step = definitions.example(batch, i)
        target = plain_target(
            plain, target_params, step, views, alpha, temperature, clip
        )
        q_values = plain.q_values(views[1](target_params[step.observation]))
        clipped.add(bool(temperature * log_policy(q_values, 0.4)[step.action] < clip))
        target = target[0] if name.startswith("scalar") else target
        entry = step.observation, step.action
        value, priority = plain.loss(params[entry], target)
        np.testing.assert_allclose(values[i], value, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(infos.priority[i], priority, rtol=1e-4, atol=1e-5)
        expected = np.zeros_like(params)
        expected[entry] = definitions.slope(
            lambda z, t=target: plain.loss(z, t)[0], params[entry]
        )
        np.testing.assert_allclose(gradients[0][i], expected, rtol=1e-3, atol=1e-4)
    assert clipped == {False, True}
    assert not gradients[1].any()


def single(table, discount=0.9, action=0, **changes):
    """Loss and gradient of a transition from row 0 to row 1 of a table [2, A]."""
    step = definitions.transitions(np.random.default_rng(0), 1)
    step = definitions.example(step, 0)._replace(
        observation=0,
        next_observation=1,
        action=action,
        reward=np.float32(0),
        discount=np.float32(discount),
    )
    loss = munchausen.munchausen_loss(table_network(heads.scalar()), **changes)
    params = jnp.asarray(table, jnp.float32)[..., None]
    with_gradient = jax.jit(jax.value_and_grad(loss, argnums=1, has_aux=True))
    return with_gradient(jax.random.key(0), jnp.zeros_like(params), params, step)


def test_a_tiny_temperature_gives_the_maximum_without_overflow():
    """Differences of 1e3 at temperature 0.03 give exponents of 3e4."""
    table = [[0.0, 1000.0, -1000.0], [1000.0, 0.0, -1000.0]]
    (value, info), gradient = single(table, 0.9, 1)
    np.testing.assert_allclose(info.priority, 900.0, rtol=1e-6)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    # The log-policy of the inferior action is -1e3 / 0.03, which is clipped.
    (_, info), _ = single(table, 0.9, 0)
    np.testing.assert_allclose(info.priority, 900.0 - 0.9, rtol=1e-6)


def test_only_the_entropy_remains_if_all_values_are_zero():
    """T = 2 and two equal actions: log-policy 2 log 1/2, entropy 2 log 2."""
    (_, info), _ = single(np.zeros((2, 2)), 0.5, temperature=2.0, clip=-10.0)
    expected = -0.9 * 2 * np.log(2) + 0.5 * 2 * np.log(2)
    np.testing.assert_allclose(info.priority, abs(expected), rtol=1e-5)
