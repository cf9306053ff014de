"""What each algorithm is made of, and what its paper set.

`components` are the fields that make a configuration this algorithm: `compose` fills in
those that still have their default. `settings` are the paper's values of fields that
any algorithm has; `preset` adds them. For the papers on Atari, counts are in steps of
the agent (four frames), and periods in gradient steps. (Mnih et al. print a target
period of 10,000 updates, but their program counts steps of the agent, four for every
update; so does van Hasselt's, who prints frames.)
"""

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

from jaxq.config.config import Config
from jaxq.config.fields import ConfigError, check_name


class Paper(NamedTuple):
    """Where an algorithm comes from and what it is made of."""

    reference: str
    components: dict[str, Any]
    settings: dict[str, Any]


TABLE: dict[str, Any] = {
    "network": "table",
    "optimizer": "sgd",
    "loss_reduction": "sum",
    "target_period": 1,
    "learning_rate": 0.1,
}
ONLINE = TABLE | {"rollout_length": 1}
BOOK = {"epsilon_start": 0.1, "epsilon_end": 0.1, "discount": 1.0}

ATARI: dict[str, Any] = {
    "total_steps": 50_000_000,
    "buffer_size": 1_000_000,
    "batch_size": 32,
    "warmup_steps": 50_000,
    "update_steps": 4,
    "target_period": 2_500,
    "discount": 0.99,
}
MNIH = ATARI | {
    "optimizer": "rmsprop",
    "rmsprop_centered": True,
    "rmsprop_eps_in_root": True,
    "rmsprop_decay": 0.95,
    "optimizer_eps": 0.01,
    "learning_rate": 2.5e-4,
    "loss": "huber",
    "epsilon_steps": 1_000_000.0,
    "epsilon_end": 0.1,
}
# The "tuned" Double DQN of van Hasselt et al., which later papers start from.
TUNED = MNIH | {"double_q": True, "target_period": 7_500, "epsilon_end": 0.01}
DISTRIBUTIONAL = ATARI | {
    "learning_rate": 5e-5,
    "optimizer_eps": 0.01 / 32,
    "epsilon_steps": 1_000_000.0,
    "epsilon_end": 0.01,
}
RAINBOW: dict[str, Any] = {
    "head": "categorical",
    "double_q": True,
    "dueling": True,
    "noisy": True,
    "prioritized": True,
    "n_step": 3,
    "priority_exponent": 0.5,
    "epsilon_schedule": "none",
}
MUNCHAUSEN = ATARI | {
    "learning_rate": 5e-5,
    "optimizer_eps": 0.01 / 32,
    "loss": "huber",
    "epsilon_steps": 250_000.0,
    "epsilon_end": 0.01,
    "target_period": 2_000,
}

