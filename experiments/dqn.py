"""Deep Q-learning on vectorised gymnax environments, with all seeds in one program."""

from jaxq import Config, cli, preset
from jaxq.config.algorithm_table import ALGORITHMS

PRESETS = {
    "cartpole": Config(
        environment="CartPole-v1",
        num_seeds=10,
        total_steps=250_000,
        num_envs=8,
        buffer_size=50_000,
        batch_size=128,
        warmup_steps=4_000,
        update_steps=8,
        learning_rate=1e-3,
        learning_rate_schedule="linear",
        learning_rate_updates=31_000.0,
        target_period=50,
        epsilon_steps=50_000.0,
        epsilon_end=0.05,
        eval_points=50,
    ),
    "cleanrl": Config(),
} | {name: preset(name) for name in ALGORITHMS}

if __name__ == "__main__":
    cli.main(PRESETS, __doc__)
