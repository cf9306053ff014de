"""A user-defined algorithm; the arguments of its function are its hyper-parameters."""

from typing import Annotated

import my_loss

from jaxq.agents import algorithms, head_factory, replay_agent
from jaxq.config.fields import Range
from jaxq.networks import from_flax, torsos


def advantage_learning(
    config,
    spec,
    *,
    alpha: Annotated[float, Range(0, 1)] = 0.5,
    layers: Annotated[int, Range(1, 9)] = 1,
):
    """Advantage learning on several layers of each width."""
    torso = torsos.MLP(config.hidden_sizes * layers)
    network = from_flax.from_torso(torso, spec, head_factory.make_head(config))
    loss = my_loss.advantage_learning_loss(network, alpha)
    store = algorithms.make_store(config, spec)
    return replay_agent.replay_agent(network, network, loss, store, config)
