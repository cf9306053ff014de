"""The parts that read each field: the table of `jaxq.config.field_usage`."""

from collections.abc import Callable
from typing import NamedTuple

from jaxq.config import algorithm_table, annealing, average_reward, conditions
from jaxq.config.config import Config
from jaxq.config.estimates import HISTOGRAMS

QUANTILES = ("quantile", "implicit_quantile", "fully_parameterized")


class Condition(NamedTuple):
    """When a part is used, and how to switch it on, if one field does."""

    holds: Callable[[Config], bool]
    remedy: str = ""


class Usage(NamedTuple):
    """A part, when it is used, and the fields that it reads."""

    part: str
    used: Condition
    fields: tuple[str, ...]


def _any(field: str, *values: object) -> Condition:
    names = " or ".join(str(value) for value in values if value != "auto")
    remedy = f"set {field}" if values == (True,) else f"set {field} to {names}"
    return Condition(lambda config: getattr(config, field) in values, remedy)


_ALWAYS = Condition(lambda c: True)
_REPLAYS = Condition(lambda c: c.rollout_length == 0)
_ROLLOUTS = Condition(lambda c: c.rollout_length > 0)
_Q_LAMBDA = Condition(conditions.Q_LAMBDA.holds)
_STREAM = Condition(conditions.STREAM.holds, "use algorithm = stream_q")
_GRADIENT_CORRECTED = _any("gradient_correction", True)
_TEMPORAL_DIFFERENCE = Condition(lambda c: not (_Q_LAMBDA.holds(c) or _STREAM.holds(c)))
_MINIBATCHES = Condition(lambda c: not _STREAM.holds(c))
_SAMPLES = Condition(lambda c: _REPLAYS.holds(c) or conditions.DYNA.holds(c))
_OWN_ALGORITHM = Condition(lambda c: c.algorithm not in algorithm_table.ALGORITHMS)
_HUBER = Condition(
    lambda c: c.head in QUANTILES or (c.head == "scalar" and c.loss == "huber"),
    "set loss to huber",
)
_LAYERS = Condition(lambda c: c.network != "table")
_ANNEALED = Condition(annealing.is_annealed, "give n_step_start or discount_start")
_RESETS = Condition(lambda c: c.reset_period is not None, "give reset_period")
_MARGIN = Condition(lambda c: c.margin_weight is not None, "give margin_weight")
_AVERAGE_LEARNED = Condition(
    lambda c: c.average_reward in average_reward.LEARNED,
    "set average_reward to differential or centering",
)
_SELF_PREDICTION = Condition(conditions.SELF_PREDICTION.holds, "give spr_steps")
_REDO = Condition(lambda c: c.redo_period is not None, "give redo_period")
_ORTHOGONAL = Condition(
    lambda c: _LAYERS.holds(c) and c.weight_init == "orthogonal",
    "set weight_init to orthogonal",
)
_ENSEMBLE = Condition(lambda c: c.ensemble_size > 1, "set ensemble_size above 1")
_MASKED_MEMBERS = Condition(
    lambda c: _ENSEMBLE.holds(c) and c.ensemble_target != "mixture",
    "set ensemble_size above 1",
)
_MINIMUM = Condition(
    lambda c: _ENSEMBLE.holds(c) and c.ensemble_target == "minimum",
    "set ensemble_size above 1, and ensemble_target to minimum",
)
_BOUND = Condition(
    lambda c: _ENSEMBLE.holds(c) and c.ensemble_acting in ("ucb", "ids"),
    "set ensemble_size above 1, and ensemble_acting to ucb or ids",
)
_IDS = Condition(
    conditions.INFORMATION_DIRECTED.holds,
    "set ensemble_size above 1, and ensemble_acting to ids",
)
_CORRECTED = Condition(
    lambda c: conditions.CORRECTED.holds(c) and _TEMPORAL_DIFFERENCE.holds(c),
    "set return_estimator to retrace or tree_backup or peng",
)
_SET_RECURRENT = "set recurrent to lstm or gru or min_gru or lru"
_RECURRENT = Condition(lambda c: c.recurrent != "none", _SET_RECURRENT)
_SEQUENCES = Condition(
    lambda c: c.recurrent != "none" and _REPLAYS.holds(c), _SET_RECURRENT
)
_WEIGHTED_SEQUENCES = Condition(
    lambda c: _SEQUENCES.holds(c) and c.prioritized, "set prioritized and recurrent"
)

