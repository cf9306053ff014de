"""What is counted while training, on the device."""

from typing import NamedTuple

import jax.numpy as jnp

from jaxq.types import Array, Step, UpdateMetrics


class Episodes(NamedTuple):
    """Episodes that end, and what was gathered of those that go on."""

    reward: Array  # [E] float32: return so far
    length: Array  # [E] int32: steps so far
    finished: Array  # [] int32: episodes finished since the warm-up


class TrainMetrics(NamedTuple):
    """Running means since the last point of the learning curve."""

    episodes: Array  # [] int32
    episode_return: Array  # [] float32: mean over those episodes
    episode_length: Array  # [] float32
    updates: Array  # [] int32
    update: UpdateMetrics  # means over gradient steps


def empty() -> TrainMetrics:
    """Nothing counted yet."""
    zero, none = jnp.zeros(()), jnp.zeros((), jnp.int32)
    return TrainMetrics(none, zero, zero, none, UpdateMetrics(zero, zero, zero, zero))


def count(
    episodes: Episodes, tally: TrainMetrics, said: Step
) -> tuple[Episodes, TrainMetrics]:
    """Add one step of every environment to the returns; said: Step[E]."""
    done = said.terminated | said.truncated
    reward = episodes.reward + said.reward
    length = episodes.length + 1
    ended = jnp.sum(done, dtype=jnp.int32)
    count = tally.episodes + ended

    def running_mean(mean: Array, values: Array) -> Array:
        surplus = jnp.sum(jnp.where(done, values - mean, 0.0))
        return mean + surplus / jnp.maximum(count, 1)

    tally = tally._replace(
        episodes=count,
        episode_return=running_mean(tally.episode_return, reward),
        episode_length=running_mean(tally.episode_length, length),
    )
    going = Episodes(
        reward=jnp.where(done, 0.0, reward),
        length=jnp.where(done, 0, length),
        finished=episodes.finished + ended,
    )
    return going, tally
