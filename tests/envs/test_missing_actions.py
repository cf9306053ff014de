"""Invalid actions, whose values are minus infinity, have no effect on any loss."""

import definitions
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from definitions import table_network

from jaxq.networks import ensemble
from jaxq.rl import (
    double_q,
    ensembles,
    exploration,
    heads,
    losses,
    munchausen,
)

EXISTING = np.array([0, 2])
BATCH = 16
SCALAR = table_network(heads.scalar("huber"))
RESCALED = table_network(heads.scalar(rescaled=True))


def td(name, network=SCALAR, **options):
    return losses.td_loss(
        network, bootstrap_policy=losses.BOOTSTRAP_POLICIES[name], **options
    )


LOSSES = {
    "max": losses.penalized(td("max"), 0.1),
    "sarsa": td("sarsa"),
    "expected_sarsa": td("expected_sarsa"),
    "rescaled_double": losses.penalized(td("max", RESCALED, double=True), 0.1),
    "munchausen": munchausen.munchausen_loss(SCALAR, temperature=0.3),
    "twin": double_q.double_q_loss(table_network(double_q.double_table())),
}


def without(table):
    """The table [..., S, A, K] with the middle action invalid."""
    table = table.copy()
    table[..., 1, :] = -np.inf
    return table


def compare(loss, tables, smaller, batch):
    """Compare losses of tables with an invalid action and of tables without it."""
    one = jax.value_and_grad(loss, argnums=1, has_aux=True)
    batched = jax.jit(jax.vmap(one, in_axes=(0, None, None, 0)))
    keys = jax.random.split(jax.random.key(0), BATCH)
    losses_and_info, gradient = batched(keys, *tables, batch)
    rows = [jnp.searchsorted(EXISTING, a) for a in (batch.action, batch.next_action)]
    renamed = batch._replace(action=rows[0], next_action=rows[1])
    expected, expected_gradient = batched(keys, *smaller, renamed)
    for mine, other in zip(
        *map(jax.tree.leaves, (losses_and_info, expected)), strict=True
    ):
        assert np.isfinite(mine).all()
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)
    pairs = zip(*map(jax.tree.leaves, (gradient, expected_gradient)), strict=True)
    for mine, other in pairs:
        assert not np.asarray(mine)[..., 1, :].any()
        existing = np.asarray(mine)[..., EXISTING, :]
        np.testing.assert_allclose(existing, other, rtol=1e-4, atol=1e-6)


def batch_of_existing(rng):
    batch = definitions.transitions(rng, BATCH)
    draws = rng.choice(EXISTING, (2, BATCH)).astype(np.int32)
    return batch._replace(action=draws[0], next_action=draws[1])


@pytest.mark.parametrize("name", LOSSES)
def test_an_invalid_action_changes_no_loss(name, rng):
    size = 2 if name == "twin" else 1
    tables = [t.astype(np.float32) for t in definitions.tables(rng, size)]
    smaller = [table[:, EXISTING] for table in tables]
    compare(LOSSES[name], list(map(without, tables)), smaller, batch_of_existing(rng))


@pytest.mark.parametrize("name", LOSSES)
def test_terminal_states_need_no_valid_action(name, rng):
    """The target is the reward, whatever the values of the terminal state, 0."""
    size = 2 if name == "twin" else 1
    tables = [t.astype(np.float32) for t in definitions.tables(rng, size)]
    batch = batch_of_existing(rng)
    batch = batch._replace(
        observation=1 + batch.observation % (definitions.STATES - 1),
        next_observation=np.zeros_like(batch.next_observation),
        discount=np.zeros_like(batch.discount),
    )
    one = jax.value_and_grad(LOSSES[name], argnums=1, has_aux=True)
    batched = jax.jit(jax.vmap(one, in_axes=(0, None, None, 0)))
    keys = jax.random.split(jax.random.key(0), BATCH)
    expected = batched(keys, *tables, batch)
    for table in tables:
        table[0] = -np.inf
    result = batched(keys, *tables, batch)
    for mine, other in zip(*map(jax.tree.leaves, (result, expected)), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


def test_an_invalid_action_changes_no_ensemble_loss(rng):
    """Without priors, too: there 0 times minus infinity would be nan."""
    head = heads.scalar()
    network = ensemble.ensemble(table_network(head), 3, 0.0, 0.5)
    loss = ensembles.ensemble_loss(network, head)
    shape = (3, definitions.STATES, definitions.ACTIONS, 1)
    tables = [
        {name: rng.normal(size=shape).astype(np.float32) for name in names}
        for names in [("members", "priors")] * 2
    ]
    smaller = jax.tree.map(lambda leaf: leaf[..., EXISTING, :], tables)
    batch = batch_of_existing(rng)
    mask = rng.integers(2, size=(BATCH, 3)).astype(np.float32)
    memory = ensemble.Member(np.zeros(BATCH, np.int32), mask)
    compare(loss, jax.tree.map(without, tables), smaller, batch._replace(memory=memory))


@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_an_invalid_action_is_never_drawn(epsilon):
    q_values = jnp.array([-jnp.inf, 0.5, -jnp.inf, 0.0, -1.0, -jnp.inf])
    keys = jax.random.split(jax.random.key(0), 5000)

    @jax.jit
    @jax.vmap
    def both(key):
        greedy = exploration.epsilon_greedy(key, q_values, epsilon)
        return greedy, exploration.boltzmann(key, q_values, 0.7, epsilon)

    greedy, softmax = (set(np.asarray(actions).tolist()) for actions in both(keys))
    assert greedy == ({1, 3, 4} if epsilon else {1})
    assert softmax == {1, 3, 4}


@pytest.mark.parametrize("size", [3, 10, 51])
def test_rounding_never_selects_an_invalid_action(size, rng, monkeypatch):
    """The uniform number may equal a rounded cumulative sum."""
    policy = rng.random((200, size)).astype(np.float32)
    policy[rng.random((200, size)) < 0.5] = 0.0
    policy[:, 1] = 0.1
    policy /= policy.sum(axis=1, keepdims=True)
    monkeypatch.setattr(jax.random, "uniform", lambda key: key)

    def draw(policy):
        cumulative = jnp.cumsum(policy)
        uniform = jnp.minimum(cumulative / cumulative[-1], 1 - 2.0**-23)
        uniform = jnp.concatenate([jnp.zeros(1), uniform])
        return jax.vmap(exploration.draw, in_axes=(0, None))(uniform, policy)

    actions = jax.jit(jax.vmap(draw))(policy)
    assert (np.take_along_axis(policy, np.asarray(actions), axis=1) > 0).all()
