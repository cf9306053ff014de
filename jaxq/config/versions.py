"""Fields that configurations of earlier versions do not have."""

from typing import Any

# Fields added since version 0.1.0, with the value by which earlier versions behaved.
ADDED: dict[str, Any] = {
    "shared_noise": True,
    "defaults": "plain",
    "algorithm_args": (),
    "frame_stack": 1,
    "reward_clip": None,
    "episodic_life": False,
    "weight_decay": None,
    "l2_penalty": None,
    "l2_init_penalty": None,
    "reset_period": None,
    "reset_torso": 0.0,
    "reset_head": 1.0,
    "redo_period": None,
    "redo_threshold": 0.1,
    "hare_period": None,
    "weight_norm": "none",
    "diagnostics": False,
    "ensemble_target": "own",
    "ensemble_subset": None,
    "average_reward": "none",
    "average_reward_rate": 1.0,
}
