"""The temporal-difference losses against their definitions."""

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
    "huber": (definitions.scalar("huber", 0.7), (None, reverse, negate)),
    "categorical": (definitions.categorical(5, -2.0, 2.0), (None, reverse, negate)),
    "quantile": (definitions.quantile(5, 0.4), (None, three_samples, two_samples)),
}


def plain_target(plain, params, target_params, step, *, double, policy, views):
    """What the estimate of the action taken is compared with."""
    _, target_view, policy_view = views
    following = target_view(target_params[step.next_observation])
    chosen = params if double else target_params
    q_values = plain.q_values(policy_view(chosen[step.next_observation]))
    if policy == "sarsa":
        probabilities = np.eye(ACTIONS)[step.next_action]
    else:
        epsilon = step.epsilon if policy == "expected_sarsa" else 0.0
        probabilities = definitions.epsilon_greedy(q_values, epsilon)
    mean = sum(p * z for p, z in zip(probabilities, following, strict=True))
    return plain.backup(step.reward, step.discount, mean)


def with_gradients(loss):
    """Values, infos and gradients with respect to both tables, of a batch."""
    one = jax.value_and_grad(loss, argnums=(1, 2), has_aux=True)
    batched = jax.jit(jax.vmap(one, in_axes=(0, None, None, 0)))
    return lambda *inputs: jax.tree.map(np.asarray, batched(*inputs))


def as_floats(*tables):
    return [table.astype(np.float32) for table in tables]


def assert_semi_gradient(plain, params, step, target, gradients):
    """Only the entry of the action taken has a gradient, and not the target."""
    online, other = gradients
    expected = np.zeros_like(params)
    at = step.observation, step.action
    expected[at] = definitions.slope(lambda z: plain.loss(z, target)[0], params[at])
    np.testing.assert_allclose(online, expected, rtol=1e-3, atol=1e-4)
    assert not other.any()


# All heads with three networks; one of them with fewer.
VIEWED = {"same": "huber", "target": "quantile"}
CASES = [
    (name, policy, double, views)
    for name in HEADS
    for policy in losses.BOOTSTRAP_POLICIES
    for double in (False, True)
    for views in ("same", "target", "all")
    if views == "all" or (name, policy) == (VIEWED[views], "max")
    if not (name == "categorical" and policy == "expected_sarsa")
    if not (policy == "sarsa" and double)
]


@pytest.mark.parametrize(("name", "policy", "double", "views"), CASES)
def test_td_loss_equals_its_definition(name, policy, double, views, rng, strict):
    plain, (_, target_view, policy_view) = HEADS[name]

    def same(row):
        return row

    network, others = table_network(plain.head), {}
    chain = (same, same, same)
    if views != "same":
        others["target"] = table_network(plain.head, target_view)
        chain = (same, target_view, target_view)
    if views == "all":
        others["policy"] = table_network(plain.head, policy_view)
        chain = (same, target_view, policy_view)
    loss = losses.td_loss(
        network, double, **others, next_policy=losses.BOOTSTRAP_POLICIES[policy]
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
            plain, params, target_params, step,
            double=double, policy=policy, views=chain,
        )  # fmt: skip
        row = params[step.observation]
        value, priority = plain.loss(row[step.action], target)
        np.testing.assert_allclose(values[i], value, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(infos.priority[i], priority, rtol=1e-4, atol=1e-5)
        q_value = plain.q_values(row)[step.action]
        np.testing.assert_allclose(infos.q_value[i], q_value, rtol=1e-5, atol=1e-6)
        mine = jax.tree.map(lambda leaf, i=i: leaf[i], gradients)
        assert_semi_gradient(plain, params, step, target, mine)


def test_no_gradient_flows_through_the_target_even_of_the_same_params(rng):
    plain = definitions.scalar()
    loss = losses.td_loss(table_network(plain.head), double=True)
    params, _ = as_floats(*definitions.tables(rng, 1))
    batch = definitions.transitions(rng, 1)
    step = definitions.example(batch, 0)
    step = step._replace(observation=1, next_observation=1, discount=np.float32(0.9))
    key = jax.random.key(0)
    found = jax.jit(jax.grad(lambda p: loss(key, p, p, step)[0]))(params)
    expected = np.zeros((STATES, ACTIONS, 1))
    error = step.reward + 0.9 * params[1].max() - params[1, step.action, 0]
    expected[1, step.action] = -error
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["rescaled", "quantile", "hl_gauss"])
def test_regression_is_td_without_discount(name, rng, strict):
    head = definitions.ALL[name].head
    network = table_network(head)
    td, regression = losses.td_loss(network), losses.regression_loss(network)
    params, target_params = as_floats(*definitions.tables(rng, head.num_outputs))
    batch = definitions.transitions(rng, BATCH)._replace(discount=jnp.zeros(BATCH))
    examples = Regression(batch.observation, batch.action, batch.reward)
    keys = jax.random.split(jax.random.key(0), 2 * BATCH).reshape(2, BATCH)
    expected = with_gradients(td)(keys[0], params, target_params, batch)
    found = with_gradients(regression)(keys[1], params, target_params, examples)
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
    assert (found[0][0] > 0).all()


