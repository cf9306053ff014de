"""Heads and networks of a configuration."""

from collections.abc import Callable
from typing import NamedTuple

from flax import linen as nn

from jaxq.agents import (
    head_factory,
    observation_scaling,
    self_prediction,
    torso_factory,
)
from jaxq.config.config import Config
from jaxq.networks import (
    ensemble,
    from_flax,
    layers,
    masking,
    quantile,
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
    if spec.valid_actions is not None:
        network = masking.masked_scalar(network, spec.valid_actions)
    return _same(_with_members(network, config))


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
    head, _, torso, values = make_parts(config, spec)
    cell = recurrent.make_cell(config.recurrent, config.memory_size)
    module = recurrent.RecurrentQNetwork(torso, cell, values)
    network = recurrent.network(module, spec, head, config.memory_size)
    return _masked(_same(network), spec)


def _implicit_quantile(config: Config, spec: EnvSpec) -> Networks:
    """One module; the estimate, the target and the policy draw their own fractions."""
    head, layer_config, torso, values = make_parts(config, spec)
    module = quantile.ImplicitQuantileNetwork(
        torso, values, config.num_cosines, layer_config
    )
    samples = config.quantile_samples, config.target_samples, config.policy_samples
    online, evaluator, policy = (
        quantile.iqn_network(module, spec, head, number) for number in samples
    )
    return _masked(Networks(online, evaluator, policy, policy), spec)


def _fully_parameterized(config: Config, spec: EnvSpec) -> Networks:
    head, layer_config, torso, values = make_parts(config, spec)
    proposal = quantile.FractionProposal(config.num_quantiles)
    module = quantile.ProposedQuantileNetwork(
        torso, values, proposal, config.num_cosines, layer_config
    )
    return _masked(_same(quantile.fqf_network(module, spec, head)), spec)


def _table(config: Config, spec: EnvSpec) -> Networks:
    head = head_factory.make_head(config)
    if config.head != "scalar":  # in which minus infinity marks an invalid action
        network = tables.table(
            spec._replace(valid_actions=None), head, config.initial_value
        )
        return _masked(_same(network), spec)
    prior = tables.table(spec, head, initial_spread=1.0)
    network = tables.table(spec, head, config.initial_value)
    return _same(_with_members(network, config, prior))


_MAKERS: dict[str, Callable[[Config, EnvSpec], Networks]] = {
    "table": _table,
    "recurrent": _recurrent,
    "implicit_quantile": _implicit_quantile,
    "fully_parameterized": _fully_parameterized,
    "batch_norm": _batch_norm,
    "feed_forward": _feed_forward,
}


# How an ensemble acts by default, by its target.
ACTING: dict[str, ensemble.Acting] = {
    "own": "member",
    "minimum": "minimum",
    "mean": "mean",
    "mixture": "mean",
}


def _with_members(
    network: Network, config: Config, prior: Network | None = None
) -> Network:
    """The network, or an ensemble of such networks."""
    if config.ensemble_size == 1:
        return network
    acting = config.ensemble_acting
    if acting == "auto":
        acting = ACTING[config.ensemble_target]
    return ensemble.ensemble(
        network,
        config.ensemble_size,
        config.prior_scale,
        config.mask_probability,
        prior,
        acting,
        config.ucb_scale if acting == "ucb" else 0.0,
    )


def make_double_table(config: Config, spec: EnvSpec) -> Network:
    """Two tables in one, for Double Q-learning."""
    head = head_factory.reporting(
        double_q.double_table(config.loss, config.huber_delta), config
    )
    return tables.table(spec, head, config.initial_value)
