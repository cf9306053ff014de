"""From a configuration to heads, networks and stores; combinations without a meaning
are refused here, with the reason and the way out.
"""

from typing import NamedTuple

from flax import linen as nn

from jaxq import (
    ensembles,
    fractions,
    heads,
    histograms,
    layers,
    losses,
    networks,
    stores,
)
from jaxq.config import Config
from jaxq.fields import ConfigError
from jaxq.types import EnvSpec, Head, LossFunction, Network


class Networks(NamedTuple):
    """Views of one set of parameters."""

    online: Network  # learns
    target: Network  # evaluates the successor, with the target parameters
    selector: Network | None  # chooses the successor's action; None: as target
    policy: Network  # acts


ARRAY_HEADS = ("scalar", "categorical", "hl_gauss", "two_hot", "quantile")
HISTOGRAMS = ("categorical", "hl_gauss", "two_hot")


def make_head(config: Config) -> Head:
    """The head a configuration names."""
    bounds = config.num_atoms, config.v_min, config.v_max
    delta, rescaled = config.huber_delta, config.value_rescaling
    if config.head == "categorical":
        return histograms.categorical(*bounds)
    if config.head == "two_hot":
        return histograms.two_hot(*bounds)
    if config.head == "hl_gauss":
        return histograms.hl_gauss(*bounds, config.hl_gauss_sigma)
    if config.head == "quantile":
        return heads.quantile(config.num_quantiles, delta, rescaled)
    if config.head == "implicit_quantile":
        return heads.implicit_quantile(delta)
    if config.head == "fully_parameterized":
        return heads.fully_parameterized(delta, config.fraction_entropy)
    return heads.scalar(config.loss, delta, rescaled)


def make_torso(config: Config, spec: EnvSpec, style: layers.Style) -> nn.Module:
    """The torso a configuration names.

    Raises:
        ConfigError: if it does not fit the observation.
    """
    grid = networks.is_minatar(spec)
    if config.network == "mlp" or (config.network == "auto" and not grid):
        return layers.MLP(config.hidden_sizes, style)
    if not grid:
        raise ConfigError(
            f"network = 'minatar' needs a 10 x 10 grid of channels, but {spec.name} "
            f"observes {spec.observation.shape}. Use network = 'mlp'."
        )
    return layers.MinAtarTorso(config.channels, config.dense_size, style)


def make_networks(config: Config, spec: EnvSpec) -> Networks:
    """The networks a configuration asks for: views of the same parameters.

    Raises:
        ConfigError: for parts that cannot be combined.
    """
    check(config, spec)
    head = make_head(config)
    if config.network == "table":
        return _same(_perhaps_ensemble(_table(config, spec, head), config))
    style = layers.Style(
        config.weight_init,
        config.normalization,
        config.noisy_sigma if config.noisy else None,
    )
    torso = make_torso(config, spec, style)
    values = layers.ActionValues(
        spec.num_actions, head.num_outputs, config.dueling, config.stream_sizes, style
    )
    if config.recurrent != "none":
        kind = {"lstm": nn.OptimizedLSTMCell, "gru": nn.GRUCell}[config.recurrent]
        cell = kind(config.memory_size)
        module = layers.RecurrentQNetwork(torso, cell, values)
        return _same(networks.recurrent(module, spec, head, config.memory_size))
    if config.head == "implicit_quantile":
        implicit = fractions.ImplicitQuantileNetwork(
            torso, values, config.num_cosines, style
        )
        online, target, policy = (
            fractions.implicit_quantile(implicit, spec, head, samples)
            for samples in (
                config.quantile_samples,
                config.target_samples,
                config.policy_samples,
            )
        )
        return Networks(online, target, policy, policy)
    if config.head == "fully_parameterized":
        proposal = fractions.FractionProposal(config.num_quantiles)
        full = fractions.ProposedQuantileNetwork(
            torso, values, proposal, config.num_cosines, style
        )
        return _same(fractions.proposed_quantile(full, spec, head))
    network = networks.from_module(layers.QNetwork(torso, values), spec, head)
    if config.normalization == "batch":
        training = style._replace(training=True)
        learning = layers.QNetwork(
            make_torso(config, spec, training), values.clone(style=training)
        )
        online = networks.from_module(learning, spec, head)
        online = networks.with_statistics(online, learning, spec)
        online = online._replace(init=network.init)
        return Networks(online, network, None, network)
    return _same(_perhaps_ensemble(network, config))


def make_twin(config: Config, spec: EnvSpec) -> Network:
    """Two tables in one, for Double Q-learning."""
    check(config, spec)
    return _table(config, spec, ensembles.twin(config.loss, config.huber_delta))


def _table(config: Config, spec: EnvSpec, head: Head) -> Network:
    try:
        return networks.table(spec, head, config.initial_value)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _same(network: Network) -> Networks:
    return Networks(network, network, None, network)


def _perhaps_ensemble(network: Network, config: Config) -> Network:
    if config.ensemble_size == 1:
        return network
    return ensembles.ensemble(
        network, config.ensemble_size, config.prior_scale, config.mask_probability
    )


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
    _refuse(
        config.prioritized, config, "prioritized", "rollouts are used up, not drawn"
    )
    _refuse(
        config.recurrent != "none", config, "recurrent",
        "only pqn_rnn learns a memory from rollouts; r2d2 does from replay",
    )  # fmt: skip
    _refuse(
        config.num_minibatches > 1, config, "num_minibatches",
        "only pqn and Q(lambda) split their rollouts",
    )  # fmt: skip
    if config.next_value == "sarsa":
        return stores.latest(config, spec)
    return stores.newest(config, spec)


