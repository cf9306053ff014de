"""Self-prediction as a part of replay agents."""

import dataclasses

import family
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import CONFORMANCE, same

from jaxq import Config, load, run
from jaxq.agents import (
    algorithms,
    factory,
    learner,
    loss_factory,
    optimizers,
    plasticity,
    self_prediction,
)
from jaxq.config.fields import ConfigError
from jaxq.config.validate import validate
from jaxq.envs import make
from jaxq.rl import self_prediction as definitions
from jaxq.types import EnvSpec, MaskedObservation, Transition

VECTOR = EnvSpec("Vector", jax.ShapeDtypeStruct((3,), jnp.float32), 2)
GRID = EnvSpec("Grid", jax.ShapeDtypeStruct((5, 5, 2), bool), 3)
STEPS = 3
BASE = Config(
    defaults="plain", hidden_sizes=(6, 5), channels=3, dense_size=5, v_min=-2.0,
    v_max=2.0, num_atoms=5, num_quantiles=3, quantile_samples=3, target_samples=3,
    num_cosines=4, spr_steps=STEPS, spr_weight=0.7, learning_rate=1e-2,
)  # fmt: skip


def batch(spec, rng, size=8):
    def observations(*shape):
        values = rng.normal(size=(*shape, *spec.observation.shape))
        values = values.astype(np.float32)
        return values > 0 if spec.observation.dtype == bool else values

    ended = rng.random((size, STEPS)) < 0.2
    following = definitions.Following(
        rng.integers(0, spec.num_actions, (size, STEPS)).astype(np.int32),
        observations(size, STEPS),
        np.float32(np.cumprod(1 - ended, axis=1)),
    )
    return Transition(
        observations(size), following.action[:, 0],
        rng.normal(size=size).astype(np.float32), np.full(size, 0.9, np.float32),
        observations(size), following=following,
    )  # fmt: skip


class Parts:
    """The network and the losses of a configuration, with and without predictions."""

    def __init__(self, spec, **fields):
        self.config, self.spec = dataclasses.replace(BASE, **fields), spec
        self.networks = factory.make_networks(self.config, spec)
        self.network = self.networks.online
        td = loss_factory.make_loss(self.config, self.networks)
        loss = self_prediction.add_loss(td, self.network, self.config, spec)
        self.td, self.loss = jax.jit(td), jax.jit(loss)
        self.step = jax.jit(self._step)

    def added(self, key, params, target_params, example):
        """The loss of the predictions, times its weight."""
        args = key, params, target_params, example
        return self.loss(*args)[0] - self.td(*args)[0]

    def params(self, seed):
        observation = self.spec.example().observation
        return self.network.init(jax.random.key(seed), observation)

    def learner(self):
        optimizer = optimizers.make_optimizer(self.config)
        return learner.init_learner(
            jax.random.key(0), self.network, optimizer, self.spec.example().observation,
            averaged_targets=self.config.averaged_targets,
        )  # fmt: skip

    def _step(self, state, examples, updates=0, weight=1.0):
        weight = jnp.full(len(examples.action), weight)
        return learner.gradient_step(
            jax.random.key(5), state, examples, weight, jnp.int32(updates),
            config=self.config, loss=self.loss, network=self.network,
            optimizer=optimizers.make_optimizer(self.config),
        )  # fmt: skip


def dense(params, x):
    while "kernel" not in params:
        params = params["Dense_0"]
    kernel, bias = (np.float64(params[name]) for name in ("kernel", "bias"))
    return x @ kernel + bias


def unit_range(x):
    return (x - x.min()) / (x.max() - x.min() + 1e-5)


def plain_loss(model, target_model, feature, later, following, num_actions):
    """The loss of one example by its definition, from features in float64."""
    z, total = unit_range(np.float64(feature)), 0.0
    for k in range(STEPS):
        z = np.concatenate([z, np.eye(num_actions)[following.action[k]]])
        hidden = np.maximum(dense(model["transition"]["Hidden_0"], z), 0)
        z = unit_range(dense(model["transition"]["Dense_0"], hidden))
        prediction = dense(model["predictor"], dense(model["projection"], z))
        target = dense(target_model["projection"], unit_range(np.float64(later[k])))
        cosine = prediction @ target
        cosine /= np.linalg.norm(prediction) * np.linalg.norm(target)
        total -= following.reached[k] * cosine
    return total


