"""Pages of the deep algorithms that estimate an expected return."""

from experiments.support.algorithm_text import LOSS, NETWORK, AlgorithmText, aligned

_PLAIN_TD = r"L(\theta) &= \mathbb{E}_D\; \ell\big(y - Q(s, a; \theta)\big)"
_DQN_TARGET = r"y &= r + \gamma (1 - d) \max_{a'} Q(s', a'; \theta^-)"
_LAMBDA = r"""
        \begin{aligned}
        G_t &= r_t + \gamma (1 - d_t) \Big( (1 - \lambda)
            \max_a Q(s_{t+1}, a; \theta_0) + \lambda\, G_{t+1} \Big) \\
        L(\theta) &= \mathbb{E}\; \ell\big(G_t - Q(s_t, a_t; \theta)\big)
        \end{aligned}
        """
_ROLLOUT = (
    (r"\theta_0", "the parameters that collected the rollout"),
    (r"\lambda", "`trace_decay`; it is 0 at a truncation and at the end of a rollout"),
    ("d_t", "1 if step $`t`$ terminated the episode, 0 otherwise"),
    (r"\gamma", "`discount`"),
    *LOSS,
)


TEXTS: dict[str, AlgorithmText] = {
    "dqn": AlgorithmText(
        "DQN",
        aligned(_DQN_TARGET, _PLAIN_TD),
        NETWORK,
        ("jaxq/rl/losses.py:td_loss",),
        "Start here. It is the cheapest deep algorithm per step, the one with the most "
        "published results to compare with, and every component can be added to it. On "
        "the small problems above few others are clearly better. It cannot explore "
        "deeply, and has no memory: see the hard problems above.",
        ("double_dqn", "rainbow", "pqn", "tabular_q"),
    ),
    "double_dqn": AlgorithmText(
        "Double DQN",
        aligned(
            r"y &= r + \gamma (1 - d)\, Q\big(s', \arg\max_{a'} Q(s', a'; \theta);"
            r" \theta^-\big)",
            _PLAIN_TD,
        ),
        NETWORK,
        ("jaxq/rl/losses.py:bootstrap_target", "jaxq/rl/losses.py:td_loss"),
        "Choose it over DQN whenever values matter, not only actions: it costs one "
        "more forward pass and removes most of the overestimation. In the runs above "
        "its returns do not differ reliably from DQN's; on Atari the gain is large in "
        "some games.",
        ("dqn", "double_q_learning", "rainbow"),
    ),
    "dueling_dqn": AlgorithmText(
        "Dueling DQN",
        aligned(
            r"Q(s, a; \theta) &= V(s; \theta) + A(s, a; \theta)"
            r" - \frac{1}{|\mathcal{A}|} \sum_{a'} A(s, a'; \theta)",
            _DQN_TARGET,
            _PLAIN_TD,
        ),
        (("V, A", "the two output streams"), *NETWORK),
        ("jaxq/networks/layers.py:ActionValues", "jaxq/rl/losses.py:td_loss"),
        "Choose it with many actions, most of which do not matter in most states. With "
        "two or three actions, as above, there is nothing to gain. Set "
        "`--stream-sizes 512` for the paper's streams.",
        ("dqn", "double_dqn", "rainbow"),
    ),
    "n_step_dqn": AlgorithmText(
        "n-step DQN",
        aligned(
            r"y_t &= \sum_{j=0}^{k-1} \gamma^j r_{t+j}"
            r" + \gamma^k (1 - d) \max_{a'} Q(s_{t+k}, a'; \theta^-)",
            r"L(\theta) &= \mathbb{E}_D\; \ell\big(y_t - Q(s_t, a_t; \theta)\big)",
        ),
        (("k", "`n_step`, or fewer where the episode ends earlier"), *NETWORK),
        ("jaxq/rl/returns.py:n_step_return", "jaxq/rl/losses.py:td_loss"),
        "The cheapest improvement of DQN when rewards are sparse or delayed, and one "
        "of the two components that Rainbow's ablation found most important on Atari. "
        "Three to five steps are usual. The return is not corrected for off-policy "
        "actions, which hurts with a large n, much exploration, or an old buffer.",
        ("n_step_q", "rainbow", "pqn"),
    ),
    "prioritized_dqn": AlgorithmText(
        "DQN with prioritised replay",
        aligned(
            r"P(i) &= \frac{p_i^{\,\omega}}{\sum_k p_k^{\,\omega}}, \qquad"
            r" p_i = |y_i - Q(s_i, a_i; \theta)| + \epsilon",
            r"w_i &= \frac{\big(N P(i)\big)^{-\beta}}"
            r"{\max_j \big(N P(j)\big)^{-\beta}}",
            r"L(\theta) &= \mathbb{E}_{i \sim P}\;"
            r" w_i\, \ell\big(y_i - Q(s_i, a_i; \theta)\big)",
        ),
        (
            ("p_i", "the priority of step $`i`$ when it was last replayed"),
            (r"\omega", "`priority_exponent`"),
            (r"\beta", "`importance_exponent`, rising to 1"),
            (r"\epsilon", "`priority_epsilon`"),
            ("N", "the number of steps in the buffer"),
            ("j", "the steps of the minibatch"),
            ("y", "DQN's target"),
        ),
        ("jaxq/replay/stores.py:proportional", "jaxq/rl/losses.py:td_loss"),
        "Choose it when informative transitions are rare in a large buffer, as on "
        "Atari, where Rainbow's ablation found it one of the two most important "
        "components. On the small problems above it is not reliably better than "
        "uniform replay. It costs a sum tree: see the buffer sizes in "
        "[speed](results/README.md#speed).",
        ("dqn", "rainbow", "r2d2"),
    ),
    "noisy_dqn": AlgorithmText(
        "NoisyNet-DQN",
        aligned(
            r"\text{layer}(x) &= (W + \Sigma_W \odot \varepsilon_W)\, x"
            r" + b + \sigma_b \odot \varepsilon_b",
            r"\varepsilon_{W,ij} &= f(\varepsilon_i) f(\varepsilon_j), \qquad"
            r" f(x) = \mathrm{sign}(x) \sqrt{|x|}",
            r"y &= r + \gamma (1 - d) \max_{a'} Q(s', a', \varepsilon'; \theta^-)",
            r"L(\theta) &= \mathbb{E}_D\;"
            r" \ell\big(y - Q(s, a, \varepsilon; \theta)\big)",
        ),
        (
            (r"\varepsilon", r"Gaussian noise; $`\Sigma_W, \sigma_b`$ are learned"),
            *NETWORK,
        ),
        ("jaxq/networks/layers.py:Dense", "jaxq/rl/losses.py:td_loss"),
        "Choose it when a schedule of epsilon is hard to set: exploration depends on "
        "the state and fades by itself. It is not deep exploration: for that, see "
        "Bootstrapped DQN. In the runs above it is no better than DQN with epsilon, "
        "and slower per step.",
        ("bootstrapped_dqn", "rainbow", "dqn"),
    ),
    "dqn_reg": AlgorithmText(
        "DQNReg",
        aligned(
            _DQN_TARGET,
            r"L(\theta) &= \mathbb{E}_D\; \ell\big(y - Q(s, a; \theta)\big)"
            r" + \tfrac{1}{2} w\, Q(s, a; \theta)",
        ),
        (("w", "`q_penalty`"), *NETWORK),
        ("jaxq/rl/losses.py:penalized", "jaxq/rl/losses.py:td_loss"),
        "A one-line change that counteracts overestimation by pulling down the values "
        "of the actions taken. Its weight is relative to the scale of the returns, so "
        "set `q_penalty` for yours. In the runs above it does not differ reliably from "
        "DQN; Double DQN has no weight to tune.",
        ("dqn", "double_dqn"),
    ),
    "munchausen_dqn": AlgorithmText(
        "Munchausen DQN",
        aligned(
            r"\pi(a \mid s) &= \mathrm{softmax}\big(Q(s, \cdot; \theta^-)"
            r" / \tau\big)_a",
            r"y &= r + \alpha \max\big(\tau \log \pi(a \mid s),\, l_0\big)"
            r" + \gamma (1 - d) \sum_{a'} \pi(a' \mid s')"
            r" \Big( Q(s', a'; \theta^-) - \tau \log \pi(a' \mid s') \Big)",
            _PLAIN_TD,
        ),
        (
            (r"\alpha", "`munchausen_alpha`"),
            (r"\tau", "`entropy_temperature`"),
            ("l_0", "`munchausen_clip`"),
            *NETWORK,
        ),
        ("jaxq/rl/munchausen.py:munchausen_loss",),
        "Choose it where the action gap is small and DQN's policy flickers: it widens "
        "the gap and regularises successive policies towards each other, and on Atari "
        "it is far above DQN at the same cost. The temperature is in units of the "
        "return, so set it for yours. On the small problems above it equals DQN.",
        ("dqn", "munchausen_iqn", "munchausen_qr_dqn"),
    ),
    "r2d2": AlgorithmText(
        "R2D2",
        aligned(
            r"h(x) &= \mathrm{sign}(x) \big(\sqrt{|x| + 1} - 1\big)"
            r" + 10^{-3} x",
            r"a^* &= \arg\max_a Q(s_{t+k}, a; \theta)",
            r"y_t &= h\Big( \sum_{j=0}^{k-1} \gamma^j r_{t+j} + \gamma^k (1 - d)\,"
            r" h^{-1}\big(Q(s_{t+k}, a^*; \theta^-)\big) \Big)",
            r"L(\theta) &= \mathbb{E}_D\; \frac{1}{T} \sum_{t=1}^{T} \ell(\delta_t),"
            r" \qquad \delta_t = y_t - Q(s_t, a_t; \theta)",
            r"p &= \eta \max_t |\delta_t| + (1 - \eta)\, \frac{1}{T} \sum_t"
            r" |\delta_t|",
        ),
        (
            ("Q", "the network's output, a rescaled return"),
            ("k", "`n_step`, or fewer where the episode ends earlier"),
            ("T", "`sequence_length`, after `burn_in` steps that only warm the memory"),
            ("p", "the priority of the sequence"),
            (r"\eta", "`sequence_max_weight`"),
            *NETWORK,
        ),
        ("jaxq/rl/recurrent_losses.py:td_loss", "jaxq/rl/rescaling.py:rescale"),
        "Choose it when an observation does not determine the state: it solves "
        "MemoryChain in every seed and DQN in none. It is also among the best on the "
        "fully observed problems above, but each update costs several times as much. "
        "PQN-RNN needs no replay, and more steps.",
        ("pqn_rnn", "prioritized_dqn", "dqn"),
    ),
    "pqn": AlgorithmText(
        "PQN",
        _LAMBDA,
        _ROLLOUT,
        (
            "jaxq/agents/q_lambda.py:q_lambda_returns",
            "jaxq/rl/losses.py:regression_loss",
        ),
        "Choose it when environment steps are cheap, as with gymnax on an accelerator: "
        "without replay or target network it takes the most steps per second and the "
        "least memory. It needs several times more steps than DQN, and layer "
        "normalisation, and does not reach every level that replay does.",
        ("pqn_rnn", "dqn", "peng_q_lambda"),
    ),
    "pqn_rnn": AlgorithmText(
        "PQN-RNN",
        _LAMBDA.replace("s_t, a", "h_t, a").replace("s_{t+1}, a", "h_{t+1}, a"),
        (("h_t", "the network's memory after $`s_t`$"), *_ROLLOUT),
        (
            "jaxq/rl/recurrent_losses.py:regression_loss",
            "jaxq/agents/q_lambda.py:q_lambda_returns",
        ),
        "Choose it for memory when steps are cheap: it solves MemoryChain in every "
        "seed, as R2D2 does, without replay. The outputs of a recurrent cell are "
        "bounded, so large returns need `--value-rescaling`. On fully observed "
        "problems plain PQN is better and faster.",
        ("pqn", "r2d2"),
    ),
}
