"""Tabular Q-learning from replay, measured against exact dynamic programming.

Besides the returns, every point of the curve has the largest error of the table over
the states that can be met, max |Q - Q*|, and the exact expected return and length of
the greedy policy within the time limit.
"""

from typing import TYPE_CHECKING, Any

from jaxq import cli
from jaxq.config import Config

if TYPE_CHECKING:
    from jaxq.run import Extras

BASE = Config(
    algorithm="tabular_q",
    network="table",
    num_seeds=20,
    total_steps=500_000,
    num_envs=10,
    buffer_size=100_000,
    batch_size=32,
    warmup_steps=10_000,
    update_steps=10,
    optimizer="sgd",
    loss_reduction="sum",
    learning_rate=0.1,
    learning_rate_schedule="inverse",
    learning_rate_updates=5_000.0,
    target_period=1,
    epsilon_steps=250_000.0,
    epsilon_end=0.5,
    eval_points=50,
    environment="FrozenLake-misc",
)


def preset(**changes: Any) -> Config:
    """The settings shared by all environments, with some of them changed."""
    import dataclasses

    return dataclasses.replace(BASE, **changes)


PRESETS = {
    "frozenlake": BASE,
    "frozenlake8x8": preset(environment_args=("map_name=8x8",)),
    "catch": preset(environment="Catch-bsuite"),
    "deepsea": preset(environment="DeepSea-bsuite"),
    "fourrooms": preset(environment="FourRooms-misc"),
}


def exact_values(config: Config) -> "Extras":
    """Error of the table, and the exact return and length of its greedy policy."""
    import numpy as np

    from jaxq import exact, run

    model = exact.model(config)
    optimum = exact.value_iteration(model, config.discount)
    met = exact.reachable(model)

    def measure(params: Any) -> dict[str, np.ndarray]:
        tables = params["table"][..., 0]
        errors = np.abs(tables - optimum)[:, met].max(axis=(1, 2))
        plays = [exact.play(model, exact.greedy_policy(table)) for table in tables]
        returns, lengths = np.transpose(plays)
        return {"q_error": errors, "exact_return": returns, "exact_length": lengths}

    best = exact.play(model, exact.greedy_policy(optimum.round(9)))[0]
    return run.Extras(measure, {"policy of Q*": best})


if __name__ == "__main__":
    cli.main(PRESETS, __doc__, extras=exact_values)
