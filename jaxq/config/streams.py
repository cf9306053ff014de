"""Compatibility of streaming agents, which learn by eligibility traces."""

from jaxq.config import conditions as on
from jaxq.config.rule import Rule

_NO_TARGET = "there is no target network"
_ONE_STEP = "it learns once from every step"
_TRACES = "eligibility traces need the gradient of a single estimate"

RULES = (
    Rule(on.STREAM, "averaged_targets", (1,), _NO_TARGET),
    Rule(on.STREAM, "iterated_heads", (None,), _NO_TARGET),
    Rule(on.STREAM, "spr_steps", (None,), _ONE_STEP),
    Rule(
        on.NOT_STREAM, "optimizer",
        ("adam", "amsgrad", "nadam", "radam", "rmsprop", "muon", "sgd"),
        "the others are rules for eligibility traces; use algorithm = 'stream_q'",
    ),
    Rule(
        on.STREAM, "optimizer", ("obgd", "adaptive", "intentional", "sgd"),
        "the others have no meaning for eligibility traces",
    ),
    Rule(
        on.NOT_STREAM, "gradient_correction", (False,),
        "it corrects eligibility traces; use algorithm = 'qrc'",
    ),
    Rule(
        on.GRADIENT_CORRECTED, "optimizer", ("sgd",),
        "its step is not a multiple of the trace",
    ),
    Rule(on.STREAM, "num_envs", (1,), "a stream is one environment; train more seeds"),
    Rule(on.STREAM, "rollout_length", (1,), _ONE_STEP),
    Rule(on.STREAM, "num_minibatches", (1,), _ONE_STEP),
    Rule(on.STREAM, "num_epochs", (1,), _ONE_STEP),
    Rule(on.STREAM, "n_step", (1,), "it bootstraps from every step; see trace_decay"),
    Rule(on.STREAM, "n_step_start", (None,), "it bootstraps from every step"),
    Rule(on.STREAM, "discount_start", (None,), "its traces decay by one factor"),
    Rule(on.STREAM, "average_reward", ("none",), "not implemented for its traces"),
    Rule(on.STREAM, "return_estimator", ("n_step",), _ONE_STEP),
    Rule(on.STREAM, "prioritized", (False,), _ONE_STEP),
    Rule(on.STREAM, "head", ("scalar",), _TRACES),
    Rule(on.STREAM, "value_rescaling", (False,), _TRACES),
    Rule(on.STREAM, "munchausen", (False,), _TRACES),
    Rule(on.STREAM, "ensemble_size", (1,), _TRACES),
    Rule(on.STREAM, "recurrent", ("none",), _TRACES),
    Rule(on.STREAM, "noisy", (False,), _TRACES),
    Rule(on.STREAM, "normalization", ("none", "layer"), "there is no batch"),
    Rule(on.STREAM, "double_q", (False,), _NO_TARGET),
    Rule(on.STREAM, "hare_period", (None,), _NO_TARGET),
    Rule(on.STREAM, "next_value", ("max", "sarsa"), _TRACES),
    *(
        Rule(on.STREAM, field, (None,), "its steps do not follow a loss")
        for field in (
            "max_grad_norm", "q_penalty", "l2_penalty", "l2_init_penalty",
            "reset_period", "redo_period",
        )
    ),
)  # fmt: skip
