"""Learning on real environments, with thresholds from runs of twenty or more seeds."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments import dqn, tabular
from jaxq.config.fields import ConfigError
from jaxq.envs import gymnax_mdps, mdp
from jaxq.runs import run


def learn(preset, num_seeds=4, **changes):
    config = dataclasses.replace(
        tabular.PRESETS[preset], num_seeds=num_seeds, **changes
    )
    return run.run(config, extras=tabular.exact_values(config))


@pytest.mark.slow
@pytest.mark.parametrize(
    "preset", [pytest.param("catch", marks=pytest.mark.conformance), "deepsea"]
)
def test_the_table_converges_to_the_optimal_values(preset):
    result = learn(preset, total_steps=60_000, eval_points=4)
    error = result.extra["q_error"]
    assert np.all(error[:, -1] < 0.05) and np.all(error[:, -1] <= error[:, 1])
    assert np.all(error[:, 0] > 0.5)
    best = result.summary["levels"]["policy of Q*"]
    np.testing.assert_allclose(result.extra["exact_return"][:, -1], best, atol=1e-6)


def test_the_error_is_that_of_the_values_which_the_agent_acts_on():
    """Values are means over Double Q-learning's two tables, or over quantiles."""
    catch = dataclasses.replace(tabular.PRESETS["catch"], num_seeds=1)
    best = tabular.exact_values(catch).levels["policy of Q*"]
    model = gymnax_mdps.from_config(catch)
    optimum = mdp.value_iteration(model, catch.discount)
    shift = np.random.default_rng(0).normal(size=optimum.shape)
    for changes in (
        {"algorithm": "double_q_learning"},
        {"head": "quantile", "num_quantiles": 2},
    ):
        config = dataclasses.replace(catch, **changes)
        table = np.stack([optimum + shift, optimum - shift], axis=-1)[None]
        metrics = tabular.exact_values(config).measure({"table": np.float32(table)})
        assert metrics["q_error"] == pytest.approx([0.0], abs=1e-5)
        assert metrics["exact_return"] == pytest.approx([best], abs=1e-6)
    ensemble = dataclasses.replace(catch, algorithm="bootstrapped_dqn")
    message = "ensemble_size = 10 does not learn a single table"
    with pytest.raises(ConfigError, match=message):
        tabular.exact_values(ensemble)


@pytest.mark.slow
@pytest.mark.conformance
def test_the_greedy_policy_on_the_slippery_lake_is_optimal():
    # With this many steps 3 and 2 of 200 seeds, in two trials, are still at 0.652.
    result = learn("frozenlake", num_seeds=40, total_steps=300_000, eval_points=3)
    success = result.extra["exact_return"][:, -1]
    np.testing.assert_allclose(success.mean(), 0.7402, atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "success", "tolerance"),
    [("frozenlake", 0.7402, 0.01), ("frozenlake8x8", 0.8630, 0.015)],
)
def test_the_lakes_are_solved_at_full_length(preset, success, tolerance):
    config = tabular.PRESETS[preset]
    result = run.run(config, extras=tabular.exact_values(config))
    mean = result.extra["exact_return"][:, -1].mean()
    assert abs(mean - success) <= tolerance
    error = result.extra["q_error"].mean(axis=0)
    assert error[-1] < error[error.size // 2] < error[0]


@pytest.mark.slow
@pytest.mark.conformance
def test_the_first_experiment_of_the_readme_solves_cartpole():
    result = run.run(dqn.PRESETS["default"])
    assert result.summary["final_eval_return"]["iqm"] >= 475
    for leaf in jax.tree.leaves(result.params):
        assert len({row.tobytes() for row in np.asarray(leaf)}) == 10
