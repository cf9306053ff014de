"""Penalties that keep an estimate to the actions of its data, by their definitions."""

import dataclasses

import family
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxq import Config
from jaxq.agents import factory, head_factory, loss_factory
from jaxq.rl import losses, offline
from jaxq.types import EnvSpec, MaskedObservation, Transition

MARGIN = 0.8


def plain_conservative(q_values, action):
    return np.log(sum(np.exp(q) for q in q_values)) - q_values[action]


def plain_margin(q_values, action):
    best = max(q + MARGIN * (b != action) for b, q in enumerate(q_values))
    return best - q_values[action]


@pytest.mark.parametrize("num_actions", [1, 2, 5])
def test_the_penalties_are_their_definitions(num_actions, rng, strict):
    for _ in range(20):
        q_values = rng.normal(scale=3.0, size=num_actions)
        action = int(rng.integers(num_actions))
        arguments = jnp.float32(q_values), jnp.int32(action)
        np.testing.assert_allclose(
            offline.conservative(*arguments),
            plain_conservative(q_values, action),
            rtol=1e-5, atol=1e-5,
        )  # fmt: skip
        np.testing.assert_allclose(
            offline.large_margin(*arguments, jnp.float32(MARGIN)),
            plain_margin(q_values, action),
            rtol=1e-5, atol=1e-5,
        )  # fmt: skip


def test_the_conservative_gradient_is_the_policy_minus_the_action(rng):
    q_values = jnp.float32(rng.normal(size=4))
    gradient = jax.grad(offline.conservative)(q_values, jnp.int32(2))
    expected = jax.nn.softmax(q_values) - jax.nn.one_hot(2, 4)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_a_margin_that_is_kept_costs_nothing():
    q_values = jnp.array([0.0, 2.0, 1.1])
    assert offline.large_margin(q_values, jnp.int32(1), MARGIN) == 0.0
    assert offline.large_margin(q_values, jnp.int32(1), 1.0) == pytest.approx(0.1)
    assert offline.large_margin(q_values, jnp.int32(0), MARGIN) == pytest.approx(2.8)


@pytest.mark.parametrize("penalty", ["conservative", "large_margin"])
def test_invalid_actions_do_not_count(penalty):
    def value(q_values, action):
        margin = (MARGIN,) if penalty == "large_margin" else ()
        return getattr(offline, penalty)(q_values, action, *margin)

    masked = jnp.array([0.3, -jnp.inf, 1.2])
    alone = jnp.array([0.3, 1.2])
    np.testing.assert_allclose(value(masked, 2), value(alone, 1), rtol=1e-6)
    gradient = jax.grad(value)(masked, 2)
    np.testing.assert_allclose(gradient[jnp.array([0, 2])], jax.grad(value)(alone, 1))
    assert gradient[1] == 0.0


def weighed(**fields):
    return Config(
        defaults="plain", v_min=-3.0, v_max=3.0, num_atoms=7, num_quantiles=5, **fields
    )


HEADS = ("scalar", "categorical", "hl_gauss", "two_hot", "quantile")


@pytest.mark.parametrize("head", HEADS)
def test_every_head_is_penalised_by_its_means(head, rng):
    config = weighed(head=head, conservative_weight=0.7, margin_weight=0.4)
    penalised, bare = (head_factory.make_head(c) for c in (config, weighed(head=head)))
    output = jnp.float32(rng.normal(size=(3, bare.num_outputs)))
    target = bare.backup(jnp.float32(0.5), jnp.float32(0.9), output[1])
    action = jnp.int32(2)
    with_penalty, info = losses.compare(penalised, output, action, target)
    without, bare_info = losses.compare(bare, output, action, target)
    means = np.float64(bare.q_values(output))
    expected = 0.7 * plain_conservative(means, 2) + 0.4 * plain_margin(means, 2)
    np.testing.assert_allclose(with_penalty - without, expected, rtol=2e-4)
    assert info.priority == bare_info.priority and info.q_value == bare_info.q_value


def transition(observation, next_observation, memory=()):
    return Transition(
        observation, jnp.int32(1), jnp.float32(0.5), jnp.float32(0.9),
        next_observation, memory=memory,
    )  # fmt: skip


def losses_of(config, memory=lambda networks: ()):
    """The loss of a transition, and the estimates of its first state."""
    spec = family.gauntlet().spec
    networks = factory.make_networks(config, spec)
    first, second = jnp.eye(9)[2], jnp.eye(9)[4]
    params = networks.online.init(jax.random.key(0), first)
    example = transition(first, second, memory(networks))
    loss = loss_factory.make_loss(config, networks)
    value, _ = loss(jax.random.key(1), params, params, example)
    return value, np.float64(networks.online.apply(None, params, first))


@pytest.mark.parametrize("munchausen", [False, True])
def test_the_loss_of_a_transition_is_penalised_once(munchausen):
    bare = weighed(munchausen=munchausen, hidden_sizes=(8,))
    value, outputs = losses_of(bare)
    penalised, _ = losses_of(dataclasses.replace(bare, conservative_weight=2.0))
    expected = 2.0 * plain_conservative(outputs[:, 0], 1)
    np.testing.assert_allclose(penalised - value, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "fields",
    [{}, {"head": "quantile"}, {"head": "quantile", "ensemble_size": 2}],
    ids=["scalar", "quantile", "ensemble"],
)
def test_valid_actions_are_penalised_where_others_are_masked(fields):
    valid = np.array([True, True, False])
    shape = MaskedObservation(
        jax.ShapeDtypeStruct((9,), jnp.float32), jax.ShapeDtypeStruct((3,), bool)
    )
    spec = EnvSpec("masked", shape, 3)._replace(valid_actions=lambda o: o.action_mask)
    state = MaskedObservation(jnp.eye(9)[2], jnp.asarray(valid))
    config = weighed(hidden_sizes=(8,), **fields)

    def loss_and_values(weight):
        weighted = dataclasses.replace(config, conservative_weight=weight)
        networks = factory.make_networks(weighted, spec)
        params = networks.online.init(jax.random.key(0), state)
        memory = networks.policy.initial_memory(jax.random.key(0))
        loss = loss_factory.make_loss(weighted, networks)
        example = transition(state, state, memory)
        value, _ = loss(jax.random.key(1), params, params, example)
        head, output = networks.online.head, networks.online.apply(None, params, state)
        return value, np.float64(head.q_values(output))

    (bare, q_values), (penalised, _) = map(loss_and_values, (None, 2.0))
    rows = np.atleast_2d(q_values)  # [members, A]
    assert np.isinf(q_values).any()
    expected = np.mean([plain_conservative(row[valid], 1) for row in rows])
    np.testing.assert_allclose(penalised - bare, 2.0 * expected, rtol=1e-4)


def test_a_member_whose_mask_is_zero_is_not_penalised():
    bare = weighed(ensemble_size=3, hidden_sizes=(8,))
    mask = jnp.array([1.0, 0.0, 1.0])

    def memory(networks):
        drawn = networks.policy.initial_memory(jax.random.key(0))
        return drawn._replace(mask=mask)

    value, outputs = losses_of(bare, memory)
    config = dataclasses.replace(bare, conservative_weight=2.0)
    penalised, _ = losses_of(config, memory)
    members = [plain_conservative(outputs[:, m], 1) for m in (0, 2)]
    np.testing.assert_allclose(penalised - value, 2.0 * sum(members) / 3, rtol=1e-5)
