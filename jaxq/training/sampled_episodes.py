"""Episodes of the evaluated policy, of which a sample of observations is kept."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxq.agents import average_reward
from jaxq.config.config import Config
from jaxq.envs.adapter import Environment, EnvState
from jaxq.replay import horizons
from jaxq.training import learned_steps
from jaxq.types import Agent, Array, Key, PyTree

SAMPLES = 16  # observations kept of every episode


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


def play(
    key: Key,
    config: Config,
    agent: Agent,
    agent_state: PyTree,
    env: Environment,
    max_steps: int,
) -> tuple[Samples, Array]:
    """Play one episode in each of K environments.

    The mean of the returns needs no second pass: a reward counts gamma^(t - k) in the
    return of every earlier step k of its episode.

    Args:
        key: for resets, transitions, exploration, ties and the sample.
        config: evaluation, discount, and the rewards that the agent learns from.
        agent, agent_state: the agent.
        env: the environment.
        max_steps: length at which an episode is cut off.

    Returns:
        Samples[K], and the mean over steps of Q(s_t, a_t) - G_t, [K]. G_t is the
        discounted return; it bootstraps from max Q where an episode is cut off.
    """
    reset_key, play_key, memory_key = jax.random.split(key, 3)
    num_episodes = config.eval_episodes
    epsilon = jnp.asarray(config.eval_epsilon)
    discount = _discount(config, agent_state)

    def advance(key: Key, play: _Play) -> _Play:
        act_key, env_key, sample_key, fresh_key = jax.random.split(key, 4)
        observation = play.env.observation
        values = agent.q_values(agent_state, play.memory, observation)
        action, memory = agent.act(
            act_key, agent_state, play.memory, observation, epsilon, False
        )
        env_state, step = env.step(env_key, play.env, action)
        if agent.remember is not None:
            memory = agent.remember(memory, action, step.reward)
        done = step.terminated | step.truncated
        step = learned_steps.as_learned(config, step)
        following = memory
        if config.average_reward != "none":  # another episode has another memory
            fresh, ended = agent.initial_memory(fresh_key), step.terminated
            following = jax.tree.map(
                lambda new, old: jnp.where(ended, new, old), fresh, memory
            )
        learner = agent_state.learner
        step = average_reward.continuing_step(learner, step, env_state.observation)
        cut_off = (step.truncated | (play.steps + 1 == max_steps)) & ~step.terminated
        after = agent.q_values(agent_state, following, step.next_observation)
        future = jnp.where(cut_off, discount * jnp.max(after), 0.0)
        trace = 1.0 + discount * play.trace
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

    start = jax.vmap(functools.partial(_begin, agent, env))(
        jax.random.split(reset_key, num_episodes),
        jax.random.split(memory_key, num_episodes),
    )
    _, plays = jax.lax.while_loop(
        lambda carry: (carry[0] < max_steps) & ~jnp.all(carry[1].finished),
        step,
        (jnp.int32(0), start),
    )
    return plays.samples, plays.error / plays.steps


def _discount(config: Config, agent_state: PyTree) -> Array | float:
    """The discount factor of the estimates, which may still be annealed; []."""
    updates = getattr(agent_state, "updates", None)
    if updates is None:  # the agent learns from other rewards, or is a user's own
        return config.discount
    return horizons.discount(config, updates.value)


def _begin(agent: Agent, env: Environment, reset_key: Key, memory_key: Key) -> _Play:
    """A new environment, and an empty sample."""
    env_state, memory = env.reset(reset_key), agent.initial_memory(memory_key)
    blank = jax.tree.map(
        lambda x: jnp.zeros((SAMPLES, *x.shape), x.dtype),
        Samples(env_state.observation, memory, jnp.zeros(())),
    )
    zero = jnp.zeros(())
    return _Play(
        env_state, memory, blank, zero, zero, jnp.int32(0), jnp.zeros((), bool)
    )


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
