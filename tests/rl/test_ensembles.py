"""The losses of ensembles against their definitions."""

import definitions
import jax
import numpy as np
import pytest
from definitions import ACTIONS, STATES, table_network

from jaxq.config import validate
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.networks import ensemble
from jaxq.rl import ensembles
from jaxq.runs import run

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
    loss = ensembles.ensemble_loss(
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


REDUCTIONS = {
    "minimum": (ensembles.minimum(), lambda row: min(row)),
    "mean": (ensembles.mean, lambda row: sum(row) / SIZE),
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_all_members_learn_from_a_shared_target(name, rng):
    reduction, plain_reduction = REDUCTIONS[name]
    plain = definitions.scalar("squared", 1.0)
    network = ensemble.ensemble(table_network(plain.head), SIZE, SCALE, 0.5)
    loss = jax.jit(ensembles.ensemble_loss(network, plain.head, reduction))
    params, target_params = random_params(rng), random_params(rng)
    batch = definitions.transitions(rng, BATCH)
    masks = rng.integers(2, size=(BATCH, SIZE)).astype(np.float32)
    batch = batch._replace(memory=ensemble.Member(np.zeros(BATCH, np.int32), masks))
    for i in range(BATCH):
        step = definitions.example(batch, i)
        value, _ = loss(jax.random.key(i), params, target_params, step)
        estimate = member_values(params, step.observation)[step.action]
        next_values = member_values(target_params, step.next_observation)
        best = max(plain_reduction(next_values[a]) for a in range(ACTIONS))
        errors = step.reward + step.discount * best - estimate
        expected = np.mean(masks[i] * errors**2 / 2)
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["own", "minimum", "mean", "mixture"])
def test_double_q_selects_by_the_online_parameters_of_the_member(name, rng):
    plain = definitions.scalar("squared", 1.0)
    network = ensemble.ensemble(table_network(plain.head), SIZE, SCALE, 0.5)
    if name == "mixture":
        loss = ensembles.mixture_loss(network, plain.head, double=True)
    else:
        reduction, reduce = REDUCTIONS.get(name, (None, None))
        loss = ensembles.ensemble_loss(network, plain.head, reduction, double=True)
    loss = jax.jit(loss)
    params, target_params = random_params(rng), random_params(rng)
    batch = definitions.transitions(rng, BATCH)
    batch = batch._replace(
        memory=ensemble.Member(np.zeros(BATCH, np.int32), np.ones((BATCH, SIZE)))
    )
    differs = 0
    for i in range(BATCH):
        step, key = definitions.example(batch, i), jax.random.key(i)
        value, _ = loss(key, params, target_params, step)
        estimate = member_values(params, step.observation)[step.action]
        select = member_values(params, step.next_observation)
        evaluate = member_values(target_params, step.next_observation)
        if name == "mixture":
            draw = np.asarray(jax.random.uniform(key, (SIZE,), minval=1e-6))
            weight = np.float64(draw) / np.float64(draw).sum()
            action = np.argmax(select @ weight)
            error = step.reward + step.discount * (evaluate @ weight)[action]
            expected = (error - estimate @ weight) ** 2 / 2
        else:
            errors = []
            for m in range(SIZE):
                action = np.argmax(select[:, m])
                row = evaluate[action]
                chosen = row[m] if name == "own" else reduce(row)
                errors.append(step.reward + step.discount * chosen - estimate[m])
                differs += action != np.argmax(evaluate[:, m])
            expected = np.mean(np.square(errors) / 2)
        np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-5)
    assert differs > 0 or name == "mixture"


def test_the_minimum_of_a_subset_is_over_distinct_random_members(rng):
    outputs = rng.normal(size=(ACTIONS, SIZE)).astype(np.float32)
    pairs = [(i, j) for i in range(SIZE) for j in range(i)]
    possible = {outputs[:, pair].min(axis=1).tobytes() for pair in pairs}
    reduce = jax.jit(ensembles.minimum(2))
    seen = {
        np.asarray(reduce(jax.random.key(i), outputs)).tobytes() for i in range(200)
    }
    assert seen == possible
    everyone = ensembles.minimum(SIZE)(jax.random.key(0), outputs)
    np.testing.assert_array_equal(everyone, outputs.min(axis=1))


def test_a_random_mixture_learns_from_the_same_mixture(rng):
    plain = definitions.scalar("squared", 1.0)
    network = ensemble.ensemble(table_network(plain.head), SIZE, SCALE, 1.0)
    loss = jax.jit(ensembles.mixture_loss(network, plain.head))
    params, target_params = random_params(rng), random_params(rng)
    batch = definitions.transitions(rng, BATCH)
    for i in range(BATCH):
        step, key = definitions.example(batch, i), jax.random.key(i)
        value, info = loss(key, params, target_params, step)
        draw = np.asarray(jax.random.uniform(key, (SIZE,), minval=1e-6), np.float64)
        weight = draw / draw.sum()
        estimate = member_values(params, step.observation)[step.action] @ weight
        next_values = member_values(target_params, step.next_observation) @ weight
        error = step.reward + step.discount * max(next_values) - estimate
        np.testing.assert_allclose(value, error**2 / 2, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(info.priority, abs(error), rtol=1e-3, atol=1e-5)


def test_a_subset_larger_than_the_ensemble_is_refused():
    config = Config(
        algorithm="bootstrapped_dqn", ensemble_target="minimum", ensemble_subset=99
    )
    with pytest.raises(ConfigError, match="ensemble_subset = 99 exceeds ensemble_size"):
        validate.validate(config)


@pytest.mark.slow
@pytest.mark.conformance
@pytest.mark.parametrize("target", ["minimum", "mean", "mixture"])
def test_every_target_learns_catch(target):
    config = Config(
        environment="Catch-bsuite", algorithm="bootstrapped_dqn", num_seeds=2,
        ensemble_target=target, ensemble_size=3, total_steps=20_000, eval_points=1,
        warmup_steps=1_000, epsilon_steps=8_000.0, epsilon_schedule="linear",
        epsilon_start=1.0, epsilon_end=0.05, prior_scale=0.0,
        learning_rate_schedule="constant",
    )  # fmt: skip
    assert (run.run(config, plot=False).curve.eval_return[:, -1] > 0.8).all()
