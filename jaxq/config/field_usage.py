"""One table of the parts that read each field.

A field without a reader in a configuration has no effect there.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from jaxq.config import compatibility
from jaxq.config.components import HISTOGRAMS
from jaxq.config.config import Config

QUANTILES = ("quantile", "implicit_quantile", "fully_parameterized")


class Usage(NamedTuple):
    """A part, when it is used, and the fields that it reads."""

    part: str
    used: Callable[[Config], bool]
    fields: tuple[str, ...]


def _any(field: str, *values: object) -> Callable[[Config], bool]:
    return lambda config: getattr(config, field) in values


def _replays(config: Config) -> bool:
    return config.rollout_length == 0


def _q_lambda(config: Config) -> bool:
    return compatibility.Q_LAMBDA.holds(config)


def _temporal_difference(config: Config) -> bool:
    return not _q_lambda(config)


def _samples(config: Config) -> bool:
    return _replays(config) or compatibility.DYNA.holds(config)


def _scalar_loss(config: Config) -> bool:
    return config.head == "scalar"


def _huber(config: Config) -> bool:
    return config.head in QUANTILES or (
        config.head == "scalar" and config.loss == "huber"
    )


def _layers(config: Config) -> bool:
    return config.network != "table"


def _sequences(config: Config) -> bool:
    return config.recurrent != "none" and _replays(config)


USAGE = (
    Usage(
        "every run",
        lambda config: True,
        (
            "algorithm", "defaults", "num_seeds", "first_seed", "seed_block",
            "total_steps", "num_envs", "chunk_iterations", "environment",
            "environment_args", "time_limit", "timeout_is_terminal", "sticky_actions",
            "full_action_set", "discount", "rollout_length", "learning_rate",
            "learning_rate_schedule", "optimizer", "max_grad_norm", "loss_reduction",
            "head", "network", "q_penalty", "recurrent", "epsilon_schedule",
            "exploration", "eval_points", "eval_episodes", "eval_epsilon",
            "eval_max_steps",
        ),
    ),
    Usage("replay", _replays, (
        "buffer_size", "warmup_steps", "update_steps", "num_updates", "prioritized",
    )),
    Usage("replay and Dyna-Q's model", _samples, ("batch_size",)),
    Usage("rollouts", lambda c: c.rollout_length > 0, (
        "num_epochs", "num_minibatches",
    )),
    Usage("Q(lambda)", _q_lambda, ("trace_decay", "trace_cut")),
    Usage("TD targets", _temporal_difference, (
        "n_step", "next_value", "double_q", "munchausen", "target_period",
        "target_tau",
    )),
    Usage("munchausen", _any("munchausen", True), (
        "munchausen_alpha", "entropy_temperature", "munchausen_clip",
    )),
    Usage("a decaying step size", _any(
        "learning_rate_schedule", "linear", "inverse"
    ), ("learning_rate_updates",)),
    Usage("Adam and RAdam", _any("optimizer", "adam", "radam"), (
        "adam_b1", "adam_b2",
    )),
    Usage("RMSprop", _any("optimizer", "rmsprop"), (
        "rmsprop_decay", "rmsprop_centered", "rmsprop_eps_in_root",
    )),
    Usage("Adam, RAdam and RMSprop", _any(
        "optimizer", "adam", "radam", "rmsprop"
    ), ("optimizer_eps",)),
    Usage("the scalar head", _scalar_loss, ("loss",)),
    Usage("Huber's loss", _huber, ("huber_delta",)),
    Usage("scalar and quantile heads", _any("head", "scalar", "quantile"), (
        "value_rescaling",
    )),
    Usage("histogram heads", _any("head", *HISTOGRAMS), (
        "num_atoms", "v_min", "v_max",
    )),
    Usage("HL-Gauss", _any("head", "hl_gauss"), ("hl_gauss_sigma",)),
    Usage("QR-DQN and FQF", _any("head", "quantile", "fully_parameterized"), (
        "num_quantiles",
    )),
    Usage("IQN", _any("head", "implicit_quantile"), (
        "quantile_samples", "target_samples", "policy_samples",
    )),
    Usage("IQN and FQF", _any("head", "implicit_quantile", "fully_parameterized"), (
        "num_cosines",
    )),
    Usage("FQF", _any("head", "fully_parameterized"), (
        "fraction_learning_rate", "fraction_entropy",
    )),
    Usage("layers", _layers, (
        "weight_init", "activation", "dueling", "stream_sizes", "noisy",
        "normalization",
    )),
    Usage("an mlp torso", _any("network", "auto", "mlp"), ("hidden_sizes",)),
    Usage("MinAtar's torso", _any("network", "auto", "minatar"), (
        "channels", "dense_size",
    )),
    Usage("orthogonal weights", lambda c: _layers(c) and c.weight_init == "orthogonal",
          ("output_scale",)),
    Usage("a table", _any("network", "table"), ("initial_value",)),
    Usage("noisy layers", _any("noisy", True), ("noisy_sigma", "shared_noise")),
    Usage("TD learning of one or several networks", _temporal_difference, (
        "ensemble_size",
    )),
    Usage("an ensemble", lambda c: c.ensemble_size > 1, (
        "prior_scale", "mask_probability",
    )),
    Usage("a recurrent network", lambda c: c.recurrent != "none", ("memory_size",)),
    Usage("replayed sequences", _sequences, (
        "sequence_length", "burn_in", "sequence_max_weight",
    )),
    Usage("prioritised replay", _any("prioritized", True), (
        "priority_exponent", "importance_exponent", "importance_updates",
        "priority_epsilon",
    )),
    Usage("a decaying epsilon", _any(
        "epsilon_schedule", "linear", "exponential", "episodic"
    ), ("epsilon_end",)),
    Usage("a schedule of epsilon", _any(
        "epsilon_schedule", "linear", "exponential", "episodic", "ladder"
    ), ("epsilon_start",)),
    Usage("a decay in steps", _any("epsilon_schedule", "linear", "exponential"), (
        "epsilon_steps",
    )),
    Usage("a decay per episode", _any("epsilon_schedule", "episodic"), (
        "epsilon_decrement",
    )),
    Usage("a ladder of epsilons", _any("epsilon_schedule", "ladder"), (
        "ladder_exponent",
    )),
    Usage("Boltzmann exploration", _any("exploration", "boltzmann"), (
        "temperature",
    )),
)  # fmt: skip


def readers(field: str) -> list[str]:
    """Parts that read a field, in words."""
    return [usage.part for usage in USAGE if field in usage.fields]


def unused(config: Config) -> list[str]:
    """Fields that no part of a configuration reads, and that have no effect.

    With network = "auto" the torso depends on the observation; the fields of both
    torsos then count as read.
    """
    read = {name for usage in USAGE if usage.used(config) for name in usage.fields}
    names = [field.name for field in dataclasses.fields(Config)]
    return [name for name in names if name not in read]
