"""Effects of a dataset on other fields, and of penalties that keep to its actions."""

from jaxq.config import conditions as on
from jaxq.config.config import Config
from jaxq.config.rule import Rule

_COLLECTING = {"warmup_steps", "buffer_size"}
_ACTING = {
    "exploration", "temperature", "zeta_exponent", "max_repeat", "ucb_scale",
    "ids_noise",
}  # fmt: skip
_EPSILON = {
    "epsilon_schedule", "epsilon_start", "epsilon_end", "epsilon_steps",
    "epsilon_decrement", "ladder_exponent",
}  # fmt: skip
REASON = "the run learns from a dataset and collects no experience"


def idle(config: Config) -> set[str]:
    """Fields without effect because a dataset takes the place of the agent's steps."""
    if config.dataset is None:
        return set()
    # Expected SARSA evaluates the epsilon-greedy policy, whoever acted.
    epsilon = set() if config.next_value == "expected_sarsa" else _EPSILON
    return _COLLECTING | _ACTING | epsilon


_FRESH = "it learns on-policy from fresh experience"
_ONE_STEP = "its steps do not follow a loss"
_TEAM = "it compares the actions of one agent"
_TWO_TABLES = "there are two scalar tables and one target"

RULES = (
    Rule(on.Q_LAMBDA, "dataset", (None,), _FRESH),
    Rule(on.STREAM, "dataset", (None,), _FRESH),
    Rule(on.DYNA, "dataset", (None,), _FRESH),
    Rule(
        on.ROLLOUTS, "dataset", (None,),
        "every step of a rollout is fresh; rollout_length = 0 learns from replay",
    ),
    Rule(
        on.RECURRENT, "dataset", (None,),
        "it replays from the memory before a step, which a dataset does not hold",
    ),
    Rule(
        on.WEIGHED, "dataset", (None,),
        "a dataset does not hold the probabilities of its actions",
    ),
    Rule(on.DATASET, "intrinsic_bonus", ("none",), "nothing is explored"),
    Rule(
        on.OFFLINE_EXPECTED_SARSA, "epsilon_schedule",
        ("linear", "exponential", "none"),
        "no episodes are finished, so the evaluated epsilon would never decay",
    ),
    Rule(
        on.DATASET, "episodic_life", (False,),
        "a dataset does not hold the loss of lives",
    ),
    Rule(
        on.DATASET, "mask_probability", (1.0,),
        "the masks of an ensemble are drawn while it acts",
    ),
    Rule(on.STREAM, "conservative_weight", (None,), _ONE_STEP),
    Rule(on.STREAM, "margin_weight", (None,), _ONE_STEP),
    Rule(on.SUMMED, "conservative_weight", (None,), _TEAM),
    Rule(on.SUMMED, "margin_weight", (None,), _TEAM),
    Rule(on.DOUBLE_TABLE, "conservative_weight", (None,), _TWO_TABLES),
    Rule(on.DOUBLE_TABLE, "margin_weight", (None,), _TWO_TABLES),
)  # fmt: skip
