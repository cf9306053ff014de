"""Value-based reinforcement learning in JAX: many seeds, one compiled program.

    from jaxq import Config, run
    result = run(Config(environment="CartPole-v1", num_seeds=10))

Importing this package imports neither jax nor gymnax: each public name is imported when
it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxq.config.config import Config, preset
from jaxq.config.fields import ConfigError

if TYPE_CHECKING:
    from jaxq.agents.algorithms import register as register
    from jaxq.envs.adapter import adapt as adapt
    from jaxq.envs.five_values import from_five_values as from_five_values
    from jaxq.envs.teams import adapt_team as adapt_team
    from jaxq.runs.loading import load as load
    from jaxq.runs.policy import Policy as Policy
    from jaxq.runs.results import Result as Result
    from jaxq.runs.run import run as run
    from jaxq.sweeps.sweep import sweep as sweep

__version__ = "0.1.0"

_LAZY = {
    "Policy": "jaxq.runs.policy",
    "Result": "jaxq.runs.results",
    "adapt": "jaxq.envs.adapter",
    "adapt_team": "jaxq.envs.teams",
    "from_five_values": "jaxq.envs.five_values",
    "load": "jaxq.runs.loading",
    "register": "jaxq.agents.algorithms",
    "run": "jaxq.runs.run",
    "sweep": "jaxq.sweeps.sweep",
}
__all__ = ["Config", "ConfigError", "preset", *_LAZY]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module 'jaxq' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
