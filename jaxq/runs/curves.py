"""Learning curves from what the host reads at every point."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxq.agents import schedules
from jaxq.config import loop_lengths
from jaxq.config.config import Config
from jaxq.runs import results
from jaxq.stats import intervals
from jaxq.training.population import Measurement


def to_arrays(config: Config, points: Sequence[Measurement]) -> results.Arrays:
    """Measurements as arrays [S, P]."""
    lengths = loop_lengths.loop_lengths(config)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *points)
    tally, evaluation = stacked.tally, stacked.evaluation
    steps = lengths.warmup_steps + lengths.point_steps * np.arange(len(points))
    epsilon = schedules.epsilon_schedule(config)(jnp.asarray(steps), stacked.finished)
    if config.epsilon_schedule == "ladder":
        epsilon = jnp.mean(epsilon)
    none = tally.episodes == 0

    def of_updates(mean: np.ndarray) -> np.ndarray:
        return np.where(tally.updates == 0, np.nan, mean)

    curve = results.Curve(
        steps=steps,
        epsilon=np.broadcast_to(np.asarray(epsilon), none.shape),
        train_return=np.where(none, np.nan, tally.episode_return),
        train_length=np.where(none, np.nan, tally.episode_length),
        train_episodes=tally.episodes,
        eval_return=evaluation.episode_return.mean(axis=-1),
        eval_length=evaluation.episode_length.mean(axis=-1),
        eval_unfinished=1.0 - evaluation.finished.mean(axis=-1),
        loss=of_updates(tally.update.loss),
        td_error=of_updates(tally.update.td_error),
        q_value=of_updates(tally.update.q_value),
        grad_norm=of_updates(tally.update.grad_norm),
        diverged=stacked.diverged_at >= 0,
    )
    return results.Arrays(curve, evaluation.episode_return, stacked.extra)


def latest(point: Measurement) -> str:
    """A point of the curve in a few words."""
    scores = np.asarray(point.evaluation.episode_return).mean(axis=1)
    interval = intervals.bootstrap_iqm(scores[:, None], resamples=200)
    low, high = interval.low[0], interval.high[0]
    extra = "".join(f"  {k} {np.median(v):.3g}" for k, v in point.extra.items())
    return f"return IQM {interval.value[0]:.4g} [{low:.4g}, {high:.4g}]{extra}"
