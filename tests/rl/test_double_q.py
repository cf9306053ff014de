"""Double Q-learning against its definition."""

import definitions
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from definitions import ACTIONS, STATES, table_network

from jaxq.rl import double_q, losses

BATCH = 32


def losses_of_a_batch(rng):
    """Tables, transitions, and their losses with gradients [B, S, A, 2]."""
    params, target_params = definitions.tables(rng, 2)
    batch = definitions.transitions(rng, BATCH)
    loss = double_q.double_q_loss(table_network(double_q.double_table()))
    with_gradients = jax.value_and_grad(loss, argnums=(1, 2), has_aux=True)
    results = jax.jit(jax.vmap(with_gradients, in_axes=(0, None, None, 0)))(
        jax.random.split(jax.random.key(0), BATCH),
        *(table.astype(np.float32) for table in (params, target_params)),
        batch,
    )
    return params, target_params, batch, jax.tree.map(np.asarray, results)


def test_each_estimate_is_evaluated_by_the_other(rng, strict):
    params, target_params, batch, results = losses_of_a_batch(rng)
    (values, infos), (gradients, target_gradients) = results
    learners = []
    for i in range(BATCH):
        step = definitions.example(batch, i)
        (learner,) = set(np.nonzero(gradients[i])[2])
        evaluator = 1 - learner
        learners.append(learner)
        next_values = target_params[step.next_observation]
        best = np.argmax(next_values[:, learner])
        target = step.reward + step.discount * next_values[best, evaluator]
        estimates = params[step.observation, step.action]
        error = target - estimates[learner]
        np.testing.assert_allclose(values[i], error**2 / 2, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(infos.priority[i], abs(error), rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(infos.q_value[i], estimates.mean(), rtol=1e-4)
        expected = np.zeros_like(params)
        expected[step.observation, step.action, learner] = -error
        np.testing.assert_allclose(gradients[i], expected, rtol=1e-3, atol=1e-6)
    assert not target_gradients.any()
    assert set(learners) == {0, 1}


def test_the_coin_is_fair_and_ties_are_broken_uniformly():
    """Otherwise the same action would be evaluated again and again at the start."""
    loss = double_q.double_q_loss(table_network(double_q.double_table()))
    step = definitions.example(definitions.transitions(np.random.default_rng(0), 1), 0)
    step = step._replace(reward=np.float32(0), discount=np.float32(1))
    online = np.zeros((STATES, ACTIONS, 2), np.float32)
    # Actions 0 and 1 are tied in the first estimate, and worth 2 and 4 in the second.
    # Actions 1 and 2 are tied in the second estimate, and worth 5 and 1 in the first.
    target = np.zeros_like(online) + np.float32([[5, 2], [5, 4], [1, 4]])
    keys = jax.random.split(jax.random.key(5), 4000)
    batched = jax.jit(jax.vmap(loss, (0, None, None, None)))
    _, info = batched(keys, online, target, step)
    counts = np.bincount(np.asarray(info.priority).astype(int), minlength=6)
    assert scipy.stats.chisquare(counts[[1, 2, 4, 5]]).pvalue > 1e-3
    assert counts.sum() == counts[[1, 2, 4, 5]].sum()


def test_the_q_value_is_the_mean_and_the_head_has_no_other_loss(rng):
    head = double_q.double_table("huber", 0.5)
    output = rng.normal(size=(ACTIONS, 2)).astype(np.float32)
    np.testing.assert_allclose(head.q_values(output), output.mean(axis=1), rtol=1e-6)
    with pytest.raises(NotImplementedError, match="double_q_loss"):
        losses.regress(head, jnp.asarray(output), jnp.int32(0), jnp.float32(1))
