"""Targets of a policy that chooses among several actions: mixtures of their returns."""

import definitions
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from definitions import ACTIONS, ALL, table_network

from jaxq.rl import categorical, heads, losses, mixtures
from jaxq.rl.heads import ProposedQuantiles, Quantiles
from jaxq.types import Head, Transition


def random_action(transition, q_values):
    return jnp.full(q_values.shape, 1 / q_values.size)


def policy_of(probabilities):
    return lambda transition, q_values: jnp.asarray(probabilities, jnp.float32)


def transition(reward=0.0, discount=1.0):
    step = Transition(jnp.int32(0), jnp.int32(0), reward, discount, jnp.int32(1))
    return jax.tree.map(
        lambda x: jnp.asarray(x, getattr(x, "dtype", jnp.float32)), step
    )


@pytest.mark.parametrize("name", ALL)
def test_the_target_of_a_policy_equals_its_definition(name, rng, strict):
    plain = ALL[name]
    for _ in range(10):
        policy = rng.dirichlet(np.ones(ACTIONS))
        output = rng.normal(size=(ACTIONS, plain.head.num_outputs)).astype(np.float32)
        reward, discount = rng.normal(), rng.random()
        target = losses.bootstrap_target(
            plain.head, transition(reward, discount), output, output, policy_of(policy)
        )
        expected = plain.mixture(reward, discount, np.float64(output), policy)
        if isinstance(expected, definitions.Weighted):
            np.testing.assert_allclose(target.weight, expected.weight, rtol=1e-5)
            target, expected = target.value, expected.value
        np.testing.assert_allclose(target, expected, rtol=2e-5, atol=2e-5)


def test_sampled_and_proposed_quantiles_are_mixed_with_their_weights(rng, strict):
    value = jnp.asarray(rng.normal(size=(2, 3)), jnp.float32)
    weight = jnp.asarray(rng.dirichlet(np.ones(3), size=2), jnp.float32)
    output = Quantiles(value, jnp.cumsum(weight, axis=1), weight)
    edges = jnp.zeros((2, 2))
    proposed = ProposedQuantiles(output, edges, edges, jnp.zeros(2))
    policy = policy_of([0.25, 0.75])
    for head, outputs in (
        (heads.implicit_quantile(), output),
        (heads.fully_parameterized(), proposed),
    ):
        target = losses.bootstrap_target(
            head, transition(1.0, 0.5), outputs, outputs, policy
        )
        np.testing.assert_allclose(
            target.value, 1 + 0.5 * np.asarray(value).reshape(-1), rtol=1e-6
        )
        expected = [[0.25], [0.75]] * np.asarray(weight)
        np.testing.assert_allclose(target.weight, expected.reshape(-1), rtol=1e-6)


FRACTION = (jnp.arange(8) + 0.5) / 8


def sampled(row):
    """Quantiles at fixed fractions, as an implicit quantile network returns them."""
    fraction = jnp.broadcast_to(FRACTION, row.shape)
    return Quantiles(row, fraction, jnp.full(row.shape, 1 / 8))


def proposed(row):
    edge = jnp.zeros((row.shape[0], 7))
    return ProposedQuantiles(sampled(row), edge, edge, jnp.zeros(row.shape[0]))


QUANTILES = {
    "quantile": (heads.quantile(8, 0.02), lambda row: row),
    "implicit": (heads.implicit_quantile(0.02), sampled),
    "fully_parameterized": (heads.fully_parameterized(0.02), proposed),
}


@pytest.mark.parametrize("name", QUANTILES)
def test_quantiles_of_a_coin_toss_are_its_two_outcomes_and_not_their_mean(name):
    """Two equally likely actions return 0 and 4: quantiles are 0 0 0 0 4 4 4 4."""
    head, view = QUANTILES[name]
    network = table_network(head, view)
    loss = losses.td_loss(network, bootstrap_policy=random_action)
    target_params = jnp.zeros((2, 2, 8)).at[1, 1].set(4.0)

    def step(_, params):
        gradient = jax.grad(loss, argnums=1, has_aux=True)(
            jax.random.key(0), params, target_params, transition()
        )[0]
        return params - 0.1 * gradient

    params = jax.jit(lambda params: jax.lax.fori_loop(0, 2000, step, params))(
        jnp.full((2, 2, 8), 2.0)
    )
    np.testing.assert_allclose(params[0, 0], [0.0] * 4 + [4.0] * 4, atol=0.05)


def test_the_distribution_of_a_coin_toss_is_mixed_exactly():
    head = categorical.categorical(5, 0.0, 4.0)
    certain = 50.0 * jnp.eye(5)[jnp.array([0, 4])]
    target = losses.bootstrap_target(
        head, transition(), certain, certain, random_action
    )
    np.testing.assert_allclose(target, [0.5, 0, 0, 0, 0.5], atol=1e-6)


@pytest.mark.parametrize("make", [categorical.two_hot, categorical.hl_gauss])
def test_a_histogram_of_the_expected_return_has_its_target_at_the_mean(make):
    head = make(9, -2.0, 6.0)
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(2, 9)), jnp.float32)
    target = losses.bootstrap_target(head, transition(), logits, logits, random_action)
    mean = jnp.mean(head.q_values(logits))
    expected = losses.regress(head, logits, jnp.int32(0), mean)[0]
    actual = losses.compare(head, logits, jnp.int32(0), target)[0]
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_policies_that_select_one_action_need_no_mixture():
    """They cost no samples of other actions, and any head will do."""
    for policy in losses.SELECT_ONE:
        step = transition()._replace(next_action=jnp.int32(1))
        output = jnp.asarray([[0.0] * 8, [4.0] * 8])
        head = heads.quantile(8)._replace(mix=None)
        target = losses.bootstrap_target(head, step, output, output, policy)
        assert target.value.shape == (8,) and (target.value == 4.0).all()


def test_a_head_without_a_mixture_is_refused_for_other_policies():
    scalar = heads.scalar()
    head = Head(1, scalar.q_values, scalar.backup, scalar.loss)
    output = jnp.asarray([[0.0], [4.0]])
    with pytest.raises(ValueError, match=r"has no `mix`.*mixtures\.average"):
        losses.bootstrap_target(head, transition(), output, output, random_action)
    head = head._replace(mix=mixtures.average)
    target = losses.bootstrap_target(head, transition(), output, output, random_action)
    assert target == 2.0


@pytest.mark.parametrize("name", ALL)
def test_invalid_actions_are_left_out_of_a_mixture(name):
    head = ALL[name].head
    valid = jnp.linspace(0.0, 1.0, head.num_outputs)
    output = jnp.stack([valid, jnp.full_like(valid, -jnp.inf)])

    def loss(policy):
        target = head.backup(1.0, 0.9, head.mix(output, jnp.asarray(policy)))
        return head.loss(valid, target)[0]

    alone = head.backup(1.0, 0.9, valid)
    np.testing.assert_allclose(loss([1.0, 0.0]), head.loss(valid, alone)[0], rtol=1e-5)
    assert np.isfinite(loss([0.0, 0.0]))  # a terminal state without actions
