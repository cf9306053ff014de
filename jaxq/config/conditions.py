"""Properties of a configuration, by which its fields are compatible or not."""

from collections.abc import Callable
from typing import NamedTuple

from jaxq.config import algorithm_table, average_reward
from jaxq.config.config import Config


class Condition(NamedTuple):
    """A property of a configuration, with its name in messages and pages."""

    name: str
    holds: Callable[[Config], bool]


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
STREAM = Condition("a streaming agent", _agent("stream"))
GRADIENT_CORRECTED = Condition("a gradient correction", lambda c: c.gradient_correction)
NOT_STREAM = Condition(
    "an agent without eligibility traces",
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
MIXTURE = Condition(
    "`ensemble_target=mixture`",
    lambda c: ENSEMBLE.holds(c) and c.ensemble_target == "mixture",
)
INFORMATION_DIRECTED = Condition(
    "`ensemble_acting=ids`",
    lambda c: ENSEMBLE.holds(c) and c.ensemble_acting == "ids",
)
RECURRENT = Condition("a recurrent network", lambda c: c.recurrent != "none")
REDO = Condition("ReDo", lambda c: c.redo_period is not None)
SELF_PREDICTION = Condition("self-prediction", lambda c: c.spr_steps is not None)
AVERAGED = Condition("several target networks", lambda c: c.averaged_targets > 1)
ITERATED = Condition("`iterated_heads`", lambda c: c.iterated_heads is not None)
AVERAGE_REWARD = Condition("an average reward", lambda c: c.average_reward != "none")
UNDISCOUNTED = Condition(
    "an average reward without a discount",
    lambda c: c.average_reward in average_reward.UNDISCOUNTED,
)
RVI_TABLE = Condition(
    "RVI Q-learning on a table",
    lambda c: c.average_reward == "rvi" and c.network == "table",
)
SUMMED = Condition(
    "`value_decomposition`",
    lambda c: Q_LAMBDA.holds(c) and c.value_decomposition != "none",
)
DATASET = Condition("a `dataset`", lambda c: c.dataset is not None)
OFFLINE_EXPECTED_SARSA = Condition(
    "a `dataset` with `next_value=expected_sarsa`",
    lambda c: DATASET.holds(c) and EXPECTED_SARSA.holds(c),
)
WEIGHED = Condition(
    "Retrace of an epsilon-greedy policy",
    lambda c: c.return_estimator == "retrace" and c.next_value == "expected_sarsa",
)
BATCH_NORM = Condition("batch normalisation", lambda c: c.normalization == "batch")
RECALLING_ROLLOUTS = Condition(
    "Q(lambda) with `recurrent_inputs=action_reward`",
    lambda c: Q_LAMBDA.holds(c) and c.recurrent_inputs == "action_reward",
)
