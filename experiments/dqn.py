"""Deep Q-learning on vectorised gymnax environments, many seeds in one program."""

from jaxq import cli
from jaxq.config import Config

PRESETS = {
    "cartpole": Config(
        environment="CartPole-v1",
        num_seeds=10,
        total_steps=300_000,
        num_envs=8,
        buffer_size=50_000,
        batch_size=128,
        warmup_steps=5_000,
        update_steps=8,
        hidden_sizes=(128, 128),
        learning_rate=1e-3,
        target_period=250,
        epsilon_steps=50_000.0,
        epsilon_end=0.05,
        eval_points=60,
    ),
    "cleanrl": Config(),
}

if __name__ == "__main__":
    cli.main(PRESETS, __doc__)
