"""Targets of Sutton and Barto's textbook, and of the paper on Double Q-learning."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from experiments import textbook
from experiments.reproductions.criteria import Equivalent, Ordered, Published
from experiments.reproductions.target import Cost, Target
from experiments.support import provenance
from jaxq import Config

_BOOK = "Sutton and Barto (2018)"
_SIMULATED = (
    "A: the book's figure, and an independent simulation of its description whose "
    "standard errors are known"
)


def bias() -> Mapping[str, np.ndarray]:
    """Whether each of 10,000 runs goes left in episode 300."""
    methods = {"Q-learning": "tabular_q", "Double Q-learning": "double_q_learning"}
    return {
        label: textbook.play(
            dataclasses.replace(textbook.BOOK, algorithm=algorithm),
            "MaximizationBias", np.array([0.1]), 10_000, 300,
        ).actions[0, :, -1] == 0
        for label, algorithm in methods.items()
    }  # fmt: skip


def cliff(runs: int, first: int, last: int) -> Mapping[str, np.ndarray]:
    """Mean returns of episodes `first` to `last` - 1 of every run, step size 0.5."""
    methods = {"Q-learning": "q", "SARSA": "sarsa", "Expected SARSA": "expsarsa"}
    return {
        label: textbook.play(
            dataclasses.replace(textbook.BOOK, algorithm=textbook.METHODS[short]),
            "CliffWalking", np.array([0.5]), runs, last,
        ).returns[0, :, first:].mean(axis=1)
        for label, short in methods.items()
    }  # fmt: skip


PLANNING_STEPS = 0, 5, 50
GROUP = 30  # runs that the book averages


def dyna_maze() -> Mapping[str, np.ndarray]:
    """Episodes until the mean over 30 runs is near its end, for 33 groups of runs.

    Near is within a fifth of the mean length of episodes 41 to 50.
    """
    values = {}
    for steps in PLANNING_STEPS:
        config = dataclasses.replace(textbook.BOOK, algorithm="tabular_q")
        if steps:
            config = dataclasses.replace(config, algorithm="dyna_q", batch_size=steps)
        config = dataclasses.replace(config, discount=0.95)
        lengths = textbook.play(config, "DynaMaze", np.array([0.1]), 990, 50).lengths
        groups = lengths[0].reshape(-1, GROUP, 50).mean(axis=1)
        end = groups[:, 40:].mean()
        values[f"{steps} planning steps"] = 1 + np.argmax(groups <= 1.2 * end, axis=1)
    return values


GRID = Config(
    defaults="plain",
    environment="experiments.reproductions.noisy_grid:NoisyGrid",
    num_seeds=1_000,
    num_envs=1,
    rollout_length=1,
    total_steps=10_000,
    discount=0.95,
    learning_rate=0.1,
    epsilon_start=0.1,
    epsilon_end=0.1,
    eval_points=2,
    eval_episodes=1,
    eval_max_steps=20,
)


def double_q_grid() -> Mapping[str, np.ndarray]:
    """Largest value of the start, and mean reward per step of the second half.

    An episode of n steps has a mean reward of 5 - (n - 1), and steps that finish no
    episode one of -1 each.
    """
    from jaxq import run

    values = {}
    methods = {"Q": "tabular_q", "Double Q": "double_q_learning"}
    for label, algorithm in methods.items():
        result = run(dataclasses.replace(GRID, algorithm=algorithm), plot=False)
        table = np.asarray(result.params["table"]).mean(axis=-1)  # [S, 9, 4]
        values[f"value, {label}"] = table[:, 6].max(axis=1)
        steps = np.diff(result.curve.steps)[-1]
        episodes = result.curve.train_episodes[:, -1]
        values[f"reward, {label}"] = 6 * episodes / steps - 1
    return values


_DATA = provenance.load("published", "sutton_barto_tabular.json")


def _simulated_cliff() -> dict[str, Published]:
    labels = {"Q-learning": "q", "SARSA": "sarsa", "Expected SARSA": "expsarsa"}
    means = _DATA["cliff_interim"]["mean_and_se"]
    return {
        label: Published(mean, 2.0, error * 500**0.5, 500)
        for label, short in labels.items()
        for mean, error in [means[f"{short}/0.5"]]
    }


def _simulated_bias() -> dict[str, Published]:
    bias = _DATA["maximization_bias"]
    shares = {
        label: bias[name]["left"][-1]
        for label, name in {"Q-learning": "q", "Double Q-learning": "double_q"}.items()
    }
    return {
        label: Published(share, 0.02, (share * (1 - share)) ** 0.5, bias["runs"])
        for label, share in shares.items()
    }


TARGETS = {
    "maximization_bias": Target(
        title="Maximisation bias: left actions in episode 300",
        source=f"{_BOOK}, Figure 6.5",
        trust=_SIMULATED,
        algorithms=("tabular_q", "double_q_learning"),
        simulate=bias,
        criterion=Equivalent(_simulated_bias()),
        cost=Cost(1),
        metric="share of left actions",
    ),
    "cliff_walking": Target(
        title="Cliff walking: return of the first 100 episodes, step size 0.5",
        source=f"{_BOOK}, Figure 6.3, interim performance",
        trust=_SIMULATED,
        algorithms=("tabular_q", "sarsa", "expected_sarsa"),
        simulate=functools.partial(cliff, 500, 0, 100),
        criterion=Equivalent(_simulated_cliff()),
        cost=Cost(1),
        metric="return",
    ),
    "dyna_maze": Target(
        title="Dyna maze: episodes until the path is near-optimal",
        source=f"{_BOOK}, Figure 8.2 and its description",
        trust="B: the book's words, about 25, about 5 and 3 episodes; near-optimal is "
        "not defined there",
        algorithms=("tabular_q", "dyna_q"),
        simulate=dyna_maze,
        criterion=Equivalent(
            {
                "0 planning steps": Published(25.0, 5.0),
                "5 planning steps": Published(5.0, 2.0),
                "50 planning steps": Published(3.0, 1.0),
            }
        ),
        cost=Cost(3),
        deviations=(
            "recalled steps are learned from together with the new one",
            "near-optimal: within a fifth of the mean length of episodes 41 to 50",
        ),
        metric="episodes",
    ),
    "double_q_grid": Target(
        title="Double Q-learning on a grid with noisy rewards",
        source="van Hasselt (2010), Double Q-learning, section 4.2",
        trust="C for the curves, whose numbers are not printed; the ordering is clear",
        algorithms=("tabular_q", "double_q_learning"),
        simulate=double_q_grid,
        criterion=Ordered(
            (
                ("reward, Double Q", "reward, Q"),
                ("value, Q", "value, Double Q"),
            )
        ),
        cost=Cost(1),
        deviations=(
            "step size and epsilon are constant, 0.1, not functions of visit counts",
        ),
        metric="reward per step, or value of the start",
    ),
}
