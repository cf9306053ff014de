"""Deep Q-learning on vectorised gymnax environments, with all seeds in one program."""

from jaxq import Config, cli, preset
from jaxq.config.algorithm_table import ALGORITHMS

PRESETS = {
    "default": Config(),
    "cleanrl": Config(defaults="plain"),
} | {name: preset(name) for name in ALGORITHMS}

if __name__ == "__main__":
    cli.main(PRESETS, __doc__)