def with_penalty(loss: LossFunction, config: Config) -> LossFunction:
    """The loss, with DQN-Reg's penalty where the configuration gives it a weight."""
    if config.q_penalty is None:
        return loss
    return losses.penalised(loss, config.q_penalty)


def check_table(name: str, config: Config) -> Config:
    """Refuse a tabular algorithm without a table."""
    if config.network != "table":
        raise ConfigError(
            f"network = {config.network!r}: {name} learns a table. Use network = "
            "'table', or algorithm = 'dqn'."
        )
    return config


def check_rollouts(name: str, config: Config) -> Config:
    """Refuse what has no meaning for the returns of rollouts."""
    why = f"{name} regresses to the returns of its rollouts"
    _refuse(config.prioritized, config, "prioritized", why)
    _refuse(config.double_q, config, "double_q", f"{name} has no target network")
    _refuse(config.munchausen, config, "munchausen", why)
    _refuse(config.ensemble_size > 1, config, "ensemble_size", why)
    _refuse(config.n_step > 1, config, "n_step", f"{why}; see trace_decay")
    _refuse(config.next_value != "max", config, "next_value", why)
    _refuse(
        config.head in ("implicit_quantile", "fully_parameterized"), config, "head",
        f"{why}, which hold one number and not a distribution",
    )  # fmt: skip
    steps = config.num_envs
    what = f"num_envs = {config.num_envs}"
    if config.recurrent == "none":
        steps *= config.rollout_length
        what = f"rollout_length x {what}"
    if steps % config.num_minibatches:
        raise ConfigError(
            f"num_minibatches = {config.num_minibatches} must divide {what}, {steps} "
            "examples in a rollout."
        )
    return config


def _refuse(condition: bool, config: Config, field: str, reason: str) -> None:
    if condition:
        raise ConfigError(
            f"{field} = {getattr(config, field)!r} does not go with the rest: {reason}."
        )


def check(config: Config, spec: EnvSpec) -> None:
    """Refuse parts that have no meaning together.

    Raises:
        ConfigError: names the field and says why.
    """
    table = config.network == "table"
    averaging = make_head(config).averages
    for field, used in (
        ("dueling", config.dueling),
        ("noisy", config.noisy),
        ("normalization", config.normalization != "none"),
        ("recurrent", config.recurrent != "none"),
    ):
        _refuse(table and used, config, field, "a table has no layers")
    implicit = config.head not in ARRAY_HEADS
    _refuse(table and implicit, config, "head", "a table cannot take a fraction")
    _refuse(
        config.value_rescaling and config.head not in ("scalar", "quantile"), config,
        "value_rescaling", f"head = {config.head!r} has a scale of its own",
    )  # fmt: skip
    if config.munchausen:
        reason = "munchausen averages the outputs of all actions, which "
        _refuse(not averaging, config, "head", f"{reason}a histogram's cannot be")
        reason = "munchausen "
        _refuse(
            config.n_step > 1, config, "n_step",
            f"{reason}needs the log-policy of every step, and only the first is known",
        )  # fmt: skip
        _refuse(config.double_q, config, "double_q", f"{reason}has no greedy action")
        _refuse(
            config.next_value != "max", config, "next_value",
            f"{reason}bootstraps from its own policy",
        )  # fmt: skip
    _refuse(
        config.next_value == "expected_sarsa" and not averaging, config, "next_value",
        f"outputs of head = {config.head!r} cannot be averaged over actions",
    )  # fmt: skip
    _refuse(
        config.next_value == "sarsa" and config.double_q, config, "double_q",
        "sarsa takes the action that was taken, and selects none",
    )  # fmt: skip
    if config.ensemble_size > 1:
        reason = "the members of an ensemble are scalar and learn by themselves"
        _refuse(config.head != "scalar", config, "head", reason)
        _refuse(config.value_rescaling, config, "value_rescaling", reason)
        _refuse(config.munchausen, config, "munchausen", reason)
        _refuse(config.double_q, config, "double_q", reason)
        _refuse(config.next_value != "max", config, "next_value", reason)
        _refuse(config.noisy, config, "noisy", "an ensemble explores by its members")
        _refuse(
            config.q_penalty is not None, config, "q_penalty",
            "it would pull at members that a mask keeps from learning",
        )  # fmt: skip
        _refuse(config.recurrent != "none", config, "recurrent", reason)
    if config.recurrent != "none":
        reason = "not implemented for networks with a memory"
        _refuse(implicit, config, "head", reason)
        _refuse(config.munchausen, config, "munchausen", reason)
        _refuse(config.next_value != "max", config, "next_value", reason)
    if config.normalization == "batch":
        reason = "batch statistics are kept for networks without memory or fractions"
        _refuse(config.recurrent != "none", config, "recurrent", reason)
        _refuse(implicit, config, "head", reason)
        _refuse(config.ensemble_size > 1, config, "ensemble_size", reason)
    if spec.valid_actions is not None and not (table and config.head == "scalar"):
        raise ConfigError(
            f"{spec.name} has states in which some actions do not exist, which only a "
            "table of scalars can express. Use network = 'table' and head = 'scalar'."
        )
