"""Temporal-difference and regression losses against their definitions."""

import definitions
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from definitions import ACTIONS, STATES, table_network

from jaxq.rl import heads, losses
from jaxq.types import Regression

BATCH = 24


def reverse(row):
    return 0.5 * row[::-1] - 0.25


def negate(row):
    return -row


def three_samples(row):
    return row[::-1, :3]


def two_samples(row):
    return -row[:, :2]


HEADS = {
    "huber": (definitions.scalar("huber", 0.7), (reverse, negate)),
    "categorical": (definitions.categorical(5, -2.0, 2.0), (reverse, negate)),
    "quantile": (definitions.quantile(5, 0.4), (three_samples, two_samples)),
}


def plain_target(plain, params, target_params, step, *, double, policy, views):
    """The target of the action taken, by its definition."""
    evaluate, select = views
    next_output = evaluate(target_params[step.next_observation])
    selecting = params if double else target_params
    q_values = plain.q_values(select(selecting[step.next_observation]))
    if policy == "sarsa":
        probabilities = np.eye(ACTIONS)[step.next_action]
    else:
        epsilon = step.epsilon if policy == "expected_sarsa" else 0.0
        probabilities = definitions.epsilon_greedy(q_values, epsilon)
    return plain.mixture(step.reward, step.discount, next_output, probabilities)


def with_gradients(loss):
    """Losses of a batch, their infos, and their gradients in both tables."""
    single = jax.value_and_grad(loss, argnums=(1, 2), has_aux=True)
    batched = jax.jit(jax.vmap(single, in_axes=(0, None, None, 0)))
    return lambda *inputs: jax.tree.map(np.asarray, batched(*inputs))


def as_floats(*tables):
    return [table.astype(np.float32) for table in tables]


def assert_semi_gradient(plain, params, step, target, gradients):
    """Only the estimate of the action taken has a gradient; the target has none."""
    online, of_target = gradients
    expected = np.zeros_like(params)
    entry = step.observation, step.action
    expected[entry] = definitions.slope(
        lambda z: plain.loss(z, target)[0], params[entry]
    )
    np.testing.assert_allclose(online, expected, rtol=1e-3, atol=1e-4)
    assert not of_target.any()


# Every head with three different networks, and two heads with fewer.
VIEWED = {"same": "huber", "evaluator": "quantile"}
CASES = [
    (name, policy, double, views)
    for name in HEADS
    for policy in losses.BOOTSTRAP_POLICIES
    for double in (False, True)
    for views in ("same", "evaluator", "all")
    if views == "all" or (name, policy) == (VIEWED[views], "max")
    if not (policy == "sarsa" and double)
]


