"""Q(lambda) returns of rollouts, against the plain recursion."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from streams import plain_table_returns
from streams import random_rollout as random_rollout_of

from jaxq.agents import q_lambda
from jaxq.config.config import Config
from jaxq.networks import tables
from jaxq.rl import heads
from jaxq.types import EnvSpec, Step
from jaxq.xla import loops

TIME, ENVS, ACTIONS, STATES = 7, 4, 3, 10
SPEC = EnvSpec(
    "test", jax.ShapeDtypeStruct((), jnp.int32), ACTIONS, num_states=STATES,
    state_index=lambda observation: observation,
)  # fmt: skip
TABLE = tables.table(SPEC, heads.scalar())


def random_rollout(rng):
    return random_rollout_of(rng, TIME, ENVS, STATES)


@functools.partial(jax.jit, static_argnames="config")
def returns_of(params, rollout, config):
    def one(steps):
        return q_lambda.q_lambda_returns(TABLE, params, steps, config, config.discount)

    return jax.vmap(one, in_axes=1, out_axes=1)(rollout)


@pytest.mark.parametrize("at_once", [1, 3 * ENVS, 256])  # 3 do not divide 7 steps
@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.7, 1.0])
def test_returns_equal_the_plain_recursion(decay, cut, at_once, rng, monkeypatch):
    monkeypatch.setattr(loops, "CHUNK_SIZE", at_once)
    returns_of.clear_cache()
    config = Config(
        defaults="plain", discount=0.9, trace_decay=decay, trace_cut=cut, num_envs=ENVS
    )
    values = rng.normal(size=(STATES, ACTIONS))
    params = {"table": np.float32(values)[:, :, None]}
    for _ in range(20):
        rollout = random_rollout(rng)
        # Half of the actions are greedy, so that both kinds of trace occur.
        greedy = values.argmax(1)[rollout.observation].astype(np.int32)
        action = np.where(rng.random(greedy.shape) < 0.5, greedy, rollout.action)
        rollout = rollout._replace(action=action)
        actual = returns_of(params, rollout, config)
        expected = plain_table_returns(values, rollout, 0.9, decay, cut)
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_a_truncation_bootstraps_from_its_own_successor(rng):
    """The next row, of another episode, affects neither its value nor its return."""
    config = Config(defaults="plain", discount=0.9, trace_decay=0.8)
    params = {"table": rng.normal(size=(STATES, ACTIONS, 1)).astype(np.float32)}
    rollout = random_rollout(rng)
    ends = np.zeros((TIME, ENVS), bool)
    ends[3] = True
    rollout = rollout._replace(truncated=ends, terminated=np.zeros_like(ends))
    actual = returns_of(params, rollout, config)
    # Steps after the truncation do not change the returns before it.
    other = random_rollout(rng)
    mixed = jax.tree.map(lambda a, b: np.vstack([a[:4], b[4:]]), rollout, other)
    np.testing.assert_array_equal(returns_of(params, mixed, config)[:4], actual[:4])
    after = params["table"][rollout.next_observation[3]].max((1, 2))
    np.testing.assert_allclose(actual[3], rollout.reward[3] + 0.9 * after, rtol=1e-5)
    # With no truncation it would.
    through = mixed._replace(truncated=np.zeros_like(ends))
    assert (returns_of(params, through, config)[:4] != actual[:4]).any()


def test_ties_are_greedy():
    """Watkins: an action as good as the best is greedy, whichever comes first."""
    config = Config(defaults="plain", discount=1.0, trace_decay=1.0, trace_cut=True)
    rollout = Step(*np.zeros((6, 3, 1), np.int32))
    rollout = rollout._replace(
        action=np.array([[0], [1], [2]]), reward=np.ones((3, 1), np.float32),
        terminated=np.zeros((3, 1), bool), truncated=np.zeros((3, 1), bool),
    )  # fmt: skip
    params = {"table": jnp.zeros((STATES, ACTIONS, 1))}
    actual = returns_of(params, rollout, config)
    np.testing.assert_array_equal(actual[:, 0], [3, 2, 1])
    params["table"] = params["table"].at[0, 0].set(0.5)  # now 1 and 2 are not
    actual = returns_of(params, rollout, config)
    np.testing.assert_array_equal(actual[:, 0], [1.5, 1.5, 1.5])


def test_a_terminal_state_needs_no_valid_action():
    def valid(observation):
        return jnp.full(ACTIONS, observation != 3)

    table = tables.table(SPEC._replace(valid_actions=valid), heads.scalar(), 5.0)
    step = Step(*np.ones((6, 1), np.int32))._replace(
        reward=np.ones(1, np.float32), next_observation=np.array([3]),
        terminated=np.array([True]), truncated=np.array([False]),
    )  # fmt: skip
    params = table.init(jax.random.key(0), jnp.int32(0))
    config = Config(defaults="plain")
    actual = q_lambda.q_lambda_returns(table, params, step, config, 0.99)
    np.testing.assert_array_equal(actual, [1])
