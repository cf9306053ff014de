"""From a configuration to heads, networks and stores."""

from typing import NamedTuple

from flax import linen as nn

from jaxq.agents import compatibility
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.networks import (
    ensemble,
    from_flax,
    initializers,
    layers,
    quantile,
    tables,
    torsos,
)
from jaxq.replay import stores
from jaxq.rl import categorical, heads, losses
from jaxq.types import EnvSpec, Head, LossFunction, Network


class Networks(NamedTuple):
    """Views of one set of parameters."""

    online: Network  # learns
    target: Network  # evaluates the successor, with the target parameters
    selector: Network | None  # chooses the successor's action; None: as target
    policy: Network  # acts


def make_head(config: Config) -> Head:
    """The head a configuration names."""
    bounds = config.num_atoms, config.v_min, config.v_max
    delta, rescaled = config.huber_delta, config.value_rescaling
    if config.head == "categorical":
        return categorical.categorical(*bounds)
    if config.head == "two_hot":
        return categorical.two_hot(*bounds)
    if config.head == "hl_gauss":
        return categorical.hl_gauss(*bounds, config.hl_gauss_sigma)
    if config.head == "quantile":
        return heads.quantile(config.num_quantiles, delta, rescaled)
    if config.head == "implicit_quantile":
        return heads.implicit_quantile(delta)
    if config.head == "fully_parameterized":
        return heads.fully_parameterized(delta, config.fraction_entropy)
    return heads.scalar(config.loss, delta, rescaled)


def make_torso(config: Config, spec: EnvSpec, style: layers.LayerConfig) -> nn.Module:
    """The torso a configuration names.

    Raises:
        ConfigError: if it does not fit the observation.
    """
    grid = from_flax.is_minatar(spec)
    if config.network == "mlp" or (config.network == "auto" and not grid):
        return torsos.MLP(config.hidden_sizes, style)
    if not grid:
        raise ConfigError(
            f"network = 'minatar' needs a 10 x 10 grid of channels, but {spec.name} "
            f"observes {spec.observation.shape}. Use network = 'mlp'."
        )
    return torsos.MinAtarTorso(config.channels, config.dense_size, style)


def make_networks(config: Config, spec: EnvSpec) -> Networks:
    """The networks a configuration asks for: views of the same parameters.

    Raises:
        ConfigError: for parts that cannot be combined.
    """
    head = make_head(config)
    compatibility.check(config, spec, head.averages)
    if config.network == "table":
        prior = tables.table(spec, head, initial_spread=1.0)
        return _same(_perhaps_ensemble(_table(config, spec, head), config, prior))
    style = layers.LayerConfig(
        config.weight_init,
        config.normalization,
        config.noisy_sigma if config.noisy else None,
        activation=config.activation,
        output_scale=config.output_scale,
    )
    torso = make_torso(config, spec, style)
    values = layers.ActionValues(
        spec.num_actions, head.num_outputs, config.dueling, config.stream_sizes, style
    )
    if config.recurrent != "none":
        kind = {"lstm": nn.OptimizedLSTMCell, "gru": nn.GRUCell}[config.recurrent]
        cell = kind(config.memory_size, recurrent_kernel_init=initializers.orthogonal())
        module = layers.RecurrentQNetwork(torso, cell, values)
        return _same(from_flax.recurrent(module, spec, head, config.memory_size))
    if config.head == "implicit_quantile":
        implicit = quantile.ImplicitQuantileNetwork(
            torso, values, config.num_cosines, style
        )
        online, target, policy = (
            quantile.iqn_network(implicit, spec, head, samples)
            for samples in (
                config.quantile_samples,
                config.target_samples,
                config.policy_samples,
            )
        )
        return Networks(online, target, policy, policy)
    if config.head == "fully_parameterized":
        proposal = quantile.FractionProposal(config.num_quantiles)
        full = quantile.ProposedQuantileNetwork(
            torso, values, proposal, config.num_cosines, style
        )
        return _same(quantile.fqf_network(full, spec, head))
    network = from_flax.from_module(layers.QNetwork(torso, values), spec, head)
    if config.normalization == "batch":
        training = style._replace(training=True)
        learning = layers.QNetwork(
            make_torso(config, spec, training), values.clone(style=training)
        )
        online = from_flax.from_module(learning, spec, head)
        online = from_flax.with_statistics(online, learning, spec)
        online = online._replace(init=network.init)
        return Networks(online, network, None, network)
    return _same(_perhaps_ensemble(network, config))


def make_twin(config: Config, spec: EnvSpec) -> Network:
    """Two tables in one, for Double Q-learning."""
    compatibility.check(config, spec, make_head(config).averages)
    return _table(config, spec, ensemble.double_table(config.loss, config.huber_delta))


def _table(config: Config, spec: EnvSpec, head: Head) -> Network:
    try:
        return tables.table(spec, head, config.initial_value)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _same(network: Network) -> Networks:
    return Networks(network, network, None, network)


def _perhaps_ensemble(
    network: Network, config: Config, prior: Network | None = None
) -> Network:
    if config.ensemble_size == 1:
        return network
    return ensemble.ensemble(
        network, config.ensemble_size, config.prior_scale, config.mask_probability,
        prior,
    )  # fmt: skip


def make_store(config: Config, spec: EnvSpec) -> stores.Store:
    """Where an agent of temporal differences finds its transitions."""
    if not config.rollout_length:
        if config.next_value == "sarsa":
            raise ConfigError(
                "next_value = 'sarsa' evaluates the policy that acts, and a replay "
                "buffer holds the actions of older ones. Set rollout_length = 1, or "
                "use next_value = 'expected_sarsa'."
            )
        return (stores.proportional if config.prioritized else stores.uniform)(
            config, spec
        )
    compatibility.refuse(
        config.prioritized, config, "prioritized", "rollouts are used up, not drawn"
    )
    compatibility.refuse(
        config.recurrent != "none", config, "recurrent",
        "only pqn_rnn learns a memory from rollouts; r2d2 does from replay",
    )  # fmt: skip
    compatibility.refuse(
        config.num_minibatches > 1, config, "num_minibatches",
        "only pqn and Q(lambda) split their rollouts",
    )  # fmt: skip
    compatibility.refuse(
        config.n_step > config.rollout_length, config, "n_step",
        f"the steps of a rollout are learned from with those that follow in it, and "
        f"rollout_length = {config.rollout_length}",
    )  # fmt: skip
    if config.next_value == "sarsa":
        return stores.sarsa_queue(config, spec)
    return stores.current_rollout(config, spec)


def with_penalty(loss: LossFunction, config: Config) -> LossFunction:
    """The loss, with DQN-Reg's penalty where the configuration gives it a weight."""
    if config.q_penalty is None:
        return loss
    return losses.penalised(loss, config.q_penalty)
