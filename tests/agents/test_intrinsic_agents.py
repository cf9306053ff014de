"""Intrinsic bonuses, in whole agents and against plain definitions."""

import collections
import dataclasses

import family
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import same

from jaxq.agents import algorithms, field_effects, intrinsic
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.config.loop_lengths import loop_lengths
from jaxq.config.validate import validate
from jaxq.envs import make
from jaxq.training import checks, loop
from jaxq.types import EnvSpec, MaskedObservation, Step

LENGTH, ENVS = 5, 3
VECTOR = EnvSpec("Vector", jax.ShapeDtypeStruct((2,), jnp.float32), 2)
RND = Config(
    defaults="plain", intrinsic_bonus="rnd", hidden_sizes=(3,), rnd_size=2,
    num_envs=ENVS, discount=0.8, rnd_learning_rate=0.01, activation="tanh",
)  # fmt: skip


def rollout_of(observe, rng, next_observation):
    """Step[T, E] with random rewards and ends."""
    shape = (LENGTH, ENVS)
    return Step(
        observation=observe(shape),
        action=rng.integers(0, 2, shape).astype(np.int32),
        reward=rng.normal(size=shape).astype(np.float32),
        terminated=rng.random(shape) < 0.2,
        truncated=rng.random(shape) < 0.2,
        next_observation=next_observation,
    )


def test_visits_are_counted_as_in_a_dictionary(rng, strict):
    """Each state that is reached counts, also that of a terminal step."""
    spec = EnvSpec(
        "Numbered", jax.ShapeDtypeStruct((), jnp.int32), 2, num_states=7,
        state_index=lambda x: x - 10,
    )  # fmt: skip
    bonus = intrinsic.counts(Config(defaults="plain"), spec)
    state, visits = bonus.init(jax.random.key(0), spec.example()), collections.Counter()
    reward = jax.jit(bonus.reward)
    for _ in range(4):
        reached = (10 + rng.integers(7, size=(LENGTH, ENVS))).astype(np.int32)
        steps = rollout_of(lambda s: np.full(s, 10, np.int32), rng, reached)
        extra, state = reward(state, steps)
        visits.update(reached.reshape(-1).tolist())
        for place, number in np.ndenumerate(reached):
            np.testing.assert_allclose(extra[place], visits[number] ** -0.5, rtol=1e-6)
    assert state.tolist() == [visits[10 + i] for i in range(7)]
    assert sum(visits.values()) == 4 * LENGTH * ENVS


def forward(params, x):
    """The embedding of a standardised vector."""
    layers = [params["torso"]["Hidden_0"]["Dense_0"]["Dense_0"]]
    hidden = sorted(name for name in params if name.startswith("Hidden_"))
    layers += [params[name]["Dense_0"]["Dense_0"] for name in hidden]
    for layer in layers:
        x = np.tanh(x @ np.float64(layer["kernel"]) + np.float64(layer["bias"]))
    last = params["Dense_0"]["Dense_0"]
    return x @ np.float64(last["kernel"]) + np.float64(last["bias"])


def plain_errors(state, predictor, mean, variance, x):
    """|f(x) - f_target(x)|^2 of vectors [N, 2]."""
    result = []
    for sample in x:
        inputs = np.clip((sample - mean) / np.sqrt(variance), -5, 5)
        difference = forward(predictor, inputs) - forward(state.target, inputs)
        result.append(float(difference @ difference))
    return np.array(result)


class PlainMoments:
    """Of all samples, and of one of mean 0 and variance 1."""

    def __init__(self, shape):
        self.samples, self.shape = [], shape

    def add(self, x):
        self.samples += list(x)

    @property
    def mean(self):
        return np.sum(self.samples, axis=0) / (len(self.samples) + 1)

    @property
    def variance(self):
        if not self.samples:
            return np.ones(self.shape)
        squares = 1 + np.sum(np.square(self.samples), axis=0)
        return squares / (len(self.samples) + 1) - self.mean**2


