"""The algorithms: functions from a configuration and an environment to an agent.

The table of algorithms, `jaxq.config.algorithm_table`, lists the components, the paper
and the settings of each, and names the function here that composes it. There are only
as many functions as there are ways to compose: most algorithms are `dqn` with other
components.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxq.agents import (
    factory,
    intrinsic,
    iterated,
    loss_factory,
    replay_agent,
    rollout_agent,
    self_prediction,
    stream_agent,
)
from jaxq.config import algorithm_table, hyperparameters, user_code
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError, check_name
from jaxq.replay import dyna, rollout_stores, stores
from jaxq.rl import double_q, losses
from jaxq.types import Agent, EnvSpec

Algorithm = Callable[..., Agent]  # of a Config, an EnvSpec and hyper-parameters


def dqn(config: Config, spec: EnvSpec) -> Agent:
    """Deep Q-learning: a network, a target network, and replay.

    With a table in place of the network, this is tabular Q-learning.
    """
    networks = factory.make_networks(config, spec)
    loss = loss_factory.add_penalty(loss_factory.make_loss(config, networks), config)
    loss = self_prediction.add_loss(loss, networks.online, config, spec)
    online, policy = networks.online, networks.policy
    if config.iterated_heads is not None:
        loss = iterated.parallel_loss(loss)
        online, policy = (
            iterated.iterated(network, config.iterated_heads)
            for network in (online, policy)
        )
    return replay_agent.replay_agent(
        online, policy, loss, make_store(config, spec), config
    )


def q_lambda(config: Config, spec: EnvSpec) -> Agent:
    """Q(lambda) on fresh rollouts, without replay or target network: PQN."""
    networks = factory.make_networks(config, spec)
    loss = loss_factory.add_penalty(
        loss_factory.make_regression_loss(config, networks.online), config
    )
    team_size = None if config.value_decomposition == "none" else spec.num_agents
    return rollout_agent.rollout_agent(
        networks.online, networks.policy, loss, config, team_size=team_size
    )


def double_q_learning(config: Config, spec: EnvSpec) -> Agent:
    """Double Q-learning: two tables, each evaluated by the other."""
    network = factory.make_double_table(config, spec)
    loss = loss_factory.add_penalty(double_q.double_q_loss(network), config)
    store = make_store(config, spec)
    return replay_agent.replay_agent(network, network, loss, store, config)


def dyna_q(config: Config, spec: EnvSpec) -> Agent:
    """Dyna-Q: learns from each step, and from steps recalled by a model."""
    network = factory.make_networks(config, spec).online
    loss = loss_factory.add_penalty(losses.td_loss(network, config.double_q), config)
    store = dyna.dyna_store(config, spec)
    return replay_agent.replay_agent(network, network, loss, store, config)


def stream(config: Config, spec: EnvSpec) -> Agent:
    """Q(lambda) or SARSA(lambda) by eligibility traces, without replay."""
    return stream_agent.stream_agent(factory.make_networks(config, spec).online, config)


def make_store(config: Config, spec: EnvSpec) -> stores.Store:
    """The store from which an agent learns by temporal differences."""
    if config.rollout_length == 0:
        kind = stores.proportional if config.prioritized else stores.uniform
    elif config.next_value == "sarsa":
        kind = rollout_stores.sarsa_queue
    else:
        kind = rollout_stores.current_rollout
    return kind(config, spec)


AGENTS: dict[str, Algorithm] = {
    "dqn": dqn,
    "q_lambda": q_lambda,
    "double_q_learning": double_q_learning,
    "dyna_q": dyna_q,
    "stream": stream,
}
ALGORITHMS: dict[str, Algorithm] = {
    name: AGENTS[row.agent] for name, row in algorithm_table.ALGORITHMS.items()
}
# Fields that algorithms of a user's own declare; see `register`.
HONOURED: dict[Algorithm, tuple[str, ...]] = {}


def register(
    algorithm: Algorithm | None = None, *, honours: tuple[str, ...] = ()
) -> Any:
    """Make an algorithm available under the name of its function; a decorator.

    An algorithm that is named `module:attribute` need not be registered. Further
    arguments of the function are its hyper-parameters; see
    `jaxq.config.hyperparameters`.

    The algorithm honours the fields of the configuration that it reads. Changing any
    other field of an agent raises an error, so that no ablation is silently without
    effect.

        @register
        def advantage_learning(config, spec): ...

        @register(honours=("recurrent",))
        def with_own_cell(config, spec): ...

    Args:
        algorithm: function from a configuration and an environment to an agent.
        honours: fields that it takes into account without reading them.

    Raises:
        ConfigError: if the name is taken, or `honours` names an unknown field.
    """
    if algorithm is None:
        return functools.partial(register, honours=honours)
    name = algorithm.__name__
    if name in ALGORITHMS:
        raise ConfigError(f"algorithm {name!r} is already registered; rename yours.")
    for field in honours:
        check_name("honours", field, [f.name for f in dataclasses.fields(Config)])
    ALGORITHMS[name], HONOURED[algorithm] = algorithm, tuple(honours)
    return algorithm


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["traced"], meta_fields=["static"]
)
@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """Hyper-parameters of a user's own algorithm; `algorithm_args` when compiled."""

    traced: dict[str, Any]  # name -> float32
    static: tuple[tuple[str, Any], ...]


def make(config: Config, spec: EnvSpec) -> Agent:
    """The agent that `config.algorithm` names."""
    algorithm = find(config.algorithm)
    args: dict[str, Any] = {}
    if config.algorithm not in algorithm_table.ALGORITHMS:
        own: Any = config.algorithm_args
        traced = isinstance(own, Hyperparameters)
        args = own.traced | dict(own.static) if traced else values(config)
    return intrinsic.add_bonus(algorithm(config, spec, **args), config, spec)


def find(name: str) -> Algorithm:
    """The function that composes an algorithm; imports it if it is a user's own.

    Raises:
        ConfigError: if there is none.
    """
    if user_code.is_code(name):
        return user_code.load("algorithm", name)
    check_name("algorithm", name, ALGORITHMS)
    return ALGORITHMS[name]


def values(config: Config) -> dict[str, Any]:
    """Hyper-parameters of an algorithm of a user's own; none for those of jaxq.

    Raises:
        ConfigError: if `algorithm_args` gives an unknown one, or one out of range.
    """
    name = config.algorithm
    if name in algorithm_table.ALGORITHMS:
        return {}
    declared = hyperparameters.declared(name, find(name))
    return hyperparameters.values(name, declared, config.algorithm_args)


def resolved(config: Config) -> Config:
    """The configuration with the value of every hyper-parameter in `algorithm_args`."""
    args = hyperparameters.join(values(config))
    return dataclasses.replace(config, algorithm_args=args) if args else config


def compiled(config: Config) -> Hyperparameters:
    """The hyper-parameters as an input of a compiled program."""
    own, traced = values(config), {}
    if own:
        name = config.algorithm
        declared = hyperparameters.declared(name, find(name))
        traced = {k: np.float32(v) for k, v in own.items() if declared[k].traced}
    static = tuple((k, v) for k, v in own.items() if k not in traced)
    return Hyperparameters(traced, static)
