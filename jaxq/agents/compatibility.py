"""Which parts have a meaning together; the others are refused, with the reason."""

from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.types import EnvSpec

ARRAY_HEADS = ("scalar", "categorical", "hl_gauss", "two_hot", "quantile")


def refuse(condition: bool, config: Config, field: str, reason: str) -> None:
    """Refuse the value of a field, for a reason, if a condition holds."""
    if condition:
        raise ConfigError(
            f"{field} = {getattr(config, field)!r} does not go with the rest: {reason}."
        )


def refuse_any(config: Config, reason: str, *fields: str) -> None:
    """Refuse the first of some static fields that has not its default."""
    for field in fields:
        refuse(getattr(config, field) != getattr(Config, field), config, field, reason)


def check_table(name: str, config: Config) -> Config:
    """Refuse a tabular algorithm without a table."""
    if config.network != "table":
        raise ConfigError(
            f"network = {config.network!r}: {name} learns a table. Use network = "
            "'table', or algorithm = 'dqn'."
        )
    return config


def check_twin(config: Config) -> Config:
    """Refuse what has no meaning for the two tables of Double Q-learning."""
    refuse_any(
        config, "double_q_learning has two scalar tables and one target",
        "head", "value_rescaling", "double_q", "munchausen", "next_value",
        "ensemble_size",
    )  # fmt: skip
    return config


def check_model(config: Config) -> Config:
    """Refuse what has no meaning for the single steps that a model recalls."""
    refuse_any(
        config, "dyna_q's model recalls single steps, every one equally often",
        "n_step", "prioritized", "num_minibatches",
    )  # fmt: skip
    refuse_any(
        config, "dyna_q bootstraps from the best action of one table",
        "munchausen", "next_value", "ensemble_size",
    )  # fmt: skip
    return config


def check_rollouts(name: str, config: Config) -> Config:
    """Refuse what has no meaning for the returns of rollouts."""
    why = f"{name} regresses to the returns of its rollouts"
    refuse(config.prioritized, config, "prioritized", why)
    refuse(config.double_q, config, "double_q", f"{name} has no target network")
    refuse(config.munchausen, config, "munchausen", why)
    refuse(config.ensemble_size > 1, config, "ensemble_size", why)
    refuse(config.n_step > 1, config, "n_step", f"{why}; see trace_decay")
    refuse(config.next_value != "max", config, "next_value", why)
    refuse(
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


def check(config: Config, spec: EnvSpec, averaging: bool) -> None:
    """Refuse parts that have no meaning together.

    Args:
        config: the parts.
        spec: what is observed.
        averaging: whether outputs of the head may be averaged over actions.

    Raises:
        ConfigError: names the field and says why.
    """
    table = config.network == "table"
    for field, used in (
        ("dueling", config.dueling),
        ("noisy", config.noisy),
        ("normalization", config.normalization != "none"),
        ("recurrent", config.recurrent != "none"),
    ):
        refuse(table and used, config, field, "a table has no layers")
    implicit = config.head not in ARRAY_HEADS
    refuse(table and implicit, config, "head", "a table cannot take a fraction")
    refuse(
        config.value_rescaling and config.head not in ("scalar", "quantile"), config,
        "value_rescaling", f"head = {config.head!r} has a scale of its own",
    )  # fmt: skip
    if config.munchausen:
        reason = "munchausen averages the outputs of all actions, which "
        refuse(not averaging, config, "head", f"{reason}a histogram's cannot be")
        reason = "munchausen "
        refuse(
            config.n_step > 1, config, "n_step",
            f"{reason}needs the log-policy of every step, and only the first is known",
        )  # fmt: skip
        refuse(config.double_q, config, "double_q", f"{reason}has no greedy action")
        refuse(
            config.next_value != "max", config, "next_value",
            f"{reason}bootstraps from its own policy",
        )  # fmt: skip
    refuse(
        config.next_value == "expected_sarsa" and not averaging, config, "next_value",
        f"outputs of head = {config.head!r} cannot be averaged over actions",
    )  # fmt: skip
    reason = "expected_sarsa averages over one epsilon-greedy policy"
    for field, other in (("exploration", "boltzmann"), ("epsilon_schedule", "ladder")):
        refuse(
            config.next_value == "expected_sarsa" and getattr(config, field) == other,
            config, field, reason,
        )  # fmt: skip
    refuse(
        config.next_value == "sarsa" and config.double_q, config, "double_q",
        "sarsa takes the action that was taken, and selects none",
    )  # fmt: skip
    if config.ensemble_size > 1:
        reason = "the members of an ensemble are scalar and learn by themselves"
        refuse_any(
            config, reason,
            "head", "value_rescaling", "munchausen", "double_q", "next_value",
        )  # fmt: skip
        refuse(config.noisy, config, "noisy", "an ensemble explores by its members")
        refuse(
            config.q_penalty is not None, config, "q_penalty",
            "it would pull at members that a mask keeps from learning",
        )  # fmt: skip
        refuse(config.recurrent != "none", config, "recurrent", reason)
    if config.recurrent != "none":
        reason = "not implemented for networks with a memory"
        refuse(implicit, config, "head", reason)
        refuse(config.munchausen, config, "munchausen", reason)
        refuse(config.next_value != "max", config, "next_value", reason)
    if config.normalization == "batch":
        reason = "batch statistics are kept for networks without memory or fractions"
        refuse(config.recurrent != "none", config, "recurrent", reason)
        refuse(implicit, config, "head", reason)
        refuse(config.ensemble_size > 1, config, "ensemble_size", reason)
    if spec.valid_actions is not None and not (table and config.head == "scalar"):
        raise ConfigError(
            f"{spec.name} has states in which some actions do not exist, which only a "
            "table of scalars can express. Use network = 'table' and head = 'scalar'."
        )
