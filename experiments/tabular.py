"""Tabular Q-learning from replay, compared with exact dynamic programming.

In addition to returns, every point of the curve records the largest error of the table
over reachable states, max |Q - Q*|, and the exact expected return and length of an
episode of the greedy policy within the time limit.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

from jaxq import Config, ConfigError, cli

if TYPE_CHECKING:
    from jaxq.runs.results import ExtraMetrics

BASE = Config(
    defaults="plain",
    algorithm="tabular_q",
    environment="FrozenLake-misc",
    network="table",
    num_seeds=20,
    total_steps=1_000_000,
    num_envs=20,
    buffer_size=1_000_000,
    batch_size=64,
    warmup_steps=10_000,
    update_steps=20,
    num_updates=2,
    optimizer="sgd",
    loss_reduction="sum",
    learning_rate=0.2,
    learning_rate_schedule="inverse",
    learning_rate_updates=2_000.0,
    target_period=1,
    initial_value=1.0,
    epsilon_steps=250_000.0,
    epsilon_end=0.3,
    eval_points=50,
    eval_episodes=100,
)

PRESETS = {
    "frozenlake": BASE,
    "frozenlake8x8": dataclasses.replace(
        BASE,
        environment_args=("map_name=8x8",),
        total_steps=3_000_000,
        learning_rate_updates=5_000.0,
    ),
    "catch": dataclasses.replace(BASE, environment="Catch-bsuite"),
    "deepsea": dataclasses.replace(BASE, environment="DeepSea-bsuite"),
    "fourrooms": dataclasses.replace(BASE, environment="FourRooms-misc"),
}


def exact_values(config: Config) -> "ExtraMetrics":
    """Metrics of a learned table: its error, and its greedy policy's return and length.

    Raises:
        ConfigError: if the algorithm does not learn a single table, or learns relative
            values.
    """
    import jax
    import numpy as np

    from jaxq.agents import head_factory
    from jaxq.envs import gymnax_mdps, mdp
    from jaxq.rl import double_q
    from jaxq.runs import results

    if config.network != "table" or config.ensemble_size > 1:
        raise ConfigError(
            f"algorithm = {config.algorithm!r} with network = {config.network!r} and "
            f"ensemble_size = {config.ensemble_size} does not learn a single table to "
            "compare with Q*. Use experiments/dqn.py."
        )
    if config.average_reward != "none":
        raise ConfigError(
            f"average_reward = {config.average_reward!r} learns values relative to an "
            "average, which Q* is not. Use experiments/dqn.py."
        )
    double = config.algorithm == "double_q_learning"
    head = double_q.double_table() if double else head_factory.make_head(config)
    q_values = jax.jit(jax.vmap(jax.vmap(head.q_values)))
    model = gymnax_mdps.from_config(config)
    optimum = mdp.value_iteration(model, config.discount)
    reachable = mdp.reachable(model)
    play = mdp.expected_return_and_length

    def measure(params: Any) -> dict[str, np.ndarray]:
        tables = np.asarray(q_values(params["table"]))
        errors = np.abs(tables - optimum)[:, reachable].max(axis=(1, 2))
        policies = [mdp.greedy_policy(table) for table in tables]
        returns, lengths = np.transpose([play(model, pi) for pi in policies])
        return {"q_error": errors, "exact_return": returns, "exact_length": lengths}

    best_return, _ = play(model, mdp.greedy_policy(optimum.round(9)))
    return results.ExtraMetrics(measure, {"policy of Q*": best_return})


if __name__ == "__main__":
    cli.main(PRESETS, __doc__, extras=exact_values)
