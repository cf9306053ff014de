"""Lengths of the loops of a run: exact integers for any number of environments."""

from fractions import Fraction
from typing import NamedTuple

from jaxq.config import annealing
from jaxq.config.config import Config


class LoopLengths(NamedTuple):
    """Lengths that follow from a configuration; see `loop_lengths`."""

    rollout_length: int  # steps of every environment per iteration (T)
    num_updates: int  # gradient steps per iteration (U)
    buffer_rows: int  # steps of every environment kept for replay
    warmup_rollouts: int  # rollouts with random actions
    chunk_iterations: int  # iterations per compiled call, at most
    point_iterations: int  # iterations between points of the curve
    num_points: int  # points of the curve
    warmup_steps: int  # environment steps of the warm-up
    point_steps: int  # environment steps between points of the curve
    total_steps: int  # environment steps of the whole run

    @property
    def point_chunks(self) -> int:
        """Compiled calls between points of the curve; the last may be shorter."""
        return _ceil(self.point_iterations, self.chunk_iterations)

    @property
    def iterations(self) -> int:
        """Iterations of the whole run, after the warm-up."""
        return self.num_points * self.point_iterations


def window(config: Config) -> int:
    """Rows of the replay buffer that follow the first row of a sample."""
    longest = annealing.longest_return(config)
    if config.recurrent == "none":
        return max(longest, config.spr_steps or 0)
    return config.burn_in + config.sequence_length + longest - 1


def loop_lengths(config: Config) -> LoopLengths:
    """Loop lengths, for any number of environments.

    With replay, each iteration is T steps of E environments and then U updates, where
    U / (T E) must equal num_updates / update_steps; T and U are the smallest such
    integers. Without replay, T is rollout_length and U is num_epochs num_minibatches.
    With a dataset, the T steps are counted but not taken.
    """
    length, num_updates = _iteration(config)
    iteration_steps = length * config.num_envs
    warmup = _warmup_rollouts(config, iteration_steps)
    warmup_steps = warmup * iteration_steps
    iterations = max(1, _ceil(config.total_steps - warmup_steps, iteration_steps))
    point = _ceil(iterations, config.eval_points)
    chunk = config.chunk_iterations or _chunk(point)
    num_points = _ceil(iterations, point)
    point_steps = point * iteration_steps
    return LoopLengths(
        rollout_length=length,
        num_updates=num_updates,
        buffer_rows=_ceil(config.buffer_size, iteration_steps) * length,
        warmup_rollouts=warmup,
        chunk_iterations=min(point, chunk),
        point_iterations=point,
        num_points=num_points,
        warmup_steps=warmup_steps,
        point_steps=point_steps,
        total_steps=warmup_steps + num_points * point_steps,
    )


DEFAULT_CHUNK = 2_000  # iterations per compiled call, at most


def _ceil(total: int, part: int) -> int:
    return -(-total // part)


def _chunk(point: int) -> int:
    """Iterations per compiled call, which divide a point's if that takes few calls.

    Otherwise the last call before a point is shorter, and an accelerator compiles
    another program for it.
    """
    fewest = _ceil(point, DEFAULT_CHUNK)
    numbers = range(fewest, min(2 * fewest, fewest + 100) + 1)
    calls = next((number for number in numbers if point % number == 0), fewest)
    return _ceil(point, calls)


def _iteration(config: Config) -> tuple[int, int]:
    """Steps T of every environment and gradient steps U of an iteration."""
    if config.rollout_length:
        return config.rollout_length, config.num_epochs * config.num_minibatches
    ratio = Fraction(config.num_envs * config.num_updates, config.update_steps)
    return ratio.denominator, ratio.numerator


def _warmup_rollouts(config: Config, iteration_steps: int) -> int:
    """Rollouts of the warm-up: at least enough rows for one sample."""
    if config.rollout_length or config.dataset is not None:
        return 0
    needed = (window(config) + 1) * config.num_envs
    return _ceil(max(config.warmup_steps, needed), iteration_steps)


def notes(config: Config, lengths: LoopLengths) -> list[str]:
    """Warnings about legal but probably unintended settings."""
    updates = lengths.iterations * lengths.num_updates
    found, last = annealing.notes(config, updates), config.learning_rate_updates
    if config.learning_rate_schedule != "linear" or updates <= 1.05 * last:
        return found
    return [
        *found,
        f"note: the learning rate reaches 0 after {last:,.0f} of {updates:,} updates, "
        f"and nothing is learned after that; --learning-rate-updates {updates} "
        "spreads it over the run",
    ]
