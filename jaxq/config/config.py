"""The configuration of an experiment: every field, its unit, range and meaning.

A field marked *traced* is an input of the compiled program: it can be changed, or swept
with `jax.vmap`, without compiling again. Every other field is *static*: it sets a
shape, a loop length or which function is called. The parts that algorithms are made of
are in `jaxq.config.components`.
"""

import dataclasses
import functools
import typing
from typing import Annotated, Any, Literal

from jaxq.config.components import Components
from jaxq.config.fields import (
    MAX_INT32,
    TRACED,
    ConfigError,
    Count,
    Decay,
    Positive,
    Probability,
    Range,
)

__all__ = [
    "ENVIRONMENT_OPTIONS",
    "Config",
    "ConfigError",
    "annotation",
    "from_json",
    "static_fields",
    "traced_fields",
]

# Fields that, besides its name, say what an environment is.
ENVIRONMENT_OPTIONS = (
    "environment_args",
    "time_limit",
    "sticky_actions",
    "full_action_set",
)


@dataclasses.dataclass(frozen=True)
class Basics:
    """What every run has."""

    # -- what is run ------------------------------------------------------------------
    algorithm: str = "dqn"
    """Name of the algorithm, a key of `jaxq.agents.algorithms.ALGORITHMS`."""
    environment: str = "CartPole-v1"
    """Name of a gymnax environment."""
    environment_args: tuple[str, ...] = ()
    """Constructor arguments or parameters of the environment, as name=value words
    (for example `size=10` for DeepSea or `is_slippery=false` for FrozenLake)."""
    time_limit: Annotated[int, Range(1, MAX_INT32)] | None = None
    """Steps after which an episode is truncated; None keeps the environment's own."""
    timeout_is_terminal: bool = False
    """Treat a truncation as a termination, as many published curves do. By default the
    agent bootstraps through a time limit."""
    sticky_actions: Annotated[float, Range(0, 1)] = 0.0
    """Probability that the environment repeats the previous action."""
    full_action_set: bool = False
    """MinAtar: all six actions instead of the minimal set."""
    num_seeds: Count = 10
    """Independent runs, in parallel."""
    first_seed: Annotated[int, Range(0, 2**32 - 1)] = 0
    """The seeds are first_seed, first_seed + 1, ..."""
    seed_block: Annotated[int, Range(0, MAX_INT32)] = 0
    """Seeds vectorised together on one device; 0 chooses. A seed's numbers are the same
    bit for bit beside any neighbours as long as this width is the same."""
    total_steps: Count = 500_000
    """Environment steps per seed, warm-up included; rounded up to whole points."""
    num_envs: Count = 1
    """Environments per seed, stepped together."""

    # -- replay -----------------------------------------------------------------------
    buffer_size: Count = 10_000
    """Transitions kept for replay; rounded up to whole rollouts."""
    batch_size: Count = 128
    """Transitions in a minibatch."""
    warmup_steps: Count = 10_000
    """Environment steps with uniformly random actions before learning starts; rounded
    up to whole rollouts, and at least what one sample needs. Algorithms without replay
    have no warm-up."""
    update_steps: Count = 10
    """Environment steps, over all environments, between rounds of gradient steps. The
    replay ratio num_updates / update_steps is kept exactly for any num_envs."""
    num_updates: Count = 1
    """Gradient steps in a round."""
    n_step: Annotated[int, Range(1, 100)] = 1
    """Rewards summed before bootstrapping."""

    # -- learning ---------------------------------------------------------------------
    discount: Probability = 0.99
    """Discount factor gamma, per environment step."""
    learning_rate: Positive = 2.5e-4
    """Step size of the optimizer."""
    learning_rate_schedule: Literal["constant", "linear", "inverse"] = "constant"
    """Decay of the step size over gradient steps: linear falls to zero after
    learning_rate_updates; inverse is learning_rate / (1 + updates / that)."""
    learning_rate_updates: Positive = 50_000.0
    """Time scale of the step size's decay [gradient steps]."""
    optimizer: Literal["adam", "radam", "rmsprop", "sgd"] = "adam"
    """Rule that turns a gradient into a direction."""
    adam_b1: Decay = 0.9
    """Adam, RAdam: decay of the first moment."""
    adam_b2: Decay = 0.999
    """Adam, RAdam: decay of the second moment."""
    rmsprop_decay: Decay = 0.95
    """RMSprop: decay of the moments."""
    rmsprop_centered: bool = False
    """RMSprop: subtract the square of the mean gradient."""
    rmsprop_eps_in_root: bool = False
    """RMSprop: epsilon inside the root (TensorFlow) or added to it (PyTorch)."""
    optimizer_eps: Positive = 1e-8
    """Epsilon in the optimizer's denominator."""
    max_grad_norm: Positive | None = None
    """Clip the gradient to this global norm; None does not clip."""
    loss: Literal["squared", "huber"] = "squared"
    """Loss of a TD error: half its square, or Huber's."""
    huber_delta: Positive = 1.0
    """TD error at which Huber's loss turns linear."""
    loss_reduction: Literal["mean", "sum"] = "mean"
    """Mean over the minibatch, or sum: with sgd and the sum, every transition moves its
    own entry of a table by learning_rate times its TD error."""
    double_q: bool = False
    """Select the next action with the online parameters (Double DQN)."""
    target_period: Annotated[int, Range(1, MAX_INT32), TRACED] = 50
    """Gradient steps between refreshes of the target parameters."""
    target_tau: Annotated[float, Range(0, 1, open_low=True), TRACED] = 1.0
    """Weight of the online parameters in a refresh; 1 copies, less is Polyak's mean."""

    # -- network ----------------------------------------------------------------------
    network: Literal["auto", "mlp", "minatar", "table"] = "auto"
    """Torso; auto takes minatar for 10 x 10 grids of channels and mlp otherwise."""
    hidden_sizes: tuple[Count, ...] = (120, 84)
    """Widths of the mlp's hidden layers."""
    channels: Count = 16
    """minatar: 3 x 3 filters of the convolution."""
    dense_size: Count = 128
    """minatar: width of the dense layer."""
    weight_init: Literal["torch", "lecun", "orthogonal"] = "torch"
    """torch: weights and biases uniform within 1/sqrt(fan_in); lecun: normal weights,
    biases of zero; orthogonal: scaled by sqrt(2), and the last layer by output_scale,
    biases of zero."""
    output_scale: Positive = 2.0**0.5
    """orthogonal: scale of the last layer."""
    activation: Literal["relu", "tanh"] = "relu"
    """What follows every hidden layer."""
    initial_value: Annotated[float, Range(-1e9, 1e9), TRACED] = 0.0
    """table: initial value of every entry; optimistic above the best return."""

    # -- exploration ------------------------------------------------------------------
    epsilon_schedule: Literal["linear", "exponential", "episodic", "ladder", "none"] = (
        "linear"
    )
    """Epsilon: linear or exponential decay in environment steps; a decrement after
    every finished episode (classic Q-learning); a constant of its own for every
    environment, epsilon_start^(1 + ladder_exponent i / (num_envs - 1)) (Ape-X); or
    none, zero after the warm-up."""
    epsilon_start: Probability = 1.0
    """Probability of a random action at step 0."""
    epsilon_end: Probability = 0.05
    """Probability of a random action in the end."""
    epsilon_steps: Positive = 250_000.0
    """linear: environment steps until epsilon_end; exponential: the time constant."""
    epsilon_decrement: Annotated[float, Range(0, 1), TRACED] = 0.001
    """episodic: what every episode finished since the warm-up takes off epsilon."""
    ladder_exponent: Annotated[float, Range(0), TRACED] = 7.0
    """ladder: exponent of the last environment, less one."""
    exploration: Literal["epsilon_greedy", "boltzmann"] = "epsilon_greedy"
    """What is done when the action is not random: the greedy action, or one drawn from
    the softmax of the values. Evaluation is greedy."""
    temperature: Positive = 1.0
    """boltzmann: temperature of the softmax, in units of the return."""

    # -- evaluation and reporting -----------------------------------------------------
    eval_points: Count = 100
    """Points of the learning curve, equally spaced in environment steps, besides the
    first one before any learning."""
    eval_episodes: Count = 16
    """Environments of an evaluation; the first episode of each counts."""
    eval_epsilon: Probability = 0.0
    """Probability of a random action during evaluation."""
    eval_max_steps: Annotated[int, Range(1, 10**7)] = 27_000
    """Steps after which an unfinished evaluation episode is cut off."""
    chunk_iterations: Annotated[int, Range(0, MAX_INT32)] = 0
    """Iterations compiled into one call, between looks at the host; 0 chooses."""


