"""The algorithms, as compositions of a network, a head and a loss."""

from collections.abc import Callable

from jaxq import agents, heads, losses, networks
from jaxq.config import Config, ConfigError
from jaxq.types import Agent, EnvSpec, Head, Network


def tabular_q(config: Config, spec: EnvSpec) -> Agent:
    """Q-learning on a table, from replayed minibatches.

    Q(s, a) += learning_rate (R - Q(s, a)) for every transition of the minibatch, where
    R = r if it is terminal and r + gamma max Q(s', .) otherwise. With `sgd` and the
    summed loss that is the gradient step of the squared TD loss; the target table is
    the table itself as long as target_period is 1.

    Reference: Watkins (1989); Sutton and Barto (2018), section 6.5. Differs by drawing
    its transitions from a replay buffer (Lin, 1992).
    """
    if config.network not in ("auto", "table"):
        raise ConfigError(
            f"network = {config.network!r}: tabular_q learns a table. Use network = "
            "'table', or algorithm = 'dqn'."
        )
    head = heads.scalar(config.loss, config.huber_delta)
    network = networks.table(spec, head, config.initial_value)
    loss = losses.td_loss(network, config.double_q)
    return agents.replay_agent(network, loss, config, spec)


def dqn(config: Config, spec: EnvSpec) -> Agent:
    """Deep Q-learning with a target network and uniform replay.

    Reference: Mnih et al. (2015), doi:10.1038/nature14236. Differs in the loss (squared
    unless `loss` is huber) and the optimizer (Adam unless `optimizer` is rmsprop).
    """
    network = make_network(config, spec, heads.scalar(config.loss, config.huber_delta))
    loss = losses.td_loss(network, config.double_q)
    return agents.replay_agent(network, loss, config, spec)


ALGORITHMS: dict[str, Callable[[Config, EnvSpec], Agent]] = {
    "tabular_q": tabular_q,
    "dqn": dqn,
}


def make_network(config: Config, spec: EnvSpec, head: Head) -> Network:
    """The network a configuration asks for.

    Raises:
        ConfigError: if the torso does not fit the observation.
    """
    kind = config.network
    if kind == "auto":
        kind = "minatar" if networks.is_minatar(spec) else "mlp"
    if kind == "table":
        return networks.table(spec, head, config.initial_value)
    if kind == "mlp":
        torso = networks.MLP(config.hidden_sizes, config.torch_init)
        return networks.from_torso(torso, spec, head, config.torch_init)
    if not networks.is_minatar(spec):
        raise ConfigError(
            f"network = 'minatar' needs a 10 x 10 grid of channels, but {spec.name} "
            f"observes {spec.observation.shape}. Use network = 'mlp'."
        )
    conv = networks.MinAtarTorso(config.channels, config.dense_size, config.torch_init)
    return networks.from_torso(conv, spec, head, config.torch_init)


def make(config: Config, spec: EnvSpec) -> Agent:
    """The agent that `config.algorithm` names."""
    return ALGORITHMS[config.algorithm](config, spec)
