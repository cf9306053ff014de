"""Ensembles, and the two estimates of Double Q-learning."""

import definitions
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from definitions import ACTIONS, STATES, table_network

from jaxq.agents import factory
from jaxq.config.config import Config
from jaxq.envs import make
from jaxq.networks import ensemble as networks_ensemble
from jaxq.networks.ensemble import Member
from jaxq.rl import heads, losses

SIZE, SCALE = 5, 1.7
BATCH = 32
SHAPE = (SIZE, STATES, ACTIONS, 1)


def random_network(head):
    """A table whose entries are drawn at the start, and which has no noise."""

    def apply(key, params, observation):
        assert key is None
        return params[observation]

    def init(key, observation):
        return jax.random.normal(key, SHAPE[1:])

    return table_network(head)._replace(init=init, apply=apply)


def ensemble(probability=0.5, scale=SCALE, head=None):
    network = random_network(head or heads.scalar())
    return networks_ensemble.ensemble(network, SIZE, scale, probability)


def random_params(rng):
    """Members and priors [M, S, A, 1]."""
    members, priors = rng.normal(size=(2, *SHAPE)).astype(np.float32)
    return {"members": members, "priors": priors}


def values_of(params, state):
    """[A, M] by the definition."""
    members, priors = np.float64(params["members"]), np.float64(params["priors"])
    return (members + SCALE * priors)[:, state, :, 0].T


def test_members_and_priors_all_start_differently(strict):
    params = ensemble().init(jax.random.key(0), jnp.int32(0))
    both = np.concatenate([params["members"], params["priors"]]).reshape(2 * SIZE, -1)
    assert len(np.unique(both, axis=0)) == 2 * SIZE


def test_tables_start_alike_with_random_priors():
    config = Config(algorithm="bootstrapped_dqn", network="table", initial_value=0.5)
    spec = make.make("CliffWalking").spec
    network = factory.make_networks(config, spec).online
    params = network.init(jax.random.key(0), spec.example().observation)
    members, priors = (params[name]["table"] for name in ("members", "priors"))
    assert members.shape == priors.shape == (10, 48, 4, 1)
    np.testing.assert_array_equal(members, 0.5)
    assert scipy.stats.kstest(priors.ravel(), "norm").pvalue > 1e-3
    assert np.unique(priors).size == priors.size


def test_an_output_is_a_member_plus_its_scaled_prior(rng, strict):
    params = random_params(rng)
    for state in range(STATES):
        output = jax.jit(ensemble().apply)(None, params, state)
        np.testing.assert_allclose(output, values_of(params, state), rtol=1e-5)
    assert output.shape == (ACTIONS, SIZE)


def test_priors_get_no_gradient(rng):
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(ensemble().apply(None, p, 1))))(
        random_params(rng)
    )
    assert not np.any(gradient["priors"])
    np.testing.assert_array_equal(gradient["members"][:, 1], 1.0)


def test_an_episode_draws_its_member_and_its_first_mask(strict):
    keys = jax.random.split(jax.random.key(1), 4000)
    memory = jax.jit(jax.vmap(ensemble(probability=0.3).initial_memory))(keys)
    counts = np.bincount(memory.member, minlength=SIZE)
    assert scipy.stats.chisquare(counts).pvalue > 1e-3
    assert_masks(np.asarray(memory.mask), 0.3)


def assert_masks(mask, probability):
    """Independent coins [N, M]."""
    assert set(np.unique(mask)) == {0.0, 1.0}
    for member in mask.T:
        test = scipy.stats.binomtest(int(member.sum()), len(member), probability)
        assert test.pvalue > 1e-3
    correlation = np.corrcoef(mask.T)[~np.eye(SIZE, dtype=bool)]
    assert np.abs(correlation).max() < 0.1


def test_exploring_follows_one_member_and_tosses_the_mask_anew(rng, strict):
    params = random_params(rng)
    network = ensemble(probability=0.7)
    step = jax.jit(jax.vmap(network.step, in_axes=(0, None, None, None)))
    for member in range(SIZE):
        memory = Member(jnp.int32(member), jnp.full(SIZE, 7.0))
        keys = jax.random.split(jax.random.key(member), 4000)
        outputs, after = step(keys, params, memory, 2)
        expected = np.broadcast_to(values_of(params, 2)[:, [member]], (4000, 3, 1))
        np.testing.assert_allclose(outputs, expected, rtol=1e-5)
        assert (np.asarray(after.member) == member).all()
    assert_masks(np.asarray(after.mask), 0.7)


def test_evaluation_takes_the_mean_and_leaves_the_memory(rng):
    params = random_params(rng)
    memory = Member(jnp.int32(1), jnp.ones(SIZE))
    output, after = jax.jit(ensemble().step)(None, params, memory, 3)
    mean = values_of(params, 3).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(output, mean, rtol=1e-5)
    assert after.member == 1 and (after.mask == 1).all()


