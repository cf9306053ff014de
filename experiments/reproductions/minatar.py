"""Targets on MinAtar: PQN as its authors ran it, and the DQN of MinAtar's paper."""

from typing import Any

from experiments.reproductions.criteria import Equivalent, Published
from experiments.reproductions.target import Cost, Quantity, Target, training_return
from jaxq import Config

_STEPS, _ROLLOUT = 10_000_000, 128 * 32
# pqn_demo.ipynb; epsilon falls over the first tenth, the step size over the whole run.
_PQN: dict[str, Any] = {
    "num_envs": 128,
    "rollout_length": 32,
    "num_minibatches": 32,
    "num_epochs": 2,
    "learning_rate": 5e-4,
    "learning_rate_schedule": "linear",
    "learning_rate_updates": _STEPS // _ROLLOUT * 64.0,
    "optimizer": "radam",
    "optimizer_eps": 1e-8,
    "max_grad_norm": 10.0,
    "discount": 0.99,
    "trace_decay": 0.65,
    "epsilon_start": 1.0,
    "epsilon_end": 0.05,
    "epsilon_steps": _STEPS / 10,
    "timeout_is_terminal": True,
    "total_steps": _STEPS,
    "eval_points": 50,
    "eval_episodes": 16,
    "eval_max_steps": 1_000,
    "num_seeds": 10,
}


# MinAtar's examples/dqn.py: one environment, a gradient step at every frame; PyTorch's
# initialisation and centred RMSprop, with its epsilon added to the root.
_DQN: dict[str, Any] = {
    "algorithm": "dqn",
    "defaults": "plain",
    "sticky_actions": 0.1,
    "full_action_set": True,
    "total_steps": 2_000_000,
    "buffer_size": 100_000,
    "batch_size": 32,
    "warmup_steps": 5_000,
    "update_steps": 1,
    "target_period": 1_000,
    "optimizer": "rmsprop",
    "rmsprop_centered": True,
    "rmsprop_decay": 0.95,
    "optimizer_eps": 0.01,
    "loss": "huber",
    "discount": 0.99,
    "epsilon_start": 1.0,
    "epsilon_end": 0.1,
    "epsilon_steps": 100_000.0,
    "eval_points": 40,
    "eval_episodes": 1,
    "eval_max_steps": 2_500,
    "num_seeds": 10,
}


def dqn(game: str, step_size: float, **limit: Any) -> Config:
    """DQN of MinAtar's paper, without a time limit unless the game has one."""
    return Config(
        environment=f"{game}-MinAtar", learning_rate=step_size, **_DQN, **limit
    )


def pqn_of_the_notebook(game: str) -> Config:
    """PQN with the network and the lambda-returns of its authors' notebook."""
    return Config(
        algorithm="experiments.reproductions.purejaxql:pqn",
        environment=f"{game}-MinAtar",
        **_PQN,
    )


def pqn(game: str) -> Config:
    """PQN with jaxq's network and lambda-returns, and the settings of the notebook."""
    return Config(
        algorithm="pqn", environment=f"{game}-MinAtar", weight_init="lecun", **_PQN
    )


_NOTEBOOK = (
    "Gallici et al., arXiv:2407.04811, the authors' pqn_demo.ipynb at mttga.github.io, "
    "output figures read to 0.5"
)
_NOTEBOOK_TRUST = (
    "B+: everything is in one notebook; three seeds, of which the figure shows the "
    "range"
)
_RANGE = 1.693  # the expected range of three normal numbers, in standard deviations
_NOTEBOOK_TEST = Equivalent(
    {
        "at 5M": Published(43.0, 5.0, 2.0 / _RANGE, 3),
        "at 10M": Published(50.15, 5.0, 3.3 / _RANGE, 3),
    }
)
_SCORER = (
    "Martinez et al., arXiv:2508.07452, table 1: PQN after 1e8 steps, 30 seeds, IQM"
)
_YOUNG = "Young and Tian (2019), arXiv:1903.03176v2, learning curves of DQN"
_YOUNG_TRUST = (
    "A-: 30 runs, public code; figure read to 0.2 (Breakout) and 0.3 (Freeway); the "
    "step size of each game is inferred from the paper's sweep"
)
_ONE_STREAM = "epsilon starts to fall at frame 0, not at frame 5,000"
_SIMILAR = "gymnax 1.0.1 in place of 0.0.6; the rules of these games are the same"