def of_row(tree, i):
    return jax.tree.map(lambda x: np.asarray(x[i]), tree)


RAINBOW = {"head": "categorical", "dueling": True, "noisy": True}


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        pytest.param(VECTOR, {}, id="mlp"),
        pytest.param(VECTOR, RAINBOW, id="mlp-rainbow", marks=CONFORMANCE),
        pytest.param(GRID, RAINBOW, id="minatar-rainbow"),
    ],
)
def test_the_loss_is_that_of_the_estimate_plus_that_of_the_predictions(
    spec, fields, rng
):
    parts = Parts(spec, **fields)
    params, target_params = parts.params(1), parts.params(2)
    examples = batch(spec, rng)

    def features(params, observation):
        activations = parts.network.activations(params, (), observation)
        return np.asarray(activations["features"])

    for i in range(4):
        example = of_row(examples, i)
        key = jax.random.key(i)
        td, info = parts.td(key, params, target_params, example)
        actual, same_info = parts.loss(key, params, target_params, example)
        expected = plain_loss(
            params["self_prediction"],
            target_params["self_prediction"],
            features(params, example.observation),
            [features(target_params, o) for o in example.following.observation],
            example.following,
            spec.num_actions,
        )
        np.testing.assert_allclose(actual, td + 0.7 * expected, rtol=1e-4, atol=1e-5)
        for left, right in zip(*map(jax.tree.leaves, (info, same_info)), strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-5)  # priorities among them


def test_members_predict_their_own_features_where_their_mask_is_set(rng):
    parts = Parts(VECTOR, ensemble_size=3, prior_scale=0.0)
    params, target_params = parts.params(1), parts.params(2)
    example = of_row(batch(VECTOR, rng), 0)
    memory, mask = parts.network.initial_memory(jax.random.key(0)), (1.0, 0.0, 1.0)
    example = example._replace(memory=memory._replace(mask=jnp.float32(mask)))
    added = parts.added(jax.random.key(0), params, target_params, example)
    single = Parts(VECTOR)
    expected = 0.0
    for m in range(3):
        own, target = (
            of_row(p["members"], m)
            | {"self_prediction": of_row(p["self_prediction"], m)}
            for p in (params, target_params)
        )
        plain = example._replace(memory=())
        expected += mask[m] * single.added(jax.random.key(0), own, target, plain) / 3
    np.testing.assert_allclose(added, expected, rtol=1e-4, atol=1e-5)


def test_predictions_improve_and_the_torso_learns_from_them(rng):
    parts = Parts(GRID, spr_weight=1e3, target_period=1_000, dense_size=32)
    state, examples = parts.learner(), batch(GRID, rng)
    examples = examples._replace(
        following=examples.following._replace(reached=np.ones((8, STEPS), np.float32))
    )
    losses, start = [], state.params
    for t in range(150):
        state, _, metrics = parts.step(state, examples, t)
        losses.append(float(metrics.loss) / 1e3)
    assert losses[-1] < losses[0] and losses[-1] < -0.9 * STEPS
    kernel = start["torso"]["Hidden_0"]["Dense_0"]["Dense_0"]["kernel"]
    after = state.params["torso"]["Hidden_0"]["Dense_0"]["Dense_0"]["kernel"]
    assert np.abs(np.asarray(after - kernel)).max() > 1e-2


def test_the_predictions_teach_the_torso_and_their_model_alone(rng):
    parts = Parts(GRID, dense_size=32)
    params, target_params = parts.params(1), parts.params(2)
    example = of_row(batch(GRID, rng), 0)
    following = example.following._replace(reached=np.ones(STEPS, np.float32))
    example = example._replace(following=following)

    def added(params, target_params):
        return parts.added(jax.random.key(0), params, target_params, example)

    slopes, target_slopes = jax.jit(jax.grad(added, argnums=(0, 1)))(
        params, target_params
    )
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(target_slopes))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(slopes.pop("values")))
    sizes = [float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(slopes["torso"])]
    assert min(sizes) > 1e-4
    for part, slope in slopes["self_prediction"].items():
        assert any(np.any(leaf) for leaf in jax.tree.leaves(slope)), part
    # Against the change of the loss along the gradient of the torso.
    ends = []
    for size in (-1e-3, 1e-3):
        step = optax.tree.scale(size, slopes["torso"])
        torso = optax.tree.add(params["torso"], step)
        ends.append(added(params | {"torso": torso}, target_params))
    square = sum(float(jnp.sum(x**2)) for x in jax.tree.leaves(slopes["torso"]))
    np.testing.assert_allclose(ends[1] - ends[0], 2e-3 * square, rtol=0.05)


