"""Training metrics, accumulated on the device."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxq.training import evaluate
from jaxq.types import Array, Step, UpdateMetrics


class Episodes(NamedTuple):
    """Running return and length of the current episode of each environment."""

    reward: Array  # [E] float32: return so far
    length: Array  # [E] int32: steps so far
    finished: Array  # [] int32: episodes finished since the warm-up


class TrainMetrics(NamedTuple):
    """Running means since the last point of the learning curve."""

    episodes: Array  # [] int32: finished episodes
    episode_return: Array  # [] float32: mean over those episodes
    episode_length: Array  # [] float32: mean over those episodes
    updates: Array  # [] int32: gradient steps
    update: UpdateMetrics  # means over those gradient steps


class Measurement(NamedTuple):
    """One point of the learning curves, on the host; leading axis [S]."""

    tally: TrainMetrics
    evaluation: evaluate.Evaluation
    diverged_at: np.ndarray
    finished: np.ndarray
    extra: dict[str, np.ndarray]


def zeros() -> TrainMetrics:
    """Metrics of no episodes and no updates."""
    zero, none = jnp.zeros(()), jnp.zeros((), jnp.int32)
    return TrainMetrics(none, zero, zero, none, UpdateMetrics(zero, zero, zero, zero))


def record_step(
    episodes: Episodes, metrics: TrainMetrics, step: Step
) -> tuple[Episodes, TrainMetrics]:
    """Add one step of every environment.

    Args:
        episodes: current episodes.
        metrics: running means.
        step: Step[E].

    Returns:
        The episodes after the step, and the means with those that it finished.
    """
    done = step.terminated | step.truncated
    reward = episodes.reward + step.reward
    length = episodes.length + 1
    num_finished = jnp.sum(done, dtype=jnp.int32)
    total = metrics.episodes + num_finished

    def running_mean(mean: Array, values: Array) -> Array:
        deviation = jnp.sum(jnp.where(done, values - mean, 0.0))
        return mean + deviation / jnp.maximum(total, 1)

    metrics = metrics._replace(
        episodes=total,
        episode_return=running_mean(metrics.episode_return, reward),
        episode_length=running_mean(metrics.episode_length, length),
    )
    episodes = Episodes(
        reward=jnp.where(done, 0.0, reward),
        length=jnp.where(done, 0, length),
        finished=episodes.finished + num_finished,
    )
    return episodes, metrics


def record_update(metrics: TrainMetrics, update: UpdateMetrics) -> TrainMetrics:
    """Add one gradient step to the running means."""
    updates = metrics.updates + 1
    means = jax.tree.map(
        lambda mean, new: mean + (new - mean) / updates, metrics.update, update
    )
    return metrics._replace(updates=updates, update=means)