def test_the_penalty_pulls_the_estimate_down(rng, strict):
    """The gradient of (d^2 + w Q) / 2 is -d + w / 2."""
    weight = 0.3
    plain_loss = losses.td_loss(table_network(heads.scalar()))
    loss = losses.penalised(plain_loss, jnp.float32(weight))
    params, target_params = as_floats(*definitions.tables(rng, 1))
    batch = definitions.transitions(rng, BATCH)
    keys = jax.random.split(jax.random.key(0), 2 * BATCH).reshape(2, BATCH)
    (value, info), (gradient, _) = with_gradients(loss)(
        keys[0], params, target_params, batch
    )
    (before, unchanged), _ = with_gradients(plain_loss)(
        keys[1], params, target_params, batch
    )
    assert (info.priority == unchanged.priority).all()
    np.testing.assert_allclose(value, before + weight / 2 * info.q_value, rtol=1e-5)
    for i in range(BATCH):
        step = definitions.example(batch, i)
        best = np.max(target_params[step.next_observation])
        estimate = params[step.observation, step.action, 0]
        error = step.reward + step.discount * best - estimate
        expected = np.zeros((STATES, ACTIONS, 1))
        expected[step.observation, step.action] = -error + weight / 2
        np.testing.assert_allclose(gradient[i], expected, rtol=1e-4, atol=1e-6)


def test_noise_differs_between_the_networks(rng):
    """The online, the target and the selecting network draw from different keys."""
    seen = []

    def apply(key, params, observation):
        seen.append(jax.random.key_data(key))
        return params[observation]

    network = table_network(heads.scalar())._replace(apply=apply)
    params, _ = as_floats(*definitions.tables(rng, 1))
    step = definitions.example(definitions.transitions(rng, 1), 0)
    losses.td_loss(network, double=True)(jax.random.key(3), params, params, step)
    assert len({tuple(np.asarray(data).tolist()) for data in seen}) == 3


def test_rows_are_selected_and_averaged_in_every_leaf(rng, strict):
    tree = {"a": rng.normal(size=3), "b": rng.normal(size=(3, 2, 2))}
    tree = jax.tree.map(np.float32, tree)
    found = jax.jit(losses.select_action)(tree, jnp.int32(2))
    mean = jax.jit(losses.average)(tree, jnp.array([0.2, 0.0, 0.8]))
    for name, leaf in tree.items():
        np.testing.assert_array_equal(found[name], leaf[2])
        np.testing.assert_allclose(
            mean[name], 0.2 * leaf[0] + 0.8 * leaf[2], rtol=1e-5, atol=1e-6
        )
