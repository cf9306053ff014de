"""The loss of a life, as environments report it."""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from jaxq.types import Array, PyTree

# (state, next state, info) -> whether a life was lost, [] bool
Reader = Callable[[PyTree, PyTree, Any], Array]


def reader(state: PyTree, info: Any) -> Reader | None:
    """Function that reads the loss of a life, if the environment reports it."""
    if "life_lost" in info:
        return lambda before, after, info: jnp.bool_(info["life_lost"])
    read = _number(state)
    if read is None:
        return None
    return lambda before, after, info: read(after) < read(before)


def _number(state: PyTree) -> Callable[[PyTree], Array] | None:
    """Function that reads the number of lives from a state, or from one inside it."""
    if getattr(getattr(state, "lives", None), "shape", None) == ():
        return lambda state: state.lives
    for name in ("state", "env_state"):  # of `auto_reset.Counted`, of gymnax's wrappers
        inner = _number(getattr(state, name)) if hasattr(state, name) else None
        if inner is not None:
            return functools.partial(_read_inside, name, inner)
    return None


def _read_inside(name: str, read: Callable[[PyTree], Array], state: PyTree) -> Array:
    return read(getattr(state, name))