def _asterix(title: str, config: Config, *deviations: str) -> Target:
    """A run that is compared with the figure of the notebook."""
    return Target(
        title=f"PQN on Asterix-MinAtar, 1e7 steps{title}",
        source=_NOTEBOOK,
        trust=_NOTEBOOK_TRUST,
        runs={"pqn": config},
        quantities={
            "at 5M": Quantity("pqn", training_return(2, until=5e6)),
            "at 10M": Quantity("pqn", training_return(3)),
        },
        criterion=_NOTEBOOK_TEST,
        cost=Cost(80, 2),
        deviations=(_SIMILAR, *deviations),
        algorithms=("pqn",),
        curve="pqn_notebook_asterix",
    )


def _longer(game: str, mean: float, half: float, margin: float) -> Target:
    """PQN after a tenth of the steps of the only published numbers."""
    theirs = Published(mean, margin, half / 1.96 * 30**0.5, 30)
    return Target(
        title=f"PQN on {game}-MinAtar, 1e7 steps",
        source=_SCORER,
        trust="B+ for the number, but it is of ten times as many steps and another "
        "network",
        runs={"pqn": pqn(game)},
        quantities={"final": Quantity("pqn", training_return(3))},
        criterion=Equivalent({"final": theirs}),
        cost=Cost(80, 2),
        deviations=(
            "1e7 steps, not 1e8",
            "the network and the settings of the authors' notebook",
        ),
        protocol_differs=True,
        reason="The source trained ten times as long, and nothing is published at 1e7",
    )


def _dqn_target(
    game: str,
    config: Config,
    at_1m: float,
    at_2m: float,
    points: int,
    margin: float,
    *deviations: str,
) -> Target:
    return Target(
        title=f"DQN on {game}-MinAtar, 2M frames",
        source=_YOUNG,
        trust=_YOUNG_TRUST,
        runs={"dqn": config},
        quantities={
            "at 1M": Quantity("dqn", training_return(points, until=1e6)),
            "at 2M": Quantity("dqn", training_return(points)),
        },
        criterion=Equivalent(
            {"at 1M": Published(at_1m, margin), "at 2M": Published(at_2m, margin)}
        ),
        cost=Cost(120, 6),
        deviations=(_ONE_STREAM, *deviations),
        curve=f"young_tian_{game.lower()}",
    )


TARGETS = {
    "pqn_asterix": _asterix(
        ", as in the authors' notebook", pqn_of_the_notebook("Asterix")
    ),
    "pqn_asterix_jaxq": _asterix(
        ", with jaxq's lambda-returns",
        pqn("Asterix"),
        "inputs are not divided by 255, and layers have LeCun's initialisation",
        "the second-to-last step of a rollout bootstraps from its own successor",
    ),
    "pqn_breakout": _longer("Breakout", 69.97, 0.68, 7.0),
    "pqn_freeway": _longer("Freeway", 61.77, 0.34, 3.0),
    "dqn_breakout": _dqn_target(
        "Breakout", dqn("Breakout", 2.0**-9, time_limit=10_000_000), 9.23, 9.65, 2, 1.0
    ),
    "dqn_freeway": _dqn_target(
        "Freeway",
        dqn("Freeway", 2.0**-11, timeout_is_terminal=True),
        47.82,
        50.73,
        5,
        2.5,
        "episodes of 2,500 frames, not 2,501",
    ),
}
