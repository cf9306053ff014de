"""jaxq: value-based reinforcement learning in JAX, many seeds in one compiled program.

    from jaxq import Config, run
    result = run.run(Config(environment="CartPole-v1", num_seeds=10))

Importing this package imports neither jax nor gymnax; its modules do.
"""

from jaxq.config import Config, ConfigError

__version__ = "0.1.0"
__all__ = ["Config", "ConfigError"]
