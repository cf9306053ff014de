"""Schedules of the learning rate and of exploration."""

from collections.abc import Callable

import jax.numpy as jnp

from jaxq.config.config import Config
from jaxq.rl import epsilon_schedules
from jaxq.types import Array

# (environment steps, finished episodes) -> epsilon, [] or [E], one per environment
Schedule = Callable[[Array, Array], Array]


def step_size(config: Config, updates: Array) -> Array:
    """Learning rate of a gradient step.

    linear: a max(0, 1 - t / T). inverse: a / (1 + t / T).

    Args:
        config: learning_rate, a; learning_rate_schedule; learning_rate_updates, T.
        updates: [] gradient steps done, t.
    """
    progress = updates / config.learning_rate_updates
    if config.learning_rate_schedule == "linear":
        return config.learning_rate * jnp.maximum(0.0, 1.0 - progress)
    if config.learning_rate_schedule == "inverse":
        return config.learning_rate / (1.0 + progress)
    return jnp.asarray(config.learning_rate, jnp.float32)


def epsilon_schedule(config: Config) -> Schedule:
    """The configured schedule of the probability of a random action."""
    if config.epsilon_schedule == "none":
        return lambda steps, episodes: jnp.zeros(())
    if config.epsilon_schedule == "ladder":
        ladder = epsilon_schedules.epsilon_ladder(
            config.num_envs, config.epsilon_start, config.ladder_exponent
        )
        return lambda steps, episodes: ladder
    start, end = config.epsilon_start, config.epsilon_end
    if config.epsilon_schedule == "episodic":
        decrement = config.epsilon_decrement
        return lambda steps, episodes: epsilon_schedules.episodic_schedule(
            episodes, start, end, decrement
        )
    schedule = {
        "linear": epsilon_schedules.linear_schedule,
        "exponential": epsilon_schedules.exponential_schedule,
    }[config.epsilon_schedule]
    return lambda steps, episodes: schedule(steps, start, end, config.epsilon_steps)
