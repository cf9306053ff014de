"""Navix: MiniGrid in JAX."""

from collections.abc import Mapping
from typing import Any

import navix
from navix import entities, observations
from navix.rendering import registry as rendering

from jaxq.config.fields import check_name
from jaxq.envs import auto_reset
from jaxq.types import Array, Key, PyTree

OBSERVATIONS = (
    "symbolic",
    "symbolic_first_person",
    "categorical",
    "categorical_first_person",
    "rgb",
    "rgb_first_person",
)


def names() -> list[str]:
    """The ids of the suite."""
    return [*navix.registry()]


def make(
    name: str, arguments: Mapping[str, Any], time_limit: int | None
) -> auto_reset.Rules:
    """The rules of an environment; arguments are those of its constructor.

    `observation_fn` is the name of a function of `navix.observations`.
    """
    arguments = dict(arguments)
    view = arguments.pop("observation_fn", "symbolic")
    check_name("environment_args: observation_fn", view, OBSERVATIONS)
    if time_limit is not None:
        arguments["max_steps"] = time_limit
    env = navix.make(name, observation_fn=getattr(observations, view), **arguments)

    def start(key: Key) -> tuple[Array, PyTree]:
        timestep = env.reset(key)
        return encode(timestep.observation, view), timestep

    def transition(
        key: Key, timestep: PyTree, action: Array
    ) -> tuple[Array, PyTree, Array, Array, Array]:
        del key  # the state has one
        timestep = env._step(timestep, action)
        return (
            encode(timestep.observation, view),
            timestep,
            timestep.reward,
            timestep.is_termination(),
            timestep.is_truncation(),
        )

    return auto_reset.Rules(
        start=start,
        transition=transition,
        num_actions=len(env.action_set),
        time_limit=env.max_steps,
    )


def encode(observation: Array, view: str = "symbolic") -> Array:
    """One bit per entity, colour and state; pixels stay as they are."""
    if view.startswith("rgb"):
        return observation
    if view.startswith("categorical"):  # -1 is a wall
        return auto_reset.one_hot(observation[..., None] + 1, NUM_ENTITIES + 1)
    return auto_reset.one_hot(observation, NUM_ENTITIES, NUM_COLOURS, NUM_STATES)


def is_truncated(state: Any) -> Array:
    """Whether the time of an episode has run out, from the state of gxm's adapter."""
    return state.navix_state.is_truncation()


def _num_values(constants: type, unset: int = 255) -> int:
    """One more than the largest of the integer constants of a class."""
    values = [v for k, v in vars(constants).items() if not k.startswith("_")]
    return 1 + max(int(v) for v in values if hasattr(v, "dtype") and int(v) != unset)


NUM_ENTITIES = _num_values(entities.EntityIds)
NUM_COLOURS = _num_values(rendering.PALETTE)
NUM_STATES = _num_values(entities.Directions)  # a door has only three
