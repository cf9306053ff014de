"""Watch a trained agent: an animated GIF of an episode, with its Q-values.

The argument is the directory of a run, finished or not. The best seed plays, as in
the run's own evaluation unless --epsilon is given. Classic control, the four rooms and
the frozen lake are drawn as pictures, grids and images as they are observed, and other
observations as bars.
"""

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

import tyro

from jaxq import cli
from jaxq.config import command_line, flags
from jaxq.config.fields import ConfigError

if TYPE_CHECKING:
    from experiments.support.frames import Moment
    from jaxq.envs.adapter import Environment
    from jaxq.runs.policy import Policy
    from jaxq.types import Array, EnvSpec


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Command-line arguments."""

    run: tyro.conf.Positional[pathlib.Path]
    """Directory of the run."""
    gif: pathlib.Path | None = None
    """File of the animation; play.gif in the directory of the run if omitted."""
    seed: int | None = None
    """Seed that plays; the one with the best last evaluation if omitted."""
    episode: int = 0
    """Number of the episode, which sets its random numbers."""
    epsilon: float | None = None
    """Probability of a random action; that of the run's evaluation if omitted."""
    max_steps: int = 500
    """Steps after which the animation ends."""
    every: int = 1
    """Steps per frame."""
    frame_seconds: float = 0.05
    """Time for which a frame is shown."""
    allow_import: bool = False
    """Import the environment or algorithm of your own that the run names."""


def main() -> None:
    """Play an episode and write its animation."""
    arguments = command_line.read(Arguments, __doc__)
    check(arguments)
    cli.set_up_jax(flags.Options())
    from experiments.support import frames
    from jaxq import load
    from jaxq.envs import make

    policy = load(
        arguments.run,
        seed="best" if arguments.seed is None else arguments.seed,
        allow_import=arguments.allow_import,
    )
    config = flags.read_config(arguments.run)
    env = make.from_config(config)
    if env.spec.num_agents > 1:
        raise ConfigError(
            f"{env.spec.name} has {env.spec.num_agents} agents, and an animation shows "
            "one. Step its own API with jaxq.load(...).act, and draw that."
        )
    epsilon = config.eval_epsilon if arguments.epsilon is None else arguments.epsilon
    moments, ended = play(policy, env, arguments, epsilon)
    draw_picture = frames.picture(config)
    shown = [*moments[: -1 : arguments.every], moments[-1]]
    pictures = [frames.frame(moment, draw_picture) for moment in shown]
    path = arguments.gif or arguments.run / "play.gif"
    frames.write_gif(path, pictures, arguments.frame_seconds)
    end = "" if ended else f", cut off by --max-steps {arguments.max_steps}"
    print(
        f"{config.algorithm} on {config.environment}, seed {policy.seeds[0]}: return "
        f"{moments[-1].episode_return:.5g} in {moments[-1].step} steps{end}"
    )
    print(f"saved {path}")


def check(arguments: Arguments) -> None:
    """Refuse numbers that make no animation.

    Raises:
        ConfigError: with the number.
    """
    for name in ("max_steps", "every"):
        if getattr(arguments, name) < 1:
            raise ConfigError(f"{name} = {getattr(arguments, name)} must be positive.")
    if arguments.epsilon is not None and not 0 <= arguments.epsilon <= 1:
        raise ConfigError(f"epsilon = {arguments.epsilon} is not a probability.")
    if arguments.episode < 0:
        raise ConfigError(f"episode = {arguments.episode} must not be negative.")
    if arguments.gif and not arguments.gif.parent.is_dir():
        raise ConfigError(
            f"gif = {str(arguments.gif)!r}: {arguments.gif.parent} is not a directory."
        )
    if not arguments.frame_seconds > 0:
        raise ConfigError(
            f"frame_seconds = {arguments.frame_seconds} must be positive."
        )


def play(
    policy: "Policy", env: "Environment", arguments: Arguments, epsilon: float
) -> "tuple[list[Moment], bool]":
    """Play one episode.

    Returns:
        Its moments, the last one after its last step, and whether it ended by itself.
    """
    import jax
    import numpy as np

    from experiments.support.frames import Moment

    key = jax.random.fold_in(jax.random.key(policy.seeds[0]), arguments.episode)
    reset_key, memory_key, play_key = jax.random.split(key, 3)

    def advance(carry: tuple, key: "jax.Array") -> tuple:
        state, memory, reward = carry
        act_key, env_key = jax.random.split(key)
        values = policy.q_values(state.observation, memory, reward)
        action, memory = policy.step(
            act_key, memory, state.observation, epsilon, reward
        )
        state, step = env.step(env_key, state, action)
        return (state, memory, step.reward), (step, values)

    start = env.reset(reset_key), policy.initial_memory(memory_key), np.float32(0)
    keys = jax.random.split(play_key, arguments.max_steps)
    _, (steps, values) = jax.device_get(jax.lax.scan(advance, start, keys))
    ends = steps.terminated | steps.truncated
    ended = bool(ends.any())
    length = int(ends.argmax()) + 1 if ended else len(ends)
    shown, final = (
        jax.device_get(jax.vmap(lambda x: drawn_array(env.spec, x))(observations))
        for observations in (steps.observation, steps.next_observation)
    )
    returns = np.concatenate([[0.0], np.cumsum(steps.reward[:length])])
    moments = [
        Moment(shown[t], values[t], int(steps.action[t]), t, returns[t])
        for t in range(length)
    ]
    last = moments[-1]._replace(
        observation=final[length - 1],
        q_values=None,
        step=length,
        episode_return=float(returns[length]),
    )
    return [*moments, last], ended


def drawn_array(spec: "EnvSpec", observation: Any) -> "Array":
    """The array of an observation that is drawn.

    Of a stack it is in the newest frame; of several arrays it is the first image, or
    all numbers if there is none.
    """
    import jax

    from jaxq.networks import torsos
    from jaxq.rl import frames
    from jaxq.types import unmasked

    if spec.frame is not None:
        observation = frames.newest(observation, spec.frame)
    arrays = jax.tree.leaves(unmasked(observation))
    images = [array for array in arrays if array.ndim >= 2]
    if images or len(arrays) == 1:
        return (images or arrays)[0]
    return torsos.concatenate(arrays)


if __name__ == "__main__":
    with cli.exit_codes():
        main()
