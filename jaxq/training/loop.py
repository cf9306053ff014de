"""The training loop: one page, any agent, any environment.

Every function here is for one seed; `jaxq.training.compiled` adds the seeds with
`vmap`.
Randomness is a function of the seed's key and the clock, so a run that is resumed, or
cut into other chunks, draws the same numbers.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxq.agents import algorithms, schedules
from jaxq.config.config import (
    Config,
    static_fields,
    traced_fields,
)
from jaxq.config.loop_lengths import loop_lengths
from jaxq.envs.adapter import Environment, EnvState
from jaxq.training import metrics
from jaxq.types import (
    Agent,
    Array,
    Counter,
    Key,
    PyTree,
    Step,
    counter,
)
from jaxq.xla import loops

jax.tree_util.register_dataclass(Config, traced_fields(), static_fields())


class RunState(NamedTuple):
    """Everything that decides the rest of a run, besides its configuration and key."""

    agent: Any
    env: EnvState  # leading axis [E]
    memory: PyTree  # the agent's, leading axis [E]
    episodes: metrics.Episodes
    tally: metrics.TrainMetrics
    steps: Counter  # steps taken by every environment


def collect(
    key: Key,
    agent: Agent,
    env: Environment,
    state: RunState,
    epsilon: schedules.Schedule,
    length: int,
) -> tuple[RunState, Step]:
    """Let the agent act in every environment.

    Args:
        key: split over time and environments.
        agent, env: whose functions are composed.
        state: where the environments stand.
        epsilon: schedule of random actions.
        length: steps T.

    Returns:
        The state after T steps, not yet observed by the agent, and Step[T, E].
    """
    num_envs = state.episodes.reward.size

    def act(key: Key, memory: PyTree, observation: Array, epsilon: Array) -> Any:
        return agent.act(key, state.agent, memory, observation, epsilon, True)

    def step(state: RunState, keys: Key) -> tuple[RunState, Step]:
        act_keys, env_keys, begin_keys = keys
        steps = state.steps.value * num_envs
        chance = jnp.broadcast_to(epsilon(steps, state.episodes.finished), num_envs)
        action, memory = jax.vmap(act)(
            act_keys, state.memory, state.env.observation, chance
        )
        env_state, said = jax.vmap(env.step)(env_keys, state.env, action)
        said = said._replace(memory=state.memory)
        fresh = jax.vmap(agent.initial_memory)(begin_keys)
        memory = restart(said.terminated | said.truncated, fresh, memory)
        episodes, tally = metrics.record_step(state.episodes, state.tally, said)
        clock = Counter(state.steps.value + 1)
        return RunState(state.agent, env_state, memory, episodes, tally, clock), said

    return jax.lax.scan(step, state, jax.random.split(key, (length, 3, num_envs)))


def restart(done: Array, fresh: PyTree, memory: PyTree) -> PyTree:
    """The fresh memory where an episode ended; leading axis [E]."""

    def choose(fresh: Array, memory: Array) -> Array:
        return jnp.where(done.reshape(-1, *[1] * (memory.ndim - 1)), fresh, memory)

    return jax.tree.map(choose, fresh, memory)


def init(key: Key, agent: Agent, env: Environment, num_envs: int) -> RunState:
    """A fresh agent and environments."""
    agent_key, env_key, begin_key = jax.random.split(key, 3)
    env_state = jax.vmap(env.reset)(jax.random.split(env_key, num_envs))
    return RunState(
        agent=agent.init(agent_key, env.spec.example()),
        env=env_state,
        memory=jax.vmap(agent.initial_memory)(jax.random.split(begin_key, num_envs)),
        episodes=metrics.Episodes(
            reward=jnp.zeros(num_envs),
            length=jnp.zeros(num_envs, jnp.int32),
            finished=jnp.zeros((), jnp.int32),
        ),
        tally=metrics.zeros(),
        steps=counter(),
    )


def start(config: Config, env: Environment, seed_key: Key) -> RunState:
    """Initialise one seed and fill its replay buffer with random actions.

    Episodes are counted from there on, so that an epsilon that falls with every episode
    has not yet fallen when learning starts.
    """
    agent = algorithms.make(config, env.spec)
    lengths = loop_lengths(config)
    init_key, warmup_key = jax.random.split(jax.random.fold_in(seed_key, _START))
    state = init(init_key, agent, env, config.num_envs)

    def rollout(state: RunState, key: Key) -> tuple[RunState, None]:
        collect_key, observe_key = jax.random.split(key)
        always = lambda steps, episodes: jnp.ones(())  # noqa: E731
        state, steps = collect(
            collect_key, agent, env, state, always, lengths.rollout_length
        )
        observed = agent.observe(observe_key, state.agent, steps)
        return state._replace(agent=observed), None

    keys = jax.random.split(warmup_key, lengths.warmup_rollouts)
    state = jax.lax.scan(rollout, state, keys)[0]
    none = jnp.zeros_like(state.episodes.finished)
    return state._replace(episodes=state.episodes._replace(finished=none))


_START = 2**32 - 1  # folded into a seed's key; the clock stays below 2**31


def iteration(
    config: Config, env: Environment, seed_key: Key, state: RunState
) -> tuple[RunState, Step]:
    """T steps of every environment, then U gradient steps.

    Returns:
        The state, and what happened: Step[T, E].
    """
    agent = algorithms.make(config, env.spec)
    lengths = loop_lengths(config)
    clock = state.steps.value
    keys = jax.random.split(jax.random.fold_in(seed_key, clock), 3)
    collect_key, observe_key, update_key = keys
    schedule = schedules.epsilon_schedule(config)
    state, rollout = collect(
        collect_key, agent, env, state, schedule, lengths.rollout_length
    )
    steps = state.steps.value * config.num_envs
    epsilon = jnp.mean(schedule(steps, state.episodes.finished))

    def update(
        index: Array, carry: tuple[Any, metrics.TrainMetrics]
    ) -> tuple[Any, metrics.TrainMetrics]:
        agent_state, tally = carry
        key = jax.random.fold_in(update_key, index)
        agent_state, reported = agent.update(key, agent_state, epsilon)
        updates = tally.updates + 1
        mean = jax.tree.map(
            lambda mean, new: mean + (new - mean) / updates, tally.update, reported
        )
        return agent_state, tally._replace(updates=updates, update=mean)

    carry = (agent.observe(observe_key, state.agent, rollout), state.tally)
    agent_state, tally = loops.fori_loop(lengths.num_updates, update, carry, clock)
    return state._replace(agent=agent_state, tally=tally), rollout


def chunk(
    config: Config,
    env: Environment,
    seed_key: Key,
    state: RunState,
    iterations: Array | None = None,
) -> RunState:
    """Several iterations in one compiled call.

    Args:
        config, env: what is run.
        seed_key: of the seed.
        state: where it stands.
        iterations: [] int32, so that one program serves any number; None stands for the
            plan's, known to the compiler.
    """
    length = loop_lengths(config).chunk_iterations if iterations is None else iterations

    def step(_: Array, state: RunState) -> RunState:
        return iteration(config, env, seed_key, state)[0]

    return jax.lax.fori_loop(0, length, step, state)
