"""Pages of the algorithms made for datasets."""

from experiments.support.algorithm_text import NETWORK, AlgorithmText, aligned

TEXTS: dict[str, AlgorithmText] = {
    "cql": AlgorithmText(
        "Conservative Q-learning",
        aligned(
            r"y &= r + \gamma (1 - d) \max_{a'} Q(s', a'; \theta^-)",
            r"L(\theta) &= \mathbb{E}_D\Big[\, \ell\big(y - Q(s, a; \theta)\big)"
            r" + \alpha \Big( \log \sum_b e^{Q(s, b; \theta)} - Q(s, a; \theta)"
            r" \Big) \Big]",
        ),
        ((r"\alpha", "`conservative_weight`"), *NETWORK),
        (
            "jaxq/rl/offline.py:conservative",
            "jaxq/agents/head_factory.py:penalized",
            "jaxq/rl/losses.py:td_loss",
        ),
        "Choose it to learn from a [dataset](experiments/README.md#offline-learning), "
        "whose steps another policy took: give its file as `dataset`. DQN "
        "overestimates actions that the data lacks, and takes no steps of its own that "
        "would correct this. The second term lowers their estimates, so values are too "
        "low by design, and more so with a larger weight, which is in units of the "
        "return. The term has its own field and combines with every head, target and "
        "ensemble; for a distribution it uses the means.",
        ("dqn", "qr_dqn", "dqn_reg"),
    ),
}
