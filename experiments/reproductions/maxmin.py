"""A target of Maxmin DQN: returns by the number of networks."""

import dataclasses

from experiments.reproductions.criteria import Ordered
from experiments.reproductions.target import Cost, Quantity, Target, training_return
from jaxq import Config

DQN = Config(
    defaults="plain",
    environment="MountainCar-v0",
    time_limit=1_000,
    num_seeds=10,
    total_steps=100_000,
    buffer_size=10_000,
    batch_size=32,
    warmup_steps=1_000,
    update_steps=1,
    target_period=100,
    hidden_sizes=(64, 64),
    learning_rate=1e-3,
    epsilon_start=0.1,
    epsilon_end=0.1,
    eval_points=20,
    eval_episodes=1,
    eval_max_steps=1_000,
)


def maxmin(networks: int) -> Config:
    """DQN, or Maxmin DQN, whose networks each learn from a random share of steps."""
    if networks == 1:
        return DQN
    return dataclasses.replace(
        DQN,
        algorithm="bootstrapped_dqn",
        ensemble_size=networks,
        ensemble_target="minimum",
        mask_probability=1 / networks,
        prior_scale=0.0,
        epsilon_schedule="linear",
    )


_NUMBERS = (1, 2, 4, 6, 8)
TARGETS = {
    "maxmin_mountaincar": Target(
        title="Maxmin DQN by the number of networks, on MountainCar",
        source="qlan3/Jaxplorer at eb2aff4, results/performance.md: training returns "
        "of -125, -154, -628, -816 and -830 with 1, 2, 4, 6 and 8 networks",
        trust="B-: five runs, and for each number the best of a grid of step sizes; "
        "but the order is plain",
        runs={f"N = {n}": maxmin(n) for n in _NUMBERS},
        quantities={
            f"N = {n}": Quantity(f"N = {n}", training_return(4)) for n in _NUMBERS
        },
        criterion=Ordered((("N = 1", "N = 4"), ("N = 1", "N = 8"), ("N = 2", "N = 8"))),
        cost=Cost(20),
        deviations=(
            "one set of hyper-parameters for all numbers of networks",
            "every network learns from a random share of the steps, not one network "
            "from each minibatch",
        ),
        algorithms=("bootstrapped_dqn",),
    ),
}
