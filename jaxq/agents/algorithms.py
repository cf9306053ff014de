"""The algorithms by name, as compositions of a network, a head, a loss and a store.

Each is a function of a configuration and of what the environment looks like. Its parts
are listed in `jaxq.config.presets`, and every part can be added to every other
algorithm by its field of the configuration; incompatible parts are refused.
"""

from collections.abc import Callable

from jaxq.agents import deep, tabular
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.config.presets import compose
from jaxq.types import Agent, EnvSpec

Algorithm = Callable[[Config, EnvSpec], Agent]

TABULAR: tuple[Algorithm, ...] = (
    tabular.tabular_q,
    tabular.n_step_q,
    tabular.sarsa,
    tabular.expected_sarsa,
    tabular.double_q_learning,
    tabular.watkins_q_lambda,
    tabular.peng_q_lambda,
    tabular.dyna_q,
)
DEEP: tuple[Algorithm, ...] = (
    deep.dqn,
    deep.double_dqn,
    deep.dueling_dqn,
    deep.n_step_dqn,
    deep.prioritized_dqn,
    deep.c51,
    deep.hl_gauss_dqn,
    deep.two_hot_dqn,
    deep.qr_dqn,
    deep.iqn,
    deep.fqf,
    deep.munchausen_dqn,
    deep.munchausen_qr_dqn,
    deep.munchausen_iqn,
    deep.noisy_dqn,
    deep.rainbow,
    deep.dqn_reg,
    deep.bootstrapped_dqn,
    deep.r2d2,
    deep.pqn,
    deep.pqn_rnn,
)
ALGORITHMS: dict[str, Algorithm] = {
    algorithm.__name__: algorithm for algorithm in TABULAR + DEEP
}


def register(algorithm: Algorithm) -> Algorithm:
    """Make an algorithm available under the name of its function; a decorator.

    Raises:
        ConfigError: if the name is taken.
    """
    name = algorithm.__name__
    if name in ALGORITHMS:
        raise ConfigError(f"algorithm {name!r} is registered already; rename yours.")
    ALGORITHMS[name] = algorithm
    return algorithm


def make(config: Config, spec: EnvSpec) -> Agent:
    """The agent that `config.algorithm` names."""
    return ALGORITHMS[config.algorithm](compose(config), spec)
