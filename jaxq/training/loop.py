"""The training loop: one page, for any agent and any environment.

Every function here is for one seed; `jaxq.training.compiled` adds the seeds with
`vmap`. Randomness is a function of the seed's key and the clock, so a run that is
resumed, or cut into other chunks, draws the same numbers.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxq.agents import algorithms, schedules
from jaxq.config.config import Config
from jaxq.config.loop_lengths import LoopLengths
from jaxq.envs import lanes
from jaxq.envs.adapter import Environment, EnvState
from jaxq.training import learned_steps, metrics
from jaxq.types import Agent, Array, Counter, Key, PyTree, Step, counter
from jaxq.xla import loops


class RunState(NamedTuple):
    """Complete state of one seed's run, besides its configuration and key."""

    agent: Any
    env: EnvState  # leading axis [E]; see `lanes`
    memory: PyTree  # of the agent, leading axis [E]
    episodes: metrics.Episodes
    tally: metrics.TrainMetrics
    steps: Counter  # steps taken by every environment


def init(key: Key, agent: Agent, env: Environment, num_envs: int) -> RunState:
    """A new agent in new environments."""
    agent_key, env_key, memory_key = jax.random.split(key, 3)
    env_state = lanes.reset(env, jax.random.split(env_key, num_envs))
    return RunState(
        agent=agent.init(agent_key, env.spec.example()),
        env=env_state,
        memory=jax.vmap(agent.initial_memory)(jax.random.split(memory_key, num_envs)),
        episodes=metrics.Episodes(
            reward=jnp.zeros(num_envs),
            length=jnp.zeros(num_envs, jnp.int32),
            finished=jnp.zeros((), jnp.int32),
        ),
        tally=metrics.zeros(),
        steps=counter(),
    )


def collect(
    key: Key,
    agent: Agent,
    env: Environment,
    state: RunState,
    schedule: schedules.Schedule,
    length: int,
) -> tuple[RunState, Step]:
    """Let the agent act for T steps in every environment.

    Args:
        key: split over time and environments.
        agent, env: the agent and the environment.
        state: state before the first step.
        schedule: of epsilon, the probability of a random action.
        length: T.

    Returns:
        The state after T steps, which the agent has not observed yet, and Step[T, E].
    """
    num_envs = state.episodes.reward.size

    def act(key: Key, memory: PyTree, observation: Array, epsilon: Array) -> Any:
        inputs = key, state.agent, memory, observation, epsilon
        if agent.act_with_probability is None:
            return *agent.act(*inputs, True), None
        return agent.act_with_probability(*inputs)

    def step(state: RunState, keys: Key) -> tuple[RunState, Step]:
        act_keys, env_keys, memory_keys = keys
        steps = state.steps.value * num_envs
        epsilon = jnp.broadcast_to(schedule(steps, state.episodes.finished), num_envs)
        action, memory, probability = jax.vmap(act)(
            act_keys, state.memory, state.env.observation, epsilon
        )
        env_state, step = lanes.step(env, env_keys, state.env, action)
        step = step._replace(memory=state.memory, action_probability=probability)
        if agent.remember is not None:
            memory = jax.vmap(agent.remember)(memory, action, step.reward)
        initial = jax.vmap(agent.initial_memory)(memory_keys)
        memory = reset_memory(step.terminated | step.truncated, initial, memory)
        episodes, tally = metrics.record_step(state.episodes, state.tally, step)
        clock = Counter(state.steps.value + 1)
        return RunState(state.agent, env_state, memory, episodes, tally, clock), step

    return jax.lax.scan(step, state, jax.random.split(key, (length, 3, num_envs)))


def reset_memory(done: Array, initial: PyTree, memory: PyTree) -> PyTree:
    """The initial memory where an episode ended; leading axis [E]."""

    def choose(initial: Array, memory: Array) -> Array:
        return jnp.where(done.reshape(-1, *[1] * (memory.ndim - 1)), initial, memory)

    return jax.tree.map(choose, initial, memory)


