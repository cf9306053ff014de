"""The number of threads with which XLA computes on a CPU."""

from jaxq.config import environment_table
from jaxq.config.config import Config


def one_is_fastest(config: Config) -> bool:
    """Whether a single thread of XLA is fastest: one seed with a small network.

    Saves up to a quarter of the time per update, with bit-identical results; see
    results/performance.md#threads.
    """
    rollout = config.rollout_length * config.num_envs // config.num_minibatches
    products = (rollout or config.batch_size) * max(config.hidden_sizes, default=1) ** 2
    images = config.network in ("minatar", "nature", "impala")
    images |= "MinAtar" in config.environment
    images |= config.environment not in environment_table.ENVIRONMENTS  # perhaps
    return config.num_seeds == 1 and not images and products <= 2**22
