"""Rows of the table of environments, and the settings that many of them share."""

from jaxq.config.algorithm_entry import Fields
from jaxq.config.environment_entry import Environment, Rewards

# Settings of every environment, by kind of agent.
NETWORK: Fields = {
    "num_envs": 8,
    "total_steps": 100_000,
    "buffer_size": 50_000,
    "batch_size": 64,
    "warmup_steps": 2_000,
    "update_steps": 8,
    "hidden_sizes": (64, 64),
    "optimizer_eps": 1e-5,
    "max_grad_norm": 10.0,
    "learning_rate": 1e-3,
    "learning_rate_schedule": "linear",
    "learning_rate_updates": 12_250.0,
    "epsilon_steps": 20_000.0,
    "epsilon_end": 0.05,
    "eval_points": 50,
    "num_quantiles": 32,
    "quantile_samples": 8,
    "target_samples": 8,
    "policy_samples": 8,
    "num_cosines": 32,
    "importance_updates": 25_000.0,
}
# A step costs PQN several times less and is used only while it is fresh, so PQN gets
# more of them.
ROLLOUTS: Fields = {
    **NETWORK,
    "num_envs": 16,
    "rollout_length": 32,
    "num_minibatches": 8,
    "num_epochs": 4,
    "learning_rate": 2.5e-4,
    "learning_rate_schedule": "constant",
    "total_steps": 800_000,
    "epsilon_steps": 200_000.0,
}
SEQUENCES: Fields = {
    "batch_size": 16, "burn_in": 4, "sequence_length": 16, "memory_size": 64,
}  # fmt: skip
# One environment, whose every step is learned from once.
STREAM: Fields = {
    "num_envs": 1,
    "total_steps": 500_000,
    "hidden_sizes": (64, 64),
    "epsilon_steps": 100_000.0,
    "epsilon_end": 0.01,
    "eval_points": 50,
}
TABLE: Fields = {
    "num_envs": 20,
    "total_steps": 1_000_000,
    "buffer_size": 1_000_000,
    "batch_size": 64,
    "warmup_steps": 10_000,
    "update_steps": 20,
    "num_updates": 2,
    "learning_rate": 0.2,
    "learning_rate_schedule": "inverse",
    "learning_rate_updates": 2_000.0,
    "initial_value": 1.0,
    "epsilon_steps": 250_000.0,
    "epsilon_end": 0.3,
    "eval_points": 50,
    "eval_episodes": 100,
}
KINDS: dict[str, Fields] = {
    "replay": NETWORK,
    "rollouts": ROLLOUTS,
    "recurrent_replay": {**NETWORK, **SEQUENCES},
    "recurrent_rollouts": {
        **ROLLOUTS,
        "num_minibatches": 4,
        "hidden_sizes": (64,),
        "learning_rate": 1e-3,
        "learning_rate_schedule": "linear",
        "learning_rate_updates": 25_280.0,
    },
    "stream": STREAM,
    "table": TABLE,
}
ALGORITHMS: dict[str, Fields] = {
    "fqf": {"num_quantiles": 8},
    "bootstrapped_dqn": {"ensemble_size": 5, "prior_scale": 1.0},
    "dyna_q": {"batch_size": 5},
    # A run has a tenth of the gradient steps of the paper's.
    "bbf": {"reset_period": 5_000, "anneal_updates": 1_250.0},
    "sr_spr": {"learning_rate": 2.5e-4, "learning_rate_schedule": "constant"},
}
# Fields of an algorithm that no environment overrides: the periods of targets that are
# copied do not suit averaged ones, and resets need a step size that does not vanish.
KEPT = frozenset({"learning_rate_schedule", "target_period"})
_REPEATED: Fields = {"num_updates": 16, "learning_rate": 2.5e-4}

# The outputs of a recurrent cell are bounded: without value rescaling, PQN learned
# nothing on Acrobot-v1 and reached 40 % of the maximal return on CartPole-v1.
_LARGE_RETURNS: Fields = {"dueling": True, "value_rescaling": True}

CLASSIC: dict[str, Environment] = {
    "CartPole-v1": Environment(
        Rewards(0.0, 1.0),
        kinds={
            "replay": {
                "total_steps": 200_000,
                "hidden_sizes": (120, 84),
                "learning_rate_updates": 25_000.0,
                "target_period": 50,
                "epsilon_steps": 40_000.0,
            },
            "rollouts": {"hidden_sizes": (120, 84)},
            "recurrent_rollouts": {**_LARGE_RETURNS, "hidden_sizes": (64,)},
        },
    ),
    "Acrobot-v1": Environment(
        Rewards(-1.0, 0.0),
        kinds={
            "replay": {
                "total_steps": 80_000,
                "num_updates": 2,
                "learning_rate_updates": 20_000.0,
                "target_period": 100,
            },
            "recurrent_rollouts": _LARGE_RETURNS,
        },
        algorithms={"sr_spr": _REPEATED},
    ),
    "MountainCar-v0": Environment(
        Rewards(-1.0, 0.0),
        # When the time limit of 200 steps is bootstrapped through, most seeds never
        # reach the goal.
        {"timeout_is_terminal": True},
        {
            "replay": {
                "total_steps": 240_000,
                "num_updates": 2,
                "learning_rate": 4e-3,
                "learning_rate_updates": 75_000.0,
                "target_period": 25,
                "epsilon_steps": 50_000.0,
            },
            "rollouts": {"learning_rate": 4e-3},
            "recurrent_rollouts": {**_LARGE_RETURNS, "learning_rate": 1e-3},
        },
        algorithms={"sr_spr": _REPEATED},
    ),
}

