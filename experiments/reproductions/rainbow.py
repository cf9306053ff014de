"""Targets of Revisiting Rainbow: losses and components on classic control."""

from collections.abc import Mapping
from typing import Any

from experiments.reproductions.criteria import Criterion, Ordered, SameOrder
from experiments.reproductions.target import Cost, Quantity, Target, training_return
from jaxq import Config

# The authors' gin files: two layers of 512, Adam with a large epsilon, a gradient step
# of 128 transitions every 4 steps, the target copied every 100 steps, epsilon 0.01.
DQN: dict[str, Any] = {
    "defaults": "plain",
    "num_seeds": 30,
    "total_steps": 30_000,
    "buffer_size": 50_000,
    "batch_size": 128,
    "warmup_steps": 500,
    "update_steps": 4,
    "target_period": 25,
    "hidden_sizes": (512, 512),
    "weight_init": "lecun",
    "optimizer_eps": 3.125e-4,
    "discount": 0.99,
    "epsilon_start": 0.01,
    "epsilon_end": 0.01,
    "eval_points": 30,
    "eval_episodes": 1,
    "eval_max_steps": 600,
}
_MODULE = "experiments.reproductions.scaled_control"
_ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "cartpole": {
        "environment": f"{_MODULE}:CartPole", "time_limit": 200, "learning_rate": 1e-3,
    },
    "acrobot": {
        "environment": f"{_MODULE}:Acrobot", "learning_rate": 1e-3,
    },
    "mountaincar": {
        "environment": f"{_MODULE}:MountainCar", "time_limit": 600,
        "learning_rate": 1e-2,
    },
}  # fmt: skip
_TITLES = {
    "cartpole": "CartPole-v0",
    "acrobot": "Acrobot-v1",
    "mountaincar": "MountainCar-v0",
}
_BOUNDS = {"cartpole": 200.0, "acrobot": 100.0, "mountaincar": 100.0}
_PRIORITIES: dict[str, Any] = {
    "prioritized": True,
    "priority_exponent": 0.5,
    "importance_exponent": 0.5,
    "importance_updates": 1e12,  # keeps the exponent constant
}


def config(environment: str, **fields: Any) -> Config:
    """DQN with Huber's loss on an environment, and other fields."""
    return Config(**{**DQN, "loss": "huber", **_ENVIRONMENTS[environment], **fields})


def rainbow(environment: str) -> Config:
    """The authors' Rainbow."""
    bound = _BOUNDS[environment]
    return config(
        environment, algorithm="rainbow", epsilon_schedule="linear",
        learning_rate=1e-4, v_min=-bound,
        v_max=bound, num_atoms=51, n_step=3, **_PRIORITIES,
    )  # fmt: skip


def losses(environment: str) -> dict[str, Config]:
    """Both losses of DQN, and Rainbow."""
    return {
        "DQN, Huber": config(environment),
        "DQN, squared": config(environment, loss="squared"),
        "Rainbow": rainbow(environment),
    }


def components(environment: str) -> dict[str, Config]:
    """DQN with Huber's loss, and each component of Rainbow added to it."""
    bound = _BOUNDS[environment]
    return {
        "DQN": config(environment),
        "+ Double": config(environment, double_q=True),
        "+ Dueling": config(environment, dueling=True),
        "+ Noisy": config(environment, noisy=True),
        "+ Multi-step": config(environment, n_step=3),
        "+ Prioritized": config(environment, **_PRIORITIES),
        "+ Distributional": config(
            environment, head="categorical", v_min=-bound, v_max=bound
        ),
    }


_SOURCE = "Obando-Ceron and Castro (2021), arXiv:2011.14826, "
_TRUST = (
    "B+: 100 runs and public gin files; figures read to 8 (MountainCar), 6 (Acrobot) "
    "and 3 (CartPole), and the authors' own two figures of DQN differ by 50, 6 and 8"
)
_DEVIATIONS = (
    "30 seeds, not 100",
    "weights are normal with variance 1 / fan_in, and the first 500 actions random",
    "episodes that reach the time limit bootstrap, as in one of two versions of "
    "Dopamine that the source may have used",
)


def _target(
    title: str,
    figure: str,
    runs: Mapping[str, Config],
    criterion: Criterion,
    minutes: float,
    curve: str,
) -> Target:
    return Target(
        title=title,
        source=_SOURCE + figure,
        trust=_TRUST,
        runs=runs,
        quantities={label: Quantity(label, training_return(5)) for label in runs},
        criterion=criterion,
        cost=Cost(minutes, 3),
        deviations=_DEVIATIONS,
        curve=curve,
        algorithms=("dqn", "rainbow"),
    )


def _losses(environment: str) -> Target:
    return _target(
        f"Losses of DQN, and Rainbow, on {_TITLES[environment]}",
        "huber.png",
        losses(environment),
        Ordered((("DQN, squared", "DQN, Huber"), ("Rainbow", "DQN, Huber"))),
        45,
        f"rainbow_losses_{environment}",
    )


# Means of the last iterations whose lines do not overlap.
_CARTPOLE = {
    "DQN": 122.6,
    "+ Double": 115.4,
    "+ Dueling": 168.7,
    "+ Noisy": 169.4,
    "+ Multi-step": 159.7,
    "+ Prioritized": 196.8,
    "+ Distributional": 191.9,
}
_MOUNTAINCAR = {
    "DQN": -403.0,
    "+ Double": -454.4,
    "+ Dueling": -528.8,
    "+ Noisy": -460.2,
    "+ Multi-step": -174.3,
    "+ Prioritized": -118.2,
    "+ Distributional": -541.6,
}


def _components(environment: str, theirs: dict[str, float], apart: float) -> Target:
    return _target(
        f"Components added to DQN on {_TITLES[environment]}",
        "revisitingClassic.png",
        components(environment),
        SameOrder(theirs, apart, 0.9),
        120,
        f"rainbow_components_{environment}",
    )


TARGETS = {
    **{f"rainbow_losses_{name}": _losses(name) for name in _ENVIRONMENTS},
    "rainbow_components_cartpole": _components("cartpole", _CARTPOLE, 20),
    "rainbow_components_mountaincar": _components("mountaincar", _MOUNTAINCAR, 60),
}
