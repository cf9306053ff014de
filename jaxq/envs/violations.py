"""Violations of the environment interface, described before they fail elsewhere."""

import inspect
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxq.types import PyTree, is_key

ONE_DONE = (
    " Five values, with one done, are the interface of gymnax 0: use "
    "jaxq.from_five_values, which steps with the object's own step_env and reset_env, "
    "or wrap step to return terminated and truncated in place of done, and the "
    "observation before the reset as info['final_observation']."
)


def missing_method(env: Any, params: Any) -> str | None:
    """The first method that is missing, or that takes other arguments."""
    arguments = {
        "reset": ("key", params),
        "step": ("key", "state", "action", params),
        "action_space": (params,),
    }
    for name, values in arguments.items():
        method = getattr(env, name, None)
        if not callable(method):
            return f"is a {type(env).__name__}, which has no method {name}"
        try:
            signature = inspect.signature(method)
        except ValueError:  # of a method that is not written in Python
            continue
        try:
            signature.bind(*values)
        except TypeError as error:
            return f"has the method {name}{signature}, which does not take ({error})"
    return None


def output_problem(method: str, values: Any, count: int) -> str | None:
    """The reason if reset or step does not return `count` values."""
    if not isinstance(values, tuple | list):
        name = type(values).__name__
        return f"returns a {name} from {method} instead of {count} values"
    if len(values) != count:
        return f"returns {len(values)} values from {method} instead of {count}"
    return None


def leaf_problem(method: str, name: str, values: PyTree) -> str | None:
    """The first leaf that is not an array or a number."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(values):
        try:
            jax.typeof(leaf)
        except TypeError:
            place = f"{name}{jax.tree_util.keystr(path)}"
            return (
                f"returns {place} = {str(leaf)[:40]!r} of type {type(leaf).__name__} "
                f"from {method}; only arrays and numbers can be compiled"
            )
    return None


def state_problem(before: PyTree, after: PyTree) -> str | None:
    """The first difference between the states of two methods.

    Args:
        before: types of the state that reset returns.
        after: types of the state that step returns.
    """
    leaves = [
        {jax.tree_util.keystr(p): x for p, x in jax.tree_util.tree_leaves_with_path(t)}
        for t in (before, after)
    ]
    for method, other, extra in (
        ("reset", "step", leaves[0].keys() - leaves[1].keys()),
        ("step", "reset", leaves[1].keys() - leaves[0].keys()),
    ):
        if extra:
            names = ", ".join(f"state{path}" for path in sorted(extra))
            return f"returns {names} from {method} but not from {other}"
    structures = [str(jax.tree.structure(tree))[:200] for tree in (before, after)]
    if structures[0] != structures[1]:
        return (
            f"returns a state of structure {structures[0]} from reset but "
            f"{structures[1]} from step"
        )
    for path, old in leaves[0].items():
        new = leaves[1][path]
        if old.shape != new.shape or not _promotes(old, new):
            return (
                f"returns state{path} of type {_type(old)} from reset but {_type(new)} "
                "from step"
            )
    return None


def _promotes(before: jax.ShapeDtypeStruct, after: jax.ShapeDtypeStruct) -> bool:
    """Whether a value of reset can take the type of a step's without loss."""
    if is_key(before) or is_key(after):
        return True
    dtype = before.dtype
    if before.weak_type:  # a Python number takes any type that can hold it
        dtype = type(dtype.type(0).item())
    return bool(jnp.result_type(dtype, after.dtype) == after.dtype)


def _type(leaf: jax.ShapeDtypeStruct) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}"


def info_problem(info: Any) -> str | None:
    """The reason if the info of step has no final observation."""
    if not isinstance(info, Mapping):
        return f"returns a {type(info).__name__} as the info of step, not a dictionary"
    if "final_observation" not in info:
        return "returns no final_observation in the info of step"
    return None


def observation_problem(observation: PyTree) -> str | None:
    """The reason if an observation is not one or several arrays of real numbers."""
    leaves = jax.tree_util.tree_leaves_with_path(observation)
    if not leaves:
        return f"has the observation {observation!r}, which holds no array"
    for path, leaf in leaves:
        name = f"observation{jax.tree_util.keystr(path)}"
        if 0 in leaf.shape:
            return f"has an {name} of shape {leaf.shape}, which is empty"
        kinds = (jnp.bool_, jnp.integer, jnp.floating)
        if not any(jnp.issubdtype(leaf.dtype, kind) for kind in kinds):
            return f"has an {name} of type {leaf.dtype}, which is not real"
    return None


def shapes(observation: PyTree) -> Any:
    """The shape of every array, in the structure of the observation."""
    return jax.tree.map(lambda leaf: leaf.shape, observation)


def scalar_problem(values: Mapping[str, Any]) -> str | None:
    """The first of step's reward and ends of an episode that is not a valid scalar."""
    for name, leaf in values.items():
        if not hasattr(leaf, "shape"):
            return f"returns a {type(leaf).__name__} as {name} instead of a scalar"
        if leaf.shape != ():
            return f"returns {name} of shape {leaf.shape} instead of a scalar"
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating) or is_key(leaf):
            return f"returns {name} of type {leaf.dtype} instead of a real number"
        if name != "reward" and jnp.issubdtype(leaf.dtype, jnp.floating):
            return (
                f"returns {name} of type {leaf.dtype} instead of bool; compare it, as "
                f"in {name} > 0.5"
            )
    return None
