"""Pages of the deep algorithms whose network outputs quantiles of the return."""

from experiments.support.algorithm_text import (
    HUBER,
    PARAMETERS,
    STEP,
    AlgorithmText,
    aligned,
)

_TAU_LOSS = r"\rho_\tau(u) &= \big|\tau - [u < 0]\big|\, \frac{L_\kappa(u)}{\kappa}"
_F_LOSS = r"\rho_f(u) &= \big|f - [u < 0]\big|\, \frac{L_\kappa(u)}{\kappa}"
_MUNCHAUSEN = (
    r"\pi(a \mid s) &= \mathrm{softmax}\big(Q(s, \cdot; \theta^-) / \tau\big)_a",
    r"b &= \alpha \max\big(\tau \log \pi(a \mid s),\, l_0\big)",
)
_MUNCHAUSEN_SYMBOLS = (
    (r"\alpha", "`munchausen_alpha`"),
    (r"\tau", "`entropy_temperature`"),
    ("l_0", "`munchausen_clip`"),
)


TEXTS: dict[str, AlgorithmText] = {
    "qr_dqn": AlgorithmText(
        "QR-DQN",
        aligned(
            r"a^* &= \arg\max_{a'} \frac{1}{N} \sum_j Z_j(s', a'; \theta^-)",
            r"y_j &= r + \gamma (1 - d)\, Z_j(s', a^*; \theta^-)",
            r"L(\theta) &= \mathbb{E}_D\; \sum_{i=1}^{N} \frac{1}{N} \sum_{j=1}^{N}"
            r" \rho_{\tau_i}\big(y_j - Z_i(s, a; \theta)\big),"
            r" \qquad \tau_i = \frac{2i - 1}{2N}",
            _TAU_LOSS,
        ),
        (
            ("Z_i", r"the estimate of the return's quantile at fraction $`\tau_i`$"),
            ("N", "`num_quantiles`"),
            *HUBER,
            *PARAMETERS,
            *STEP,
        ),
        ("jaxq/rl/heads.py:quantile", "jaxq/rl/heads.py:quantile_loss"),
        "Choose it for a distribution of returns without known bounds. It is the "
        "simplest of the quantile methods, and in the runs above the most reliable of "
        "them; its returns there do not differ reliably from DQN's, at a higher cost.",
        ("iqn", "fqf", "munchausen_qr_dqn", "c51"),
    ),
    "iqn": AlgorithmText(
        "IQN",
        aligned(
            r"Z_\tau(s, a; \theta) &= f\big(\psi(s) \odot \phi(\tau)\big)_a, \qquad"
            r" \phi(\tau) = \mathrm{relu}\Big( W \big(\cos \pi i \tau"
            r"\big)_{i=0}^{n-1} + b \Big)",
            r"a^* &= \arg\max_{a'} \frac{1}{K} \sum_{k=1}^{K}"
            r" Z_{\tilde\tau_k}(s', a'; \theta^-)",
            r"y_j &= r + \gamma (1 - d)\, Z_{\tau'_j}(s', a^*; \theta^-)",
            r"L(\theta) &= \mathbb{E}_D\; \sum_{i=1}^{N} \frac{1}{N'}"
            r" \sum_{j=1}^{N'} \rho_{\tau_i}\big(y_j - Z_{\tau_i}(s, a; \theta)\big)",
            _TAU_LOSS,
        ),
        (
            (
                r"\tau_i, \tau'_j, \tilde\tau_k",
                "fractions drawn uniformly from [0, 1]",
            ),
            ("N, N', K", "`quantile_samples`, `target_samples`, `policy_samples`"),
            (r"\psi, f", "the torso and the output layers"),
            ("n", "`num_cosines`"),
            *HUBER,
            *PARAMETERS,
            *STEP,
        ),
        (
            "jaxq/rl/heads.py:implicit_quantile",
            "jaxq/networks/readouts.py:implicit_quantiles",
        ),
        "Choose it on large problems such as Atari, where it was the strongest single "
        "agent of its time, or for risk-sensitive policies of your own. On the small "
        "problems above it gains nothing, costs several times more per update, and "
        "with settings chosen for DQN does not learn MountainCar.",
        ("qr_dqn", "fqf", "munchausen_iqn"),
    ),
    "fqf": AlgorithmText(
        "FQF",
        aligned(
            r"Q(s, a) &= \sum_{i=0}^{N-1} (\tau_{i+1} - \tau_i)\,"
            r" Z_{\hat\tau_i}(s, a), \qquad \hat\tau_i = \tfrac{1}{2}"
            r" (\tau_i + \tau_{i+1})",
            r"L(\theta) &= \mathbb{E}_D\; \sum_{i=0}^{N-1} \sum_{j=0}^{N-1}"
            r" (\tau'_{j+1} - \tau'_j)\, \rho_{\hat\tau_i}\big(r + \gamma (1 - d)\,"
            r" Z_{\hat\tau'_j}(s', a^*; \theta^-)"
            r" - Z_{\hat\tau_i}(s, a; \theta)\big)",
            r"\frac{\partial W_1}{\partial \tau_i} &= 2 Z_{\tau_i}(s, a)"
            r" - Z_{\hat\tau_i}(s, a) - Z_{\hat\tau_{i-1}}(s, a)",
            _TAU_LOSS,
        ),
        (
            (r"\tau_i", "the fractions proposed for $`s`$, from 0 to 1"),
            (r"\tau'_j", r"those that the target network proposes for $`s'`$"),
            ("N", "`num_quantiles`"),
            ("W_1", "the 1-Wasserstein error, minimised over the proposal only"),
            ("a^*", r"the action of the largest $`Q(s', \cdot; \theta^-)`$"),
            *HUBER,
            *PARAMETERS,
            *STEP,
        ),
        (
            "jaxq/rl/heads.py:fully_parameterized",
            "jaxq/networks/readouts.py:proposed_quantiles",
        ),
        "Choose it to compare with IQN: it places a few fractions well in place of "
        "many at random, and its paper reports higher returns on Atari. It has a "
        "second learning rate (`fraction_learning_rate`) that needs care. In the runs "
        "above it is not better than QR-DQN.",
        ("iqn", "qr_dqn"),
    ),
    "munchausen_qr_dqn": AlgorithmText(
        "Munchausen QR-DQN",
        aligned(
            *_MUNCHAUSEN,
            r"y_j &= r + b + \gamma (1 - d) \sum_{a'} \pi(a' \mid s')"
            r" \Big( Z_j(s', a'; \theta^-) - \tau \log \pi(a' \mid s') \Big)",
            r"L(\theta) &= \mathbb{E}_D\; \sum_{i=1}^{N} \frac{1}{N} \sum_{j=1}^{N}"
            r" \rho_{f_i}\big(y_j - Z_i(s, a; \theta)\big),"
            r" \qquad f_i = \frac{2i - 1}{2N}",
            _F_LOSS,
        ),
        (
            ("Z_i", r"the estimate of the return's quantile at fraction $`f_i`$"),
            ("Q", "the mean of the quantiles"),
            ("N", "`num_quantiles`"),
            *_MUNCHAUSEN_SYMBOLS,
            *HUBER,
            *PARAMETERS,
            *STEP,
        ),
        ("jaxq/rl/munchausen.py:munchausen_loss", "jaxq/rl/heads.py:quantile_loss"),
        "A middle way between Munchausen DQN and M-IQN, without sampled fractions. On "
        "CartPole and Acrobot above it is level with QR-DQN, on MountainCar less "
        "reliable. Choose it where QR-DQN already works and its policy flickers.",
        ("munchausen_dqn", "munchausen_iqn", "qr_dqn"),
    ),
    "munchausen_iqn": AlgorithmText(
        "Munchausen IQN",
        aligned(
            *_MUNCHAUSEN,
            r"y_j &= r + b + \gamma (1 - d) \sum_{a'} \pi(a' \mid s')"
            r" \Big( Z_{f'_j}(s', a'; \theta^-) - \tau \log \pi(a' \mid s') \Big)",
            r"L(\theta) &= \mathbb{E}_D\; \sum_{i=1}^{N} \frac{1}{N'}"
            r" \sum_{j=1}^{N'} \rho_{f_i}\big(y_j - Z_{f_i}(s, a; \theta)\big)",
            _F_LOSS,
        ),
        (
            ("f_i, f'_j", "fractions drawn uniformly from [0, 1]"),
            ("N, N'", "`quantile_samples`, `target_samples`"),
            ("Q", "the mean over `policy_samples` fractions of its own"),
            *_MUNCHAUSEN_SYMBOLS,
            *HUBER,
            *PARAMETERS,
            *STEP,
        ),
        (
            "jaxq/rl/munchausen.py:munchausen_loss",
            "jaxq/networks/readouts.py:implicit_quantiles",
        ),
        "Choose it on Atari, where its paper reports the best median of agents "
        "without prioritised or n-step replay, above Rainbow. On the small problems "
        "above it shares IQN's cost and its difficulty with MountainCar.",
        ("iqn", "munchausen_dqn", "rainbow"),
    ),
}
