"""Settings that several papers share.

Papers on Atari count agent steps (four frames) and, for periods, gradient steps. (Mnih
et al. print a target period of 10,000 updates, but their program counts agent steps,
four per update; so does that of van Hasselt et al., who print frames.)
"""

from jaxq.config.algorithm_entry import Fields

ATARI: Fields = {
    "total_steps": 50_000_000,
    "buffer_size": 1_000_000,
    "batch_size": 32,
    "warmup_steps": 50_000,
    "update_steps": 4,
    "target_period": 2_500,
    "discount": 0.99,
}
MNIH: Fields = {
    **ATARI,
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
# The "tuned" Double DQN of van Hasselt et al., from which later papers start.
TUNED: Fields = {**MNIH, "double_q": True, "target_period": 7_500, "epsilon_end": 0.01}
DISTRIBUTIONAL: Fields = {
    **ATARI,
    "learning_rate": 5e-5,
    "optimizer_eps": 0.01 / 32,
    "epsilon_steps": 1_000_000.0,
    "epsilon_end": 0.01,
}
MUNCHAUSEN: Fields = {
    **ATARI,
    "learning_rate": 5e-5,
    "optimizer_eps": 0.01 / 32,
    "loss": "huber",
    "epsilon_steps": 250_000.0,
    "epsilon_end": 0.01,
    "target_period": 2_000,
}
