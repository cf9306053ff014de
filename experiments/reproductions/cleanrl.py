"""Targets of CleanRL: DQN, C51 and PQN on classic control, 500,000 steps."""

import dataclasses
from typing import Any

from experiments.reproductions.criteria import Equivalent, Published
from experiments.reproductions.target import (
    Cost,
    Measure,
    Quantity,
    Target,
    last_episodes,
    training_return,
)
from jaxq import Config

# cleanrl/dqn.py: MLP 120-84 with PyTorch's initialisation, Adam 2.5e-4, one update of
# 128 transitions every 10 steps, target network copied every 500 steps, epsilon 1 ->
# 0.05 over 250,000 of 500,000 steps. These are the plain defaults.
DQN = Config(defaults="plain", num_seeds=30)
# cleanrl/c51.py: 101 atoms on [-100, 100], Adam's epsilon 0.01 / 128.
C51: dict[str, Any] = {
    "algorithm": "c51",
    "num_atoms": 101,
    "v_min": -100.0,
    "v_max": 100.0,
    "optimizer_eps": 0.01 / 128,
}
# cleanrl/pqn.py: 4 environments, rollouts of 128 steps, 4 epochs of 4 minibatches,
# RAdam 2.5e-4 annealed to zero over all 976 rollouts, lambda 0.65, time limits treated
# as terminations. Its loss is the squared error and ours is half of it. The gradient,
# which always exceeds the clipping norm, is therefore clipped at 10 there and 5 here.
PQN: dict[str, Any] = {
    "algorithm": "pqn",
    "num_envs": 4,
    "rollout_length": 128,
    "num_minibatches": 4,
    "num_epochs": 4,
    "max_grad_norm": 5.0,
    "learning_rate_schedule": "linear",
    "learning_rate_updates": 976 * 16.0,
    "trace_decay": 0.65,
    "weight_init": "orthogonal",
    "timeout_is_terminal": True,
}
_FIELDS: dict[str, dict[str, Any]] = {"dqn": {}, "c51": C51, "pqn": PQN}
_ENVIRONMENTS = {
    "cartpole": "CartPole-v1",
    "acrobot": "Acrobot-v1",
    "mountaincar": "MountainCar-v0",
}
# The published curves are running means over 10,000 to 20,000 steps: three points.
_SMOOTHED = training_return(3)
_HUNDRED = last_episodes(100)

_SOURCE = (
    "Huang et al. (2022), CleanRL, JMLR 23(274), repository vwxyzjn/cleanrl at fe8d8a0"
)
_TRUST = (
    "B: one file with all settings, and a table; but three seeds, and the smoothing of "
    "the curves is not recorded"
)


def published(mean: float, std: float, margin: float) -> Published:
    """A row of CleanRL's tables; its std over three seeds is numpy's default."""
    return Published(mean, margin, std * (3 / 2) ** 0.5, seeds=3)


def _target(
    algorithm: str,
    short: str,
    theirs: Published,
    measure: Measure = _SMOOTHED,
    minutes: float = 1.0,
    **facts: Any,
) -> Target:
    environment = _ENVIRONMENTS[short]
    config = dataclasses.replace(DQN, environment=environment, **_FIELDS[algorithm])
    return Target(
        title=f"CleanRL's {algorithm.upper()} on {environment}",
        source=f"{_SOURCE}, docs/rl-algorithms/{algorithm}.md",
        trust=_TRUST,
        runs={algorithm: config},
        quantities={"final": Quantity(algorithm, measure)},
        criterion=Equivalent({"final": theirs}),
        cost=Cost(minutes),
        curve=f"cleanrl_{algorithm}_{short}",
        **facts,
    )


# Margins: a tenth of the largest return on CartPole, a quarter of the range on
# MountainCar, a twentieth on Acrobot.
TARGETS = {
    "cleanrl_dqn_cartpole": _target("dqn", "cartpole", published(488.69, 16.11, 50)),
    "cleanrl_dqn_acrobot": _target("dqn", "acrobot", published(-91.54, 7.2, 20)),
    "cleanrl_c51_cartpole": _target("c51", "cartpole", published(481.2, 20.53, 50)),
    "cleanrl_c51_acrobot": _target("c51", "acrobot", published(-87.7, 5.52, 20)),
    "cleanrl_c51_mountaincar": _target(
        "c51", "mountaincar", published(-166.38, 27.94, 50)
    ),
    "cleanrl_pqn_cartpole": _target(
        "pqn", "cartpole", published(495.13, 6.89, 50), _HUNDRED
    ),
    "cleanrl_pqn_acrobot": _target(
        "pqn", "acrobot", published(-95.63, 5.73, 20), _HUNDRED
    ),
}