@pytest.mark.parametrize(
    "fields",
    [
        {"normalization": "batch"},
        {"normalize_observations": True},
        {"normalize_observations": True, "normalization": "layer", "double_q": True},
    ],
    ids=str,
)
def test_statistics_receive_no_gradient(fields, rng):
    parts = Parts(VECTOR, **fields)
    state, examples = parts.learner(), batch(VECTOR, rng)
    total = learner.batch_loss(parts.loss, "mean")
    keys = jax.random.split(jax.random.key(0), 8)

    @jax.jit
    @jax.grad
    def gradient(params, target_params):
        value, _ = total(params, target_params, keys, examples, jnp.ones(8))
        return value

    gradients = gradient(state.params, state.target_params)
    found = {"fixed": 0, "torso": 0, "head": 0}
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        part = plasticity.part(path)
        found[part] += bool(np.asarray(leaf).any())
    assert found["fixed"] == 0 and found["torso"] > 0 and found["head"] > 0


def test_a_reset_treats_the_transition_model_as_torso_and_the_rest_as_head(rng):
    fields = {"reset_period": 5, "reset_torso": 0.2, "optimizer": "sgd"}
    parts, examples = Parts(VECTOR, **fields), batch(VECTOR, rng)
    state = parts.learner()
    state = state._replace(params=parts.params(7))
    before, after = (
        parts.step(state, examples, updates)[0].params for updates in (3, 4)
    )
    _, reset_key = jax.random.split(jax.random.key(5))
    new = parts.network.init(reset_key, examples.observation[0])
    shares = {"transition": 0.2, "projection": 1.0, "predictor": 1.0}
    for name, share in shares.items():
        old, drawn, moved = (
            jax.tree.leaves(tree["self_prediction"][name])
            for tree in (before, new, after)
        )
        for a, b, actual in zip(old, drawn, moved, strict=True):
            np.testing.assert_allclose(actual, a + share * (b - a), rtol=1e-5)


def test_a_minibatch_without_weight_teaches_the_model_nothing(rng):
    """A truncated step has no weight, and its successors are of another episode."""
    parts = Parts(VECTOR, optimizer="sgd")
    state = parts.learner()
    after, _, metrics = parts.step(state, batch(VECTOR, rng), weight=0.0)
    assert same(after.params, state.params) and metrics.loss == 0


def test_a_frozen_seed_keeps_its_model(rng):
    parts = Parts(VECTOR)
    state = parts.learner()
    broken = state._replace(
        target_params=jax.tree.map(lambda x: x * jnp.nan, state.target_params)
    )
    after, _, _ = parts.step(broken, batch(VECTOR, rng))
    assert int(after.diverged_at) == 0 and same(after.params, state.params)


def test_several_targets_predict_the_newest(rng):
    parts = Parts(VECTOR, averaged_targets=2)
    example = of_row(batch(VECTOR, rng), 0)
    params, newest, older = map(parts.params, (1, 2, 3))
    key, single = jax.random.key(0), Parts(VECTOR)
    expected = single.added(key, params, newest, example)
    targets = jax.tree.map(lambda *x: jnp.stack(x), newest, older)
    added = parts.added(key, params, targets, example)
    np.testing.assert_allclose(added, expected, rtol=1e-4, atol=1e-5)