def gradient_by_differences(loss, params, width=1e-6):
    """Central differences, entry by entry."""
    leaves, structure = jax.tree.flatten(jax.tree.map(np.float64, params))
    result = []
    for leaf in leaves:
        slope = np.zeros(leaf.shape)
        for place in np.ndindex(leaf.shape):
            kept, values = leaf[place], []
            for sign in (1, -1):
                leaf[place] = kept + sign * width
                values.append(loss(jax.tree.unflatten(structure, leaves)))
            leaf[place] = kept
            slope[place] = (values[0] - values[1]) / (2 * width)
        result.append(slope)
    return jax.tree.unflatten(structure, result)


def test_random_network_distillation_equals_its_definition(rng):
    bonus = intrinsic.distillation_bonus(RND, VECTOR)
    with jax.debug_key_reuse(True):
        state = jax.jit(bonus.init)(jax.random.key(1), VECTOR.example())
    reward = jax.jit(bonus.reward)
    inputs, returns, totals = PlainMoments(2), PlainMoments(()), np.zeros(ENVS)
    target = state.target
    for round_ in range(3):
        reached = 2 + 3 * rng.normal(size=(LENGTH, ENVS, 2)).astype(np.float32)
        x = reached.reshape(-1, 2).astype(np.float64)
        steps = rollout_of(lambda s: np.zeros((*s, 2), np.float32), rng, reached)
        mean = inputs.mean if inputs.samples else np.zeros(2)
        error = plain_errors(state, state.predictor, mean, inputs.variance, x)
        for t in range(LENGTH):
            totals = 0.8 * totals + error.reshape(LENGTH, ENVS)[t]
            returns.add(totals)
        expected = error.reshape(LENGTH, ENVS) / np.sqrt(returns.variance)
        before = state
        extra, state = reward(state, steps)
        np.testing.assert_allclose(extra, expected, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(state.totals, totals, rtol=1e-3)
        inputs.add(x)
        np.testing.assert_allclose(state.inputs.mean, inputs.mean, rtol=1e-4)
        np.testing.assert_allclose(state.inputs.variance, inputs.variance, rtol=1e-3)
        # The predictor learns from standardised features, with their new moments.

        def loss(predictor, before=before, x=x):
            errors = plain_errors(before, predictor, inputs.mean, inputs.variance, x)
            return np.mean(errors) / 2

        gradient = gradient_by_differences(loss, before.predictor)
        moment = jax.tree.map(
            lambda old, g: 0.9 * np.float64(old) + 0.1 * g,
            before.opt_state.mu, gradient,
        )  # fmt: skip
        for ours, plain in zip(
            jax.tree.leaves(state.opt_state.mu), jax.tree.leaves(moment), strict=True
        ):
            np.testing.assert_allclose(ours, plain, rtol=2e-3, atol=2e-5)

        def adam(old, mu, nu, t=round_ + 1):
            mu, nu = np.float64(mu) / (1 - 0.9**t), np.float64(nu) / (1 - 0.999**t)
            return old - 0.01 * mu / (np.sqrt(nu) + 1e-8)

        opt = state.opt_state
        params = jax.tree.map(adam, before.predictor, opt.mu, opt.nu)
        for ours, plain in zip(
            jax.tree.leaves(state.predictor), jax.tree.leaves(params), strict=True
        ):
            np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-6)
        assert same(state.target, target)


def test_the_error_of_a_familiar_state_falls_below_that_of_a_new_one(rng):
    config = dataclasses.replace(RND, hidden_sizes=(16,), rnd_size=8)
    bonus = intrinsic.distillation_bonus(config, VECTOR)
    state = bonus.init(jax.random.key(1), VECTOR.example())
    reward = jax.jit(bonus.reward)
    steps = rollout_of(
        lambda s: np.zeros((*s, 2), np.float32), rng,
        rng.normal(size=(LENGTH, ENVS, 2)).astype(np.float32),
    )  # fmt: skip

    def error(steps):
        bonus, after = reward(state, steps)
        return float(np.mean(bonus) * np.sqrt(after.returns.variance))

    first = error(steps)
    for _ in range(1000):
        state = reward(state, steps)[1]
    assert error(steps) < 0.01 * first
    new = steps._replace(next_observation=-2 * steps.next_observation)
    assert error(new) > 10 * error(steps)


