"""Fields of the components that algorithms are composed of, in groups.

Each component can be switched on by hand, for instance `--algorithm dqn --head quantile
--prioritized`; a named algorithm switches on its own (`jaxq.config.algorithm_table`).
"""

import dataclasses
from typing import Annotated, Literal

from jaxq.config.fields import (
    MAX_INT32,
    TRACED,
    Count,
    NotNegative,
    Positive,
    Probability,
    Range,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkLayers:
    """The network, or the table."""

    network: Literal["auto", "mlp", "minatar", "nature", "impala", "table"] = "auto"
    """Torso; auto selects minatar for images of up to 24 x 24 cells, nature from 36 x
    36 on, impala for others, and mlp for all other arrays."""
    hidden_sizes: tuple[Count, ...] = (120, 84)
    """mlp: widths of the hidden layers."""
    channels: Count = 16
    """minatar: 3 x 3 filters of the convolution."""
    dense_size: Count = 128
    """minatar: width of the dense layer."""
    impala_scale: Count = 1
    """impala: factor by which the channels, 16, 32 and 32, are multiplied."""
    impala_pool: Count | None = None
    """impala: max-pool the last maps to this many rows and columns, whatever their
    size, and leave out the dense layer after them (Beyond the Rainbow: 6)."""
    weight_init: Literal["torch", "lecun", "orthogonal", "sparse"] = "torch"
    """Initial parameters: uniform within 1/sqrt(fan_in) (torch); normal weights and
    zero biases (lecun); orthogonal weights scaled by sqrt(2), those of the last layer
    by output_scale, and zero biases; or torch's weights, most of them zero, and zero
    biases (sparse)."""
    sparsity: Annotated[float, Range(0, 0.999)] = 0.9
    """sparse: fraction of the weights of every output that are zero."""
    output_scale: Positive = 2.0**0.5
    """orthogonal: scale of the last layer."""
    activation: Literal["relu", "tanh", "gelu", "silu", "leaky_relu", "crelu"] = "relu"
    """Activation of every hidden layer; leaky_relu has a slope of 0.01 below zero, and
    crelu concatenates relu(x) and relu(-x), which doubles the width."""
    initial_value: Annotated[float, Range(-1e9, 1e9), TRACED] = 0.0
    """table: initial value of every entry; optimistic if above the best return."""
    dueling: bool = False
    """Separate streams for the value of a state and the advantages of its actions."""
    stream_sizes: tuple[Count, ...] = ()
    """Widths of the hidden layers of each output stream, after the torso."""
    noisy: bool = False
    """Factorised Gaussian noise on the weights of every dense layer; to act greedily as
    well, set epsilon_schedule to none."""
    noisy_sigma: Positive = 0.5
    """noisy: initial standard deviation, times sqrt(fan_in)."""
    shared_noise: bool = True
    """noisy: draw the noise once per minibatch, as in the paper, not per example. An
    implicit_quantile head then shares its fractions over the minibatch as well."""
    normalize_observations: bool = False
    """Subtract the running mean of every input, and divide by its running standard
    deviation."""
    normalization: Literal["none", "layer", "batch"] = "none"
    """Normalise the inputs of every hidden activation."""
    weight_norm: Literal["none", "weight", "spectral"] = "none"
    """Divide the weights of every hidden layer without noise by their norm per output,
    times a learned scale (weight), or by their largest singular value (spectral)."""
    ensemble_size: Count = 1
    """Networks that learn side by side. ensemble_target is their target."""
    ensemble_target: Literal["own", "minimum", "mean", "mixture"] = "own"
    """ensemble: value of a successor. own: each network's, and one network, drawn per
    episode, acts (Bootstrapped DQN); minimum: the smallest of all (Maxmin), or of a
    subset (REDQ); mean: of all (Ensemble-DQN); mixture: a random average of all
    networks learns, and their mean acts (REM). For distributions, the smallest is the
    one with the smallest mean, and the mean is their mixture."""
    ensemble_subset: Count | None = None
    """minimum: networks drawn for each target; None takes all."""
    prior_scale: NotNegative = 3.0
    """ensemble: weight of the fixed random network added to each."""
    mask_probability: Annotated[float, Range(0, 1, open_low=True), TRACED] = 1.0
    """ensemble: probability that a network learns from a transition."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Representation:
    """A loss on the features, besides that of the estimate."""

    spr_steps: Annotated[int, Range(1, 50)] | None = None
    """Steps over which a model predicts the target network's features from the present
    features and the actions taken (SPR: 5); None predicts nothing."""
    spr_weight: NotNegative = 2.0
    """spr_steps: weight (lambda) of the prediction loss, which is minus the sum of the
    cosines between predictions and features."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plasticity:
    """Regularisation and resets of the parameters, so that they keep learning."""

    weight_decay: NotNegative | None = None
    """Decoupled weight decay, theta -= learning_rate weight_decay theta in every step
    (adam: AdamW); None does not decay."""
    l2_penalty: NotNegative | None = None
    """Weight of the sum of squared parameters in the loss; None adds nothing."""
    l2_init_penalty: NotNegative | None = None
    """Weight of the squared distance from the initial parameters in the loss (L2 Init);
    None adds nothing."""
    reset_period: Annotated[int, Range(1, MAX_INT32)] | None = None
    """Gradient steps between resets, which move the parameters towards newly
    initialised ones and empty the optimizer; None never resets."""
    reset_torso: Annotated[float, Range(0, 1), TRACED] = 0.0
    """reset_period: how far, from 0 to 1, the torso moves; 0 and reset_head 1 reset the
    output layers only, 0.5 and 0.5 is shrink and perturb."""
    reset_head: Annotated[float, Range(0, 1), TRACED] = 1.0
    """reset_period: how far, from 0 to 1, the output layers move."""
    redo_period: Annotated[int, Range(1, MAX_INT32)] | None = None
    """Gradient steps between recyclings of dormant units (ReDo: 1000); None recycles
    none."""
    redo_threshold: Annotated[float, Range(0, 1), TRACED] = 0.1
    """redo_period: a unit is dormant if its mean activation is at most this fraction of
    its layer's."""
    hare_period: Annotated[int, Range(1, MAX_INT32), TRACED] | None = None
    """Gradient steps between copies of the target parameters (the tortoise), whose
    target_tau must be below 1, into the online parameters (the hare); None never
    copies."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """Sampling of replayed experience."""

    prioritized: bool = False
    """Draw transitions in proportion to a power of their last priority."""
    priority_exponent: Probability = 0.6
    """prioritized: the power (omega, or alpha)."""
    importance_exponent: Probability = 0.4
    """prioritized: initial exponent of the importance weights (beta)."""
    importance_updates: Positive = 1e6
    """prioritized: gradient steps over which that exponent rises to 1."""
    priority_epsilon: Positive = 1e-6
    """prioritized: added to every priority, so that none is zero."""
    sequence_length: Annotated[int, Range(1, 10_000)] = 80
    """recurrent, from replay: steps of a sequence that are learned from. They share the
    noise of noisy layers, and the fractions of an implicit_quantile head."""
    burn_in: Annotated[int, Range(0, 10_000)] = 40
    """recurrent, from replay: steps before them that only refresh the memory."""
    sequence_max_weight: Probability = 0.9
    """recurrent, prioritized: weight of the largest TD error in the priority of a
    sequence, against the mean (eta)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rollouts:
    """Learning from rollouts, without replay."""

    rollout_length: Annotated[int, Range(0, 1_000_000)] = 0
    """Steps of every environment in a rollout. A round learns from its rollout alone; 0
    learns from replay, with update_steps and num_updates."""
    num_epochs: Count = 1
    """rollouts: passes over each rollout."""
    num_minibatches: Count = 1
    """rollouts: gradient steps per epoch, each on its share of the steps."""
    trace_decay: Probability = 0.65
    """Q(lambda), and the corrected returns of return_estimator: lambda."""
    gradient_correction: bool = False
    """eligibility traces: correct the semi-gradient by a second network that estimates
    TD errors (QRC)."""
    correction_penalty: NotNegative = 1.0
    """gradient_correction: weight of the penalty on the second network's parameters
    (beta)."""
    correction_rate: Positive = 0.1
    """gradient_correction: step size of the second network, as a multiple of
    learning_rate."""
    normalize_rewards: bool = False
    """eligibility traces: divide rewards by the running standard deviation of the
    discounted return."""
    trace_cut: bool = False
    """Q(lambda): end the trace before a non-greedy action (Watkins)."""
