"""Compatibility rules between algorithm components: one table, checked by one loop."""

from jaxq.config import conditions as on
from jaxq.config import offline, streams
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.config.rule import Rule

_MEMBERS = "ensemble members are feed-forward and learn by plain Q-learning"
_ONE_AVERAGE = "the average is over earlier parameters of one network"
_NO_TARGET = "there is no target network"
_SHARED = "the target is a copy of the last layer alone"
_EXPECTED = "only expected returns are averaged"
_SHOWN = "the cell sees the raw reward, not the one that is learned from"
_RETURNS = "the network regresses to the returns of its rollouts"
_NOT_AVERAGED = "rescaled outputs cannot be averaged"
_ONE_POLICY = "the average is over one epsilon-greedy policy"
_STATISTICS = "batch statistics need a network without memory, fractions or members"
_TWO_TABLES = "there are two scalar tables and one target"
_RECALLED = "the model recalls single steps, all equally often"
_MEAN_ENTRY = "the average is the mean of the entries, which must be values"
_SUMMED = "the sum over a team is defined for expected returns"
_TEAMS = "not implemented for examples of several agents"
_SUCCESSORS = "it predicts the features of steps that follow one another in replay"
_GREEDY = "the target bootstraps from the best action of one table"

RULES = (
    Rule(on.TABULAR, "network", ("table",), "it learns a table; use algorithm = 'dqn'"),
    Rule(on.TABLE, "dueling", (False,), "a table has no layers"),
    Rule(on.TABLE, "noisy", (False,), "a table has no layers"),
    Rule(on.TABLE, "normalization", ("none",), "a table has no layers"),
    Rule(on.TABLE, "recurrent", ("none",), "a table has no layers"),
    Rule(on.TABLE, "weight_norm", ("none",), "a table has no layers"),
    Rule(
        on.TABLE, "intrinsic_bonus", ("none", "count"),
        "a table has no layers; the visits of its states can be counted",
    ),
    Rule(on.TABLE, "spr_steps", (None,), "a table has no features to predict"),
    Rule(on.TABLE, "head", on.ARRAY_HEADS, "a table cannot take a fraction as input"),
    *(
        Rule(on.TABLE, field, (None,), "a table has no features that could go stale")
        for field in (
            "weight_decay", "l2_penalty", "l2_init_penalty", "reset_period",
            "redo_period", "hare_period",
        )
    ),
    Rule(on.TABLE, "iterated_heads", (None,), "a table has no last layer to copy"),
    Rule(
        on.RESCALED, "head", ("scalar", "quantile"), "other heads set their own scale"
    ),
    Rule(on.MUNCHAUSEN, "head", on.AVERAGING_HEADS, "histograms cannot be averaged"),
    Rule(on.MUNCHAUSEN, "value_rescaling", (False,), _NOT_AVERAGED),
    Rule(on.MUNCHAUSEN, "double_q", (False,), "it selects no greedy action"),
    Rule(on.MUNCHAUSEN, "next_value", ("max",), "it bootstraps from its own policy"),
    Rule(on.EXPECTED_SARSA, "exploration", ("epsilon_greedy",), _ONE_POLICY),
    Rule(
        on.EXPECTED_SARSA, "epsilon_schedule",
        ("linear", "exponential", "episodic", "none"), _ONE_POLICY,
    ),
    Rule(on.SARSA, "double_q", (False,), "the next action is the one taken"),
    Rule(
        on.CORRECTED, "head", ("scalar", "hl_gauss", "two_hot"),
        "only expected returns are corrected, not distributions of returns",
    ),
    Rule(
        on.CORRECTED, "munchausen", (False,),
        "it needs the log-policy of every step, and only the first is known",
    ),
    Rule(
        on.CORRECTED, "next_value", ("max", "expected_sarsa"),
        "sarsa evaluates the policy that acted, whose returns need no correction",
    ),
    Rule(
        on.ENSEMBLE, "head", on.ARRAY_HEADS,
        "a prior cannot be added to quantiles at other fractions",
    ),
    Rule(
        on.MIXTURE, "head", ("scalar",),
        "it learns a random average of expected returns",
    ),
    Rule(on.ENSEMBLE, "value_rescaling", (False,), _MEMBERS),
    Rule(on.ENSEMBLE, "munchausen", (False,), _MEMBERS),
    Rule(on.ENSEMBLE, "next_value", ("max",), _MEMBERS),
    Rule(
        on.ENSEMBLE, "return_estimator", ("n_step",),
        "every member has its own greedy policy, and the traces follow one",
    ),
    Rule(on.ENSEMBLE, "noisy", (False,), "an ensemble explores through its members"),
    Rule(
        on.INFORMATION_DIRECTED, "exploration", ("epsilon_greedy", "epsilon_z_greedy"),
        "it acts on a ratio that has no unit of the return",
    ),
    Rule(
        on.ENSEMBLE, "q_penalty", (None,),
        "it would also act on members whose mask is zero",
    ),
    Rule(on.ENSEMBLE, "recurrent", ("none",), _MEMBERS),
    Rule(on.AVERAGED, "head", ("scalar",), _EXPECTED),
    Rule(on.AVERAGED, "value_rescaling", (False,), _EXPECTED),
    Rule(on.AVERAGED, "ensemble_size", (1,), _ONE_AVERAGE),
    Rule(on.AVERAGED, "recurrent", ("none",), _ONE_AVERAGE),
    Rule(
        on.AVERAGE_REWARD, "return_estimator", ("n_step",),
        "the corrections of centred rewards are not implemented",
    ),
    Rule(on.AVERAGED, "return_estimator", ("n_step",), _ONE_AVERAGE),
    Rule(on.AVERAGED, "hare_period", (None,), _ONE_AVERAGE),
    Rule(on.ITERATED, "averaged_targets", (1,), _SHARED),
    Rule(on.ITERATED, "hare_period", (None,), _SHARED),
    Rule(on.ITERATED, "ensemble_size", (1,), "ensemble members share no layers"),
    Rule(on.Q_LAMBDA, "averaged_targets", (1,), _NO_TARGET),
    Rule(on.Q_LAMBDA, "iterated_heads", (None,), _NO_TARGET),
    Rule(on.DOUBLE_TABLE, "averaged_targets", (1,), _TWO_TABLES),
    Rule(
        on.RECURRENT, "spr_steps", (None,),
        "its features also depend on the memory",
    ),
    Rule(
        on.ITERATED, "spr_steps", (None,),
        "it needs the features of a target network",
    ),
    Rule(
        on.RECURRENT, "episodic_life", (False,),
        "its memory lasts as long as the episode, through the loss of a life",
    ),
    Rule(
        on.REDO, "weight_norm", ("none",),
        "zeroing the weights of one unit would scale up the weights of the others",
    ),
    Rule(on.REDO, "recurrent", ("none",), "a unit of a recurrent cell reads itself"),
    Rule(
        on.REDO, "optimizer", ("adam", "amsgrad", "nadam", "radam", "rmsprop", "sgd"),
        "muon's step for a unit depends on the moments of the others",
    ),
    Rule(
        on.AVERAGE_REWARD, "episodic_life", (False,),
        "the task is continuing, and no step ends it",
    ),
    Rule(on.UNDISCOUNTED, "discount", (1.0,), "it maximises the reward per step"),
    Rule(on.UNDISCOUNTED, "discount_start", (None,), "its discount is always 1"),
    Rule(
        on.UNDISCOUNTED, "head", ("scalar", "hl_gauss", "two_hot"),
        "the variance of an undiscounted sum of rewards grows without bound, so its "
        "distribution cannot be estimated",
    ),
    Rule(on.RVI_TABLE, "head", ("scalar",), _MEAN_ENTRY),
    Rule(on.RVI_TABLE, "value_rescaling", (False,), _MEAN_ENTRY),
    Rule(on.BATCH_NORM, "recurrent", ("none",), _STATISTICS),
    Rule(on.BATCH_NORM, "head", on.ARRAY_HEADS, _STATISTICS),
    Rule(on.BATCH_NORM, "ensemble_size", (1,), _STATISTICS),
    Rule(
        on.REPLAY, "next_value", ("max", "expected_sarsa"),
        "sarsa evaluates the current policy, and a replay buffer holds actions of "
        "older ones; set rollout_length = 1, or use expected_sarsa",
    ),
    Rule(on.ROLLOUTS, "prioritized", (False,), "every step of a rollout is used once"),
    Rule(
        on.ROLLOUTS, "recurrent", ("none",),
        "only pqn_rnn trains recurrent networks on rollouts; r2d2 uses replay",
    ),
    Rule(
        on.ROLLOUTS, "num_minibatches", (1,),
        "only pqn and Q(lambda) split their rollouts",
    ),
    Rule(on.RECALLING_ROLLOUTS, "average_reward", ("none",), _SHOWN),
    Rule(on.RECALLING_ROLLOUTS, "intrinsic_bonus", ("none",), _SHOWN),
    Rule(on.ROLLOUTS, "spr_steps", (None,), _SUCCESSORS),
    Rule(on.Q_LAMBDA, "spr_steps", (None,), _SUCCESSORS),
    Rule(on.Q_LAMBDA, "prioritized", (False,), _RETURNS),
    Rule(on.Q_LAMBDA, "double_q", (False,), _NO_TARGET),
    Rule(on.Q_LAMBDA, "hare_period", (None,), _NO_TARGET),
    Rule(on.Q_LAMBDA, "munchausen", (False,), _RETURNS),
    Rule(on.Q_LAMBDA, "ensemble_size", (1,), _RETURNS),
    Rule(on.Q_LAMBDA, "n_step", (1,), f"{_RETURNS}; see trace_decay"),
    Rule(on.Q_LAMBDA, "n_step_start", (None,), f"{_RETURNS}; see trace_decay"),
    Rule(on.Q_LAMBDA, "return_estimator", ("n_step",), f"{_RETURNS}; see trace_decay"),
    Rule(on.Q_LAMBDA, "next_value", ("max",), _RETURNS),
    Rule(
        on.Q_LAMBDA, "head", on.ARRAY_HEADS,
        f"{_RETURNS}, which are single numbers, not distributions",
    ),
    Rule(on.SUMMED, "head", ("scalar",), _SUMMED),
    Rule(on.SUMMED, "value_rescaling", (False,), _SUMMED),
    Rule(on.SUMMED, "trace_cut", (False,), "its agents have traces of one length"),
    Rule(on.SUMMED, "average_reward", ("none",), _TEAMS),
    Rule(on.SUMMED, "normalization", ("none", "layer"), _TEAMS),
    Rule(on.SUMMED, "normalize_observations", (False,), _TEAMS),
    Rule(on.SUMMED, "reset_period", (None,), _TEAMS),
    Rule(on.SUMMED, "redo_period", (None,), _TEAMS),
    Rule(on.DOUBLE_TABLE, "head", ("scalar",), _TWO_TABLES),
    Rule(on.DOUBLE_TABLE, "value_rescaling", (False,), _TWO_TABLES),
    Rule(on.DOUBLE_TABLE, "double_q", (False,), _TWO_TABLES),
    Rule(on.DOUBLE_TABLE, "munchausen", (False,), _TWO_TABLES),
    Rule(on.DOUBLE_TABLE, "return_estimator", ("n_step",), _TWO_TABLES),
    Rule(on.DOUBLE_TABLE, "next_value", ("max",), _TWO_TABLES),
    Rule(on.DOUBLE_TABLE, "ensemble_size", (1,), _TWO_TABLES),
    Rule(on.TABLE, "normalize_observations", (False,), "a table has no inputs"),
    *offline.RULES,
    *streams.RULES,
    Rule(on.DYNA, "averaged_targets", (1,), _GREEDY),
    Rule(on.DYNA, "n_step", (1,), _RECALLED),
    Rule(on.DYNA, "n_step_start", (None,), _RECALLED),
    Rule(on.DYNA, "return_estimator", ("n_step",), _RECALLED),
    Rule(on.DYNA, "prioritized", (False,), _RECALLED),
    Rule(on.DYNA, "num_minibatches", (1,), _RECALLED),
    Rule(on.DYNA, "munchausen", (False,), _GREEDY),
    Rule(on.DYNA, "next_value", ("max",), _GREEDY),
    Rule(on.DYNA, "ensemble_size", (1,), _GREEDY),
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
