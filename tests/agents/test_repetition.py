"""Agents that repeat their random actions."""

import dataclasses

import family
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import same

from jaxq.agents import acting, algorithms, field_effects
from jaxq.config.loop_lengths import loop_lengths
from jaxq.envs import make
from jaxq.training import checks, loop

KINDS = ("dqn", "bootstrapped_dqn", "r2d2", "pqn", "tabular_q")


def repeating(name, **changes):
    return family.config(name, exploration="epsilon_z_greedy", max_repeat=6, **changes)


@pytest.mark.parametrize("name", family.NAMES)
def test_repetition_fits_every_algorithm_and_is_not_stored(name):
    if name == "expected_sarsa":  # its target knows only the epsilon-greedy policy
        return
    spec, key = family.gauntlet().spec, jax.eval_shape(lambda: jax.random.key(0))
    config = repeating(name)
    shapes = jax.eval_shape(
        lambda key: field_effects.cycle(key, config, config, spec)[0], key
    )
    plain = algorithms.make(family.config(name), spec)
    expected = checks.state_shape(plain, spec)
    assert jax.tree.structure(shapes) == jax.tree.structure(expected)
    assert jax.tree.leaves(shapes) == jax.tree.leaves(expected)


def rollout_of(config, env, length=64):
    """Step[T, E], and the agent that took the steps, at epsilon = 1/2."""
    agent = algorithms.make(config, env.spec)

    @jax.jit
    def run(key):
        key, init_key = jax.random.split(key)
        state = loop.init(init_key, agent, env, config.num_envs)
        return loop.collect(
            key, agent, env, state, lambda steps, episodes: jnp.float32(0.5), length
        )

    with jax.debug_key_reuse(True):
        state, rollout = run(jax.random.key(3))
    return agent, state, jax.tree.map(np.asarray, rollout)


def test_actions_are_repeated_until_the_episode_ends():
    config = repeating("dqn", num_envs=8, zeta_exponent=0.5)
    _, _, steps = rollout_of(config, family.gauntlet(), 200)
    before = steps.memory.repetition
    goes_on = before.steps_left > 0
    assert goes_on.mean() > 0.2
    np.testing.assert_array_equal(steps.action[goes_on], before.action[goes_on])
    ended = (steps.terminated | steps.truncated)[:-1]
    assert ended.sum() > 50 and goes_on[:-1][ended].any()
    assert not goes_on[1:][ended].any()
    continued = goes_on[:-1] & ~ended
    np.testing.assert_array_equal(
        before.steps_left[1:][continued], before.steps_left[:-1][continued] - 1
    )


@pytest.mark.parametrize("name", ["r2d2", "bootstrapped_dqn"])
def test_only_the_memory_of_the_network_is_stored(name):
    config = repeating(name, num_envs=2, update_steps=16, buffer_size=128)
    agent, state, steps = rollout_of(config, family.gauntlet(), 8)
    after = jax.jit(agent.observe)(jax.random.key(0), state.agent, steps)
    ring = after.store.ring if name == "r2d2" else after.store
    stored = jax.tree.map(lambda leaf: leaf[:8], ring.memory)
    assert same(stored, steps.memory.network)
    assert len(jax.tree.leaves(stored)) == 2


@pytest.mark.parametrize("name", KINDS)
def test_evaluation_neither_starts_nor_continues_a_repetition(name):
    env = family.gauntlet()
    agent = algorithms.make(repeating(name), env.spec)
    plain = algorithms.make(family.config(name), env.spec)
    key, observation = jax.random.key(5), env.spec.example().observation
    state = agent.init(key, env.spec.example())
    memory = agent.initial_memory(key)
    for left in (0, 3):
        repetition = memory.repetition._replace(
            action=jnp.int32(1), steps_left=jnp.int32(left)
        )
        before = memory._replace(repetition=repetition)
        chosen, after = agent.act(
            key, state, before, observation, jnp.float32(0.5), False
        )
        expected, network = plain.act(
            key, state, memory.network, observation, jnp.float32(0.5), False
        )
        assert int(chosen) == int(expected)
        assert same(after, acting.Exploring(network, repetition))
        values = agent.q_values(state, before, observation)
        assert same(values, plain.q_values(state, memory.network, observation))


def test_the_warm_up_repeats_random_actions():
    config = dataclasses.replace(
        family.TINY, exploration="epsilon_z_greedy", zeta_exponent=0.0, max_repeat=50,
        num_envs=1, update_steps=1, warmup_steps=100,
    )  # fmt: skip
    env = make.from_config(config)
    state = jax.jit(lambda key: loop.start(config, loop_lengths(config), env, key))(
        jax.random.key(0)
    )
    actions = np.asarray(state.agent.store.action)[:100, 0]
    assert np.mean(actions[1:] != actions[:-1]) < 0.25
