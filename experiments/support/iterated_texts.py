"""Page of the algorithm whose heads are one another's targets."""

from experiments.support.algorithm_text import LOSS, STEP, AlgorithmText, aligned

TEXTS: dict[str, AlgorithmText] = {
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
}
