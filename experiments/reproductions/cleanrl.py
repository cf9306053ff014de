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
# With the lambda-returns of that file, which run on through the end of an episode.
LEAKING: dict[str, Any] = {
    **PQN,
    "algorithm": "experiments.reproductions.leaking_pqn:pqn",
    "normalization": "layer",
    "optimizer": "radam",
}
_FIELDS: dict[str, dict[str, Any]] = {
    "dqn": {}, "c51": C51, "pqn": PQN, "leaking_pqn": LEAKING,
}  # fmt: skip
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
    title: str = "",
    **facts: Any,
) -> Target:
    environment, file = _ENVIRONMENTS[short], algorithm.removeprefix("leaking_")
    config = dataclasses.replace(DQN, environment=environment, **_FIELDS[algorithm])
    return Target(
        title=f"CleanRL's {file.upper()} on {environment}{title}",
        source=f"{_SOURCE}, docs/rl-algorithms/{file}.md",
        trust=_TRUST,
        runs={file: config},
        quantities={"final": Quantity(file, measure)},
        criterion=Equivalent({"final": theirs}),
        cost=Cost(minutes),
        algorithms=(file,),
        curve=f"cleanrl_{file}_{short}",
        **facts,
    )


_COLLAPSES = (
    "Most seeds end at the maximum return, but a few collapse, which three published "
    "seeds may not show. CleanRL's own lambda-returns make no difference. How often "
    "its own program collapses is not known: that would take as many seeds"
)
_C51 = {
    "cartpole": published(481.2, 20.53, 50),
    "acrobot": published(-87.7, 5.52, 20),
    "mountaincar": published(-166.38, 27.94, 50),
}
_PQN = {
    "cartpole": published(495.13, 6.89, 50),
    "acrobot": published(-95.63, 5.73, 20),
}
# Margins: a tenth of the largest return on CartPole, a quarter of the range on
# MountainCar, a twentieth on Acrobot.
TARGETS = {
    "cleanrl_dqn_cartpole": _target("dqn", "cartpole", published(488.69, 16.11, 50)),
    "cleanrl_dqn_acrobot": _target("dqn", "acrobot", published(-91.54, 7.2, 20)),
    **{
        f"cleanrl_c51_{short}": _target("c51", short, theirs, minutes=25.0)
        for short, theirs in _C51.items()
    },
    **{
        f"cleanrl_pqn_{short}": _target(
            "pqn", short, theirs, _HUNDRED, title=", with jaxq's lambda-returns",
            deviations=("a lambda-return ends with its episode",), reason=_COLLAPSES,
        )
        for short, theirs in _PQN.items()
    },
    **{
        f"cleanrl_pqn_{short}_as_published": _target(
            "leaking_pqn", short, theirs, _HUNDRED, reason=_COLLAPSES
        )
        for short, theirs in _PQN.items()
    },
}  # fmt: skip