_ADAMS = "adam", "amsgrad", "nadam", "radam", "muon"

# Read by the loops around an agent, whatever its algorithm.
LOOP_USAGE = (
    Usage(
        "every run",
        _ALWAYS,
        (
            "algorithm", "defaults", "num_seeds", "first_seed", "seed_block",
            "total_steps", "num_envs", "chunk_iterations", "environment",
            "environment_args", "time_limit", "timeout_is_terminal", "sticky_actions",
            "full_action_set", "frame_stack", "reward_clip", "episodic_life",
            "rollout_length", "epsilon_schedule", "eval_points",
            "eval_episodes", "eval_epsilon", "eval_max_steps", "diagnostics",
        ),
    ),
    Usage("an algorithm of your own", _OWN_ALGORITHM, ("algorithm_args",)),
    Usage("the schedule of replay", _REPLAYS, (
        "warmup_steps", "update_steps", "num_updates",
    )),
    Usage("rollouts", _ROLLOUTS, ("num_epochs", "num_minibatches")),
    Usage("a decaying epsilon", _any(
        "epsilon_schedule", "linear", "exponential", "episodic"
    ), ("epsilon_end",)),
    Usage("a schedule of epsilon", _any(
        "epsilon_schedule", "linear", "exponential", "episodic", "ladder"
    ), ("epsilon_start",)),
    Usage("a decay in steps", _any("epsilon_schedule", "linear", "exponential"), (
        "epsilon_steps",
    )),
    Usage("a decay per episode", _any("epsilon_schedule", "episodic"), (
        "epsilon_decrement",
    )),
    Usage("a ladder of epsilons", _any("epsilon_schedule", "ladder"), (
        "ladder_exponent",
    )),
)  # fmt: skip
# Read by the agents of jaxq, composed as the configuration says.
AGENT_USAGE = (
    Usage("every agent", _ALWAYS, (
        "discount", "discount_start", "learning_rate", "learning_rate_schedule",
        "optimizer", "max_grad_norm", "head", "network", "q_penalty", "recurrent",
        "exploration", "weight_decay", "l2_penalty", "l2_init_penalty", "reset_period",
        "redo_period", "hare_period", "intrinsic_bonus", "average_reward",
        "conservative_weight", "margin_weight",
    )),
    Usage("a large margin", _MARGIN, ("margin",)),
    Usage("a learned average reward", _AVERAGE_LEARNED, ("average_reward_rate",)),
    Usage("replay", _REPLAYS, (
        "buffer_size", "prioritized", "dataset", "spr_steps",
    )),
    Usage("self-prediction", _SELF_PREDICTION, ("spr_weight",)),
    Usage("replay and Dyna-Q's model", _SAMPLES, ("batch_size",)),
    Usage("Q(lambda)", _Q_LAMBDA, (
        "trace_decay", "trace_cut", "value_decomposition",
    )),
    Usage("minibatches", _MINIBATCHES, ("loss_reduction",)),
    Usage("eligibility traces", _STREAM, (
        "trace_decay", "next_value", "normalize_rewards", "gradient_correction",
    )),
    Usage("a gradient correction", _GRADIENT_CORRECTED, (
        "correction_penalty", "correction_rate",
    )),
    Usage("ObGD", _any("optimizer", "obgd"), ("overshoot_bound",)),
    Usage("sparse weights", _any("weight_init", "sparse"), ("sparsity",)),
    Usage("corrected returns", _CORRECTED, ("trace_decay",)),
    Usage("TD targets", _TEMPORAL_DIFFERENCE, (
        "n_step", "n_step_start", "return_estimator", "next_value", "double_q",
        "munchausen", "averaged_targets", "iterated_heads", "target_period",
        "target_tau",
    )),
    Usage("annealed returns", _ANNEALED, ("anneal_updates",)),
    Usage("Munchausen's target", _any("munchausen", True), (
        "munchausen_alpha", "entropy_temperature", "munchausen_clip",
    )),
    Usage("a decaying step size", _any(
        "learning_rate_schedule", "linear", "inverse"
    ), ("learning_rate_updates",)),
    Usage("Adam and its variants", _any("optimizer", *_ADAMS), (
        "adam_b1",
    )),
    Usage("Adam, its variants and the intentional rule", _any(
        "optimizer", *_ADAMS, "intentional"
    ), ("adam_b2",)),
    Usage("RMSprop", _any("optimizer", "rmsprop"), (
        "rmsprop_decay", "rmsprop_centered", "rmsprop_eps_in_root",
    )),
    Usage("a denominator", _any(
        "optimizer", *_ADAMS, "rmsprop", "adaptive", "intentional"
    ), ("optimizer_eps",)),
    Usage("the scalar head", _any("head", "scalar"), ("loss",)),
    Usage("Huber's loss", _HUBER, ("huber_delta",)),
    Usage("scalar and quantile heads", _any("head", "scalar", "quantile"), (
        "value_rescaling",
    )),
    Usage("histogram heads", _any("head", *HISTOGRAMS), (
        "num_atoms", "v_min", "v_max",
    )),
    Usage("HL-Gauss", _any("head", "hl_gauss"), ("hl_gauss_sigma",)),
    Usage("QR-DQN and FQF", _any("head", "quantile", "fully_parameterized"), (
        "num_quantiles",
    )),
    Usage("IQN", _any("head", "implicit_quantile"), (
        "quantile_samples", "target_samples", "policy_samples",
    )),
    Usage("IQN and FQF", _any("head", "implicit_quantile", "fully_parameterized"), (
        "num_cosines",
    )),
    Usage("FQF", _any("head", "fully_parameterized"), (
        "fraction_learning_rate", "fraction_entropy",
    )),
    Usage("layers", _LAYERS, (
        "weight_init", "activation", "dueling", "stream_sizes", "noisy",
        "normalization", "weight_norm", "normalize_observations",
    )),
    Usage("resets", _RESETS, ("reset_torso", "reset_head")),
    Usage("ReDo", _REDO, ("redo_threshold",)),
    Usage("an mlp torso", _any("network", "auto", "mlp"), ("hidden_sizes",)),
    Usage("MinAtar's torso", _any("network", "auto", "minatar"), (
        "channels", "dense_size",
    )),
    Usage("IMPALA's torso", _any("network", "auto", "impala"), (
        "impala_scale", "impala_pool",
    )),
    Usage("orthogonal weights", _ORTHOGONAL, ("output_scale",)),
    Usage("a table", _any("network", "table"), ("initial_value",)),
    Usage("noisy layers", _any("noisy", True), ("noisy_sigma", "shared_noise")),
    Usage("TD learning of one or several networks", _TEMPORAL_DIFFERENCE, (
        "ensemble_size",
    )),
    Usage("an ensemble", _ENSEMBLE, (
        "prior_scale", "ensemble_target", "ensemble_acting",
    )),
    Usage("an ensemble's confidence bounds", _BOUND, ("ucb_scale",)),
    Usage("information-directed sampling", _IDS, ("ids_noise",)),
    Usage("an ensemble's masks", _MASKED_MEMBERS, ("mask_probability",)),
    Usage("the minimum of an ensemble", _MINIMUM, ("ensemble_subset",)),
    Usage("a recurrent network", _RECURRENT, ("memory_size", "recurrent_inputs")),
    Usage("replayed sequences", _SEQUENCES, ("sequence_length", "burn_in")),
    Usage("prioritised replay of sequences", _WEIGHTED_SEQUENCES, (
        "sequence_max_weight",
    )),
    Usage("prioritised replay", _any("prioritized", True), (
        "priority_exponent", "importance_exponent", "importance_updates",
        "priority_epsilon",
    )),
    Usage("Boltzmann exploration", _any("exploration", "boltzmann"), ("temperature",)),
    Usage("epsilon-z-greedy exploration", _any("exploration", "epsilon_z_greedy"), (
        "zeta_exponent", "max_repeat",
    )),
    Usage("an intrinsic bonus", _any("intrinsic_bonus", "count", "rnd"), (
        "bonus_scale",
    )),
    Usage("random network distillation", _any("intrinsic_bonus", "rnd"), (
        "rnd_size", "rnd_learning_rate",
    )),
)  # fmt: skip
USAGE = LOOP_USAGE + AGENT_USAGE
