"""The loop lengths of a run, exact integers for any number of environments."""

from fractions import Fraction
from typing import NamedTuple

from jaxq.config import presets
from jaxq.config.config import Config


class LoopLengths(NamedTuple):
    """The loop lengths that follow from a configuration; see `plan`."""

    rollout_length: int  # steps of every environment in an iteration (T)
    num_updates: int  # gradient steps in an iteration (U)
    buffer_rows: int  # steps of every environment kept for replay
    warmup_rollouts: int  # rollouts with random actions
    chunk_iterations: int  # iterations in one compiled call
    point_chunks: int  # compiled calls between points of the curve
    num_points: int  # points of the curve
    warmup_steps: int  # environment steps of the warm-up
    point_steps: int  # environment steps between points of the curve
    total_steps: int  # environment steps of the whole run


def window(config: Config) -> int:
    """Rows of the replay buffer that follow the first row of a sample."""
    if config.recurrent == "none":
        return config.n_step
    return config.burn_in + config.sequence_length + config.n_step - 1


def loop_lengths(config: Config) -> LoopLengths:
    """Exact integer loop lengths, for any number of environments.

    With replay, E environments, T steps and then U updates an iteration, U / (T E) must
    equal num_updates / update_steps; T and U are the smallest such numbers. Without
    replay, T is rollout_length and U is num_epochs num_minibatches.
    """
    config = presets.compose(config)
    if config.rollout_length:
        length = config.rollout_length
        num_updates = config.num_epochs * config.num_minibatches
    else:
        ratio = Fraction(config.num_envs * config.num_updates, config.update_steps)
        num_updates, length = ratio.numerator, ratio.denominator
    iteration_steps = length * config.num_envs
    wanted = max(config.warmup_steps, (window(config) + 1) * config.num_envs)
    warmup = 0 if config.rollout_length else -(-wanted // iteration_steps)
    warmup_steps = warmup * iteration_steps
    iterations = max(1, -(-(config.total_steps - warmup_steps) // iteration_steps))
    point = -(-iterations // config.eval_points)
    chunks = -(-point // (config.chunk_iterations or 2_000))
    chunk = -(-point // chunks)
    num_points = -(-iterations // (chunk * chunks))
    point_steps = chunk * chunks * iteration_steps
    return LoopLengths(
        rollout_length=length,
        num_updates=num_updates,
        buffer_rows=-(-config.buffer_size // iteration_steps) * length,
        warmup_rollouts=warmup,
        chunk_iterations=chunk,
        point_chunks=chunks,
        num_points=num_points,
        warmup_steps=warmup_steps,
        point_steps=point_steps,
        total_steps=warmup_steps + num_points * point_steps,
    )


def notes(config: Config) -> list[str]:
    """What is allowed but hardly meant, in words."""
    lengths = loop_lengths(config)
    iterations = lengths.num_points * lengths.point_chunks * lengths.chunk_iterations
    updates, last = iterations * lengths.num_updates, config.learning_rate_updates
    if config.learning_rate_schedule != "linear" or updates <= 1.05 * last:
        return []
    return [
        f"note: the learning rate reaches 0 after {last:,.0f} of {updates:,} updates, "
        f"and nothing is learned from there on; --learning-rate-updates {updates} "
        "spreads it over the run"
    ]
