"""The loss of Bootstrapped DQN against its definition."""

import definitions
import jax
import numpy as np
import pytest
from definitions import ACTIONS, STATES, table_network

from jaxq.networks import ensemble
from jaxq.rl import bootstrapped

SIZE, SCALE = 5, 1.7
BATCH = 32
SHAPE = (SIZE, STATES, ACTIONS, 1)


def random_params(rng):
    """Members and priors [M, S, A, 1]."""
    members, priors = rng.normal(size=(2, *SHAPE)).astype(np.float32)
    return {"members": members, "priors": priors}


def member_values(params, state):
    """[A, M] by the definition."""
    members, priors = np.float64(params["members"]), np.float64(params["priors"])
    return (members + SCALE * priors)[:, state, :, 0].T


@pytest.mark.parametrize("loss_name", ["squared", "huber"])
def test_each_member_learns_from_its_own_target_where_its_mask_is_set(loss_name, rng):
    plain = definitions.scalar(loss_name, 0.6)
    loss = bootstrapped.ensemble_loss(
        ensemble.ensemble(table_network(plain.head), SIZE, SCALE, 0.5), plain.head
    )
    params, target_params = random_params(rng), random_params(rng)
    batch = definitions.transitions(rng, BATCH)
    masks = rng.integers(2, size=(BATCH, SIZE)).astype(np.float32)
    batch = batch._replace(memory=ensemble.Member(np.zeros(BATCH, np.int32), masks))
    with_gradients = jax.value_and_grad(loss, argnums=(1, 2), has_aux=True)
    (values, infos), gradients = jax.tree.map(
        np.asarray,
        jax.jit(jax.vmap(with_gradients, in_axes=(0, None, None, 0)))(
            jax.random.split(jax.random.key(0), BATCH), params, target_params, batch
        ),
    )
    for i in range(BATCH):
        step = definitions.example(batch, i)
        estimate = member_values(params, step.observation)[step.action]
        next_values = member_values(target_params, step.next_observation)
        total, priorities = 0.0, []
        expected = np.zeros(SHAPE)
        for m in range(SIZE):
            target = step.reward + step.discount * max(next_values[:, m])
            value, priority = plain.loss(estimate[[m]], target)
            total += masks[i, m] * value / SIZE
            priorities.append(priority)
            error = target - estimate[m]
            slope = error if loss_name == "squared" else np.clip(error, -0.6, 0.6)
            entry = m, step.observation, step.action, 0
            expected[entry] = -masks[i, m] * slope / SIZE
        np.testing.assert_allclose(values[i], total, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(infos.priority[i], np.mean(priorities), rtol=1e-4)
        np.testing.assert_allclose(infos.q_value[i], np.mean(estimate), rtol=1e-4)
        members = gradients[0]["members"][i]
        np.testing.assert_allclose(members, expected, rtol=1e-4, atol=1e-6)
        assert not members[masks[i] == 0].any()
    assert not gradients[0]["priors"].any()
    assert not any(leaf.any() for leaf in gradients[1].values())
