"""Diagnostics of one seed's learning, measured at a point of its learning curve."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxq.agents import average_reward
from jaxq.config.config import Config
from jaxq.envs.adapter import Environment, EnvState
from jaxq.networks import layers
from jaxq.rl import representation
from jaxq.stats import ranks
from jaxq.training import loop
from jaxq.types import Agent, Array, Key, PyTree

SAMPLES = 16  # observations kept of every episode
DORMANT = 0.025  # largest score of a dormant unit; see `representation.unit_scores`

NAMES = (
    "weight_norm",
    "distance_from_init",
    "policy_churn",
    "overestimation",
    "dormant_units",
    "effective_rank",
    "stable_rank",
)


class Samples(NamedTuple):
    """A uniform sample of the observations of an episode."""

    observation: PyTree  # [SAMPLES, ...]
    memory: PyTree  # [SAMPLES, ...] of the agent, before the observation
    weight: Array  # [SAMPLES] float32: 0 where the episode had fewer steps


class _Play(NamedTuple):
    """State of one environment, up to the end of its first episode."""

    env: EnvState
    memory: PyTree
    samples: Samples
    trace: Array  # [] sum over the steps k so far of gamma^(t - k)
    error: Array  # [] sum over the steps so far of the estimate minus the return
    steps: Array  # [] int32
    finished: Array  # [] bool


def measure(
    key: Key,
    config: Config,
    agent: Agent,
    agent_state: PyTree,
    initial_params: PyTree,
    env: Environment,
    max_steps: int,
) -> dict[str, Array]:
    """Diagnostics on the states that the evaluated policy visits.

    Args:
        key: for the episodes and for the update of policy_churn.
        config: evaluation, discount, and the rewards that the agent learns from.
        agent, agent_state: the agent.
        initial_params: its parameters before the first gradient step.
        env: the environment.
        max_steps: length at which an episode is cut off.

    Returns:
        name -> [], unless stated otherwise:
        weight_norm: Euclidean norm of the parameters.
        distance_from_init: Euclidean norm of their change since the start.
        policy_churn: fraction of states whose greedy action one gradient step changes.
        overestimation: mean over states of Q(s, a) minus the discounted return of the
            evaluated policy, of rewards as the agent learns from them.
        dormant_units: fraction of hidden units whose score is at most 0.025.
        features, weight: inputs of the output layers, [M, N, D], and the weights [N] of
            the states, for `with_ranks`. These and dormant_units only for networks
            whose activations are recorded.

    Reference: Sokar et al., arXiv:2302.12902 (dormant units); Kumar et al.,
    arXiv:2010.14498 (effective rank); Schaul et al., arXiv:2206.00730 (churn); van
    Hasselt et al., arXiv:1509.06461 (overestimation).
    """
    play_key, update_key = jax.random.split(key)
    samples, error = play(play_key, config, agent, agent_state, env, max_steps)
    observation, memory, weight = jax.tree.map(
        lambda x: x.reshape(-1, *x.shape[2:]), samples
    )
    params = agent_state.learner.params
    found = {
        "weight_norm": optax.tree.norm(params),
        "distance_from_init": optax.tree.norm(optax.tree.sub(params, initial_params)),
        "policy_churn": _churn(
            update_key, config, agent, agent_state, observation, memory, weight
        ),
        "overestimation": jnp.mean(error),
    }
    if agent.activations is None:
        return found
    read = jax.vmap(agent.activations, in_axes=(None, 0, 0))
    return found | of_representation(read(agent_state, memory, observation), weight)


def of_representation(activations: dict[str, Array], weight: Array) -> dict[str, Array]:
    """Dormant units of all layers, and the weighted features of every member.

    Args:
        activations: name -> [N, ..., units].
        weight: [N].
    """
    features = [
        activation
        for name, activation in activations.items()
        if name.rpartition("/")[2] == layers.FEATURES
    ]
    scores = [
        representation.unit_scores(activation, weight)
        for name, activation in activations.items()
        if name.rpartition("/")[2] != layers.FEATURES
    ]
    units = jnp.concatenate([*scores, jnp.ones(0)])
    return {
        "dormant_units": jnp.sum(units <= DORMANT) / max(units.size, 1),
        "features": jnp.stack(features),
        "weight": weight,
    }


def with_ranks(measured: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Replace the features of every seed by their ranks, averaged over members.

    Args:
        measured: result of `measure` for all seeds, name -> [S, ...].
    """
    found = dict(measured)
    if "features" in found:
        weight = found.pop("weight")[:, None]
        values = ranks.singular_values(found.pop("features"), weight)
        found["effective_rank"] = ranks.effective_rank(values).mean(axis=1)
        found["stable_rank"] = ranks.stable_rank(values).mean(axis=1)
    return found


