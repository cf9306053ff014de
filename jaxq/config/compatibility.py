"""Compatibility rules between algorithm components: one table, checked by one loop."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxq.config import algorithm_table, average_reward
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
STREAM = Condition("streaming agents", _agent("stream"))
GRADIENT_CORRECTED = Condition("a gradient correction", lambda c: c.gradient_correction)
NOT_STREAM = Condition(
    "agents without eligibility traces",
    _agent("dqn", "double_q_learning", "q_lambda", "dyna_q"),
)
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
AVERAGED = Condition("several target networks", lambda c: c.averaged_targets > 1)
AVERAGE_REWARD = Condition("an average reward", lambda c: c.average_reward != "none")
UNDISCOUNTED = Condition(
    "an average reward without a discount",
    lambda c: c.average_reward in average_reward.UNDISCOUNTED,
)
RVI_TABLE = Condition(
    "RVI Q-learning on a table",
    lambda c: c.average_reward == "rvi" and c.network == "table",
)
BATCH_NORM = Condition("batch normalisation", lambda c: c.normalization == "batch")

_MEMBERS = "the members of an ensemble are scalar and learn independently"
_ONE_AVERAGE = "the average is over earlier parameters of one network"
_RETURNS = "the network regresses to the returns of its rollouts"
_NOT_AVERAGED = "rescaled outputs cannot be averaged"
_ONE_POLICY = "the average is over one epsilon-greedy policy"
_NOT_RECURRENT = "not implemented for recurrent networks"
_STATISTICS = "batch statistics need a network without memory, fractions or members"
_TWO_TABLES = "there are two scalar tables and one target"
_RECALLED = "the model recalls single steps, all equally often"
_TRACES = "eligibility traces need the gradient of a single estimate"
_ONE_STEP = "it learns once from every step"
_MEAN_ENTRY = "the average is the mean of the entries, which must be values"
_GREEDY = "the target bootstraps from the best action of one table"

RULES = (
    Rule(TABULAR, "network", ("table",), "it learns a table; use algorithm = 'dqn'"),
    Rule(TABLE, "dueling", (False,), "a table has no layers"),
    Rule(TABLE, "noisy", (False,), "a table has no layers"),
    Rule(TABLE, "normalization", ("none",), "a table has no layers"),
    Rule(TABLE, "recurrent", ("none",), "a table has no layers"),
    Rule(TABLE, "weight_norm", ("none",), "a table has no layers"),
    Rule(
        TABLE, "intrinsic_bonus", ("none", "count"),
        "a table has no layers; the visits of its states can be counted",
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
    Rule(
        CORRECTED, "munchausen", (False,),
        "it needs the log-policy of every step, and only the first is known",
    ),
    Rule(
        CORRECTED, "next_value", ("max", "expected_sarsa"),
        "sarsa evaluates the policy that acted, whose returns need no correction",
    ),
    Rule(ENSEMBLE, "head", ("scalar",), _MEMBERS),
    Rule(ENSEMBLE, "value_rescaling", (False,), _MEMBERS),
    Rule(ENSEMBLE, "munchausen", (False,), _MEMBERS),
    Rule(
        ENSEMBLE, "return_estimator", ("n_step",),
        "every member has its own greedy policy, and the traces follow one",
    ),
    Rule(ENSEMBLE, "next_value", ("max",), _MEMBERS),
    Rule(ENSEMBLE, "noisy", (False,), "an ensemble explores through its members"),
    Rule(
        ENSEMBLE, "q_penalty", (None,),
        "it would also act on members whose mask is zero",
    ),
    Rule(ENSEMBLE, "recurrent", ("none",), _MEMBERS),
    Rule(AVERAGED, "head", ("scalar",), "only expected returns are averaged"),
    Rule(AVERAGED, "value_rescaling", (False,), "only expected returns are averaged"),
    Rule(AVERAGED, "ensemble_size", (1,), _ONE_AVERAGE),
    Rule(AVERAGED, "recurrent", ("none",), _ONE_AVERAGE),
    Rule(
        AVERAGE_REWARD, "return_estimator", ("n_step",),
        "the corrections of centred rewards are not implemented",
    ),
    Rule(AVERAGED, "return_estimator", ("n_step",), _ONE_AVERAGE),
    Rule(AVERAGED, "hare_period", (None,), _ONE_AVERAGE),
    Rule(Q_LAMBDA, "averaged_targets", (1,), "there is no target network"),
    Rule(STREAM, "averaged_targets", (1,), "there is no target network"),
    Rule(DOUBLE_TABLE, "averaged_targets", (1,), _TWO_TABLES),
    Rule(RECURRENT, "head", ARRAY_HEADS, _NOT_RECURRENT),
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
    Rule(
        AVERAGE_REWARD, "episodic_life", (False,),
        "the task is continuing, and no step ends it",
    ),
    Rule(UNDISCOUNTED, "discount", (1.0,), "it maximises the reward per step"),
    Rule(
        UNDISCOUNTED, "head", ("scalar", "hl_gauss", "two_hot"),
        "the variance of an undiscounted sum of rewards grows without bound, so its "
        "distribution has no estimate",
    ),
    Rule(RVI_TABLE, "head", ("scalar",), _MEAN_ENTRY),
    Rule(RVI_TABLE, "value_rescaling", (False,), _MEAN_ENTRY),
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
    Rule(
        NOT_STREAM, "optimizer",
        ("adam", "amsgrad", "nadam", "radam", "rmsprop", "muon", "sgd"),
        "the others are rules for eligibility traces; use algorithm = 'stream_q'",
    ),
    Rule(
        STREAM, "optimizer", ("obgd", "adaptive", "intentional", "sgd"),
        "the others have no meaning for eligibility traces",
    ),
    Rule(
        NOT_STREAM, "gradient_correction", (False,),
        "it corrects eligibility traces; use algorithm = 'qrc'",
    ),
    Rule(
        GRADIENT_CORRECTED, "optimizer", ("sgd",),
        "its step is not a multiple of the trace",
    ),
    Rule(STREAM, "num_envs", (1,), "a stream is one environment; train more seeds"),
    Rule(STREAM, "rollout_length", (1,), _ONE_STEP),
    Rule(STREAM, "num_minibatches", (1,), _ONE_STEP),
    Rule(STREAM, "num_epochs", (1,), _ONE_STEP),
    Rule(STREAM, "n_step", (1,), "it bootstraps from every step; see trace_decay"),
    Rule(STREAM, "average_reward", ("none",), "not implemented for its traces"),
    Rule(STREAM, "return_estimator", ("n_step",), _ONE_STEP),
    Rule(STREAM, "prioritized", (False,), _ONE_STEP),
    Rule(STREAM, "head", ("scalar",), _TRACES),
    Rule(STREAM, "value_rescaling", (False,), _TRACES),
    Rule(STREAM, "munchausen", (False,), _TRACES),
    Rule(STREAM, "ensemble_size", (1,), _TRACES),
    Rule(STREAM, "recurrent", ("none",), _TRACES),
    Rule(STREAM, "noisy", (False,), _TRACES),
    Rule(STREAM, "normalization", ("none", "layer"), "there is no batch"),
    Rule(STREAM, "double_q", (False,), "there is no target network"),
    Rule(STREAM, "hare_period", (None,), "there is no target network"),
    Rule(STREAM, "next_value", ("max", "sarsa"), _TRACES),
    *(
        Rule(STREAM, field, (None,), "its steps do not follow a loss")
        for field in (
            "max_grad_norm", "q_penalty", "l2_penalty", "l2_init_penalty",
            "reset_period", "redo_period",
        )
    ),
    Rule(
        TABLE, "normalize_observations", (False,), "a table has no inputs",
    ),
    Rule(DYNA, "averaged_targets", (1,), _GREEDY),
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