def start(
    config: Config, lengths: LoopLengths, env: Environment, seed_key: Key
) -> RunState:
    """Initialise one seed and fill its replay buffer with random actions.

    With a dataset nothing is filled: all seeds replay it. Finished episodes are counted
    from here on, so that an epsilon that decays per episode has not decayed yet when
    learning starts.
    """
    agent = algorithms.make(config, env.spec)
    init_key, warmup_key = jax.random.split(jax.random.fold_in(seed_key, _START))
    state = init(init_key, agent, env, config.num_envs)
    if config.dataset is not None:
        return state

    def always_random(steps: Array, episodes: Array) -> Array:
        del steps, episodes
        return jnp.ones(())

    def rollout(state: RunState, key: Key) -> tuple[RunState, None]:
        collect_key, observe_key = jax.random.split(key)
        state, steps = collect(
            collect_key, agent, env, state, always_random, lengths.rollout_length
        )
        steps = learned_steps.as_learned(config, steps, state.env.observation)
        agent_state = agent.observe(observe_key, state.agent, steps)
        return state._replace(agent=agent_state), None

    keys = jax.random.split(warmup_key, lengths.warmup_rollouts)
    state = jax.lax.scan(rollout, state, keys)[0]
    none = jnp.zeros_like(state.episodes.finished)
    return state._replace(episodes=state.episodes._replace(finished=none))


def initial_params(agent: Agent, env: Environment, seed_key: Key) -> PyTree:
    """The parameters with which `start` starts."""
    init_key, _ = jax.random.split(jax.random.fold_in(seed_key, _START))
    return init(init_key, agent, env, num_envs=1).agent.learner.params


_START = 2**32 - 1  # folded into a seed's key; the clock stays below 2**31


def iteration(
    config: Config,
    lengths: LoopLengths,
    env: Environment,
    seed_key: Key,
    state: RunState,
) -> tuple[RunState, Step | None]:
    """T steps of every environment, then U gradient steps.

    With a dataset the steps are only counted.

    Returns:
        The new state and the rollout, Step[T, E], or None.
    """
    agent = algorithms.make(config, env.spec)
    schedule = schedules.epsilon_schedule(config)
    clock = state.steps.value
    collect_key, observe_key, update_key = jax.random.split(
        jax.random.fold_in(seed_key, clock), 3
    )
    rollout = None
    if config.dataset is None:
        state, rollout = collect(
            collect_key, agent, env, state, schedule, lengths.rollout_length
        )
    else:
        state = state._replace(steps=Counter(clock + lengths.rollout_length))
    steps = state.steps.value * config.num_envs
    epsilon = jnp.mean(schedule(steps, state.episodes.finished))

    def update(
        index: Array, carry: tuple[Any, metrics.TrainMetrics]
    ) -> tuple[Any, metrics.TrainMetrics]:
        agent_state, tally = carry
        key = jax.random.fold_in(update_key, index)
        agent_state, update_metrics = agent.update(key, agent_state, epsilon)
        return agent_state, metrics.record_update(tally, update_metrics)

    agent_state = state.agent
    if rollout is not None:
        observed = learned_steps.as_learned(config, rollout, state.env.observation)
        agent_state = agent.observe(observe_key, agent_state, observed)
    agent_state, tally = loops.fori_loop(
        lengths.num_updates, update, (agent_state, state.tally), clock
    )
    return state._replace(agent=agent_state, tally=tally), rollout


def chunk(
    config: Config,
    lengths: LoopLengths,
    env: Environment,
    seed_key: Key,
    state: RunState,
    iterations: Array | None = None,
) -> RunState:
    """Several iterations in one compiled call.

    Args:
        config, lengths, env: the configuration, its loop lengths, the environment.
        seed_key: key of the seed.
        state: state before the first iteration.
        iterations: [] int32, so that one program serves any number; None:
            lengths.chunk_iterations, which the compiler then knows.
    """
    config = learned_steps.with_dataset_as_learned(config)

    def step(_: Array, state: RunState) -> RunState:
        return iteration(config, lengths, env, seed_key, state)[0]

    count = lengths.chunk_iterations if iterations is None else iterations
    return jax.lax.fori_loop(0, count, step, state)
