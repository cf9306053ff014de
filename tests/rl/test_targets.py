"""The targets of bootstrapped losses against their definitions."""

import definitions
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from definitions import ACTIONS

from jaxq.rl import losses, mixtures

BATCH = 24


def test_every_leaf_is_selected_and_averaged(rng, strict):
    tree = {"a": rng.normal(size=3), "b": rng.normal(size=(3, 2, 2))}
    tree = jax.tree.map(np.float32, tree)
    row = jax.jit(losses.select_action)(tree, jnp.int32(2))
    mean = jax.jit(mixtures.average)(tree, jnp.array([0.2, 0.0, 0.8]))
    for name, leaf in tree.items():
        np.testing.assert_array_equal(row[name], leaf[2])
        np.testing.assert_allclose(
            mean[name], 0.2 * leaf[0] + 0.8 * leaf[2], rtol=1e-5, atol=1e-6
        )


def test_a_greedy_average_has_the_bits_of_the_selected_row(rng, strict):
    output = {"a": rng.normal(size=3), "b": rng.normal(size=(3, 2, 2))}
    output = jax.tree.map(np.float32, output)
    greedy = jax.jit(lambda q_values: losses.greedy(None, q_values))
    for action in range(3):
        policy = greedy(jnp.float32(action == np.arange(3)))
        row = jax.jit(losses.select_action)(output, jnp.int32(action))
        mean = jax.jit(mixtures.average)(output, policy)
        for name in output:
            assert np.asarray(mean[name]).tobytes() == np.asarray(row[name]).tobytes()


@pytest.mark.parametrize("name", ["huber", "quantile"])
def test_td_target_averages_the_next_outputs_under_a_policy(name, rng, strict):
    plain = definitions.ALL[name]
    target = jax.jit(lambda *inputs: losses.td_target(plain.head, *inputs))
    for _ in range(20):
        outputs = rng.normal(size=(ACTIONS, plain.head.num_outputs)).astype(np.float32)
        policy = rng.dirichlet(np.ones(ACTIONS)).astype(np.float32)
        reward, discount = np.float32(rng.normal()), np.float32(rng.random())
        result = target(outputs, policy, reward, discount)
        result = getattr(result, "value", result)
        expected = plain.backup(reward, discount, np.float64(policy) @ outputs)
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", losses.BOOTSTRAP_POLICIES)
def test_bootstrap_target_selects_with_one_estimate_and_evaluates_another(
    policy, rng, strict
):
    plain = definitions.scalar()
    bootstrap_policy = losses.BOOTSTRAP_POLICIES[policy]
    batch = definitions.transitions(rng, BATCH)

    @jax.jit
    def target(transition, evaluate, select):
        return losses.bootstrap_target(
            plain.head, transition, evaluate, select, bootstrap_policy
        )

    for i in range(BATCH):
        step = definitions.example(batch, i)
        evaluate, select = rng.normal(size=(2, ACTIONS, 1)).astype(np.float32)
        probabilities = {
            "max": np.eye(ACTIONS)[np.argmax(select)],
            "sarsa": np.eye(ACTIONS)[step.next_action],
            "expected_sarsa": definitions.epsilon_greedy(select[:, 0], step.epsilon),
        }[policy]
        expected = step.reward + step.discount * probabilities @ evaluate[:, 0]
        result = target(step, evaluate, select)
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)
