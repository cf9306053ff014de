"""Recurrent networks learn what a task requires them to remember."""

import dataclasses

import family
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CONFORMANCE
from mdps import Cue, Reply

from jaxq.agents import algorithms
from jaxq.envs import adapter

CELLS = ("min_gru", "lru")
SEQUENCES = {
    "r2d2": {
        "sequence_length": 2 * Cue.length, "burn_in": Cue.length, "batch_size": 16,
        "learning_rate": 3e-3, "total_steps": 17_000,
    },
    "pqn_rnn": {
        "rollout_length": 2 * Cue.length, "num_minibatches": 2, "num_epochs": 4,
        "learning_rate": 3e-3, "total_steps": 25_000,
    },
}  # fmt: skip


def config(algorithm, cell, **changes):
    base = family.config(algorithm, recurrent=cell, **SEQUENCES[algorithm])
    return dataclasses.replace(base, value_rescaling=False, n_step=1, **changes)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    "algorithm", [pytest.param(name, marks=CONFORMANCE) for name in SEQUENCES]
)
def test_the_action_that_a_past_cue_names_is_learned(algorithm, cell):
    """Without memory, both actions are worth 0 at the end of every episode."""
    trained = family.Trained(config(algorithm, cell), adapter.adapt(Cue())).train()
    for cue in (-1.0, 1.0):
        history = [Cue.seen(cue if t == 0 else 0.0, t) for t in range(Cue.length)]
        right = int(cue > 0)
        values = trained.q_values(history)
        np.testing.assert_allclose(values[right], 1.0, atol=0.1)
        np.testing.assert_allclose(values[1 - right], -1.0, atol=0.1)


@pytest.mark.slow
@pytest.mark.conformance
@pytest.mark.parametrize("head", ["implicit_quantile", "fully_parameterized"])
def test_a_recurrent_network_learns_the_quantiles_of_what_it_remembers(head):
    settings = config("r2d2", "gru", head=head)
    trained = family.Trained(settings, adapter.adapt(Cue())).train()
    for cue in (-1.0, 1.0):
        history = [Cue.seen(cue if t == 0 else 0.0, t) for t in range(Cue.length)]
        right = int(cue > 0)
        values = trained.q_values(history)
        np.testing.assert_allclose(values[right], 1.0, atol=0.15)
        np.testing.assert_allclose(values[1 - right], -1.0, atol=0.15)


@pytest.mark.parametrize("cell", ["gru", *CELLS])
@pytest.mark.parametrize(
    "algorithm", [pytest.param(name, marks=CONFORMANCE) for name in SEQUENCES]
)
def test_the_last_action_and_reward_are_learned_from(algorithm, cell):
    """Neither is observed, and both decide which second action is right."""
    settings = config(algorithm, cell, recurrent_inputs="action_reward")
    trained = family.Trained(settings, adapter.adapt(Reply())).train()
    agent = algorithms.make(settings, trained.env.spec)
    state, key = family.lane(trained.state, 0).agent, jax.random.key(0)
    start = agent.initial_memory(key)
    first, second = jnp.eye(2)
    _, memory = agent.act(key, state, start, first, jnp.float32(0), False)
    for action in (0, 1):
        for reward in (-1.0, 1.0):
            after = agent.remember(memory, jnp.int32(action), jnp.float32(reward))
            values = agent.q_values(state, after, second)
            right = int(Reply.right(action, reward))
            np.testing.assert_allclose(values[right], 1.0, atol=0.1)
            np.testing.assert_allclose(values[1 - right], -1.0, atol=0.1)
