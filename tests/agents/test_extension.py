"""A user-defined head, loss, network and environment work without changes to jaxq."""

import pathlib
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxq import Config, ConfigError, adapt, register, run
from jaxq.agents import algorithms, replay_agent
from jaxq.networks import from_flax
from jaxq.replay import stores
from jaxq.rl import heads, losses
from jaxq.training import checks

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "extension"))
import my_environment
import my_head
import my_loss
import my_network


@pytest.fixture
def my_algorithm():
    @register
    def advantage_learning(config, spec):
        """Advantage learning with log cosh, on Fourier features."""
        torso = my_network.FourierFeatures()
        network = from_flax.from_torso(torso, spec, my_head.log_cosh())
        loss = my_loss.advantage_learning_loss(network, alpha=0.5)
        store = stores.proportional(config, spec)
        return replay_agent.replay_agent(network, network, loss, store, config)

    yield advantage_learning
    del algorithms.ALGORITHMS["advantage_learning"]


@pytest.mark.slow
@pytest.mark.conformance
def test_an_algorithm_of_user_defined_components_solves_its_environment(my_algorithm):
    env = adapt(my_environment.Line())
    config = Config(
        defaults="plain",
        algorithm="advantage_learning", num_seeds=2, total_steps=8_000, num_envs=4,
        buffer_size=4_000, batch_size=32, warmup_steps=400, update_steps=4,
        learning_rate=2e-3, target_period=20, epsilon_steps=4_000.0, eval_points=2,
        eval_episodes=4, discount=0.9,
    )  # fmt: skip
    result = run(config, env)
    np.testing.assert_array_equal(result.curve.eval_return[:, -1], 1.0)
    np.testing.assert_array_equal(result.curve.eval_length[:, -1], 4.0)


def test_parameters_of_half_precision_raise_before_compilation():
    @register
    def half(config, spec):
        torso = nn.Dense(4, dtype=jnp.bfloat16, param_dtype=param_dtype)
        network = from_flax.from_torso(torso, spec, heads.scalar())
        store = stores.uniform(config, spec)
        loss = losses.td_loss(network)
        return replay_agent.replay_agent(network, network, loss, store, config)

    env = adapt(my_environment.Line())
    config = Config(defaults="plain", algorithm="half", total_steps=20_000)
    try:
        param_dtype = jnp.float32
        checks.check(config, env)
        param_dtype = jnp.bfloat16
        with pytest.raises(ConfigError, match=r"torso/.*bfloat16.*param_dtype=jnp"):
            checks.check(config, env)
    finally:
        del algorithms.ALGORITHMS["half"]


def test_registering_an_existing_name_raises(my_algorithm):
    with pytest.raises(ConfigError, match="is already registered"):
        register(my_algorithm)
