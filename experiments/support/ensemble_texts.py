"""Pages of the ensembles."""

from experiments.support.algorithm_text import (
    NETWORK,
    AlgorithmText,
    aligned,
)

_MEMBERS = (
    ("M", "`ensemble_size`"),
    ("Q_m", "the estimate of member $`m`$"),
    *NETWORK,
)
_CODE = ("jaxq/networks/ensemble.py:ensemble",)

TEXTS: dict[str, AlgorithmText] = {
    "bootstrapped_dqn": AlgorithmText(
        "Bootstrapped DQN with randomized priors",
        aligned(
            r"Q_m(s, a; \theta) &= f(s, a; \theta_m) + \beta\, f(s, a; \vartheta_m)",
            r"y_m &= r + \gamma (1 - d) \max_{a'} Q_m(s', a'; \theta^-)",
            r"L(\theta) &= \mathbb{E}_D\; \frac{1}{M} \sum_{m=1}^{M} b_m\,"
            r" \ell\big(y_m - Q_m(s, a; \theta)\big)",
        ),
        (
            ("M", "`ensemble_size`"),
            (r"\vartheta_m", "fixed random parameters, the prior"),
            (r"\beta", "`prior_scale`"),
            ("b_m", "the mask, 1 with probability `mask_probability`"),
            *NETWORK,
        ),
        ("jaxq/rl/ensembles.py:ensemble_loss", "jaxq/networks/ensemble.py:ensemble"),
        "Choose it for deep exploration: it solves DeepSea where epsilon-greedy "
        "exploration does not; see the results above. `prior_scale` should match the "
        "scale of the returns. Where epsilon-greedy exploration suffices it costs a "
        "multiple of DQN for less stable final returns, as on CartPole above.",
        ("noisy_dqn", "dqn"),
    ),
    "maxmin": AlgorithmText(
        "Maxmin DQN",
        aligned(
            r"y &= r + \gamma (1 - d) \max_{a'} \min_m Q_m(s', a'; \theta^-)",
            r"L(\theta) &= \mathbb{E}_D\; \frac{1}{M} \sum_{m=1}^{M}"
            r" \ell\big(y - Q_m(s, a; \theta)\big)",
        ),
        _MEMBERS,
        ("jaxq/rl/ensembles.py:ensemble_loss", "jaxq/rl/ensembles.py:minimum", *_CODE),
        "Choose it where the maximum over noisy estimates misleads: the number of "
        "members tunes the bias, from the overestimation of DQN to underestimation. "
        "Two members are the usual start; many learn too pessimistically, above all "
        "where rewards are sparse. For REDQ's minimum over a random pair set "
        "`ensemble_subset`.",
        ("double_dqn", "rem", "bootstrapped_dqn"),
    ),
    "rem": AlgorithmText(
        "Random ensemble mixture",
        aligned(
            r"w_m &= u_m \Big/ \sum_{m'=1}^{M} u_{m'}, \qquad u_m \sim U(0, 1)",
            r"y &= r + \gamma (1 - d) \max_{a'} \sum_m w_m Q_m(s', a'; \theta^-)",
            r"L(\theta) &= \mathbb{E}_D\;"
            r" \ell\Big(y - \sum_m w_m Q_m(s, a; \theta)\Big)",
        ),
        (("w_m", "the weights of the average, the same on both sides"), *_MEMBERS),
        ("jaxq/rl/ensembles.py:mixture_loss", *_CODE),
        "Choose it to learn from logged data, or from a replay buffer that changes "
        "slowly: a random average of members regularises as dropout does, and needs "
        "neither bounds nor quantiles. Online it costs as much as the other ensembles.",
        ("maxmin", "bootstrapped_dqn", "qr_dqn"),
    ),
}