SPECS = {
    "image": EnvSpec("Grid", jax.ShapeDtypeStruct((5, 5, 2), bool), 2),
    "number": EnvSpec(
        "Number", jax.ShapeDtypeStruct((), jnp.int32), 2, num_categories=4
    ),
    "parts": EnvSpec(
        "Parts",
        {
            "grid": jax.ShapeDtypeStruct((6, 6, 3), jnp.uint8),
            "goal": jax.ShapeDtypeStruct((2,), jnp.float32),
        },
        2,
    ),
    "masked": EnvSpec(
        "Masked",
        MaskedObservation(
            jax.ShapeDtypeStruct((3,), jnp.float32), jax.ShapeDtypeStruct((2,), bool)
        ),
        2,
        valid_actions=lambda observation: observation.action_mask,
    ),
}


@pytest.mark.parametrize("kind", SPECS)
def test_every_kind_of_observation_is_distilled(kind):
    """Also with layers that a learner has, which the predictor leaves out."""
    config = dataclasses.replace(RND, noisy=True, dueling=True)
    spec = SPECS[kind]
    bonus = intrinsic.distillation_bonus(config, spec)
    steps = jax.tree.map(
        lambda x: jnp.broadcast_to(x, (LENGTH, ENVS, *x.shape)), spec.example()
    )
    before = jax.eval_shape(bonus.init, jax.random.key(0), spec.example())
    extra, after = jax.eval_shape(bonus.reward, before, steps)
    assert extra.shape == (LENGTH, ENVS) and extra.dtype == jnp.float32
    assert jax.tree.structure(after) == jax.tree.structure(before)
    assert jax.tree.leaves(after) == jax.tree.leaves(before)


def bonus_config(name, **changes):
    """A table counts visits, and a network is distilled."""
    kind = "count" if name in family.TABULAR else "rnd"
    return family.config(name, intrinsic_bonus=kind, rnd_size=4, **changes)


@pytest.mark.parametrize("name", family.NAMES)
def test_every_algorithm_takes_a_bonus(name):
    spec, key = family.gauntlet().spec, jax.eval_shape(lambda: jax.random.key(0))
    config = bonus_config(name)
    after = jax.eval_shape(
        lambda key: field_effects.cycle(key, config, config, spec)[0], key
    )
    before = checks.state_shape(algorithms.make(config, spec), spec)
    assert isinstance(before, intrinsic.BonusState)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    assert jax.tree.leaves(after) == jax.tree.leaves(before)
    plain = checks.state_shape(algorithms.make(family.config(name), spec), spec)
    assert jax.tree.leaves(before.learner) == jax.tree.leaves(plain.learner)


