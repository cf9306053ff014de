"""Heads and networks of a configuration."""

from collections.abc import Callable
from typing import NamedTuple

from flax import linen as nn

from jaxq.agents import (
    ensemble_factory,
    head_factory,
    observation_scaling,
    self_prediction,
    torso_factory,
)
from jaxq.config.config import Config
from jaxq.networks import (
    from_flax,
    layers,
    masking,
    quantile,
    readouts,
    recurrent,
    tables,
)
from jaxq.rl import double_q, recall
from jaxq.types import Array, EnvSpec, Head, Network, PyTree


class Networks(NamedTuple):
    """Views of one set of parameters."""

    online: Network  # learns
    evaluator: Network  # evaluates the successor, with the target parameters
    selector: Network | None  # selects the successor's action; None: the evaluator
    policy: Network  # acts


def make_layer_config(config: Config) -> layers.LayerConfig:
    """Initialisation, normalisation, noise and activation of every layer."""
    return layers.LayerConfig(
        config.weight_init,
        config.normalization,
        config.noisy_sigma if config.noisy else None,
        activation=config.activation,
        output_scale=config.output_scale,
        weight_norm=config.weight_norm,
        sparsity=config.sparsity,
    )


class Parts(NamedTuple):
    """Pieces that every kind of network is assembled from."""

    head: Head
    layer_config: layers.LayerConfig
    torso: nn.Module
    values: layers.ActionValues


def make_parts(config: Config, spec: EnvSpec) -> Parts:
    """The head, the torso and the last layers."""
    head, layer_config = head_factory.make_head(config), make_layer_config(config)
    values = layers.ActionValues(
        spec.num_actions,
        head.num_outputs,
        config.dueling,
        config.stream_sizes,
        layer_config,
    )
    return Parts(
        head, layer_config, torso_factory.make_torso(config, spec, layer_config), values
    )


def make_networks(config: Config, spec: EnvSpec) -> Networks:
    """The networks of a configuration: views of the same parameters.

    Raises:
        ConfigError: for a torso that does not fit the observation.
    """
    networks = _make_networks(config, spec)
    if config.spr_steps is None:
        return networks
    online = self_prediction.extended(networks.online, config, spec)
    return networks._replace(online=online)


def _make_networks(config: Config, spec: EnvSpec) -> Networks:
    kind = _kind(config)
    make = _MAKERS[kind]
    if kind == "table" or not config.normalize_observations:
        return make(config, spec)
    inner = observation_scaling.inner_spec(spec)
    return Networks(*observation_scaling.normalized(spec, make(config, inner)))


def _kind(config: Config) -> str:
    if config.network == "table":
        return "table"
    if config.recurrent != "none":
        return "recurrent"
    if config.head in ("implicit_quantile", "fully_parameterized"):
        return config.head
    return "batch_norm" if config.normalization == "batch" else "feed_forward"


def _masked(networks: Networks, spec: EnvSpec) -> Networks:
    """The networks, with minus infinity as the value of invalid actions."""
    valid = spec.valid_actions
    if valid is None:
        return networks

    def valid_actions(observation: PyTree) -> Array:
        return valid(recall.plain(observation))

    views = [masking.masked(v, valid_actions) if v else None for v in networks]
    return Networks(*views)  # type: ignore[arg-type]


def _same(network: Network) -> Networks:
    return Networks(network, network, None, network)


def _feed_forward(config: Config, spec: EnvSpec) -> Networks:
    head, _, torso, values = make_parts(config, spec)
    network = from_flax.from_module(layers.QNetwork(torso, values), spec, head)
    if config.ensemble_size == 1:
        return _masked(_same(network), spec)
    return Networks(*ensemble_factory.views(network, config, spec, network))


