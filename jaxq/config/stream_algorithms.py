"""Rows of the table of algorithms: those that learn from a stream, without replay."""

from jaxq.config.algorithm_entry import Algorithm, Fields

# One environment, a network whose activations keep their scale, and no batch.
STREAM: Fields = {
    "rollout_length": 1,
    "trace_decay": 0.8,
    "weight_init": "sparse",
    "normalization": "layer",
    "activation": "leaky_relu",
    "normalize_observations": True,
    "normalize_rewards": True,
    "learning_rate_schedule": "constant",
}
MINATAR: Fields = {
    "num_envs": 1,
    "discount": 0.99,
    "total_steps": 5_000_000,
    "epsilon_start": 1.0,
    "epsilon_end": 0.01,
    "epsilon_steps": 1_000_000.0,
    "sticky_actions": 0.1,
}
_DIFFERS = (
    "Differs in that a trace ends before an action that is not greedy, as in Watkins's "
    "Q(lambda), not after it; that layer normalisation has a scale and a bias; and "
    "that the first observation of an episode enters the statistics when it is learned "
    "from."
)

STREAMS: dict[str, Algorithm] = {
    "stream_q": Algorithm(
        "Stream Q(lambda): eligibility traces and steps that are bounded so that they "
        "do not overshoot (ObGD).",
        "Elsayed et al., arXiv:2410.14606",
        {**STREAM, "optimizer": "obgd", "learning_rate": 1.0},
        MINATAR,
        _DIFFERS,
        agent="stream",
    ),
    "stream_sarsa": Algorithm(
        "Stream SARSA(lambda): learns from a step once the action after it is known.",
        "Elsayed et al., arXiv:2410.14606",
        {**STREAM, "optimizer": "obgd", "learning_rate": 1.0, "next_value": "sarsa"},
        MINATAR,
        "Differs in that layer normalisation has a scale and a bias, and that the "
        "first observation of an episode enters the statistics when it is learned "
        "from.",
        agent="stream",
    ),
    "qrc": Algorithm(
        "QRC(lambda): gradient TD, whose second network corrects the semi-gradient.",
        "Elelimy et al., arXiv:2507.09087",
        {
            **STREAM,
            "optimizer": "sgd",
            "learning_rate": 1e-4,
            "gradient_correction": True,
        },
        MINATAR,
        _DIFFERS,
        agent="stream",
    ),
    "adaptive_q": Algorithm(
        "Adaptive Q(lambda): a clipped TD error, and a trace divided by Adam's scale.",
        "Gogianu et al., arXiv:2605.06764",
        {
            **STREAM,
            "optimizer": "adaptive",
            "learning_rate": 4.6e-4,
            "optimizer_eps": 0.1,
            "loss": "huber",
        },
        MINATAR,
        _DIFFERS,
        agent="stream",
    ),
    "intentional_q": Algorithm(
        "Intentional Q(lambda): a step of the size that changes the estimate by half "
        "of its TD error.",
        "Sharifnassab et al., arXiv:2604.19033",
        {**STREAM, "optimizer": "intentional", "learning_rate": 0.5},
        MINATAR,
        _DIFFERS,
        agent="stream",
    ),
}