@pytest.mark.parametrize("name", ["tabular_q", "pqn"])
def test_the_agent_observes_the_reward_plus_the_scaled_bonus(name, rng):
    env, key = family.gauntlet(), jax.random.key(2)
    config = bonus_config(name, num_envs=ENVS, bonus_scale=0.7, rollout_length=LENGTH)
    config = dataclasses.replace(config, num_minibatches=1)
    agent = algorithms.make(config, env.spec)
    plain = algorithms.make(
        dataclasses.replace(config, intrinsic_bonus="none"), env.spec
    )
    bonus = intrinsic.BONUSES[config.intrinsic_bonus](config, env.spec)
    state = jax.jit(agent.init)(key, env.spec.example())
    observation = rng.integers(0, 2, (LENGTH, ENVS, *env.spec.observation.shape))
    steps = rollout_of(
        lambda s: observation.astype(np.float32), rng,
        observation[::-1].astype(np.float32),
    )  # fmt: skip
    after = jax.jit(agent.observe)(key, state, steps)
    extra, bonus_state = jax.jit(bonus.reward)(state.bonus, steps)
    assert np.mean(extra) > 0.1
    augmented = steps._replace(reward=steps.reward + np.float32(0.7) * extra)
    inner = state.rest._replace(learner=state.learner)
    expected = jax.jit(plain.observe)(key, inner, augmented)
    pairs = [(after.rest, expected._replace(learner=())), (after.bonus, bonus_state)]
    for left, right in pairs:
        jax.tree.map(
            lambda ours, plain: np.testing.assert_allclose(ours, plain, 1e-5, 1e-6),
            left, right,
        )  # fmt: skip


def test_reported_returns_are_those_of_the_environment():
    changes = {"num_envs": 2, "update_steps": 2, "warmup_steps": 100}
    config = dataclasses.replace(family.TABLE, algorithm="tabular_q", **changes)
    env = family.gauntlet()

    @jax.jit
    def finished(key):
        results = []
        for bonus in ("none", "count"):
            run = dataclasses.replace(config, intrinsic_bonus=bonus, bonus_scale=50.0)
            results.append(loop.start(run, loop_lengths(run), env, key))
        return results

    plain, with_bonus = finished(jax.random.key(0))
    assert same(plain.tally, with_bonus.tally)
    assert int(plain.tally.episodes) > 5
    rewards = [plain.agent.store.reward, with_bonus.agent.rest.store.reward]
    assert not np.allclose(*(np.asarray(r)[:50] for r in rewards))


def test_seeds_count_for_themselves_as_they_do_alone():
    config = dataclasses.replace(
        family.TABLE, algorithm="tabular_q", intrinsic_bonus="count"
    )
    env = family.gauntlet()
    several = family.Trained(config, env, (0, 1)).state.agent.bonus  # after the warm-up
    alone = family.Trained(config, env, (1,)).state.agent.bonus
    assert several.shape == (2, env.spec.num_states)
    np.testing.assert_array_equal(several[1], alone[0])
    assert (several.sum(axis=1) == config.warmup_steps).all()
    assert not same(several[0], several[1])


def test_states_without_a_number_cannot_be_counted():
    config = Config(defaults="plain", intrinsic_bonus="count")
    with pytest.raises(ConfigError, match="CartPole-v1 has no numbered states"):
        algorithms.make(config, make.from_config(config).spec)


def test_a_table_cannot_be_distilled():
    config = Config(defaults="plain", algorithm="tabular_q", intrinsic_bonus="rnd")
    with pytest.raises(ConfigError, match="the visits of its states can be counted"):
        validate(config)


def test_a_bonus_keeps_what_the_agent_needs_beside_it():
    """The probability of an action, and the memory of the last action and reward."""
    spec = VECTOR
    retrace = Config(
        defaults="plain", intrinsic_bonus="rnd", return_estimator="retrace", n_step=3,
        next_value="expected_sarsa",
    )  # fmt: skip
    agent = algorithms.make(retrace, spec)
    state = agent.init(jax.random.key(0), spec.example())
    assert agent.act_with_probability is not None
    action, _, probability = agent.act_with_probability(
        jax.random.key(1), state, (), jnp.ones(2), jnp.float32(0.4)
    )
    best = int(jnp.argmax(agent.q_values(state, (), jnp.ones(2))))
    expected = 0.8 if action == best else 0.2
    np.testing.assert_allclose(probability, expected, rtol=1e-6)
    recalls = Config(
        algorithm="r2d2", defaults="plain", intrinsic_bonus="rnd",
        recurrent_inputs="action_reward",
    )  # fmt: skip
    assert algorithms.make(recalls, spec).remember is not None