@dataclasses.dataclass(frozen=True)
class Config(Components, Basics):
    """Everything that decides the numbers of a run."""


@functools.cache
def annotation(field: str) -> tuple[type, tuple[Any, ...], bool]:
    """Type, metadata and optionality of a field, read from its annotation."""
    hint = typing.get_type_hints(Config, include_extras=True)[field]
    optional = type(None) in typing.get_args(hint)
    if optional:
        hint = next(arg for arg in typing.get_args(hint) if arg is not type(None))
    if typing.get_origin(hint) is tuple:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) is Annotated:
        return typing.get_args(hint)[0], hint.__metadata__, optional
    return hint, (), optional


@functools.cache
def traced_fields() -> tuple[str, ...]:
    """Names of the fields that are inputs of the compiled program."""
    names = [field.name for field in dataclasses.fields(Config)]
    return tuple(name for name in names if TRACED in annotation(name)[1])


@functools.cache
def static_fields() -> tuple[str, ...]:
    """Names of the fields that are compiled into the program."""
    traced = traced_fields()
    names = [field.name for field in dataclasses.fields(Config)]
    return tuple(name for name in names if name not in traced)


def from_json(fields: Any) -> Config:
    """A configuration from the fields that JSON holds.

    Raises:
        ConfigError: if they are not this version's.
    """
    if not isinstance(fields, dict):
        raise ConfigError(f"{str(fields)[:80]!r} is no configuration.")
    given: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()
    }
    given.pop("schema", None)
    odd = set(given) ^ {field.name for field in dataclasses.fields(Config)}
    if odd:
        raise ConfigError(
            "the configuration is that of another version of jaxq: the fields "
            f"{', '.join(sorted(odd))} are not in both."
        )
    return Config(**given)
