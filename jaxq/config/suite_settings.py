"""Rows of the table of environments for those of other suites."""

from jaxq.config.environment_entry import Environment, Rewards
from jaxq.config.environment_settings import MINATAR

_GOAL = Environment(Rewards(0.0, 1.0, 1))  # a reward of up to 1 ends the episode

SUITES: dict[str, Environment] = {
    "navix::Navix-Empty-5x5-v0": _GOAL,
    "navix::Navix-Empty-8x8-v0": _GOAL._replace(
        kinds={"replay": {"total_steps": 200_000, "learning_rate_updates": 24_750.0}}
    ),
    "gxm::Navix/Navix-Empty-5x5-v0": _GOAL,
    "gxm::XMiniGrid/MiniGrid-Empty-6x6": _GOAL,
    "xminigrid::MiniGrid-Empty-6x6": _GOAL,
    **{
        f"pgx::minatar-{name}": MINATAR[f"{game}-MinAtar"]
        for name, game in {
            "asterix": "Asterix",
            "breakout": "Breakout",
            "freeway": "Freeway",
            "seaquest": "Seaquest",
            "space_invaders": "SpaceInvaders",
        }.items()
    },
    "jumanji::Snake-v1": Environment(
        Rewards(0.0, 0.3),  # an apple takes a few steps
        kinds={"rollouts": {"num_envs": 64, "hidden_sizes": (256, 128)}},
    ),
    "craftax::Craftax-Classic-Symbolic-v1": Environment(
        Rewards(-0.1, 1.0, 22),  # one point per achievement
        kinds={
            "rollouts": {
                "num_envs": 128,
                "total_steps": 1_000_000,
                "hidden_sizes": (256, 128),
                "learning_rate": 5e-4,
                "eval_points": 10,
                "eval_max_steps": 2_000,
            }
        },
    ),
}