def _churn(
    key: Key,
    config: Config,
    agent: Agent,
    agent_state: PyTree,
    observation: PyTree,
    memory: PyTree,
    weight: Array,
) -> Array:
    """Weighted fraction of states whose greedy action changes in one gradient step."""
    after, _ = agent.update(key, agent_state, jnp.asarray(config.epsilon_end))

    def greedy(state: PyTree) -> Array:
        values = jax.vmap(agent.q_values, in_axes=(None, 0, 0))
        return jnp.argmax(values(state, memory, observation), axis=-1)

    changed = greedy(after) != greedy(agent_state)
    return jnp.sum(weight * changed) / jnp.sum(weight)


def play(
    key: Key,
    config: Config,
    agent: Agent,
    agent_state: PyTree,
    env: Environment,
    max_steps: int,
) -> tuple[Samples, Array]:
    """Play one episode in each of K environments; arguments as in `measure`.

    The mean of the returns needs no second pass: a reward counts gamma^(t - k) in the
    return of every earlier step k of its episode.

    Returns:
        Samples[K], and the mean over steps of Q(s_t, a_t) - G_t, [K]. G_t is the
        discounted return; it bootstraps from max Q where an episode is cut off.
    """
    reset_key, play_key, memory_key = jax.random.split(key, 3)
    num_episodes = config.eval_episodes
    epsilon = jnp.asarray(config.eval_epsilon)

    def begin(reset_key: Key, memory_key: Key) -> _Play:
        env_state, memory = env.reset(reset_key), agent.initial_memory(memory_key)
        blank = jax.tree.map(
            lambda x: jnp.zeros((SAMPLES, *x.shape), x.dtype),
            Samples(env_state.observation, memory, jnp.zeros(())),
        )
        zero = jnp.zeros(())
        return _Play(
            env_state, memory, blank, zero, zero, jnp.int32(0), jnp.zeros((), bool)
        )

    def advance(key: Key, play: _Play) -> _Play:
        act_key, env_key, sample_key = jax.random.split(key, 3)
        observation = play.env.observation
        values = agent.q_values(agent_state, play.memory, observation)
        action, memory = agent.act(
            act_key, agent_state, play.memory, observation, epsilon, False
        )
        env_state, step = env.step(env_key, play.env, action)
        done = step.terminated | step.truncated
        step = loop.as_learned(config, step)
        learner = agent_state.learner
        step = average_reward.continuing_step(learner, step, env_state.observation)
        cut_off = (step.truncated | (play.steps + 1 == max_steps)) & ~step.terminated
        after = agent.q_values(agent_state, memory, step.next_observation)
        future = jnp.where(cut_off, config.discount * jnp.max(after), 0.0)
        trace = 1.0 + config.discount * play.trace
        moved = _Play(
            env=env_state,
            memory=memory,
            samples=_keep(sample_key, play, observation),
            trace=jnp.where(step.terminated, 0.0, trace),
            error=play.error + values[action] - trace * (step.reward + future),
            steps=play.steps + 1,
            finished=done,
        )
        return jax.tree.map(
            lambda new, old: jnp.where(play.finished, old, new), moved, play
        )

    def step(carry: tuple[Array, _Play]) -> tuple[Array, _Play]:
        time, plays = carry
        keys = jax.random.split(jax.random.fold_in(play_key, time), num_episodes)
        return time + 1, jax.vmap(advance)(keys, plays)

    start = jax.vmap(begin)(
        jax.random.split(reset_key, num_episodes),
        jax.random.split(memory_key, num_episodes),
    )
    _, plays = jax.lax.while_loop(
        lambda carry: (carry[0] < max_steps) & ~jnp.all(carry[1].finished),
        step,
        (jnp.int32(0), start),
    )
    return plays.samples, plays.error / plays.steps


def _keep(key: Key, play: _Play, observation: PyTree) -> Samples:
    """Keep an observation with probability SAMPLES / (steps + 1), in place of another.

    Reference: Vitter (1985), algorithm R.
    """
    slot = jax.random.randint(key, (), 0, play.steps + 1)
    slot = jnp.where(play.steps < SAMPLES, play.steps, slot)
    return jax.tree.map(
        lambda kept, new: kept.at[slot].set(new, mode="drop"),
        play.samples,
        Samples(observation, play.memory, jnp.ones(())),
    )
