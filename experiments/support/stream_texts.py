"""Pages of the algorithms that learn from a stream, and of combinations."""

from experiments.support.algorithm_text import PARAMETERS, STEP, AlgorithmText, aligned

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
    "btr": AlgorithmText(
        "Beyond the Rainbow",
        aligned(
            r"y_j &= \sum_{k=0}^{n-1} \gamma^k r_{t+k}"
            r" + \alpha \max\big(\tau \log \pi(a_t \mid s_t),\, l_0\big)"
            r" + \gamma^n (1 - d) \sum_{a'} \pi(a' \mid s_{t+n})"
            r" \Big( Z_{\tau'_j}(s_{t+n}, a'; \theta^-)"
            r" - \tau \log \pi(a' \mid s_{t+n}) \Big)",
            r"L(\theta) &= \mathbb{E}_D\; w \sum_i \frac{1}{N'} \sum_j"
            r" \rho_{\tau_i}\big(y_j - Z_{\tau_i}(s_t, a_t; \theta)\big)",
        ),
        (
            ("n", "`n_step`"),
            ("Z", r"the return's quantile, at a fraction"),
            (r"\pi", "the softmax of the values over `entropy_temperature`"),
            (r"\rho", "the quantile Huber loss"),
            ("w", "the importance weight of prioritised replay"),
            *PARAMETERS,
            *STEP,
        ),
        (
            "jaxq/rl/munchausen.py:munchausen_loss",
            "jaxq/networks/readouts.py:implicit_quantiles",
        ),
        "Choose it for images, with the settings of its preset: it is what Rainbow has "
        "become, and costs several times as much per update as DQN. With vector "
        "observations there is no convolution for its spectral normalisation to act "
        "on.",
        ("rainbow", "munchausen_iqn", "iqn"),
    ),
    "pqn_vdn": AlgorithmText(
        "PQN with value decomposition",
        aligned(
            r"Q_{tot}(s_t, a_t; \theta) &= \sum_{i=1}^N Q(o^i_t, a^i_t; \theta)",
            r"G_t &= \sum_{i=1}^N r^i_{t} + \gamma (1 - d) \Big("
            r" \lambda G_{t+1} + (1 - \lambda) \sum_{i=1}^N \max_{a'}"
            r" Q(o^i_{t+1}, a'; \theta) \Big)",
            r"L(\theta) &= \mathbb{E}\, \tfrac{1}{2}"
            r" \big(G_t - Q_{tot}(s_t, a_t; \theta)\big)^2",
        ),
        (
            (
                "i",
                "one of the team's $`N`$ agents, with its observation, action and "
                "reward",
            ),
            (r"\lambda", "`trace_decay`"),
            *STEP,
        ),
        (
            "jaxq/rl/value_decomposition.py:regress_sum",
            "jaxq/agents/rollout_agent.py:as_teams",
        ),
        "Choose it for agents that share a goal, in environments of JaxMARL or others "
        "that `jaxq.adapt_team` adapts. `pqn` on the same environment is independent "
        "Q-learning, where each agent learns from its own rewards. `num_envs` counts "
        "agents: 96 for 32 environments of three.",
        ("pqn", "pqn_rnn"),
    ),
    "sr_spr": AlgorithmText(
        "SR-SPR",
        aligned(
            r"\hat z_0 &= f(s_t; \theta), \qquad"
            r" \hat z_k = h(\hat z_{k-1}, a_{t+k-1}; \theta)",
            r"L_{\text{SPR}}(\theta) &= - \sum_{k=1}^{K} m_k"
            r" \cos\Big( q\big(g(\hat z_k; \theta); \theta\big),\;"
            r" g\big(f(s_{t+k}; \theta^-); \theta^-\big) \Big)",
            r"L(\theta) &= \mathbb{E}_D\; w \big( L_{\text{C51}}(\theta)"
            r" + \lambda L_{\text{SPR}}(\theta) \big)",
            r"\theta &\leftarrow (1 - x)\, \theta + x\, \theta'"
            r" \qquad \text{every reset period}",
        ),
        (
            ("f", "the features, scaled to the unit range"),
            ("h", "the transition model"),
            ("g", "the projection"),
            ("q", "the predictor"),
            ("K", "`spr_steps`"),
            ("m_k", "1 until the episode ends, then 0"),
            (r"\lambda", "`spr_weight`"),
            (r"L_{\text{C51}}", "Rainbow's loss"),
            ("w", "the importance weight of prioritised replay"),
            (r"\theta'", "newly initialised parameters"),
            ("x", "`reset_torso` or `reset_head`"),
            *PARAMETERS,
        ),
        (
            "jaxq/rl/self_prediction.py:prediction_loss",
            "jaxq/networks/self_prediction.py:SelfPrediction",
            "jaxq/agents/self_prediction.py:add_loss",
            "jaxq/agents/plasticity.py:reset",
        ),
        "Choose it where environment steps are scarce and gradient steps are not: it "
        "takes many of them per environment step, and each costs several of DQN's. "
        "`--spr-steps 5` alone adds the predictions to any feed-forward algorithm with "
        "replay.",
        ("rainbow", "btr", "c51"),
    ),
}
