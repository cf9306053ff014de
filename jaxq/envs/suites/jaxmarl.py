"""JaxMARL: several agents in one environment, which learn with one network."""

from collections.abc import Mapping
from typing import Any

import jaxmarl

from jaxq.config.fields import ConfigError
from jaxq.envs import adapter, teams


def names() -> list[str]:
    """The ids of the suite, also of environments with continuous actions."""
    return [*jaxmarl.registered_envs]


def make_team(
    environment: str,
    name: str,
    arguments: Mapping[str, Any],
    time_limit: int | None,
    mask: bool | None,
) -> adapter.Environment:
    """An environment of several agents; arguments are those of its constructor.

    Args:
        environment: display name.
        name: id.
        arguments: of the constructor; `agent_ids` is for `teams.adapt_team`.
        time_limit: steps after which an episode is truncated; None keeps the default.
        mask: whether to give the mask of valid actions; None if there is one.

    Raises:
        ConfigError: for actions that are not a finite set, or a missing mask.
    """
    arguments = dict(arguments)
    agent_ids = arguments.pop("agent_ids", True)
    if not isinstance(agent_ids, bool):
        raise ConfigError(
            f"environment_args: agent_ids = {agent_ids!r} must be true or false."
        )
    team = teams.adapt_team(
        jaxmarl.make(name, **arguments),
        environment,
        time_limit=time_limit,
        agent_ids=agent_ids,
        mask=mask is not False,
    )
    if mask is not None and team.spec.valid_actions is None:
        raise ConfigError(
            f"environment_args: mask = {mask}: {environment} has no mask of valid "
            "actions. Leave the argument out."
        )
    return team
