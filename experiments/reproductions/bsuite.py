"""Targets of bsuite: its scores of DQN and Bootstrapped DQN, and a memory task."""

import dataclasses

import numpy as np

from experiments.reproductions.criteria import Equivalent, Exact, Published
from experiments.reproductions.target import (
    Cost,
    Measure,
    Quantity,
    Run,
    Target,
    evaluation_return,
)
from jaxq import Config

_SOURCE = (
    "Osband et al. (2020), Behaviour Suite, arXiv:1908.03568, repository "
    "google-deepmind/bsuite at effafc0, reports/standalone/images/bar_plot.png"
)
_TRUST = (
    "B: official report with public agents and sweep; bars digitised to 0.01, and the "
    "report's agents are those of 2019"
)
# bsuite/baselines/jax/dqn: MLP 64-64, Adam 1e-3, one update of 32 transitions at every
# step, target network copied every 4 updates, epsilon 0.05.
DQN = Config(
    defaults="plain",
    environment="Catch-bsuite",
    num_seeds=20,
    total_steps=90_000,
    buffer_size=10_000,
    batch_size=32,
    warmup_steps=100,
    update_steps=1,
    hidden_sizes=(64, 64),
    weight_init="lecun",
    learning_rate=1e-3,
    target_period=4,
    epsilon_start=0.05,
    epsilon_end=0.05,
    eval_points=100,
    eval_episodes=1,
)
# bsuite/baselines/jax/boot_dqn: twenty networks of 50-50 with priors.
BOOTSTRAPPED = dataclasses.replace(
    DQN,
    algorithm="bootstrapped_dqn",
    ensemble_size=20,
    prior_scale=3.0,
    mask_probability=0.5,
    batch_size=128,
    warmup_steps=128,
    hidden_sizes=(50, 50),
    epsilon_start=0.0,
    epsilon_end=0.0,
)


def catch_score(run: Run) -> np.ndarray:
    """Share of the random policy's regret that is avoided in all training episodes."""
    episodes = run.train_episodes
    returns = np.nan_to_num(run.train_return)
    regret = 1 - np.sum(returns * episodes, axis=1) / episodes.sum(axis=1)
    return np.clip((1.6 - regret) / 1.6, 0, 1)


def deep_sea_solved(size: int) -> Measure:
    """Whether a tenth of the episodes found the treasure within 2^size + 100 episodes.

    All other episodes return at most 0, and one that finds it 0.99.
    """

    def measure(run: Run) -> np.ndarray:
        episodes = np.cumsum(run.train_episodes, axis=1)
        returns = np.nan_to_num(run.train_return) * run.train_episodes
        found = np.cumsum(returns, axis=1) / 0.99
        solved = (found > 0.1 * episodes) & (episodes < 2**size + 100) & (episodes > 0)
        return solved.any(axis=1).astype(float)

    return measure


def _deep_sea(config: Config, size: int, episodes: int) -> Config:
    return dataclasses.replace(
        config,
        environment="DeepSea-bsuite",
        environment_args=(f"size={size}",),
        num_seeds=10,
        total_steps=episodes * size,
    )


_SIZES = (10, 20, 30)
TARGETS = {
    "bsuite_catch": Target(
        title="bsuite's score of DQN on Catch",
        source=_SOURCE,
        trust=_TRUST,
        runs={"dqn": DQN},
        quantities={"score": Quantity("dqn", catch_score)},
        criterion=Equivalent({"score": Published(0.91, 0.05)}),
        cost=Cost(2),
        deviations=("the first 100 actions are random",),
    ),
    "bsuite_deep_sea": Target(
        title="bsuite's DeepSea: DQN fails, Bootstrapped DQN succeeds",
        source=_SOURCE,
        trust=_TRUST,
        runs={
            f"{name}, size {size}": _deep_sea(config, size, episodes)
            for name, config in {"dqn": DQN, "bootstrapped_dqn": BOOTSTRAPPED}.items()
            for size, episodes in zip(_SIZES, (1_124, 2_000, 2_000), strict=True)
        },
        quantities={
            f"{name}, size {size}": Quantity(
                f"{name}, size {size}", deep_sea_solved(size)
            )
            for name in ("dqn", "bootstrapped_dqn")
            for size in _SIZES
        },
        criterion=Exact(
            {
                f"{name}, size {size}": score
                for name, score in {"dqn": 0.0, "bootstrapped_dqn": 1.0}.items()
                for size in _SIZES
            },
            0.1,
        ),
        cost=Cost(30),
        deviations=(
            "three sizes, not the 21 of bsuite (score 0.001 and 0.994), and at most "
            "2,000 episodes, not 10,000",
            "ten seeds per size",
        ),
    ),
    "memory_chain_100": Target(
        title="PQN-RNN on MemoryChain of length 100",
        source="Gallici et al., arXiv:2407.04811, pqn_rnn_memory_chain.yaml of "
        "mttga/purejaxql; the optimum is exact",
        trust="B: settings are published, curves are not; the optimum is 1, and the "
        "return without memory 0",
        runs={
            "pqn_rnn": Config(
                algorithm="pqn_rnn",
                defaults="plain",
                environment="MemoryChain-bsuite",
                environment_args=("memory_length=100",),
                num_seeds=10,
                num_envs=32,
                rollout_length=128,
                num_minibatches=4,
                num_epochs=4,
                hidden_sizes=(256,),
                memory_size=256,
                learning_rate=1e-3,
                trace_decay=0.95,
                epsilon_end=0.05,
                epsilon_steps=50_000.0,
                total_steps=500_000,
                eval_points=20,
                eval_episodes=32,
            ),
        },
        quantities={"final": Quantity("pqn_rnn", evaluation_return(3))},
        criterion=Exact({"final": 1.0}, 0.05),
        cost=Cost(15),
        metric="evaluation return",
    ),
}