PAPERS: dict[str, Paper] = {
    "tabular_q": Paper("Watkins (1989)", TABLE, {}),
    "sarsa": Paper(
        "Rummery and Niranjan (1994)", ONLINE | {"next_value": "sarsa"}, BOOK
    ),
    "expected_sarsa": Paper(
        "van Seijen et al. (2009)", ONLINE | {"next_value": "expected_sarsa"}, BOOK
    ),
    "double_q_learning": Paper("van Hasselt (2010)", ONLINE, BOOK),
    "n_step_q": Paper("Watkins (1989)", TABLE | {"n_step": 3}, {}),
    "watkins_q_lambda": Paper(
        "Watkins (1989)",
        TABLE | {"rollout_length": 16, "trace_decay": 0.9, "trace_cut": True},
        BOOK,
    ),
    "peng_q_lambda": Paper(
        "Peng and Williams (1996)",
        TABLE | {"rollout_length": 16, "trace_decay": 0.9},
        BOOK,
    ),
    "dyna_q": Paper(
        "Sutton (1990)",
        ONLINE | {"batch_size": 5},
        BOOK | {"discount": 0.95},
    ),
    "dqn": Paper("Mnih et al. (2015), doi:10.1038/nature14236", {}, MNIH),
    "double_dqn": Paper(
        "van Hasselt et al., arXiv:1509.06461",
        {"double_q": True},
        TUNED,
    ),
    "dueling_dqn": Paper(
        "Wang et al., arXiv:1511.06581",
        {"dueling": True},
        TUNED
        | {"max_grad_norm": 10.0, "learning_rate": 6.25e-5, "stream_sizes": (512,)},
    ),
    "n_step_dqn": Paper(
        "Watkins (1989); Hessel et al., arXiv:1710.02298", {"n_step": 3}, MNIH
    ),
    "prioritized_dqn": Paper(
        "Schaul et al., arXiv:1511.05952",
        {"prioritized": True},
        TUNED | {"learning_rate": 6.25e-5, "importance_updates": 12.5e6},
    ),
    "c51": Paper(
        "Bellemare et al., arXiv:1707.06887",
        {"head": "categorical"},
        DISTRIBUTIONAL | {"learning_rate": 2.5e-4},
    ),
    "hl_gauss_dqn": Paper(
        "Imani and White, arXiv:1806.04613; Farebrother et al., arXiv:2403.03950",
        {"head": "hl_gauss"},
        DISTRIBUTIONAL,
    ),
    "two_hot_dqn": Paper(
        "Schrittwieser et al., arXiv:1911.08265; Farebrother et al., arXiv:2403.03950",
        {"head": "two_hot"},
        DISTRIBUTIONAL,
    ),
    "qr_dqn": Paper(
        "Dabney et al., arXiv:1710.10044", {"head": "quantile"}, DISTRIBUTIONAL
    ),
    "iqn": Paper(
        "Dabney et al., arXiv:1806.06923",
        {"head": "implicit_quantile"},
        DISTRIBUTIONAL,
    ),
    "fqf": Paper(
        "Yang et al., arXiv:1911.02140",
        {"head": "fully_parameterized", "num_quantiles": 32},
        DISTRIBUTIONAL,
    ),
    "munchausen_dqn": Paper(
        "Vieillard et al., arXiv:2007.14430", {"munchausen": True}, MUNCHAUSEN
    ),
    "munchausen_qr_dqn": Paper(
        "Vieillard et al., arXiv:2007.14430; Dabney et al., arXiv:1710.10044",
        {"munchausen": True, "head": "quantile"},
        MUNCHAUSEN,
    ),
    "munchausen_iqn": Paper(
        "Vieillard et al., arXiv:2007.14430",
        {"munchausen": True, "head": "implicit_quantile"},
        MUNCHAUSEN,
    ),
    "noisy_dqn": Paper(
        "Fortunato et al., arXiv:1706.10295",
        {"noisy": True, "epsilon_schedule": "none"},
        MNIH,
    ),
    "rainbow": Paper(
        "Hessel et al., arXiv:1710.02298",
        RAINBOW,
        ATARI
        | {"learning_rate": 6.25e-5, "optimizer_eps": 1.5e-4, "warmup_steps": 20_000}
        | {"target_period": 2_000, "importance_updates": 12.5e6},
    ),
    "dqn_reg": Paper("Co-Reyes et al., arXiv:2101.03958", {"q_penalty": 0.1}, MNIH),
    "bootstrapped_dqn": Paper(
        "Osband et al., arXiv:1602.04621 and arXiv:1806.03335",
        {"ensemble_size": 10, "epsilon_schedule": "none"},
        {"optimizer": "adam", "learning_rate": 1e-3, "discount": 0.99}
        | {"batch_size": 128, "update_steps": 1, "target_period": 4}
        | {"ensemble_size": 20, "hidden_sizes": (50, 50), "warmup_steps": 128},
    ),
    "r2d2": Paper(
        "Kapturowski et al. (2019), Recurrent Experience Replay in Distributed "
        "Reinforcement Learning",
        {"recurrent": "lstm", "prioritized": True, "double_q": True, "dueling": True}
        | {"n_step": 5, "value_rescaling": True, "priority_exponent": 0.9}
        | {"importance_exponent": 0.6},
        {"memory_size": 512, "learning_rate": 1e-4, "optimizer_eps": 1e-3}
        | {"batch_size": 64, "discount": 0.997, "target_period": 2_500}
        | {"num_envs": 256, "epsilon_schedule": "ladder", "epsilon_start": 0.4}
        | {"buffer_size": 4_000_000, "total_steps": 2_000_000_000}
        | {"importance_updates": 1e12},  # the exponent stays where it is
    ),
    "pqn": Paper(
        "Gallici et al., arXiv:2407.04811",
        {"rollout_length": 32, "num_minibatches": 32, "num_epochs": 2}
        | {"normalization": "layer", "optimizer": "radam", "max_grad_norm": 10.0},
        {"num_envs": 128, "learning_rate": 2.5e-4, "trace_decay": 0.65}
        | {"learning_rate_schedule": "linear", "weight_init": "lecun"}
        | {"total_steps": 50_000_000, "learning_rate_updates": 781_250.0}
        | {"epsilon_steps": 5_000_000.0, "epsilon_end": 0.001},
    ),
    "pqn_rnn": Paper(
        "Gallici et al., arXiv:2407.04811, section 5",
        {"rollout_length": 32, "num_minibatches": 4, "num_epochs": 4}
        | {"normalization": "layer", "optimizer": "radam", "recurrent": "gru"}
        | {"max_grad_norm": 0.5},
        {"num_envs": 32, "learning_rate": 1e-4, "trace_decay": 0.95}
        | {"epsilon_end": 0.05},
    ),
}

_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Config)}


def compose(config: Config, name: str = "") -> Config:
    """The configuration with the components of its algorithm filled in.

    A field that differs from its default is left as it is.

    Args:
        config: whose `algorithm` names the components.
        name: of another algorithm, in its place.

    Raises:
        ConfigError: if another head than the algorithm's is asked for.
    """
    name = name or config.algorithm
    components = PAPERS[name].components if name in PAPERS else {}
    filled = {}
    for field, value in components.items():
        given = getattr(config, field)
        plain = isinstance(given, str | bool | int | float | tuple | None)
        if plain and given == _DEFAULTS[field]:
            filled[field] = value
        elif field == "head" and given != value:
            raise ConfigError(
                f"head = {given!r}: {name} is the algorithm whose head is {value!r}. "
                f"Use algorithm = 'dqn' with head = {given!r}."
            )
    return dataclasses.replace(config, **filled) if filled else config


def compose_given(config: Config, given: Iterable[str]) -> Config:
    """`compose`, where some fields have been given in words.

    Args:
        config: whose `algorithm` names the components.
        given: names of fields.

    Raises:
        ConfigError: for a given field that the algorithm would replace all the same,
            because it has its default.
    """
    composed = compose(config)
    for name in given:
        value, other = getattr(config, name), getattr(composed, name)
        if value != other and value == value:  # nan is refused later
            raise ConfigError(
                f"{name} = {value!r}: {config.algorithm} is what sets this field to "
                f"{other!r} where it has its default. Choose another algorithm, with "
                "the components of this one as flags."
            )
    return composed


def preset(name: str, **changes: Any) -> Config:
    """The configuration of a paper: its components, its settings, and changes.

    Raises:
        ConfigError: for a name that has no paper here, or a change to a default that
            the algorithm replaces.
    """
    check_name("preset", name, PAPERS)
    paper = PAPERS[name]
    fields = {"algorithm": name} | paper.components | paper.settings | changes
    config = Config(**fields)
    compose_given(config, changes)
    return config
