"""Pages of the algorithms that learn from a stream."""

from experiments.support.algorithm_text import STEP, AlgorithmText, aligned

_TD = (
    r"\delta_t &= r_t + \gamma (1 - d_t) \max_{a'} Q(s_{t+1}, a'; \theta)"
    r" - Q(s_t, a_t; \theta)"
)
_TRACE = r"z &\leftarrow \gamma \lambda z + \nabla_\theta Q(s_t, a_t; \theta)"
_SYMBOLS = (
    ("z", "the eligibility trace, 0 at the start of an episode and before an action "
     "that is not greedy"),
    (r"\lambda", "`trace_decay`"),
    (r"\alpha", "`learning_rate`"),
    *STEP,
)  # fmt: skip
_CODE = ("jaxq/agents/stream_agent.py:stream_agent", "jaxq/rl/traces.py:accumulate")

TEXTS: dict[str, AlgorithmText] = {
    "stream_q": AlgorithmText(
        "Stream Q(lambda)",
        aligned(
            _TD,
            _TRACE,
            r"\theta &\leftarrow \theta + \min\Big(\alpha,\,"
            r" \frac{1}{\kappa \max(|\delta_t|, 1)\, \|z\|_1}\Big)\, \delta_t z",
        ),
        ((r"\kappa", "`overshoot_bound`"), *_SYMBOLS),
        (*_CODE, "jaxq/rl/traces.py:overshooting_bounded"),
        "Choose it where experience cannot be stored: it keeps no buffer and no target "
        "network, learns from every step once, and one setting serves many problems. "
        "Values are in units of the running standard deviation of the return. Where "
        "memory is no concern, replay reuses every step many times.",
        ("adaptive_q", "intentional_q", "qrc", "watkins_q_lambda"),
    ),
    "stream_sarsa": AlgorithmText(
        "Stream SARSA(lambda)",
        aligned(
            r"\delta_t &= r_t + \gamma (1 - d_t)\, Q(s_{t+1}, a_{t+1}; \theta)"
            r" - Q(s_t, a_t; \theta)",
            _TRACE,
            r"\theta &\leftarrow \theta + \min\Big(\alpha,\,"
            r" \frac{1}{\kappa \max(|\delta_t|, 1)\, \|z\|_1}\Big)\, \delta_t z",
        ),
        (
            (r"\kappa", "`overshoot_bound`"),
            ("z", "the eligibility trace, 0 at the start of an episode"),
            *_SYMBOLS[1:],
        ),
        (*_CODE, "jaxq/rl/traces.py:overshooting_bounded"),
        "Choose it over Stream Q(lambda) where the cost of exploration counts: it "
        "evaluates the policy that explores, and its traces are never cut. With much "
        "exploration its values are those of a poor policy.",
        ("stream_q", "sarsa"),
    ),
    "qrc": AlgorithmText(
        "QRC(lambda)",
        aligned(
            _TD,
            r"z &\leftarrow \gamma \lambda z + \nabla Q, \quad"
            r" z_h \leftarrow \gamma \lambda z_h + \nabla h, \quad"
            r" b \leftarrow \gamma \lambda b + h",
            r"\theta &\leftarrow \theta + \alpha\, (\delta_t z - h\, \nabla Q"
            r" - b\, \nabla \delta_t)",
            r"\theta_h &\leftarrow \theta_h + \alpha_h\, (\delta_t z_h - h\, \nabla h"
            r" - \beta \theta_h)",
        ),
        (
            ("h", "a second network's estimate of the TD error of $`(s_t, a_t)`$"),
            (r"\alpha_h", "`correction_rate` times `learning_rate`"),
            (r"\beta", "`correction_penalty`"),
            *_SYMBOLS,
        ),
        (*_CODE, "jaxq/agents/gradient_correction.py:corrected_step"),
        "Choose it where semi-gradients diverge, off policy with function "
        "approximation: it follows the gradient of an objective. The price is a second "
        "network, and two more gradients per step.",
        ("stream_q", "adaptive_q"),
    ),
    "adaptive_q": AlgorithmText(
        "Adaptive Q(lambda)",
        aligned(
            _TD,
            _TRACE,
            r"v &\leftarrow \gamma \lambda v + (1 - \gamma \lambda)"
            r" \big(\nabla_\theta Q(s_t, a_t; \theta)\big)^2",
            r"\theta &\leftarrow \theta + \alpha\, \mathrm{clip}(\delta_t, \pm 1)\,"
            r" \frac{z}{\sqrt{v} + \epsilon}",
        ),
        ((r"\epsilon", "`optimizer_eps`"), *_SYMBOLS),
        (*_CODE, "jaxq/rl/traces.py:adaptive"),
        "Choose it as the first streaming agent to compare Stream Q(lambda) with. A "
        "bounded TD error and Adam's scale take the place of a bound on the step.",
        ("stream_q", "intentional_q"),
    ),
    "intentional_q": AlgorithmText(
        "Intentional Q(lambda)",
        aligned(
            _TD,
            _TRACE,
            r"m &= \sqrt{v} + \epsilon, \qquad"
            r" \|x\|^2_m = \sum\nolimits_i x_i^2 / m_i",
            r"\theta &\leftarrow \theta + \alpha\, \frac{\mathrm{clip}(\delta_t)}"
            r"{\sqrt{\langle \|\nabla Q\|^2_m \rangle\, \|z\|^2_m}}\, \frac{z}{m}",
        ),
        (
            ("v", "RMSprop's mean square of the gradient, of decay `adam_b2`"),
            (r"\langle", r"opens a moving average, of decay $`\gamma \lambda`$"),
            (r"\epsilon", "`optimizer_eps`"),
            *_SYMBOLS,
        ),
        (*_CODE, "jaxq/rl/traces.py:intentional"),
        "Choose it where the scale of gradients changes. Its step size is the fraction "
        "of the TD error that a step removes, not a number in units of parameters.",
        ("stream_q", "adaptive_q"),
    ),
}
