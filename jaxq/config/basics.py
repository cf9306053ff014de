"""Fields that every run has, in groups.

A field marked *traced* is an input of the compiled program: it can be changed, or swept
with `jax.vmap`, without recompiling. Every other field is *static*: it sets a shape, a
loop length or which function is called.
"""

import dataclasses
from typing import Annotated, Literal

from jaxq.config.fields import (
    MAX_INT32,
    TRACED,
    Count,
    Decay,
    Positive,
    Probability,
    Range,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """The algorithm, its seeds, and its length."""

    algorithm: str = "dqn"
    """Name of an algorithm, or module:attribute of one of your own; it switches on the
    parts that it is made of."""
    algorithm_args: tuple[str, ...] = ()
    """Hyper-parameters of an algorithm of your own, as name=value."""
    defaults: Literal["environment", "plain"] = "environment"
    """Values of the fields that are not given: the settings for the environment, from
    `jaxq.config.environment_table`; or plain ones, CleanRL's for DQN on CartPole-v1."""
    num_seeds: Count = 10
    """Independent runs, in parallel."""
    first_seed: Annotated[int, Range(0, 2**32 - 1)] = 0
    """First seed; the others count up from it."""
    seed_block: Annotated[int, Range(0, MAX_INT32)] = 0
    """Seeds vectorised together on one device; 0 chooses. At a fixed width, the results
    of a seed are bit-identical whichever other seeds are trained."""
    total_steps: Count = 500_000
    """Environment steps per seed, including the warm-up; rounded up to whole points."""
    num_envs: Count = 1
    """Environments per seed, stepped together; if an environment has several agents,
    the number of agents in all of them."""
    chunk_iterations: Annotated[int, Range(0, MAX_INT32)] = 0
    """Iterations per compiled call; 0 chooses."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EnvironmentOptions:
    """The environment."""

    environment: str = "CartPole-v1"
    """Name of a gymnax environment, suite::id of another suite, or module:attribute of
    one of your own; suites are craftax, foragax, gxm, jaxmarl, jumanji, navix, octax,
    pgx and xminigrid."""
    environment_args: tuple[str, ...] = ()
    """Parameters or constructor arguments of the environment, as name=value; for
    example `size=10` for DeepSea or `is_slippery=false` for FrozenLake."""
    time_limit: Annotated[int, Range(1, MAX_INT32)] | None = None
    """Steps after which an episode is truncated; None keeps the environment's limit."""
    timeout_is_terminal: bool = False
    """Treat truncation as termination, as many published curves do. By default the
    agent bootstraps through a time limit."""
    sticky_actions: Annotated[float, Range(0, 1)] = 0.0
    """Probability that the environment repeats the previous action."""
    full_action_set: bool = False
    """MinAtar: all six actions instead of the minimal set."""
    frame_stack: Annotated[int, Range(1, 64)] = 1
    """Frames in an observation; the replay buffer stores each frame once."""
    reward_clip: Annotated[float, Range(0, open_low=True), TRACED] | None = None
    """Clip the rewards that the agent learns from to [-reward_clip, reward_clip]; the
    returns that are reported are not clipped. Atari: 1."""
    episodic_life: bool = False
    """Treat the loss of a life as the end of an episode while learning; episodes still
    end, and are evaluated, with the last life."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Replay:
    """Replay, and the ratio of gradient steps to environment steps."""

    buffer_size: Count = 10_000
    """Transitions kept for replay; rounded up to whole rollouts."""
    batch_size: Count = 128
    """Transitions in a minibatch."""
    warmup_steps: Count = 10_000
    """Environment steps with uniformly random actions before learning starts; rounded
    up to whole rollouts, and at least enough for one sample. Algorithms without replay
    have no warm-up."""
    update_steps: Count = 10
    """Environment steps, over all environments, between rounds of gradient steps. The
    replay ratio num_updates / update_steps is exact for any num_envs."""
    num_updates: Count = 1
    """Gradient steps per round."""
    dataset: str | None = None
    """File of recorded steps, all of which are replayed in place of the agent's own
    (offline learning), without a warm-up. total_steps and the replay ratio then
    only set the number of gradient steps. None: the agent collects its own steps."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimization:
    """The gradient step."""

    learning_rate: Positive = 2.5e-4
    """Step size of the optimizer."""
    learning_rate_schedule: Literal["constant", "linear", "inverse"] = "constant"
    """Decay of the step size over gradient steps: linear reaches zero after
    T = learning_rate_updates; inverse is learning_rate / (1 + updates / T)."""
    learning_rate_updates: Positive = 50_000.0
    """Gradient steps over which the step size decays (T)."""
    optimizer: Literal[
        "adam",
        "amsgrad",
        "nadam",
        "radam",
        "rmsprop",
        "muon",
        "sgd",
        "obgd",
        "adaptive",
        "intentional",
    ] = "adam"
    """Rule that turns a gradient into a direction. muon makes the momentum of every
    matrix orthogonal, and uses Adam for other parameters; obgd, adaptive and
    intentional are for eligibility traces."""
    adam_b1: Decay = 0.9
    """Adam and its variants: decay of the first moment."""
    adam_b2: Decay = 0.999
    """Adam and its variants: decay of the second moment."""
    rmsprop_decay: Decay = 0.95
    """RMSprop: decay of the moments."""
    rmsprop_centered: bool = False
    """RMSprop: subtract the square of the mean gradient."""
    rmsprop_eps_in_root: bool = False
    """RMSprop: epsilon inside the root (TensorFlow), not added to it (PyTorch)."""
    optimizer_eps: Positive = 1e-8
    """Epsilon in the optimizer's denominator."""
    overshoot_bound: Positive = 2.0
    """obgd: larger values bound the steps more tightly (kappa)."""
    max_grad_norm: Positive | None = None
    """Clip the gradient to this global norm; None does not clip."""
    loss: Literal["squared", "huber"] = "squared"
    """Loss of a TD error: half its square, or Huber's."""
    huber_delta: Positive = 1.0
    """TD error at which Huber's loss turns linear."""
    loss_reduction: Literal["mean", "sum"] = "mean"
    """Mean or sum over the minibatch. With sgd and the sum, every transition moves its
    entry of a table by learning_rate times its TD error."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exploration:
    """The behaviour policy."""

    epsilon_schedule: Literal["linear", "exponential", "episodic", "ladder", "none"] = (
        "linear"
    )
    """Epsilon: linear or exponential decay in environment steps; a decrement after
    every finished episode (classic Q-learning); a constant per environment,
    epsilon_start^(1 + ladder_exponent i / (num_envs - 1)) (Ape-X); or none, zero after
    the warm-up."""
    epsilon_start: Probability = 1.0
    """Probability of a random action at step 0."""
    epsilon_end: Probability = 0.05
    """Final probability of a random action."""
    epsilon_steps: Positive = 250_000.0
    """Environment steps until epsilon_end; exponential: the time constant."""
    epsilon_decrement: Annotated[float, Range(0, 1), TRACED] = 0.001
    """episodic: decrease of epsilon per episode finished since the warm-up."""
    ladder_exponent: Annotated[float, Range(0), TRACED] = 7.0
    """ladder: exponent of the last environment, minus one."""
    exploration: Literal["epsilon_greedy", "epsilon_z_greedy", "boltzmann"] = (
        "epsilon_greedy"
    )
    """With probability epsilon a random action, which epsilon_z_greedy repeats for
    several steps; otherwise the greedy one, or, for boltzmann, one drawn from the
    softmax of the values. Evaluation is greedy."""
    temperature: Positive = 1.0
    """boltzmann: temperature of the softmax, in units of the return."""
    zeta_exponent: Annotated[float, Range(0), TRACED] = 2.0
    """epsilon_z_greedy: a random action lasts z steps, P(z) ~ z^-zeta_exponent (mu)."""
    max_repeat: Annotated[int, Range(1, 10_000)] = 100
    """epsilon_z_greedy: largest z."""
    ensemble_acting: Literal["auto", "member", "mean", "minimum", "ucb", "ids"] = "auto"
    """ensemble: estimate to act on: that of one member, drawn per episode; the mean or
    the minimum of all; the mean plus ucb_scale standard deviations (ucb); or the
    squared regret over the information gained (ids). auto follows ensemble_target. The
    evaluated policy follows the minimum if that acts, otherwise the mean."""
    ucb_scale: Annotated[float, Range(0), TRACED] = 1.0
    """ucb, ids: number of standard deviations over the members between the mean and a
    confidence bound (lambda)."""
    ids_noise: Positive = 1.0
    """ids: standard deviation of an observed return (rho)."""
    intrinsic_bonus: Literal["none", "count", "rnd"] = "none"
    """A bonus for new states, in the rewards that the agent learns from: one over the
    square root of the number of visits, for numbered states; or the error in predicting
    a random network (RND). Returns that are reported do not include it."""
    bonus_scale: Annotated[float, Range(0), TRACED] = 0.1
    """intrinsic_bonus: its weight in the reward (beta)."""
    rnd_size: Count = 64
    """rnd: width of the random network's output, and of the predictor's last layers."""
    rnd_learning_rate: Positive = 1e-4
    """rnd: step size of Adam on the predictor, which takes one step per rollout."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Evaluation, in separate environments."""

    eval_points: Count = 100
    """Points of the learning curve after the initial one, equally spaced in environment
    steps."""
    eval_episodes: Count = 16
    """Environments per evaluation; the first episode of each counts."""
    eval_epsilon: Probability = 0.0
    """Probability of a random action during evaluation."""
    eval_max_steps: Annotated[int, Range(1, 10**7)] = 27_000
    """Steps after which an unfinished evaluation episode is cut off."""
    diagnostics: bool = False
    """At every point, also measure plasticity, policy churn and overestimation; see
    `jaxq.training.diagnostics`."""