def _batch_norm(config: Config, spec: EnvSpec) -> Networks:
    """Normalise by the minibatch while learning, by running averages elsewhere."""
    head, layer_config, torso, values = make_parts(config, spec)
    network = from_flax.from_module(layers.QNetwork(torso, values), spec, head)
    training = layer_config._replace(training=True)
    module = layers.QNetwork(
        torso_factory.make_torso(config, spec, training), values.clone(style=training)
    )
    online = from_flax.from_module(module, spec, head)
    online = from_flax.with_statistics(online, module, spec)
    online = online._replace(init=network.init, activations=network.activations)
    return _masked(Networks(online, network, None, network), spec)


def _recurrent(config: Config, spec: EnvSpec) -> Networks:
    head, layer_config, torso, values = make_parts(config, spec)
    parts = torso, recurrent.make_cell(config.recurrent, config.memory_size), values

    def network(
        module: recurrent.RecurrentQNetwork, readout: readouts.Readout
    ) -> Network:
        return recurrent.network(module, spec, head, config.memory_size, readout)

    if config.head == "implicit_quantile":
        implicit = quantile.RecurrentImplicitQuantileNetwork(
            *parts, config.num_cosines, layer_config
        )
        return _implicit_views(config, spec, lambda r: network(implicit, r))
    if config.head == "fully_parameterized":
        proposal = quantile.FractionProposal(config.num_quantiles)
        proposed = quantile.RecurrentProposedQuantileNetwork(
            *parts, proposal, config.num_cosines, layer_config
        )
        readout = readouts.proposed_quantiles(spec.num_actions)
        return _masked(_same(network(proposed, readout)), spec)
    plain = recurrent.RecurrentQNetwork(*parts)
    return _masked(_same(network(plain, readouts.PLAIN)), spec)


def _implicit_views(
    config: Config, spec: EnvSpec, make: Callable[[readouts.Readout], Network]
) -> Networks:
    """One module; the estimate, the target and the policy draw their own fractions."""
    samples = config.quantile_samples, config.target_samples, config.policy_samples
    online, evaluator, policy = (
        make(readouts.implicit_quantiles(number)) for number in samples
    )
    return _masked(Networks(online, evaluator, policy, policy), spec)


def _implicit_quantile(config: Config, spec: EnvSpec) -> Networks:
    head, layer_config, torso, values = make_parts(config, spec)
    module = quantile.ImplicitQuantileNetwork(
        torso, values, config.num_cosines, layer_config
    )
    return _implicit_views(
        config, spec, lambda r: quantile.feed_forward(module, spec, head, r)
    )


def _fully_parameterized(config: Config, spec: EnvSpec) -> Networks:
    head, layer_config, torso, values = make_parts(config, spec)
    proposal = quantile.FractionProposal(config.num_quantiles)
    module = quantile.ProposedQuantileNetwork(
        torso, values, proposal, config.num_cosines, layer_config
    )
    readout = readouts.proposed_quantiles(spec.num_actions)
    return _masked(_same(quantile.feed_forward(module, spec, head, readout)), spec)


def _table(config: Config, spec: EnvSpec) -> Networks:
    head, states = head_factory.make_head(config), spec
    if config.head != "scalar":  # in which minus infinity marks an invalid action
        states = spec._replace(valid_actions=None)
    network = tables.table(states, head, config.initial_value)
    if config.ensemble_size == 1:
        return _same(network) if states is spec else _masked(_same(network), spec)
    prior = tables.table(states, head, initial_spread=1.0)
    return Networks(*ensemble_factory.views(network, config, spec, prior))


_MAKERS: dict[str, Callable[[Config, EnvSpec], Networks]] = {
    "table": _table,
    "recurrent": _recurrent,
    "implicit_quantile": _implicit_quantile,
    "fully_parameterized": _fully_parameterized,
    "batch_norm": _batch_norm,
    "feed_forward": _feed_forward,
}


def make_double_table(config: Config, spec: EnvSpec) -> Network:
    """Two tables in one, for Double Q-learning."""
    head = head_factory.reporting(
        double_q.double_table(config.loss, config.huber_delta), config
    )
    return tables.table(spec, head, config.initial_value)
