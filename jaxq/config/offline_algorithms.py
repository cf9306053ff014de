"""Rows of the table of algorithms: those made for datasets."""

from jaxq.config.algorithm_entry import Algorithm
from jaxq.config.paper_settings import DISTRIBUTIONAL

OFFLINE: dict[str, Algorithm] = {
    "cql": Algorithm(
        "Conservative Q-learning, for datasets: the loss also lowers the estimates of "
        "actions that the data lacks.",
        "Kumar et al., arXiv:2006.04779",
        {"conservative_weight": 1.0},
        {**DISTRIBUTIONAL, "head": "quantile", "target_period": 2_000},
        "Differs in that it extends DQN, where the paper extends QR-DQN: set head to "
        "quantile. Without a dataset it replays its own steps.",
    ),
}
