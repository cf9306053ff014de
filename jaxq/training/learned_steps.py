"""Steps as an agent learns from them; metrics are of the steps as they are."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxq.config.config import Config
from jaxq.types import Array, PyTree, Step


def as_learned(config: Config, rollout: Step, after: PyTree = None) -> Step:
    """A rollout as the agent learns from it; metrics are those of the environment.

    Rewards are clipped, and the loss of a life ends an episode, if the configuration
    says so. With an average reward, the successor of a terminated step is the first
    observation of the next episode.

    Args:
        config: the configuration.
        rollout: Step[T, E].
        after: [E, ...] observations after the rollout; None keeps all successors.

    Reference: Mnih et al. (2015), doi:10.1038/nature14236, methods.
    """
    if after is not None and config.average_reward != "none":
        rollout = continued(rollout, after)
    if config.reward_clip is not None:
        clip = config.reward_clip
        rollout = rollout._replace(reward=jnp.clip(rollout.reward, -clip, clip))
    if config.episodic_life:
        assert rollout.life_lost is not None
        terminated = rollout.terminated | rollout.life_lost
        rollout = rollout._replace(terminated=terminated)
    return rollout._replace(life_lost=None)


def with_dataset_as_learned(config: Config) -> Config:
    """The configuration of a compiled program, whose dataset has clipped rewards."""
    dataset: Any = config.dataset
    if dataset is None or config.reward_clip is None:
        return config
    clip = config.reward_clip
    dataset = dataset._replace(reward=jnp.clip(dataset.reward, -clip, clip))
    return dataclasses.replace(config, dataset=dataset)


def continued(rollout: Step, after: PyTree) -> Step:
    """A rollout whose terminated steps lead to the start of the next episode.

    Args:
        rollout: Step[T, E].
        after: [E, ...] observations after the rollout.
    """

    def choose(observation: Array, successor: Array, last: Array) -> Array:
        following = jnp.concatenate([observation[1:], last[None]])
        shape = rollout.terminated.shape + (1,) * (successor.ndim - 2)
        return jnp.where(rollout.terminated.reshape(shape), following, successor)

    successors = jax.tree.map(
        choose, rollout.observation, rollout.next_observation, after
    )
    return rollout._replace(next_observation=successors)
