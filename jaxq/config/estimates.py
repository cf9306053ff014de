"""Fields of what is estimated: the representation of a return, and its target."""

import dataclasses
from typing import Annotated, Literal

from jaxq.config.fields import (
    MAX_INT32,
    TRACED,
    Count,
    Decay,
    NotNegative,
    Positive,
    Probability,
    Range,
    Value,
)

HISTOGRAMS = ("categorical", "hl_gauss", "two_hot")  # heads with v_min and v_max


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReturnRepresentation:
    """The representation of a return by the network."""

    head: Literal[
        "scalar",
        "categorical",
        "hl_gauss",
        "two_hot",
        "quantile",
        "implicit_quantile",
        "fully_parameterized",
    ] = "scalar"
    """Representation of the return: its expectation; its distribution on fixed atoms
    (C51); a histogram of the expectation (HL-Gauss, two-hot); or quantiles at fixed,
    sampled (IQN) or proposed (FQF) fractions."""
    num_atoms: Annotated[int, Range(2, 10_000)] = 51
    """categorical, hl_gauss, two_hot: atoms, or bins."""
    v_min: Value | None = None
    """categorical, hl_gauss, two_hot: smallest discounted return. It and v_max follow
    from the rewards of an environment in the table, and must be given for others."""
    v_max: Value | None = None
    """categorical, hl_gauss, two_hot: largest discounted return."""
    hl_gauss_sigma: Positive = 0.75
    """hl_gauss: standard deviation of the target, in bin widths."""
    num_quantiles: Count = 200
    """quantile, fully_parameterized: fractions."""
    quantile_samples: Count = 64
    """implicit_quantile: fractions drawn for the estimate (N)."""
    target_samples: Count = 64
    """implicit_quantile: fractions drawn for the target (N')."""
    policy_samples: Count = 32
    """implicit_quantile: fractions drawn to choose an action (K)."""
    num_cosines: Count = 64
    """implicit_quantile, fully_parameterized: cosines that embed a fraction."""
    fraction_learning_rate: Positive = 2.5e-9
    """fully_parameterized: step size of RMSprop on the proposed fractions."""
    fraction_entropy: NotNegative = 0.0
    """fully_parameterized: weight of the entropy of the proposed fractions."""
    value_rescaling: bool = False
    """scalar, quantile: estimate h(return), h(x) = sign(x) (sqrt(|x| + 1) - 1) + x/1000
    (R2D2)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """The target of the estimate."""

    discount: Probability = 0.99
    """Discount factor gamma, per environment step."""
    n_step: Annotated[int, Range(1, 100)] = 1
    """Rewards summed before bootstrapping."""
    n_step_start: Annotated[int, Range(1, 100)] | None = None
    """n_step at the start and after every reset, from where it falls or rises
    geometrically to n_step (BBF: from 10 to 3); None keeps n_step."""
    discount_start: Decay | None = None
    """discount at the start and after every reset, from where 1 - discount falls or
    rises geometrically (BBF: from 0.97 to 0.997); None keeps discount."""
    anneal_updates: Positive = 10_000.0
    """n_step_start, discount_start: gradient steps of the annealing."""
    return_estimator: Literal["n_step", "retrace", "tree_backup", "peng"] = "n_step"
    """Return over n_step steps. n_step: uncorrected for the actions taken; retrace,
    tree_backup: corrected towards the policy of next_value, without bias (for max they
    are the same: the return ends before a non-greedy action); peng: a mean of
    uncorrected returns of 1 to n_step steps. All but the first decay by trace_decay."""
    next_value: Literal["max", "sarsa", "expected_sarsa"] = "max"
    """Value of a successor: of its best action, of the action taken there, or of the
    epsilon-greedy policy."""
    double_q: bool = False
    """Select the next action with the online parameters (Double DQN)."""
    target_period: Annotated[int, Range(1, MAX_INT32), TRACED] = 50
    """Gradient steps between refreshes of the target parameters."""
    target_tau: Annotated[float, Range(0, 1, open_low=True), TRACED] = 1.0
    """Weight of the online parameters in a refresh; 1 copies, less is Polyak
    averaging."""
    averaged_targets: Count = 1
    """Number of target networks, the most recent copies, whose mean estimate gives the
    target (Averaged-DQN)."""
    iterated_heads: Count | None = None
    """Number of last layers on one shared network, each learning from the one before,
    and the first from a copy that replaces a target network (iS-QN); every
    target_period steps, each becomes a copy of the next. None: a target network."""
    munchausen: bool = False
    """Add the scaled log-policy to the reward, and bootstrap softly. With n_step, the
    log-policy is that of the first step."""
    munchausen_alpha: Probability = 0.9
    """munchausen: weight of the log-policy."""
    entropy_temperature: Positive = 0.03
    """munchausen: temperature of the policy, in units of the return."""
    munchausen_clip: Annotated[float, Range(-1e9, 0), TRACED] = -1.0
    """munchausen: lower bound on temperature times log-policy."""
    average_reward: Literal["none", "differential", "rvi", "centering"] = "none"
    """Average that is subtracted from every reward: learned from TD errors, without a
    discount (differential Q-learning) or with one (centering); or the mean estimate,
    without a discount (rvi). The end of an episode then leads to the next one."""
    average_reward_rate: Positive = 1.0
    """differential, centering: step size of the average reward, as a multiple of
    learning_rate (eta)."""
    value_decomposition: Literal["none", "vdn"] = "none"
    """Value of a team of agents: none, each learns from its own rewards (independent
    Q-learning); or the sum of the agents' values, learned from all their rewards."""
    q_penalty: NotNegative | None = None
    """Weight of the estimate itself, added to the squared TD error (DQN-Reg: 0.1);
    None adds nothing."""
    conservative_weight: NotNegative | None = None
    """Weight of log sum_b exp Q(s, b) - Q(s, a) in the loss, which lowers the estimates
    of actions that the experience lacks (CQL: alpha); None adds nothing."""
    margin_weight: NotNegative | None = None
    """Weight of the large-margin loss, which makes the value of the action taken exceed
    all others (DQfD: 1); None adds nothing."""
    margin: NotNegative = 0.8
    """margin_weight: the margin, in units of the return."""
