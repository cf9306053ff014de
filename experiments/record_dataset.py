"""Record a dataset for offline learning: steps of a trained agent, in a file.

The argument is the directory of a run, finished or not. Its best seed plays, with
random actions at a probability of --epsilon. A run that is given the file as --dataset
learns from these steps alone.
"""

import dataclasses
import pathlib

import tyro

from jaxq import cli
from jaxq.config import command_line, flags


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Command-line arguments."""

    run: tyro.conf.Positional[pathlib.Path]
    """Directory of the run."""
    output: pathlib.Path
    """File to write, which must not exist; NAME.npz."""
    steps: int = 100_000
    """Steps to record; rounded up to a multiple of --num-envs."""
    epsilon: float = 0.0
    """Probability of a random action; 1 records the random policy."""
    num_envs: int = 16
    """Environments that are played at once; the last episode of each is cut off."""
    seed: int | None = None
    """Seed that plays; the one with the best last evaluation if omitted."""
    random_seed: int = 0
    """Seed of the actions and the environments."""
    allow_import: bool = False
    """Import the environment or algorithm of your own that the run names."""


def main() -> None:
    """Play, and write the steps."""
    arguments = command_line.read(Arguments, __doc__)
    cli.set_up_jax(flags.Options())
    from jaxq import load
    from jaxq.envs import make
    from jaxq.runs import recording

    recording.check_output(arguments.output)
    policy = load(
        arguments.run,
        seed="best" if arguments.seed is None else arguments.seed,
        allow_import=arguments.allow_import,
    )
    config = flags.read_config(arguments.run)
    # A dataset says how an episode ended; each run decides what follows from it.
    env = make.from_config(dataclasses.replace(config, timeout_is_terminal=False))
    dataset = recording.record(
        policy,
        env,
        arguments.steps,
        arguments.epsilon,
        arguments.random_seed,
        arguments.num_envs,
    )
    source = {
        "run": str(arguments.run),
        "algorithm": config.algorithm,
        "seed": policy.seeds[0],
        "epsilon": arguments.epsilon,
        "random_seed": arguments.random_seed,
        "environment_args": list(config.environment_args),
    }
    facts = recording.describe(dataset, env.spec, source)
    recording.write(arguments.output, dataset, facts)
    mean = facts["mean_return"]
    returns = "none finished" if mean is None else f"mean return {mean:.5g}"
    print(f"{facts['steps']:,} steps, {facts['episodes']:,} episodes, {returns}")
    print(f"saved {arguments.output}")


if __name__ == "__main__":
    with cli.exit_codes():
        main()
