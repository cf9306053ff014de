"""Fields without effect: by the table, or by what a registered algorithm reads."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from jaxq import Config, ConfigError, register
from jaxq.agents import algorithms, field_effects, replay_agent
from jaxq.networks import from_flax
from jaxq.replay import stores
from jaxq.rl import heads, losses
from jaxq.types import EnvSpec

VECTOR = EnvSpec("Vector", jax.ShapeDtypeStruct((3,), jnp.float32), 2)
GRID = EnvSpec("Grid", jax.ShapeDtypeStruct((10, 10, 4), bool), 3)


def own_network(config, spec):
    """Uniform replay and a network that ignores the configuration."""
    network = from_flax.from_torso(nn.Dense(4), spec, heads.scalar())
    store, loss = stores.uniform(config, spec), losses.td_loss(network)
    return replay_agent.replay_agent(network, network, loss, store, config)


def wrapped(config, spec):
    """Double DQN, whatever `double_q` is."""
    return algorithms.dqn(dataclasses.replace(config, double_q=True), spec)


@pytest.fixture(autouse=True)
def registered():
    names = set(algorithms.ALGORITHMS)
    register(own_network)
    register(wrapped)
    yield
    for name in set(algorithms.ALGORITHMS) - names:
        del algorithms.ALGORITHMS[name]


@pytest.mark.parametrize(
    ("algorithm", "fields", "ignored"),
    [
        ("own_network", {"prioritized": True}, "prioritized = True"),
        ("own_network", {"hidden_sizes": (8,)}, r"hidden_sizes = \(8,\)"),
        (
            "own_network",
            {"double_q": True, "dueling": True, "learning_rate": 1e-3},
            "double_q = True, dueling = True:",
        ),
        # Read by the optimizer, the gradient step and the store, but not honoured.
        ("own_network", {"head": "categorical"}, "head = 'categorical'"),
        ("own_network", {"noisy": True}, "noisy = True"),
        ("own_network", {"recurrent": "lstm"}, "recurrent = 'lstm'"),
        ("wrapped", {"double_q": True, "dueling": True}, "double_q = True:"),
    ],
)
def test_a_registered_algorithm_refuses_fields_that_it_ignores(
    algorithm, fields, ignored
):
    config = Config(algorithm=algorithm, **fields)
    with pytest.raises(ConfigError, match=f"does not read {ignored}"):
        field_effects.check_honoured(config, VECTOR)


@pytest.mark.parametrize(
    ("algorithm", "fields"),
    [
        ("own_network", {"n_step": 3, "optimizer": "rmsprop", "rmsprop_decay": 0.5}),
        ("own_network", {"double_q": False, "hidden_sizes": (120, 84)}),  # the defaults
        ("own_network", {"priority_exponent": 0.3}),  # of a part that is off
        ("wrapped", {"dueling": True, "prioritized": True, "noisy": True}),
        ("wrapped", {"head": "categorical", "v_max": 3.0}),
        ("wrapped", {"head": "implicit_quantile", "quantile_samples": 8}),
    ],
)
def test_a_registered_algorithm_honours_the_fields_that_it_reads(algorithm, fields):
    config = Config(algorithm=algorithm, **fields)
    field_effects.check_honoured(config, VECTOR)


def test_a_registered_algorithm_can_declare_fields():
    @register(honours=("dueling",))
    def declared(config, spec):
        return own_network(config, spec)

    config = Config(algorithm="declared", dueling=True)
    field_effects.check_honoured(config, VECTOR)
    with pytest.raises(ConfigError, match=r"double_q = True: results"):
        field_effects.check_honoured(dataclasses.replace(config, double_q=True), VECTOR)
    with pytest.raises(ConfigError, match=r"honours = 'duelling'.*dueling"):
        register(honours=("duelling",))(lambda config, spec: None)


def test_parameters_without_effect_are_noted_for_registered_algorithms():
    config = Config(algorithm="own_network", priority_exponent=0.3, ladder_exponent=2.0)
    reasons = field_effects.without_effect(config, VECTOR)
    assert reasons["priority_exponent"] == "algorithm = 'own_network' does not read it"
    assert "set epsilon_schedule to ladder" in reasons["ladder_exponent"]
    assert not reasons.keys() & {"n_step", "learning_rate", "epsilon_steps"}
    # `dataclasses.replace` in the algorithm reads every field, which proves nothing.
    reasons = field_effects.without_effect(Config(algorithm="wrapped"), VECTOR)
    assert {"double_q", "trace_decay", "v_max"} <= reasons.keys()
    assert not reasons.keys() & {"hidden_sizes", "dueling", "head", "noisy"}


def test_the_observation_selects_the_torso():
    for spec, unread, read in (
        (VECTOR, "channels", "hidden_sizes"),
        (GRID, "hidden_sizes", "channels"),
    ):
        names = field_effects.notes(Config(), spec, ("hidden_sizes", "channels"))
        assert [text.split()[0] for text in names] == [unread]
        assert read not in field_effects.without_effect(Config(), spec)
