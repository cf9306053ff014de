"""Compatibility rules between algorithm components: one table, checked by one loop."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxq.config import algorithm_table
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError


class Condition(NamedTuple):
    """A property of a configuration, with its name in messages and pages."""

    name: str
    holds: Callable[[Config], bool]


class Rule(NamedTuple):
    """Values of a field that are compatible with a condition, and why no others are."""

    when: Condition
    field: str
    allowed: tuple[Any, ...]
    reason: str


def _agent(*names: str) -> Callable[[Config], bool]:
    """Whether a function in `names` composes the algorithm, as the table says."""
    return lambda config: algorithm_table.agent_of(config.algorithm) in names


_is_td_agent = _agent("dqn", "double_q_learning")


ARRAY_HEADS = ("scalar", "categorical", "hl_gauss", "two_hot", "quantile")
AVERAGING_HEADS = ("scalar", "quantile", "implicit_quantile", "fully_parameterized")

TABULAR = Condition(
    "a tabular algorithm", lambda c: c.algorithm in algorithm_table.TABULAR
)
Q_LAMBDA = Condition("Q(lambda) and PQN", _agent("q_lambda"))
DOUBLE_TABLE = Condition("`double_q_learning`", _agent("double_q_learning"))
DYNA = Condition("`dyna_q`", _agent("dyna_q"))
ROLLOUTS = Condition(
    "TD learning from rollouts", lambda c: c.rollout_length > 0 and _is_td_agent(c)
)
REPLAY = Condition("replay", lambda c: c.rollout_length == 0 and _is_td_agent(c))
TABLE = Condition("a table", lambda c: c.network == "table")
RESCALED = Condition("`value_rescaling`", lambda c: c.value_rescaling)
MUNCHAUSEN = Condition("`munchausen`", lambda c: c.munchausen)
SARSA = Condition("`next_value=sarsa`", lambda c: c.next_value == "sarsa")
EXPECTED_SARSA = Condition(
    "`next_value=expected_sarsa`", lambda c: c.next_value == "expected_sarsa"
)
CORRECTED = Condition(
    "a `return_estimator` other than n_step", lambda c: c.return_estimator != "n_step"
)
ENSEMBLE = Condition("an ensemble", lambda c: c.ensemble_size > 1)
NOISY = Condition("noisy layers", lambda c: c.noisy)
RECURRENT = Condition("a recurrent network", lambda c: c.recurrent != "none")
REDO = Condition("ReDo", lambda c: c.redo_period is not None)
BATCH_NORM = Condition("batch normalisation", lambda c: c.normalization == "batch")

_MEMBERS = "the members of an ensemble are scalar and learn independently"
_RETURNS = "the network regresses to the returns of its rollouts"
_NOT_AVERAGED = "rescaled outputs cannot be averaged"
_ONE_POLICY = "the average is over one epsilon-greedy policy"
_NOT_RECURRENT = "not implemented for recurrent networks"
_STATISTICS = "batch statistics need a network without memory, fractions or members"
_TWO_TABLES = "there are two scalar tables and one target"
_RECALLED = "the model recalls single steps, all equally often"
_NO_LOG_POLICY = "it needs the log-policy of every step, and only the first is known"
_GREEDY = "the target bootstraps from the best action of one table"

RULES = (
    Rule(TABULAR, "network", ("table",), "it learns a table; use algorithm = 'dqn'"),
    Rule(TABLE, "dueling", (False,), "a table has no layers"),
    Rule(TABLE, "noisy", (False,), "a table has no layers"),
    Rule(TABLE, "normalization", ("none",), "a table has no layers"),
    Rule(TABLE, "recurrent", ("none",), "a table has no layers"),
    Rule(TABLE, "weight_norm", ("none",), "a table has no layers"),
    Rule(
        NOISY, "weight_norm", ("none",),
        "only the mean of the weights would be normalised, not their noise",
    ),
    Rule(TABLE, "head", ARRAY_HEADS, "a table cannot take a fraction as input"),
    *(
        Rule(TABLE, field, (None,), "a table has no features that could go stale")
        for field in (
            "weight_decay", "l2_penalty", "l2_init_penalty", "reset_period",
            "redo_period", "hare_period",
        )
    ),
    Rule(RESCALED, "head", ("scalar", "quantile"), "other heads set their own scale"),
    Rule(MUNCHAUSEN, "head", AVERAGING_HEADS, "histograms cannot be averaged"),
    Rule(MUNCHAUSEN, "value_rescaling", (False,), _NOT_AVERAGED),
    Rule(
        MUNCHAUSEN, "n_step", (1,), _NO_LOG_POLICY,
    ),
    Rule(MUNCHAUSEN, "double_q", (False,), "it selects no greedy action"),
    Rule(MUNCHAUSEN, "next_value", ("max",), "it bootstraps from its own policy"),
    Rule(EXPECTED_SARSA, "exploration", ("epsilon_greedy",), _ONE_POLICY),
    Rule(
        EXPECTED_SARSA, "epsilon_schedule",
        ("linear", "exponential", "episodic", "none"), _ONE_POLICY,
    ),
    Rule(SARSA, "double_q", (False,), "the next action is the one taken"),
    Rule(
        CORRECTED, "head", ("scalar", "hl_gauss", "two_hot"),
        "expected returns are corrected, not their distributions",
    ),
    Rule(CORRECTED, "munchausen", (False,), _NO_LOG_POLICY),
    Rule(
        CORRECTED, "next_value", ("max", "expected_sarsa"),
        "sarsa evaluates the policy that acted, whose returns need no correction",
    ),
    Rule(ENSEMBLE, "head", ("scalar",), _MEMBERS),
    Rule(ENSEMBLE, "value_rescaling", (False,), _MEMBERS),
    Rule(ENSEMBLE, "munchausen", (False,), _MEMBERS),
    Rule(ENSEMBLE, "double_q", (False,), _MEMBERS),
    Rule(ENSEMBLE, "next_value", ("max",), _MEMBERS),
    Rule(
        ENSEMBLE, "return_estimator", ("n_step",),
        "every member has its own greedy policy, and the traces follow one",
    ),
    Rule(ENSEMBLE, "noisy", (False,), "an ensemble explores through its members"),
    Rule(
        ENSEMBLE, "q_penalty", (None,),
        "it would also act on members whose mask is zero",
    ),
    Rule(ENSEMBLE, "recurrent", ("none",), _MEMBERS),
    Rule(RECURRENT, "head", ARRAY_HEADS, _NOT_RECURRENT),
    Rule(RECURRENT, "munchausen", (False,), _NOT_RECURRENT),
    Rule(RECURRENT, "next_value", ("max",), _NOT_RECURRENT),
    Rule(
        RECURRENT, "episodic_life", (False,),
        "its memory lasts as long as the episode, through the loss of a life",
    ),
    Rule(
        REDO, "weight_norm", ("none",),
        "without the weights of one unit, those of others would be scaled up",
    ),
    Rule(REDO, "recurrent", ("none",), "a unit of a recurrent cell reads itself"),
    Rule(
        REDO, "optimizer", ("adam", "amsgrad", "nadam", "radam", "rmsprop", "sgd"),
        "muon's step for a unit depends on the moments of the others",
    ),
    Rule(BATCH_NORM, "recurrent", ("none",), _STATISTICS),
    Rule(BATCH_NORM, "head", ARRAY_HEADS, _STATISTICS),
    Rule(BATCH_NORM, "ensemble_size", (1,), _STATISTICS),
    Rule(
        REPLAY, "next_value", ("max", "expected_sarsa"),
        "sarsa evaluates the current policy, and a replay buffer holds actions of "
        "older ones; set rollout_length = 1, or use expected_sarsa",
    ),
    Rule(ROLLOUTS, "prioritized", (False,), "every step of a rollout is used once"),
    Rule(
        ROLLOUTS, "recurrent", ("none",),
        "only pqn_rnn trains recurrent networks on rollouts; r2d2 uses replay",
    ),
    Rule(
        ROLLOUTS, "num_minibatches", (1,),
        "only pqn and Q(lambda) split their rollouts",
    ),
    Rule(Q_LAMBDA, "prioritized", (False,), _RETURNS),
    Rule(Q_LAMBDA, "double_q", (False,), "there is no target network"),
    Rule(Q_LAMBDA, "hare_period", (None,), "there is no target network"),
    Rule(Q_LAMBDA, "munchausen", (False,), _RETURNS),
    Rule(Q_LAMBDA, "ensemble_size", (1,), _RETURNS),
    Rule(Q_LAMBDA, "n_step", (1,), f"{_RETURNS}; see trace_decay"),
    Rule(Q_LAMBDA, "return_estimator", ("n_step",), f"{_RETURNS}; see trace_decay"),
    Rule(Q_LAMBDA, "next_value", ("max",), _RETURNS),
    Rule(
        Q_LAMBDA, "head", ARRAY_HEADS,
        f"{_RETURNS}, which are single numbers, not distributions",
    ),
    Rule(DOUBLE_TABLE, "head", ("scalar",), _TWO_TABLES),
    Rule(DOUBLE_TABLE, "value_rescaling", (False,), _TWO_TABLES),
    Rule(DOUBLE_TABLE, "double_q", (False,), _TWO_TABLES),
    Rule(DOUBLE_TABLE, "munchausen", (False,), _TWO_TABLES),
    Rule(DOUBLE_TABLE, "return_estimator", ("n_step",), _TWO_TABLES),
    Rule(DOUBLE_TABLE, "next_value", ("max",), _TWO_TABLES),
    Rule(DOUBLE_TABLE, "ensemble_size", (1,), _TWO_TABLES),
    Rule(DYNA, "n_step", (1,), _RECALLED),
    Rule(DYNA, "return_estimator", ("n_step",), _RECALLED),
    Rule(DYNA, "prioritized", (False,), _RECALLED),
    Rule(DYNA, "num_minibatches", (1,), _RECALLED),
    Rule(DYNA, "munchausen", (False,), _GREEDY),
    Rule(DYNA, "next_value", ("max",), _GREEDY),
    Rule(DYNA, "ensemble_size", (1,), _GREEDY),
)  # fmt: skip


def check(config: Config) -> None:
    """Raise for the first rule that a configuration breaks.

    Raises:
        ConfigError: with the field, its value, the reason and the compatible values.
    """
    for rule in RULES:
        value = getattr(config, rule.field)
        if rule.when.holds(config) and value not in rule.allowed:
            raise ConfigError(
                f"{rule.field} = {value!r} is incompatible with "
                f"{rule.when.name.replace('`', '')}: {rule.reason}. Set {rule.field} "
                f"to {' or '.join(map(repr, rule.allowed))}."
            )
