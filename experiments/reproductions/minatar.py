"""Targets on MinAtar: PQN as its authors ran it, and the DQN of MinAtar's paper."""

from typing import Any

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