def test_a_mask_of_actions_is_no_feature(rng):
    mask = jax.ShapeDtypeStruct((2,), bool)
    spec = VECTOR._replace(
        observation=MaskedObservation(VECTOR.observation, mask),
        valid_actions=lambda observation: observation.action_mask,
    )
    parts, plain = Parts(spec), Parts(VECTOR)
    example = of_row(batch(VECTOR, rng), 0)
    following = example.following
    masked = example._replace(
        observation=MaskedObservation(example.observation, np.bool_([1, 0])),
        next_observation=MaskedObservation(example.next_observation, np.bool_([0, 1])),
        following=following._replace(
            observation=MaskedObservation(
                following.observation, rng.random((STEPS, 2)) < 0.5
            )
        ),
    )
    key, params, target = jax.random.key(0), plain.params(1), plain.params(2)
    added = [
        p.added(key, params, target, e) for p, e in ((parts, masked), (plain, example))
    ]
    np.testing.assert_allclose(*added, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "fields",
    [
        {"algorithm": "iqn"},
        {"algorithm": "fqf", "redo_period": 2},
        {"algorithm": "rainbow", "reset_period": 3},
        {"return_estimator": "retrace", "n_step": 2, "prioritized": True},
        {"ensemble_size": 3, "normalize_observations": True, "redo_period": 2},
        {"normalization": "batch", "l2_init_penalty": 0.1},
        {"weight_norm": "spectral", "munchausen": True, "frame_stack": 3},
        {"activation": "crelu", "target_tau": 0.1, "hare_period": 3},
        {"average_reward": "centering", "intrinsic_bonus": "rnd"},
    ],
    ids=str,
)
def test_an_update_keeps_the_structure_of_the_state_beside_other_parts(fields):
    config = dataclasses.replace(
        BASE, **{"num_envs": 2, "buffer_size": 100, "batch_size": 4} | fields
    )
    env = make.with_frame_stack(config, family.gauntlet())
    agent = algorithms.make(config, env.spec)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(agent.init, key, env.spec.example())
    after, _ = jax.eval_shape(agent.update, key, state, jnp.float32(0))
    shapes = [
        jax.tree.map(lambda x: (x.shape, x.dtype), tree) for tree in (state, after)
    ]
    assert shapes[0] == shapes[1]
    off = dataclasses.replace(config, spr_steps=None)
    agent = algorithms.make(off, env.spec)
    params = dict(jax.eval_shape(agent.init, key, env.spec.example()).learner.params)
    with_model = dict(state.learner.params)
    assert with_model.pop("self_prediction").keys() == {
        "transition", "projection", "predictor"
    }  # fmt: skip
    assert with_model == params


def test_a_custom_algorithm_must_use_the_loss():
    def own(config, spec):
        networks = factory.make_networks(config, spec)
        loss = loss_factory.make_loss(config, networks)
        store = algorithms.make_store(config, spec)
        return algorithms.replay_agent.replay_agent(
            networks.online, networks.policy, loss, store, config
        )

    from jaxq.agents import field_effects

    try:
        algorithms.register(own)
        config = Config(defaults="plain", algorithm="own", spr_steps=3)
        with pytest.raises(ConfigError, match="does not read spr_steps = 3"):
            field_effects.check_honoured(config, family.gauntlet().spec)
    finally:
        algorithms.ALGORITHMS.pop("own")
        algorithms.HONOURED.pop(own)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"algorithm": "pqn"}, "steps that follow one another in replay"),
        ({"algorithm": "r2d2"}, "its features also depend on the memory"),
        (
            {"algorithm": "tabular_q", "environment": "FrozenLake-misc"},
            "a table has no features to predict",
        ),
        ({"spr_steps": 0}, "spr_steps = 0 is outside"),
    ],
)
def test_meaningless_settings_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        validate(Config(**{"spr_steps": 5} | fields))


@pytest.mark.slow
@pytest.mark.conformance
def test_a_run_keeps_its_model_and_its_policy_is_loaded(tmp_path):
    config = dataclasses.replace(
        family.TINY, num_seeds=2, seed_block=2, spr_steps=4, prioritized=True,
        reset_period=60, reset_torso=0.2,
    )  # fmt: skip
    result = run(config, output=tmp_path, plot=False)
    leaves = jax.tree.leaves(result.params["self_prediction"])
    assert all(np.isfinite(x).all() and not same(x[0], x[1]) for x in leaves)
    policy = load(result)
    assert int(policy.act(jax.random.key(0), jnp.ones(4))) in (0, 1)
    again = run(config, params=result.params, plot=False)
    assert not same(again.params, result.params)
    with pytest.raises(ConfigError, match="params do not fit"):
        run(dataclasses.replace(config, spr_steps=None), params=result.params)
