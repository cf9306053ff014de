"""Ensembles with random priors."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from definitions import ACTIONS, STATES, table_network

from jaxq.agents import factory
from jaxq.config.config import Config
from jaxq.envs import make
from jaxq.networks import ensemble as ensembles
from jaxq.networks.ensemble import Member
from jaxq.rl import heads

SIZE, SCALE = 5, 1.7
SHAPE = (SIZE, STATES, ACTIONS, 1)


def random_network():
    """A table whose entries are drawn by `init`, and which uses no noise."""

    def apply(key, params, observation):
        assert key is None
        return params[observation]

    def init(key, observation):
        return jax.random.normal(key, SHAPE[1:])

    return table_network(heads.scalar())._replace(init=init, apply=apply)


def ensemble(mask_probability=0.5):
    return ensembles.ensemble(random_network(), SIZE, SCALE, mask_probability)


def random_params(rng):
    """Members and priors [M, S, A, 1]."""
    members, priors = rng.normal(size=(2, *SHAPE)).astype(np.float32)
    return {"members": members, "priors": priors}


def plain_values(params, state):
    """The definition of the output [A, M]."""
    members, priors = np.float64(params["members"]), np.float64(params["priors"])
    return (members + SCALE * priors)[:, state, :, 0].T


def test_members_and_priors_are_initialized_independently(strict):
    params = ensemble().init(jax.random.key(0), jnp.int32(0))
    tables = np.concatenate([params["members"], params["priors"]])
    assert len(np.unique(tables.reshape(2 * SIZE, -1), axis=0)) == 2 * SIZE


def test_tabular_members_start_equal_and_their_priors_are_random():
    config = Config(
        defaults="plain",
        algorithm="bootstrapped_dqn",
        network="table",
        initial_value=0.5,
    )
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
        np.testing.assert_allclose(output, plain_values(params, state), rtol=1e-5)
    assert output.shape == (ACTIONS, SIZE)


def test_priors_get_no_gradient(rng):
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(ensemble().apply(None, p, 1))))(
        random_params(rng)
    )
    assert not np.any(gradient["priors"])
    np.testing.assert_array_equal(gradient["members"][:, 1], 1.0)


def test_each_episode_draws_its_member_and_its_first_mask(strict):
    keys = jax.random.split(jax.random.key(1), 4000)
    memory = jax.jit(jax.vmap(ensemble(0.3).initial_memory))(keys)
    counts = np.bincount(memory.member, minlength=SIZE)
    assert scipy.stats.chisquare(counts).pvalue > 1e-3
    assert_masks(np.asarray(memory.mask), 0.3)


def assert_masks(mask, probability):
    """Masks [N, M] are independent coin flips."""
    assert set(np.unique(mask)) == {0.0, 1.0}
    for member in mask.T:
        test = scipy.stats.binomtest(int(member.sum()), len(member), probability)
        assert test.pvalue > 1e-3
    correlation = np.corrcoef(mask.T)[~np.eye(SIZE, dtype=bool)]
    assert np.abs(correlation).max() < 0.1


def test_exploration_follows_one_member_and_redraws_the_mask(rng, strict):
    params = random_params(rng)
    network = ensemble(0.7)
    step = jax.jit(jax.vmap(network.step, in_axes=(0, None, None, None)))
    for member in range(SIZE):
        memory = Member(jnp.int32(member), jnp.full(SIZE, 7.0))
        keys = jax.random.split(jax.random.key(member), 4000)
        outputs, after = step(keys, params, memory, 2)
        expected = np.broadcast_to(plain_values(params, 2)[:, [member]], (4000, 3, 1))
        np.testing.assert_allclose(outputs, expected, rtol=1e-5)
        assert (np.asarray(after.member) == member).all()
    assert_masks(np.asarray(after.mask), 0.7)


def test_evaluation_follows_the_mean_and_keeps_the_memory(rng):
    params = random_params(rng)
    memory = Member(jnp.int32(1), jnp.ones(SIZE))
    output, after = jax.jit(ensemble().step)(None, params, memory, 3)
    mean = plain_values(params, 3).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(output, mean, rtol=1e-5)
    assert after.member == 1 and (after.mask == 1).all()


def test_an_ensemble_acts_on_the_mean_or_the_minimum(rng, strict):
    params = random_params(rng)
    for acting, reduce in (("mean", np.mean), ("minimum", np.min)):
        network = ensembles.ensemble(random_network(), SIZE, SCALE, 0.5, acting=acting)
        memory = network.initial_memory(jax.random.key(3))
        for key in (None, jax.random.key(4)):
            output, after = network.step(key, params, memory, jnp.int32(1))
            expected = reduce(plain_values(params, 1), axis=1)
            np.testing.assert_allclose(output[:, 0], expected, rtol=1e-5)
            assert after.member == memory.member


def test_the_upper_confidence_bound_equals_its_definition(rng, strict):
    outputs = rng.normal(size=(4, SIZE)).astype(np.float32)
    outputs[2] = -np.inf
    bound = jax.jit(ensembles.upper_confidence_bound)(outputs, jnp.float32(1.5))
    for action, values in enumerate(np.float64(outputs)):
        mean = sum(values) / SIZE
        expected = -np.inf
        if action != 2:
            variance = sum((value - mean) ** 2 for value in values) / SIZE
            expected = mean + 1.5 * variance**0.5
        np.testing.assert_allclose(bound[action], expected, rtol=1e-5)


def test_the_information_ratio_equals_its_definition(rng, strict):
    outputs = rng.normal(size=(4, SIZE)).astype(np.float32)
    outputs[2] = -np.inf
    outputs[3] = outputs[3, 0]  # the members agree
    scale, noise = jnp.float32(0.5), jnp.float32(0.3)
    ratio = jax.jit(ensembles.information_ratio)(outputs, scale, noise)
    valid = {a: np.float64(outputs[a]) for a in (0, 1, 3)}
    highest = max(v.mean() + 0.5 * v.std() for v in valid.values())
    for action, values in valid.items():
        regret = highest - (values.mean() - 0.5 * values.std())
        gain = np.log(1 + values.var() / 0.3**2) + 1e-5
        np.testing.assert_allclose(ratio[action], regret**2 / gain, rtol=1e-4)
    assert np.isposinf(ratio[2]) and ratio[3] > 100 * ratio[0]


def test_the_smallest_information_ratio_acts(rng, strict):
    params = random_params(rng)
    network = ensembles.ensemble(
        random_network(), SIZE, SCALE, 0.5, acting="ids", ucb_scale=0.5, ids_noise=0.2
    )
    memory = network.initial_memory(jax.random.key(3))
    values = plain_values(params, 1)
    step = jax.jit(network.step)
    output, _ = step(jax.random.key(4), params, memory, jnp.int32(1))
    expected = -ensembles.information_ratio(values, 0.5, 0.2)
    np.testing.assert_allclose(output[:, 0], expected, rtol=1e-4)
    output, _ = step(None, params, memory, jnp.int32(1))
    np.testing.assert_allclose(output[:, 0], values.mean(axis=1), rtol=1e-5)


def test_the_upper_bound_acts_and_the_mean_is_evaluated(rng, strict):
    params = random_params(rng)
    network = ensembles.ensemble(
        random_network(), SIZE, SCALE, 0.5, acting="ucb", ucb_scale=2.0
    )
    memory = network.initial_memory(jax.random.key(3))
    values = plain_values(params, 1)
    mean, std = values.mean(axis=1), values.std(axis=1)
    step = jax.jit(network.step)
    output, after = step(jax.random.key(4), params, memory, jnp.int32(1))
    np.testing.assert_allclose(output[:, 0], mean + 2 * std, rtol=1e-5)
    assert after.member == memory.member
    output, _ = step(None, params, memory, jnp.int32(1))
    np.testing.assert_allclose(output[:, 0], mean, rtol=1e-5)


def test_acting_follows_the_target_unless_it_is_named():
    spec = make.make("CartPole-v1").spec
    observation = jnp.float32([0.1, 0.2, 0.3, 0.4])
    outputs = {}
    for target in ("own", "minimum", "mean"):
        for acting in ("auto", "member", "mean", "minimum", "ucb", "ids"):
            config = Config(
                defaults="plain", algorithm="bootstrapped_dqn", ensemble_size=4,
                hidden_sizes=(8,), ensemble_target=target, ensemble_acting=acting,
            )  # fmt: skip
            network = factory.make_networks(config, spec).policy
            params = network.init(jax.random.key(0), observation)
            memory = network.initial_memory(jax.random.key(1))
            output, _ = network.step(jax.random.key(2), params, memory, observation)
            outputs[target, acting] = np.asarray(output)
    pairs = {"own": "member", "minimum": "minimum", "mean": "mean"}
    for target, acting in pairs.items():
        np.testing.assert_array_equal(outputs[target, "auto"], outputs[target, acting])
    distinct = {outputs["own", a].tobytes() for a in ("member", "mean", "ucb", "ids")}
    assert len(distinct) == 4
