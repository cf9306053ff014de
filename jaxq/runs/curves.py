"""Learning curves from the measurements of a run."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxq.agents import schedules
from jaxq.config import loop_lengths, offline
from jaxq.config.config import Config
from jaxq.runs import results
from jaxq.stats import intervals
from jaxq.training import diagnostics, metrics


def to_arrays(
    config: Config,
    lengths: loop_lengths.LoopLengths,
    points: Sequence[metrics.Measurement],
) -> results.Arrays:
    """Stack the measurements of all points into arrays [S, P]."""
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *points)
    tally, evaluation = stacked.tally, stacked.evaluation
    steps = lengths.warmup_steps + lengths.point_steps * np.arange(len(points))
    no_episodes, no_updates = tally.episodes == 0, tally.updates == 0
    epsilon = _epsilon(config, steps, stacked.finished)
    curve = results.Curve(
        steps=steps,
        epsilon=np.broadcast_to(epsilon, no_episodes.shape),
        train_return=np.where(no_episodes, np.nan, tally.episode_return),
        train_length=np.where(no_episodes, np.nan, tally.episode_length),
        train_episodes=tally.episodes,
        eval_return=evaluation.episode_return.mean(axis=-1),
        eval_length=evaluation.episode_length.mean(axis=-1),
        eval_unfinished=1.0 - evaluation.finished.mean(axis=-1),
        loss=np.where(no_updates, np.nan, tally.update.loss),
        td_error=np.where(no_updates, np.nan, tally.update.td_error),
        q_value=np.where(no_updates, np.nan, tally.update.q_value),
        grad_norm=np.where(no_updates, np.nan, tally.update.grad_norm),
        diverged=stacked.diverged_at >= 0,
    )
    return results.Arrays(curve, evaluation.episode_return, stacked.extra)


def _epsilon(config: Config, steps: np.ndarray, finished: Any) -> np.ndarray:
    """Probability of a random action at every point, averaged over a ladder.

    Args:
        config: fields of the schedule.
        steps: [P] environment steps.
        finished: [S, P] finished episodes.
    """
    if "epsilon_schedule" in offline.idle(config):
        return np.zeros(())
    epsilon = schedules.epsilon_schedule(config)(jnp.asarray(steps), finished)
    if config.epsilon_schedule == "ladder":
        epsilon = jnp.mean(epsilon)
    return np.asarray(epsilon)


def latest(point: metrics.Measurement, interval: bool = True) -> str:
    """One-line summary of a point of the curve.

    Args:
        point: of all members.
        interval: whether to show the interval, which needs seeds of one setting.
    """
    scores = np.asarray(point.evaluation.episode_return).mean(axis=1)
    extra = "".join(
        f"  {name} {np.median(values):.3g}"
        for name, values in point.extra.items()
        if name not in diagnostics.NAMES
    )
    text = intervals.describe(scores, resamples=200)
    return f"return {text if interval else text.partition(' [')[0]}{extra}"