@pytest.mark.parametrize("kind", ["squared", "huber"])
def test_every_member_learns_from_its_own_target_where_its_mask_is_set(kind, rng):
    plain = definitions.scalar(kind, 0.6)
    loss = networks_ensemble.ensemble_loss(ensemble(head=plain.head), plain.head)
    params, target_params = random_params(rng), random_params(rng)
    batch = definitions.transitions(rng, BATCH)
    masks = rng.integers(2, size=(BATCH, SIZE)).astype(np.float32)
    batch = batch._replace(memory=Member(np.zeros(BATCH, np.int32), masks))
    one = jax.value_and_grad(loss, argnums=(1, 2), has_aux=True)
    (values, infos), gradients = jax.tree.map(
        np.asarray,
        jax.jit(jax.vmap(one, in_axes=(0, None, None, 0)))(
            jax.random.split(jax.random.key(0), BATCH), params, target_params, batch
        ),
    )
    for i in range(BATCH):
        step = definitions.example(batch, i)
        here = values_of(params, step.observation)[step.action]
        there = values_of(target_params, step.next_observation)
        total, priorities = 0.0, []
        expected = np.zeros(SHAPE)
        for m in range(SIZE):
            target = step.reward + step.discount * max(there[:, m])
            value, priority = plain.loss(here[[m]], target)
            total += masks[i, m] * value / SIZE
            priorities.append(priority)
            error = target - here[m]
            slope = error if kind == "squared" else np.clip(error, -0.6, 0.6)
            entry = m, step.observation, step.action, 0
            expected[entry] = -masks[i, m] * slope / SIZE
        np.testing.assert_allclose(values[i], total, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(infos.priority[i], np.mean(priorities), rtol=1e-4)
        np.testing.assert_allclose(infos.q_value[i], np.mean(here), rtol=1e-4)
        members = gradients[0]["members"][i]
        np.testing.assert_allclose(members, expected, rtol=1e-4, atol=1e-6)
        assert not members[masks[i] == 0].any()
    assert not gradients[0]["priors"].any()
    assert not any(leaf.any() for leaf in gradients[1].values())


def double_q(rng, **changes):
    """Losses of a batch by a table of twins, with gradients [B, S, A, 2]."""
    params, target_params = definitions.tables(rng, 2)
    batch = definitions.transitions(rng, BATCH)._replace(**changes)
    loss = networks_ensemble.double_q_loss(
        table_network(networks_ensemble.double_table())
    )
    one = jax.value_and_grad(loss, argnums=(1, 2), has_aux=True)
    results = jax.jit(jax.vmap(one, in_axes=(0, None, None, 0)))(
        jax.random.split(jax.random.key(0), BATCH),
        *(table.astype(np.float32) for table in (params, target_params)),
        batch,
    )
    return params, target_params, batch, jax.tree.map(np.asarray, results)


def test_each_estimate_is_judged_by_the_other(rng, strict):
    params, target_params, batch, results = double_q(rng)
    (values, infos), (gradients, others) = results
    learners = []
    for i in range(BATCH):
        step = definitions.example(batch, i)
        (learner,) = set(np.nonzero(gradients[i])[2])
        judge = 1 - learner
        learners.append(learner)
        following = target_params[step.next_observation]
        best = np.argmax(following[:, learner])
        target = step.reward + step.discount * following[best, judge]
        estimates = params[step.observation, step.action]
        error = target - estimates[learner]
        np.testing.assert_allclose(values[i], error**2 / 2, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(infos.priority[i], abs(error), rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(infos.q_value[i], estimates.mean(), rtol=1e-4)
        expected = np.zeros_like(params)
        expected[step.observation, step.action, learner] = -error
        np.testing.assert_allclose(gradients[i], expected, rtol=1e-3, atol=1e-6)
    assert not others.any()
    assert set(learners) == {0, 1}


def test_coins_are_fair_and_ties_broken_uniformly():
    """Otherwise one action would be judged again and again while all are equal."""
    loss = networks_ensemble.double_q_loss(
        table_network(networks_ensemble.double_table())
    )
    step = definitions.example(definitions.transitions(np.random.default_rng(0), 1), 0)
    step = step._replace(reward=np.float32(0), discount=np.float32(1))
    online = np.zeros((STATES, ACTIONS, 2), np.float32)
    # The first ties between 0 and 1, which are 2 and 4 to the second; the second
    # between 1 and 2, which are 5 and 1 to the first.
    target = np.zeros_like(online) + np.float32([[5, 2], [5, 4], [1, 4]])
    keys = jax.random.split(jax.random.key(5), 4000)
    judged = jax.jit(jax.vmap(loss, (0, None, None, None)))
    _, info = judged(keys, online, target, step)
    counts = np.bincount(np.asarray(info.priority).astype(int), minlength=6)
    assert scipy.stats.chisquare(counts[[1, 2, 4, 5]]).pvalue > 1e-3
    assert counts.sum() == counts[[1, 2, 4, 5]].sum()


def test_twins_act_by_their_mean_and_have_no_other_loss(rng):
    head = networks_ensemble.double_table("huber", 0.5)
    output = rng.normal(size=(ACTIONS, 2)).astype(np.float32)
    np.testing.assert_allclose(head.q_values(output), output.mean(axis=1), rtol=1e-6)
    with pytest.raises(NotImplementedError, match="double_q_loss"):
        losses.regress(head, jnp.asarray(output), jnp.int32(0), jnp.float32(1))
