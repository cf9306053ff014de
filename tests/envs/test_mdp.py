"""Dynamic programming against known optima of gymnax's environments.

The expected values were computed independently from gymnax's source.
"""

import numpy as np
import pytest

from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.envs import gymnax_mdps, mdp

LAKE8 = ("map_name=8x8",)


@pytest.mark.parametrize(
    ("name", "args", "value", "expected_return", "expected_length"),
    [
        ("FrozenLake-misc", (), 0.5420259319988008, 0.7401648977587015, None),
        ("FrozenLake-misc", LAKE8, 0.4146403617987262, 0.8629553799611043, None),
        ("FrozenLake-misc", ("is_slippery=false",), 0.9509900498999999, 1.0, 6.0),
        ("FourRooms-misc", (), 0.7745474175801583, 1.0, 26.71049416432305),
        ("Catch-bsuite", (), 0.99**8, 1.0, 9.0),
        ("DeepSea-bsuite", (), None, 0.99, 8.0),
        ("DeepSea-bsuite", ("size=12",), None, 0.99, 12.0),
    ],
)
def test_value_iteration_finds_the_optimum(
    name, args, value, expected_return, expected_length
):
    model = gymnax_mdps.from_config(
        Config(defaults="plain", environment=name, environment_args=args)
    )
    optimum = mdp.value_iteration(model, 0.99)
    if value is not None:
        np.testing.assert_allclose(model.start @ optimum.max(axis=1), value, atol=1e-7)
    total, length = mdp.expected_return_and_length(
        model, mdp.greedy_policy(optimum.round(9))
    )
    np.testing.assert_allclose(total, expected_return, atol=1e-6)
    if expected_length is not None:
        np.testing.assert_allclose(length, expected_length, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("FrozenLake-misc", (), 0.013939795959171424),
        ("FrozenLake-misc", LAKE8, 0.0019013954948230328),
        ("FourRooms-misc", (), 0.4584278980072173),
        ("Catch-bsuite", (), -0.6),
    ],
)
def test_the_random_policy_has_the_expected_return(name, args, expected):
    model = gymnax_mdps.from_config(
        Config(defaults="plain", environment=name, environment_args=args)
    )
    policy = np.full(model.reward.shape, 1 / model.reward.shape[1])
    np.testing.assert_allclose(
        mdp.expected_return_and_length(model, policy)[0], expected, atol=1e-7
    )


def test_rows_of_transition_sum_to_at_most_one():
    for name in ("FrozenLake-misc", "FourRooms-misc", "DeepSea-bsuite", "Catch-bsuite"):
        model = gymnax_mdps.from_config(Config(defaults="plain", environment=name))
        assert model.transition.sum(axis=2).max() <= 1 + 1e-12
        np.testing.assert_allclose(model.start.sum(), 1)


def test_an_environment_without_a_model_raises():
    with pytest.raises(
        ConfigError, match=r"'CartPole-v1' has no exact model.*FrozenLake"
    ):
        gymnax_mdps.from_config(Config(defaults="plain"))