@pytest.mark.parametrize(("name", "policy", "double", "views"), CASES)
def test_td_loss_equals_its_definition(name, policy, double, views, rng, strict):
    plain, (evaluate, select) = HEADS[name]

    def same(row):
        return row

    network, others = table_network(plain.head), {}
    chain = (same, same)
    if views != "same":
        others["evaluator"] = table_network(plain.head, evaluate)
        chain = (evaluate, evaluate)
    if views == "all":
        others["selector"] = table_network(plain.head, select)
        chain = (evaluate, select)
    loss = losses.td_loss(
        network, double, **others, bootstrap_policy=losses.BOOTSTRAP_POLICIES[policy]
    )
    params, target_params = definitions.tables(rng, plain.head.num_outputs)
    batch = definitions.transitions(rng, BATCH)
    keys = jax.random.split(jax.random.key(0), BATCH)
    (values, infos), gradients = with_gradients(loss)(
        keys, *as_floats(params, target_params), batch
    )
    for i in range(BATCH):
        step = definitions.example(batch, i)
        target = plain_target(
            plain,
            params,
            target_params,
            step,
            double=double,
            policy=policy,
            views=chain,
        )
        row = params[step.observation]
        value, priority = plain.loss(row[step.action], target)
        np.testing.assert_allclose(values[i], value, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(infos.priority[i], priority, rtol=1e-4, atol=1e-5)
        q_value = plain.q_values(row)[step.action]
        np.testing.assert_allclose(infos.q_value[i], q_value, rtol=1e-5, atol=1e-6)
        gradient = jax.tree.map(lambda leaf, i=i: leaf[i], gradients)
        assert_semi_gradient(plain, params, step, target, gradient)


def test_the_target_gets_no_gradient_even_if_it_shares_the_parameters(rng):
    plain = definitions.scalar()
    loss = losses.td_loss(table_network(plain.head), double=True)
    params, _ = as_floats(*definitions.tables(rng, 1))
    batch = definitions.transitions(rng, 1)
    step = definitions.example(batch, 0)
    step = step._replace(observation=1, next_observation=1, discount=np.float32(0.9))
    key = jax.random.key(0)
    gradient = jax.jit(jax.grad(lambda p: loss(key, p, p, step)[0]))(params)
    expected = np.zeros((STATES, ACTIONS, 1))
    error = step.reward + 0.9 * params[1].max() - params[1, step.action, 0]
    expected[1, step.action] = -error
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["rescaled", "quantile", "hl_gauss"])
def test_regression_is_a_td_loss_with_discount_zero(name, rng, strict):
    head = definitions.ALL[name].head
    network = table_network(head)
    td, regression = losses.td_loss(network), losses.regression_loss(network)
    params, target_params = as_floats(*definitions.tables(rng, head.num_outputs))
    batch = definitions.transitions(rng, BATCH)._replace(discount=jnp.zeros(BATCH))
    examples = Regression(batch.observation, batch.action, batch.reward)
    keys = jax.random.split(jax.random.key(0), 2 * BATCH).reshape(2, BATCH)
    expected = with_gradients(td)(keys[0], params, target_params, batch)
    result = with_gradients(regression)(keys[1], params, target_params, examples)
    for leaf, other in zip(*map(jax.tree.leaves, (result, expected)), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=1e-6, atol=1e-6)
    assert (result[0][0] > 0).all()


def test_the_penalty_lowers_the_estimate(rng, strict):
    """The gradient of (d^2 + w Q) / 2 is -d + w / 2."""
    weight = 0.3
    plain_loss = losses.td_loss(table_network(heads.scalar()))
    loss = losses.penalized(plain_loss, jnp.float32(weight))
    params, target_params = as_floats(*definitions.tables(rng, 1))
    batch = definitions.transitions(rng, BATCH)
    keys = jax.random.split(jax.random.key(0), 2 * BATCH).reshape(2, BATCH)
    (value, info), (gradient, _) = with_gradients(loss)(
        keys[0], params, target_params, batch
    )
    (plain_value, plain_info), _ = with_gradients(plain_loss)(
        keys[1], params, target_params, batch
    )
    assert (info.priority == plain_info.priority).all()
    np.testing.assert_allclose(
        value, plain_value + weight / 2 * info.q_value, rtol=1e-5
    )
    for i in range(BATCH):
        step = definitions.example(batch, i)
        best = np.max(target_params[step.next_observation])
        estimate = params[step.observation, step.action, 0]
        error = step.reward + step.discount * best - estimate
        expected = np.zeros((STATES, ACTIONS, 1))
        expected[step.observation, step.action] = -error + weight / 2
        np.testing.assert_allclose(gradient[i], expected, rtol=1e-4, atol=1e-6)


def test_each_network_gets_its_own_noise(rng):
    """The online, evaluating and selecting networks are called with different keys."""
    keys = []

    def apply(key, params, observation):
        keys.append(jax.random.key_data(key))
        return params[observation]

    network = table_network(heads.scalar())._replace(apply=apply)
    params, _ = as_floats(*definitions.tables(rng, 1))
    step = definitions.example(definitions.transitions(rng, 1), 0)
    losses.td_loss(network, double=True)(jax.random.key(3), params, params, step)
    assert len({tuple(np.asarray(data).tolist()) for data in keys}) == 3
