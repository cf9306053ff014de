"""The losses of distributional ensembles against their definitions in NumPy."""

import definitions
import jax
import numpy as np
import pytest
from definitions import ACTIONS, STATES, table_network

from jaxq.networks import ensemble, masking
from jaxq.rl import categorical, distributional_ensembles, heads

SIZE, SCALE, BATCH, N = 4, 0.7, 24, 5
ATOMS = np.linspace(-2.0, 3.0, N)
DELTA = 0.8
FRACTIONS = (np.arange(N) + 0.5) / N
HEADS = {
    "quantile": heads.quantile(N, DELTA),
    "categorical": categorical.categorical(N, ATOMS[0], ATOMS[-1]),
}


def random_params(rng):
    members, priors = rng.normal(size=(2, SIZE, STATES, ACTIONS, N)).astype(np.float32)
    return {"members": members, "priors": priors}


def outputs(params, state):
    """[M, A, N] by the definition."""
    members, priors = np.float64(params["members"]), np.float64(params["priors"])
    return (members + SCALE * priors)[:, state]


def mean_return(name, output):
    return output.mean() if name == "quantile" else definitions.softmax(output) @ ATOMS


def distribution(name, output):
    """Values and probabilities."""
    if name == "quantile":
        return output, np.full(N, 1 / N)
    return ATOMS, definitions.softmax(output)


def plain_target(name, target, members, evaluate, select, m):
    """Values and probabilities of the successor's return, and its action."""
    means = np.array([[mean_return(name, z) for z in rows] for rows in evaluate])
    online = np.array([[mean_return(name, z) for z in rows] for rows in select])
    if target == "own":
        values = means[m]
    elif target == "minimum":
        values = means[members].min(axis=0)
    else:
        values = means.mean(axis=0)
    action = int(np.argmax(values if select is evaluate else online[m]))
    if target == "own":
        chosen = [m]
    elif target == "minimum":
        chosen = [members[int(np.argmin(means[members, action]))]]
    else:
        chosen = range(SIZE)
    pairs = [distribution(name, evaluate[i, action]) for i in chosen]
    values = np.concatenate([v for v, _ in pairs])
    return values, np.concatenate([p for _, p in pairs]) / len(pairs)


def plain_loss(name, output, values, probabilities):
    if name == "quantile":
        return definitions.quantile_loss(
            output, FRACTIONS, values, probabilities, DELTA
        )
    projected = definitions.project(values, probabilities, ATOMS)
    return definitions.cross_entropy(output, projected)[0]


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("target", ["own", "minimum", "mean"])
@pytest.mark.parametrize("double", [False, True])
def test_every_member_learns_from_its_target_where_its_mask_is_set(
    name, target, double, rng
):
    network = ensemble.ensemble(
        table_network(HEADS[name]), SIZE, SCALE, 0.5, distributional=True
    )
    loss = distributional_ensembles.ensemble_loss(network, target, double=double)
    params, target_params = random_params(rng), random_params(rng)
    batch = definitions.transitions(rng, BATCH)
    assert (batch.discount == 0).any() and (batch.discount > 0).any()
    masks = rng.integers(2, size=(BATCH, SIZE)).astype(np.float32)
    batch = batch._replace(memory=ensemble.Member(np.zeros(BATCH, np.int32), masks))
    with_gradients = jax.value_and_grad(loss, argnums=(1, 2), has_aux=True)
    (values, infos), gradients = jax.jit(
        jax.vmap(with_gradients, in_axes=(0, None, None, 0))
    )(jax.random.split(jax.random.key(0), BATCH), params, target_params, batch)
    everyone = list(range(SIZE))
    for i in range(BATCH):
        step = definitions.example(batch, i)
        estimate = outputs(params, step.observation)[:, step.action]
        evaluate = outputs(target_params, step.next_observation)
        select = outputs(params, step.next_observation) if double else evaluate
        total = 0.0
        for m in range(SIZE):
            z, p = plain_target(name, target, everyone, evaluate, select, m)
            z = step.reward + step.discount * z
            total += masks[i, m] * plain_loss(name, estimate[m], z, p) / SIZE
        np.testing.assert_allclose(values[i], total, rtol=2e-4, atol=1e-5)
        expected = np.mean([mean_return(name, z) for z in estimate])
        np.testing.assert_allclose(infos.q_value[i], expected, rtol=1e-3, atol=1e-5)
        assert not np.asarray(gradients[0]["members"][i])[masks[i] == 0].any()
    assert np.asarray(gradients[0]["members"]).any()
    assert not np.asarray(gradients[0]["priors"]).any()
    assert not any(np.asarray(leaf).any() for leaf in gradients[1].values())


