"""Pages of the combinations of several algorithms."""

from experiments.support.algorithm_text import (
    LOSS,
    PARAMETERS,
    STEP,
    AlgorithmText,
    aligned,
)
from experiments.support.histogram_texts import RAINBOW

_RAINBOW_SYMBOLS = (
    ("z_i", "`num_atoms` atoms from `v_min` to `v_max`, $`\\Delta z`$ apart"),
    ("p_i", "the softmax of the network's outputs"),
    (r"w_t", "the importance weight of prioritised replay, $`P`$"),
    *PARAMETERS[:2],
    *STEP,
)
_RAINBOW_CODE = (
    "jaxq/rl/categorical.py:categorical",
    "jaxq/rl/losses.py:td_loss",
    "jaxq/replay/stores.py:proportional",
)

TEXTS: dict[str, AlgorithmText] = {
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
    "der": AlgorithmText(
        "Data-Efficient Rainbow",
        aligned(r"R &= \sum_{j=0}^{k-1} \gamma^j r_{t+j}", *RAINBOW),
        (
            ("k", "`n_step`, 20, or fewer where the episode ends earlier"),
            *_RAINBOW_SYMBOLS,
        ),
        _RAINBOW_CODE,
        "The baseline where environment steps are few, as in 100,000 steps of Atari: "
        "Rainbow with a gradient step at every environment step. Its long returns "
        "suit sparse rewards and short runs; with more steps, take `rainbow`, or "
        "lower `n_step`.",
        ("rainbow", "bbf", "dyna_q"),
    ),
    "bbf": AlgorithmText(
        "Bigger, Better, Faster",
        aligned(
            r"x &= \min(1, u / U), \qquad k = \mathrm{round}\big(10^{1-x}\, 3^x\big),"
            r" \qquad \gamma = 1 - 0.03^{1-x}\, 0.003^x",
            r"R &= \sum_{j=0}^{k-1} \gamma^j r_{t+j}",
            *RAINBOW,
            r"L_{\text{BBF}}(\theta) &= L(\theta) + \lambda\, L_{\text{SPR}}(\theta)",
            r"\theta^- &\leftarrow (1 - \tau)\, \theta^- + \tau\, \theta",
        ),
        (
            ("u", "gradient steps since the last reset, every `reset_period`"),
            ("U", "`anneal_updates`"),
            ("k", "the length of a return: from `n_step_start`, 10, to `n_step`, 3"),
            (
                r"L_{\text{SPR}}",
                "self-prediction's loss, see [`sr_spr`](results/algorithms/sr_spr.md)",
            ),
            (r"\lambda", "`spr_weight`"),
            (r"\tau", "`target_tau`"),
            (r"\theta^-", "target parameters, an average of the online ones"),
            *(symbol for symbol in _RAINBOW_SYMBOLS[:-1] if symbol[0] != r"\theta^-"),
            (r"\gamma", "from `discount_start`, 0.97, to `discount`, 0.997"),
        ),
        (
            *_RAINBOW_CODE,
            "jaxq/replay/horizons.py:horizon",
            "jaxq/rl/self_prediction.py:prediction_loss",
            "jaxq/agents/plasticity.py:reset",
        ),
        "Choose it to learn as much as possible from few environment steps when "
        "computation is cheap: set `num_updates` so that there are two to eight "
        "gradient steps per environment step. Resets make this many gradient steps "
        "possible. After each reset, long returns with a small discount factor learn "
        "quickly what shorter returns with a large one then refine. Choose "
        "`reset_period` so that the run does not end soon after a reset.",
        ("sr_spr", "der", "rainbow"),
    ),
    "isqn": AlgorithmText(
        "iS-QN",
        aligned(
            r"Q_k(s, a) &= \big(w_k^\top f(s; \theta)\big)_a, \qquad k = 0, \dots, K",
            r"y_k &= r + \gamma (1 - d) \max_{a'} Q_{k-1}(s', a')",
            r"L(\theta, w_1, \dots, w_K) &= \mathbb{E}_D\; \sum_{k=1}^{K}"
            r" \ell\big(y_k - Q_k(s, a)\big)",
            r"w_k &\leftarrow w_{k+1}, \quad k = 0, \dots, K - 1,"
            r" \quad \text{every } T \text{ updates}",
        ),
        (
            ("f", r"all layers but the last, shared by the heads and never copied"),
            ("w_k", "the last layer of head $`k`$; $`w_0`$ is not learned"),
            ("K", "`iterated_heads`"),
            ("T", "`target_period`"),
            ("y_k", "a target, through which no gradient flows"),
            ("D", "the replay buffer"),
            *LOSS,
            *STEP,
        ),
        (
            "jaxq/agents/iterated.py:parallel_loss",
            "jaxq/agents/iterated.py:shift",
            "jaxq/agents/iterated.py:iterated",
        ),
        "Choose it where a second network is expensive: it keeps a copy of the last "
        "layer only, and the heads learn several Bellman steps at once. Successors are "
        "evaluated by the newest shared layers, so it needs layer normalisation, which "
        "it switches on. `--iterated-heads 1` is DQN with a copied last layer.",
        ("dqn", "pqn", "bootstrapped_dqn"),
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