_GAME: Fields = {
    "num_envs": 8,
    "total_steps": 500_000,
    "buffer_size": 100_000,
    "batch_size": 32,
    "warmup_steps": 5_000,
    "learning_rate": 2.5e-4,
    "learning_rate_schedule": "constant",
    "target_period": 250,
    "epsilon_steps": 100_000.0,
    "eval_points": 20,
}
# The hyperparameters of purejaxql.
_GAME_ROLLOUTS: Fields = {
    "num_envs": 128,
    "total_steps": 2_000_000,
    "num_minibatches": 32,
    "num_epochs": 2,
    "learning_rate": 5e-4,
    "learning_rate_schedule": "linear",
    "learning_rate_updates": 31_250.0,
    "epsilon_steps": 200_000.0,
    "epsilon_end": 0.05,
    "eval_points": 20,
    "weight_init": "lecun",
    "optimizer_eps": 1e-8,
}
_GAMES: dict[str, Fields] = {
    "replay": _GAME,
    "recurrent_replay": {**_GAME, "batch_size": 16},
    "rollouts": _GAME_ROLLOUTS,
    "recurrent_rollouts": {**_GAME_ROLLOUTS, "num_minibatches": 16},
    "stream": {
        "total_steps": 1_000_000,
        "epsilon_steps": 200_000.0,
        "eval_points": 20,
    },
}
# Points per step that a good agent scores, at most, over the horizon of the discount.
MINATAR: dict[str, Environment] = {
    f"{name}-MinAtar": Environment(Rewards(0.0, rate), kinds=_GAMES)
    for name, rate in {
        "Asterix": 0.15,
        "Breakout": 0.15,
        "Freeway": 0.05,
        "Seaquest": 0.15,
        "SpaceInvaders": 0.25,
    }.items()
}

_NOISY: Fields = {"eval_episodes": 200}  # random rewards: many episodes per point
_MEMORY: Fields = {"total_steps": 400_000, "learning_rate_updates": 12_500.0}

SMALL: dict[str, Environment] = {
    "Catch-bsuite": Environment(Rewards(-1.0, 1.0, 1), numbered=True),
    "DeepSea-bsuite": Environment(
        Rewards(-0.01, 1.0, 1),
        kinds={"replay": {"target_period": 10, "learning_rate_schedule": "constant"}},
        algorithms={"bootstrapped_dqn": {"ensemble_size": 10, "prior_scale": 3.0}},
        numbered=True,
    ),
    "MemoryChain-bsuite": Environment(Rewards(-1.0, 1.0, 1), _NOISY, kinds={
        "recurrent_replay": {"burn_in": 0, "sequence_length": 12},
        "recurrent_rollouts": _MEMORY,
    }),
    "UmbrellaChain-bsuite": Environment(Rewards(-1.0, 1.0, 10), _NOISY),
    "DiscountingChain-bsuite": Environment(
        Rewards(0.0, 1.1, 1),
        # The reward of the longest delay falls on the step of the time limit.
        {"timeout_is_terminal": True},
    ),
    "SimpleBandit-bsuite": Environment(Rewards(0.0, 1.0, 1)),
    "BernoulliBandit-misc": Environment(Rewards(0.0, 1.0, 100), _NOISY),
    "GaussianBandit-misc": Environment(Rewards(-1.0, 1.0, 100), _NOISY),
    "FourRooms-misc": Environment(
        Rewards(0.0, 1.0, 1),
        kinds={"replay": {"total_steps": 200_000, "learning_rate_updates": 24_750.0}},
        numbered=True,
    ),
    "FrozenLake-misc": Environment(Rewards(0.0, 1.0, 1), _NOISY, numbered=True),
    "MetaMaze-misc": Environment(Rewards(0.0, 10.0, 10), _NOISY, kinds={
        "replay": {"total_steps": 300_000, "learning_rate_updates": 37_250.0},
        "rollouts": {"total_steps": 2_400_000},
        "recurrent_rollouts": {"learning_rate_updates": 75_000.0},
    }),
    # An observation has 30 x 40 x 3 numbers, for which a convolution is too slow on a
    # CPU; the reward is 1 until the ball is lost.
    "Pong-misc": Environment(Rewards(0.0, 1.0), {"network": "mlp"}, {
        "replay": {"buffer_size": 10_000},
        "rollouts": {"total_steps": 200_000, "epsilon_steps": 50_000.0},
        "recurrent_rollouts": {"learning_rate_updates": 6_240.0},
    }),
}  # fmt: skip
