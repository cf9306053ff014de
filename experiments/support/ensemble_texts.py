"""Pages of the algorithms whose members share a target, and of data efficiency."""

from experiments.support.algorithm_text import (
    NETWORK,
    PARAMETERS,
    STEP,
    AlgorithmText,
    aligned,
)

_MEMBERS = (
    ("M", "`ensemble_size`"),
    ("Q_m", "the estimate of member $`m`$"),
    *NETWORK,
)
_CODE = ("jaxq/networks/ensemble.py:ensemble",)
_RAINBOW = (
    r"a^* &= \arg\max_{a'} \sum_j z_j\, p_j(s_{t+k}, a'; \theta)",
    r"m_i &= \sum_j p_j(s_{t+k}, a^*; \theta^-) \max\bigg(0,\; 1 -"
    r" \frac{1}{\Delta z} \Big| \mathrm{clip}\big(R + \gamma^k (1 - d)"
    r" z_j, v_{\min}, v_{\max}\big) - z_i \Big| \bigg)",
    r"L(\theta) &= -\mathbb{E}_{t \sim P}\; w_t \sum_i m_i"
    r" \log p_i(s_t, a_t; \theta)",
)
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
    "der": AlgorithmText(
        "Data-Efficient Rainbow",
        aligned(r"R &= \sum_{j=0}^{k-1} \gamma^j r_{t+j}", *_RAINBOW),
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
            *_RAINBOW,
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
}
