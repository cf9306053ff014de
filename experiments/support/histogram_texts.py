"""Pages of the deep algorithms whose network outputs a histogram over atoms."""

from experiments.support.algorithm_text import (
    PARAMETERS,
    STEP,
    AlgorithmText,
    aligned,
)

_ATOMS = (
    ("z_i", "the `num_atoms` atoms, from `v_min` to `v_max`"),
    (r"\Delta z", "their spacing"),
    ("p_i", "the softmax of the network's outputs"),
)
_ENTROPY = r"L(\theta) &= -\mathbb{E}_D\; \sum_i m_i \log p_i(s, a; \theta)"
_SCALAR = r"y &= r + \gamma (1 - d) \max_{a'} \sum_i z_i\, p_i(s', a'; \theta^-)"
_SUPPORT = (
    "`v_min` and `v_max` must enclose the discounted returns: values beyond them are "
    "clipped."
)
# Targets and loss of Rainbow, shared with its variants.
RAINBOW = (
    r"a^* &= \arg\max_{a'} \sum_j z_j\, p_j(s_{t+k}, a'; \theta)",
    r"m_i &= \sum_j p_j(s_{t+k}, a^*; \theta^-) \max\bigg(0,\; 1 -"
    r" \frac{1}{\Delta z} \Big| \mathrm{clip}\big(R + \gamma^k (1 - d)"
    r" z_j, v_{\min}, v_{\max}\big) - z_i \Big| \bigg)",
    r"L(\theta) &= -\mathbb{E}_{t \sim P}\; w_t \sum_i m_i"
    r" \log p_i(s_t, a_t; \theta)",
)


TEXTS: dict[str, AlgorithmText] = {
    "c51": AlgorithmText(
        "C51",
        aligned(
            r"a^* &= \arg\max_{a'} \sum_j z_j\, p_j(s', a'; \theta^-)",
            r"m_i &= \sum_j p_j(s', a^*; \theta^-) \max\bigg(0,\; 1 -"
            r" \frac{1}{\Delta z}"
            r" \Big| \mathrm{clip}\big(r + \gamma (1 - d) z_j, v_{\min},"
            r" v_{\max}\big) - z_i \Big| \bigg)",
            _ENTROPY,
        ),
        (*_ATOMS, *PARAMETERS, *STEP),
        ("jaxq/rl/categorical.py:categorical", "jaxq/rl/losses.py:td_loss"),
        "The distributional algorithm to try first when the range of the returns is "
        f"known. {_SUPPORT} On MountainCar above it ends well above DQN, and it is the "
        "base of Rainbow. Without known bounds take QR-DQN.",
        ("rainbow", "qr_dqn", "hl_gauss_dqn"),
    ),
    "hl_gauss_dqn": AlgorithmText(
        "DQN with HL-Gauss",
        aligned(
            _SCALAR,
            r"m_i &= \frac{\Phi\big((e_{i+1} - y) / \sigma\big)"
            r" - \Phi\big((e_i - y) / \sigma\big)}"
            r"{\Phi\big((v_{\max} - y) / \sigma\big)"
            r" - \Phi\big((v_{\min} - y) / \sigma\big)}",
            _ENTROPY,
        ),
        (
            ("e_i", "the edges of `num_atoms` bins from `v_min` to `v_max`"),
            ("z_i", "their centres"),
            ("p_i", "the softmax of the network's outputs"),
            (r"\sigma", "`hl_gauss_sigma` bin widths"),
            (r"\Phi", "the normal distribution function; $`y`$ is clipped to the bins"),
            *PARAMETERS[:2],
            *STEP,
        ),
        ("jaxq/rl/categorical.py:hl_gauss", "jaxq/rl/losses.py:td_loss"),
        "Choose it to scale up: with large networks classification trains more stably "
        "than regression (Farebrother et al.). With the small networks above it "
        "is worse than DQN on CartPole, and not reliably better on MountainCar. "
        f"{_SUPPORT} A Gaussian near an edge loses mass, so leave a margin.",
        ("two_hot_dqn", "c51"),
    ),
    "two_hot_dqn": AlgorithmText(
        "DQN with two-hot targets",
        aligned(
            _SCALAR,
            r"m_i &= \max\bigg(0,\; 1 - \frac{1}{\Delta z} \Big|"
            r" \mathrm{clip}\big(y, v_{\min}, v_{\max}\big) - z_i \Big| \bigg)",
            _ENTROPY,
        ),
        (*_ATOMS, *PARAMETERS, *STEP),
        ("jaxq/rl/categorical.py:two_hot", "jaxq/rl/losses.py:td_loss"),
        "Mostly a baseline for HL-Gauss, which smooths the same target over "
        "neighbouring bins and is better in the runs above and in Farebrother et al. "
        "It is the value representation of MuZero, there with rescaled rewards, which "
        f"are not used here. {_SUPPORT}",
        ("hl_gauss_dqn", "c51"),
    ),
    "rainbow": AlgorithmText(
        "Rainbow",
        aligned(
            r"R &= \sum_{j=0}^{k-1} \gamma^j r_{t+j}",
            *RAINBOW,
            r"P(t) &\propto D_{\mathrm{KL}}\big(m \,\|\, p(s_t, a_t)\big)^\omega",
        ),
        (
            *_ATOMS,
            ("k", "`n_step`, or fewer where the episode ends earlier"),
            (r"w_t", "the importance weight of prioritised replay"),
            (r"\omega", "`priority_exponent`"),
            *PARAMETERS[:2],
            *STEP,
        ),
        (
            "jaxq/rl/categorical.py:categorical",
            "jaxq/rl/losses.py:td_loss",
            "jaxq/rl/returns.py:n_step_return",
            "jaxq/replay/stores.py:proportional",
            "jaxq/networks/layers.py:ActionValues",
            "jaxq/networks/layers.py:Dense",
        ),
        "Choose it for the highest return without tuning each component: it is among "
        "the best in all three environments above, and remains a strong agent on "
        f"Atari. {_SUPPORT} It costs several times a DQN update; switch off what you "
        "do not need (`--algorithm rainbow --no-noisy`).",
        ("c51", "n_step_dqn", "prioritized_dqn", "noisy_dqn", "dueling_dqn"),
    ),
}
