"""Record a dataset for offline learning: steps of a trained agent, in a file.

The argument is the directory of a run, finished or not. Its best seed plays, and takes
a random action with probability --epsilon. With --replay, the file instead gets the
replay buffer of the run's last checkpoint. A run that is given the file as --dataset
learns from these steps alone.
"""

import dataclasses
import pathlib
from typing import Any

import tyro

from jaxq import cli
from jaxq.config import command_line, flags
from jaxq.config.fields import ConfigError


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Command-line arguments."""

    run: tyro.conf.Positional[pathlib.Path]
    """Directory of the run."""
    output: pathlib.Path
    """File to write, which must not exist; NAME.npz."""
    steps: int | None = None
    """Steps to record, 100,000 if omitted; rounded up to a multiple of --num-envs."""
    epsilon: float | None = None
    """Probability of a random action, 0 if omitted; 1 records the random policy."""
    num_envs: int | None = None
    """Environments that are played at once, 16 if omitted; the last episode of each is
    cut off."""
    replay: bool = False
    """Write the replay buffer of the last checkpoint; nothing is played."""
    seed: int | None = None
    """Seed that plays; the one with the best last evaluation if omitted."""
    random_seed: int | None = None
    """Seed of the actions and the environments, 0 if omitted."""
    allow_import: bool = False
    """Import the environment or algorithm of your own that the run names."""


def main() -> None:
    """Play, and write the steps."""
    arguments = command_line.read(Arguments, __doc__)
    cli.set_up_jax(flags.Options())
    from jaxq import load
    from jaxq.envs import make
    from jaxq.runs import recording, replayed

    check(arguments)
    recording.check_output(arguments.output)
    policy = load(
        arguments.run,
        seed="best" if arguments.seed is None else arguments.seed,
        allow_import=arguments.allow_import,
    )
    config = flags.read_config(arguments.run)
    # A dataset says how an episode ended; each run decides what follows from it.
    env = make.from_config(dataclasses.replace(config, timeout_is_terminal=False))
    source: dict[str, Any] = {
        "run": str(arguments.run),
        "algorithm": config.algorithm,
        "seed": policy.seeds[0],
        "environment_args": list(config.environment_args),
    }
    if arguments.replay:
        dataset = replayed.read(arguments.run, env.spec, policy.seeds[0])
        # The first episode of each environment may have lost its start.
        source |= {"source": "replay", "episodes": None, "mean_return": None}
        # Both changed what the agent learned from, and so what it replays.
        for name in ("reward_clip", "episodic_life"):
            source[name] = getattr(config, name)
    else:
        epsilon, number = arguments.epsilon or 0.0, arguments.random_seed or 0
        steps = 100_000 if arguments.steps is None else arguments.steps
        count = 16 if arguments.num_envs is None else arguments.num_envs
        dataset = recording.record(policy, env, steps, epsilon, number, count)
        source |= {"source": "play", "epsilon": epsilon, "random_seed": number}
    facts = recording.describe(dataset, env.spec, source)
    recording.write(arguments.output, dataset, facts)
    print(f"{facts['steps']:,} steps{recording.returns_of(facts)}")
    print(f"saved {arguments.output}")


def check(arguments: Arguments) -> None:
    """Refuse numbers that have no effect.

    Raises:
        ConfigError: with the option.
    """
    for name in ("steps", "epsilon", "num_envs", "random_seed"):
        if arguments.replay and getattr(arguments, name) is not None:
            raise ConfigError(
                f"{name} = {getattr(arguments, name)}: with --replay nothing is "
                "played. Omit it."
            )


if __name__ == "__main__":
    with cli.exit_codes():
        main()
