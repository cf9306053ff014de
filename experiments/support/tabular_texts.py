"""Pages of the algorithms that learn a table."""

from experiments.support.algorithm_text import STEP, TABLE, AlgorithmText, Symbols

_TRACE: Symbols = (
    (r"G_t", "the return that $`Q(s_t, a_t)`$ moves towards"),
    (r"\lambda", "`trace_decay`; it is 0 at a truncation and at the end of a rollout"),
    ("d_t", "1 if step $`t`$ terminated the episode, 0 otherwise"),
    (r"\alpha", "`learning_rate`"),
    (r"\gamma", "`discount`"),
)

TEXTS: dict[str, AlgorithmText] = {
    "tabular_q": AlgorithmText(
        "Q-learning",
        r"""
        Q(s, a) \leftarrow Q(s, a) + \alpha \Big(
            r + \gamma (1 - d) \max_{a'} Q(s', a') - Q(s, a) \Big)
        """,
        TABLE,
        ("jaxq/rl/losses.py:td_loss", "jaxq/networks/tables.py:table"),
        "The default for a finite environment: off-policy, and with a step size that "
        "decays (`--learning-rate-schedule inverse`) its greedy policy reaches the "
        "return of the optimal one in every environment above. Replay makes it "
        "sample-efficient; add `--rollout-length 1` for the classical form, which "
        "learns from each step once. In a stochastic environment its maximum is biased "
        "upwards.",
        ("double_q_learning", "n_step_q", "dyna_q", "dqn"),
    ),
    "sarsa": AlgorithmText(
        "SARSA",
        r"""
        Q(s, a) \leftarrow Q(s, a) + \alpha \Big(
            r + \gamma (1 - d)\, Q(s', a') - Q(s, a) \Big)
        """,
        (*TABLE, ("a'", "the action taken in $`s'`$")),
        ("jaxq/rl/losses.py:sarsa", "jaxq/replay/rollout_stores.py:sarsa_queue"),
        "Choose it when the return of the exploring agent matters: on cliff walking it "
        "learns the safe path, and collects more than Q-learning while it explores. "
        "Expected SARSA has the same target in expectation, with less variance, and "
        "was better at every step size in the textbook's comparison. SARSA remains "
        "the reference for on-policy learning.",
        ("expected_sarsa", "tabular_q"),
    ),
    "expected_sarsa": AlgorithmText(
        "Expected SARSA",
        r"""
        \begin{aligned}
        Q(s, a) &\leftarrow Q(s, a) + \alpha \Big( r + \gamma (1 - d)
            \sum_{a'} \pi(a' \mid s')\, Q(s', a') - Q(s, a) \Big) \\
        \pi(a \mid s) &= \frac{\varepsilon}{|\mathcal{A}|} + (1 - \varepsilon)
            \frac{[a \in \arg\max Q(s, \cdot)]}{|\arg\max Q(s, \cdot)|}
        \end{aligned}
        """,
        (*TABLE, (r"\varepsilon", "the current epsilon of the behaviour policy")),
        ("jaxq/rl/losses.py:epsilon_greedy",),
        "The on-policy method to prefer: it removes the variance that SARSA's sampled "
        "action adds, and stands larger step sizes, which the textbook's comparison "
        "shows. With epsilon 0 it is Q-learning. Unlike SARSA it can also learn from "
        "replay (`--next-value expected_sarsa`).",
        ("sarsa", "tabular_q"),
    ),
    "differential_q": AlgorithmText(
        "Differential Q-learning",
        r"""
        \begin{aligned}
        \delta &= r - \bar r + \max_{a'} Q(s', a') - Q(s, a) \\
        Q(s, a) &\leftarrow Q(s, a) + \alpha\, \delta \\
        \bar r &\leftarrow \bar r + \eta\, \alpha\, \delta
        \end{aligned}
        """,
        (
            ("Q", "the table"),
            (r"\bar r", "the estimate of the average reward per step, from 0"),
            (r"\alpha", "`learning_rate`"),
            (r"\eta", "`average_reward_rate`"),
            ("s'", "the next state; where an episode ends, the start of the next one"),
        ),
        ("jaxq/agents/average_reward.py:learn", "jaxq/rl/losses.py:td_loss"),
        "Choose it for continuing tasks, where the reward per step is what counts: it "
        "needs no discount, and its values stay small. As `--average-reward "
        "differential` it combines with networks too; `rvi` subtracts the mean value "
        "instead, and `centering` keeps a discount, whose values it brings near zero. "
        "In an episodic task, whose length the policy decides, it prefers the short "
        "way to the same return.",
        ("tabular_q", "dqn"),
    ),
    "double_q_learning": AlgorithmText(
        "Double Q-learning",
        r"""
        \begin{aligned}
        \text{heads:}\quad Q_1(s, a) &\leftarrow Q_1(s, a) + \alpha \Big(
            r + \gamma (1 - d)\, Q_2\big(s', \arg\max_{a'} Q_1(s', a')\big)
            - Q_1(s, a) \Big) \\
        \text{tails:}\quad Q_2(s, a) &\leftarrow Q_2(s, a) + \alpha \Big(
            r + \gamma (1 - d)\, Q_1\big(s', \arg\max_{a'} Q_2(s', a')\big)
            - Q_2(s, a) \Big)
        \end{aligned}
        """,
        (
            ("Q_1, Q_2", "the two tables, one of which a fair coin selects"),
            (r"\alpha", "`learning_rate`"),
            *STEP,
        ),
        ("jaxq/rl/double_q.py:double_q_loss", "jaxq/rl/double_q.py:double_table"),
        "Choose it where rewards are noisy and many actions are nearly equal: there "
        "the maximum of Q-learning is biased upwards, and the textbook's example shows "
        "how this one avoids the bias. Each table learns from half of the steps, so "
        "in a nearly deterministic environment Q-learning is faster.",
        ("tabular_q", "double_dqn"),
    ),
    "n_step_q": AlgorithmText(
        "n-step Q-learning",
        r"""
        Q(s_t, a_t) \leftarrow Q(s_t, a_t) + \alpha \Big(
            \sum_{j=0}^{k-1} \gamma^j r_{t+j}
            + \gamma^k (1 - d) \max_{a'} Q(s_{t+k}, a') - Q(s_t, a_t) \Big)
        """,
        (
            ("k", "`n_step`, or fewer where the episode ends earlier"),
            ("d", "1 if the last of these steps terminated the episode"),
            (r"\alpha", "`learning_rate`"),
            (r"\gamma", "`discount`"),
        ),
        ("jaxq/rl/losses.py:td_loss", "jaxq/rl/returns.py:n_step_return"),
        "Choose it where rewards are delayed: a reward reaches n states at once. The "
        "actions inside the window are not corrected for, so with much exploration or "
        "a large n its fixed point is no longer the optimum; where the exact optimum "
        "matters, use n = 1 or Watkins's Q(lambda).",
        ("n_step_dqn", "watkins_q_lambda", "peng_q_lambda"),
    ),
    "watkins_q_lambda": AlgorithmText(
        "Watkins's Q(lambda)",
        r"""
        \begin{aligned}
        G_t &= r_t + \gamma (1 - d_t) \Big( (1 - \lambda_t) \max_a Q(s_{t+1}, a)
            + \lambda_t\, G_{t+1} \Big), \qquad
        \lambda_t = \lambda\, [a_{t+1} \text{ is greedy}] \\
        Q(s_t, a_t) &\leftarrow Q(s_t, a_t) + \alpha \big( G_t - Q(s_t, a_t) \big)
        \end{aligned}
        """,
        _TRACE,
        ("jaxq/rl/returns.py:lambda_returns", "jaxq/agents/q_lambda.py:is_next_greedy"),
        "Choose it for delayed rewards when the fixed point must remain the optimal "
        "values: only greedy actions are traced through. With much exploration the "
        "traces are short, and then Peng's is faster.",
        ("peng_q_lambda", "n_step_q", "pqn"),
    ),
    "peng_q_lambda": AlgorithmText(
        "Peng's Q(lambda)",
        r"""
        \begin{aligned}
        G_t &= r_t + \gamma (1 - d_t) \Big( (1 - \lambda) \max_a Q(s_{t+1}, a)
            + \lambda\, G_{t+1} \Big) \\
        Q(s_t, a_t) &\leftarrow Q(s_t, a_t) + \alpha \big( G_t - Q(s_t, a_t) \big)
        \end{aligned}
        """,
        _TRACE,
        (
            "jaxq/rl/returns.py:lambda_returns",
            "jaxq/agents/q_lambda.py:q_lambda_returns",
        ),
        "Choose it for delayed rewards when speed matters more than an exact fixed "
        "point: traces pass through exploratory actions, so with a constant epsilon "
        "the values lie between those of the behaviour policy and the optimal ones. "
        "PQN is the same return with a network.",
        ("watkins_q_lambda", "pqn"),
    ),
    "dyna_q": AlgorithmText(
        "Dyna-Q",
        r"""
        \begin{aligned}
        M(s, a) &\leftarrow (r, s', d) \\
        Q(s, a) &\leftarrow Q(s, a) + \alpha \Big(
            r + \gamma (1 - d) \max_{a'} Q(s', a') - Q(s, a) \Big)
            \quad \text{for the step and for } B \text{ recalled ones}
        \end{aligned}
        """,
        (
            ("M", "the model: the latest outcome of every state and action"),
            ("B", "`batch_size`, pairs drawn uniformly from the visited ones"),
            *TABLE,
        ),
        ("jaxq/replay/dyna.py:dyna_store", "jaxq/rl/losses.py:td_loss"),
        "Choose it for deterministic environments when steps are expensive and "
        "computation is not: each step is followed by updates from $`B`$ recalled "
        "pairs. The model keeps one outcome per pair, so in a stochastic environment "
        "its values are wrong; `tabular_q` with replay is right there.",
        ("tabular_q", "n_step_q"),
    ),
}
