"""The average reward that is subtracted from every reward, in continuing tasks.

    delta = r - average + gamma max_a' Q(s', a') - Q(s, a)

differential: average <- average + eta alpha delta,  gamma = 1
centering:    average <- average + eta alpha delta,  gamma < 1
rvi:          average <- mean Q(s, a),  gamma = 1

alpha is the learning rate, and delta its mean over the minibatch. The mean of Q is that
of all entries of a table; of a network, that over the last minibatch. In a return of
several rewards every one of them is centred, and delta is the error of that return.

An episode that ends leads to the start of the next. If it did not, any average would be
consistent with some values, and the policy would depend on which one was learned.

Reference: Wan et al., arXiv:2006.16318, section 3 (differential); Naik et al.,
arXiv:2405.09999, section on value-based centering; Abounadi et al. (2001),
doi:10.1137/S0363012999361974 (RVI Q-learning).
"""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.types import Array, LearnerState, PyTree, Sequence, Step, Transition

Example = TypeVar("Example", Transition, Sequence, Step)


def init(config: Config) -> PyTree:
    """The initial average, 0; empty if none is subtracted."""
    return () if config.average_reward == "none" else jnp.zeros(())


def centred(learner: LearnerState, example: Example) -> Example:
    """An example, or a batch or rollout of them, whose rewards are centred.

    r - average;  for the n-step return of a transition, R - average sum_{j<k} gamma^j
    """
    if isinstance(learner.average_reward, tuple):
        return example
    count: Any = 1.0
    if isinstance(example, Transition) and example.duration is not None:
        count = example.duration
    reward = example.reward - learner.average_reward * count
    return example._replace(reward=reward)


def learn(
    config: Config,
    learner: LearnerState,
    q_value: Array,
    td_error: Array | None,
    rate: Array | float,
    healthy: Array,
) -> LearnerState:
    """Learn the average from a minibatch.

    Args:
        config: average_reward and average_reward_rate, eta.
        learner: state of learning, after the gradient step.
        q_value: [] mean over the minibatch.
        td_error: [] mean over the minibatch; None if the loss does not report it.
        rate: [] step size of the parameters.
        healthy: [] bool: whether the seed has never diverged.

    Raises:
        ConfigError: if a TD error is needed, but not reported.
    """
    if config.average_reward == "none":
        return learner
    average = learner.average_reward
    if config.average_reward == "rvi":
        new = mean_entry(learner.params) if config.network == "table" else q_value
    elif td_error is not None:
        new = average + config.average_reward_rate * rate * td_error
    else:
        raise ConfigError(
            f"average_reward = {config.average_reward!r} is learned from TD errors, "
            "which this loss does not report. Give its head a `td_error`, or set "
            "average_reward to rvi."
        )
    new = jnp.where(healthy & jnp.isfinite(new), new, average)
    return learner._replace(average_reward=new)


def mean_entry(table: PyTree) -> Array:
    """Mean of the entries of a table, or of all tables of an ensemble; []."""
    return jnp.mean(table.get("members", table)["table"])


def continuing_step(learner: LearnerState, step: Step, following: PyTree) -> Step:
    """A step of a single environment as it counts in values of centred rewards.

    Where an episode ends it is cut off, and bootstraps from the start of the next.

    Args:
        learner: state of learning.
        step: Step.
        following: observation after it, of the next episode where one ended.
    """
    if isinstance(learner.average_reward, tuple):
        return step
    ended = step.terminated
    successor = jax.tree.map(
        lambda new, old: jnp.where(ended, new, old), following, step.next_observation
    )
    return centred(learner, step)._replace(
        terminated=jnp.zeros_like(ended),
        truncated=step.truncated | ended,
        next_observation=successor,
    )
