"""Craftax and Craftax-Classic, symbolic or from pixels."""

from collections.abc import Mapping
from typing import Any

from craftax import craftax_env

from jaxq.envs import argument_checks, auto_reset, five_values

IDS = (
    "Craftax-Classic-Symbolic-v1",
    "Craftax-Classic-Pixels-v1",
    "Craftax-Symbolic-v1",
    "Craftax-Pixels-v1",
)


def names() -> list[str]:
    """The ids of the suite."""
    return list(IDS)


def make(
    name: str, arguments: Mapping[str, Any], time_limit: int | None
) -> auto_reset.Rules:
    """The rules of an environment; arguments are fields of its parameters."""
    env = craftax_env.make_craftax_env_from_name(name, auto_reset=False)
    params = argument_checks.replaced(name, env.default_params, arguments)
    return five_values.rules(env, params, name, time_limit)
