"""From the steps of other policies, offline agents find the best one."""

import family
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CONFORMANCE, SLOW

from jaxq import load, run
from jaxq.runs import recording

EXPERT, RANDOM = 1.0, 0.5  # probability of moving right in the corridor


def corridor(tmp_path, probability, count=1_500):
    """Steps of a policy that does not look where it is."""
    env = family.corridor()

    def advance(state, key):
        action_key, env_key = jax.random.split(key)
        right = jax.random.bernoulli(action_key, probability)
        return env.step(env_key, state, right.astype(jnp.int32))

    keys = jax.random.split(jax.random.key(0), count)
    steps = jax.lax.scan(advance, env.reset(jax.random.key(1)), keys)[1]
    steps = jax.tree.map(lambda leaf: leaf[:, None], jax.device_get(steps))
    path = tmp_path / "corridor.npz"
    recording.write(path, recording.from_steps(env.spec, steps), {})
    return str(path)


def learned(name, path, **fields):
    """The table of values that an agent learns from a dataset, [4, 2]."""
    config = family.config(name, dataset=path, eval_episodes=8, **fields)
    policy = load(run(config, family.corridor(), plot=False), family.corridor())
    return np.stack([policy.q_values(jnp.int32(cell)) for cell in range(4)])


OPTIMAL = 0.9 ** (3.0 - np.arange(4))
NAMES = ("tabular_q", "dqn", "cql", "c51", "qr_dqn", "iqn", "bootstrapped_dqn")


CI_NAMES = ("tabular_q", "dqn", "cql")
EVERY_NAME = [
    pytest.param(name, marks=CONFORMANCE if name in CI_NAMES else SLOW)
    for name in NAMES
]


@pytest.mark.parametrize("name", EVERY_NAME)
def test_the_best_policy_is_found_in_random_steps(name, tmp_path):
    """With its values, although every episode is truncated after six steps."""
    values = learned(name, corridor(tmp_path, RANDOM))
    assert (values.argmax(axis=1) == 1).all()
    np.testing.assert_allclose(values[:, 1], OPTIMAL, atol=0.05)
    np.testing.assert_allclose(values[:, 0], 0.9 * OPTIMAL, atol=0.05)


@pytest.mark.parametrize("prioritized", [pytest.param(True, marks=SLOW)])
def test_priorities_change_the_speed_and_not_the_values(prioritized, tmp_path):
    fields = {"prioritized": prioritized, "priority_exponent": 0.3}
    values = learned("dqn", corridor(tmp_path, RANDOM), **fields)
    np.testing.assert_allclose(values[:, 1], OPTIMAL, atol=0.05)


@pytest.mark.slow
@pytest.mark.conformance
def test_actions_that_the_data_lacks_are_kept_from_by_the_penalties(tmp_path):
    """Optimistic estimates of an action that was never taken are never corrected."""
    path = corridor(tmp_path, EXPERT, 300)
    fields = {"initial_value": 3.0, "total_steps": 8_000}
    plain = learned("tabular_q", path, **fields)
    np.testing.assert_array_equal(plain[:, 0], 3.0)
    assert (plain.argmax(axis=1) == 0).all()
    for penalty in ({"conservative_weight": 1.0}, {"margin_weight": 1.0}):
        assert (
            learned("tabular_q", path, **fields, **penalty).argmax(axis=1) == 1
        ).all()