def test_a_subset_is_drawn_for_every_minimum(rng):
    """The target is that of the smallest mean among some pair of members."""
    name = "quantile"
    network = ensemble.ensemble(
        table_network(HEADS[name]), SIZE, SCALE, 0.5, distributional=True
    )
    loss = jax.jit(distributional_ensembles.ensemble_loss(network, "minimum", 2))
    params, target_params = random_params(rng), random_params(rng)
    batch = definitions.transitions(rng, BATCH)
    batch = batch._replace(
        discount=np.full(BATCH, 0.9, np.float32),
        memory=ensemble.Member(np.zeros(BATCH, np.int32), np.ones((BATCH, SIZE))),
    )
    step = definitions.example(batch, 0)
    estimate = outputs(params, step.observation)[:, step.action]
    evaluate = outputs(target_params, step.next_observation)
    possible = []
    for pair in [[i, j] for i in range(SIZE) for j in range(i)]:
        z, p = plain_target(name, "minimum", pair, evaluate, evaluate, 0)
        z = step.reward + 0.9 * z
        possible.append(np.mean([plain_loss(name, e, z, p) for e in estimate]))
    seen = {
        int(np.argmin(abs(np.array(possible) - found)))
        for found in (
            float(loss(jax.random.key(i), params, target_params, step)[0])
            for i in range(100)
        )
        if np.min(abs(np.array(possible) - found)) < 1e-4
    }
    distinct = {round(value, 4) for value in possible}
    assert len(seen) == len(distinct) > 2


def test_invalid_actions_are_never_bootstrapped_from(rng):
    """Action 0 has the largest values, and is invalid everywhere."""
    inner = table_network(HEADS["quantile"])
    valid = np.arange(ACTIONS) > 0
    network = masking.masked(inner, lambda observation: valid)
    made = ensemble.ensemble(
        network, SIZE, SCALE, 0.5, inner, acting="mean", distributional=True
    )
    loss = distributional_ensembles.ensemble_loss(made, "mean")
    params = random_params(rng)
    params["members"][:, :, 0] += 100.0
    batch = definitions.transitions(rng, BATCH)
    batch = batch._replace(
        action=np.ones(BATCH, np.int32),
        memory=ensemble.Member(np.zeros(BATCH, np.int32), np.ones((BATCH, SIZE))),
    )
    value, _ = jax.vmap(loss, in_axes=(None, None, None, 0))(
        jax.random.key(0), params, params, batch
    )
    assert np.isfinite(value).all() and (value < 20).all()
    memory = ensemble.Member(np.int32(1), np.ones(SIZE, np.float32))
    for key in (None, jax.random.key(1)):
        output, _ = made.step(key, params, memory, np.int32(0))
        assert np.isneginf(output[0, 0]) and np.isfinite(output[1:]).all()


@pytest.mark.parametrize("acting", ["member", "mean", "minimum", "ucb"])
@pytest.mark.parametrize("name", HEADS)
def test_members_act_by_their_expected_returns(name, acting, rng):
    network = ensemble.ensemble(
        table_network(HEADS[name]), SIZE, SCALE, 0.5, acting=acting, ucb_scale=1.5,
        distributional=True,
    )  # fmt: skip
    params = random_params(rng)
    memory = ensemble.Member(np.int32(2), np.ones(SIZE, np.float32))
    means = np.array(
        [[mean_return(name, z) for z in rows] for rows in outputs(params, 1)]
    )
    expected = {
        "member": means[2],
        "mean": means.mean(axis=0),
        "minimum": means.min(axis=0),
        "ucb": means.mean(axis=0) + 1.5 * means.std(axis=0),
    }[acting]
    acted, _ = network.step(jax.random.key(0), params, memory, np.int32(1))
    np.testing.assert_allclose(acted[:, 0], expected, rtol=1e-4, atol=1e-5)
    evaluated, _ = network.step(None, params, memory, np.int32(1))
    reduced = means.min(axis=0) if acting == "minimum" else means.mean(axis=0)
    np.testing.assert_allclose(evaluated[:, 0], reduced, rtol=1e-4, atol=1e-5)
