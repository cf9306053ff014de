"""The last action and reward reach the network wherever it acts and learns."""

import dataclasses

import family
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mdps import Echo

from jaxq.agents import acting, algorithms, factory, q_lambda
from jaxq.config.config import Config
from jaxq.envs import adapter
from jaxq.replay import stores
from jaxq.rl import heads, recall
from jaxq.training import evaluate, learned_steps, loop, sampled_episodes
from jaxq.types import EnvSpec, Network, Step

ENVS, TIME = 3, 11
KEY = jax.random.key(0)
SPEC = EnvSpec("test", jax.ShapeDtypeStruct((4,), jnp.float32), 3)


def config(algorithm="r2d2", cell="min_gru", **changes):
    base = Config(
        defaults="plain", algorithm=algorithm, recurrent=cell, num_envs=ENVS,
        recurrent_inputs="action_reward", memory_size=4, hidden_sizes=(5,),
        sequence_length=4, burn_in=2, n_step=2, batch_size=16, buffer_size=66,
        update_steps=ENVS * TIME, warmup_steps=1, eval_episodes=5, reward_clip=1.5,
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def echoing():
    """A network that takes the right action in Echo, whatever it has learned.

    Its memory, the number of steps since the start, shows that it is passed on.
    """

    def step(key, params, memory, observation):
        right = Echo.right(observation.action, observation.reward)
        started = (observation.action < 0) == (memory == 0)
        q_values = jnp.where(started, jax.nn.one_hot(right, 3), jnp.zeros(3))
        return q_values[:, None], memory + 1

    return Network(
        init=lambda key, observation: {"unused": jnp.zeros(())},
        apply=lambda key, params, observation: jnp.zeros((3, 1)),
        head=heads.scalar(),
        step=step,
        initial_memory=lambda key: jnp.int32(0),
    )


def echo_agent(config):
    """An agent that acts by it, and its state."""
    network = echoing()
    made = algorithms.make(config, adapter.adapt(Echo()).spec)
    agent = acting.assemble(network, config, made.init, made.observe, made.update)
    return agent, made.init(KEY, adapter.adapt(Echo()).spec.example())


def test_an_agent_sees_them_while_it_collects(rng):
    """Through the resets of episodes, and from one rollout to the next."""
    env, settings = adapter.adapt(Echo()), config()
    agent, _ = echo_agent(settings)

    @jax.jit
    def rollouts(key):
        keys = jax.random.split(key, 3)
        state = loop.init(keys[0], agent, env, ENVS)
        state, first = loop.collect(
            keys[1], agent, env, state, lambda *_: jnp.zeros(()), TIME
        )
        _, second = loop.collect(
            keys[2], agent, env, state, lambda *_: jnp.zeros(()), TIME
        )
        return jax.tree.map(lambda *x: jnp.concatenate(x), first, second)

    steps = jax.device_get(rollouts(KEY))
    assert set(np.unique(steps.reward)) == {1.0, 2.0} and not steps.terminated.any()
    assert steps.truncated.any()
    ended = np.concatenate([np.ones((1, ENVS), bool), steps.truncated[:-1]])
    action = np.concatenate([np.zeros((1, ENVS), int), steps.action[:-1]])
    reward = np.concatenate([np.zeros((1, ENVS)), steps.reward[:-1]])
    np.testing.assert_array_equal(steps.memory.action, np.where(ended, -1, action))
    learned = np.where(ended, 0.0, np.clip(reward, -1.5, 1.5))
    np.testing.assert_array_equal(steps.memory.reward, learned)


def test_an_agent_sees_them_while_it_is_evaluated():
    env = adapter.adapt(Echo())
    agent, state = echo_agent(config(reward_clip=None))
    play = jax.jit(lambda key: evaluate.evaluate(key, agent, state, env, 16, 0.0, 20))
    result = play(KEY)
    assert np.all(result.episode_return >= 7) and np.all(result.episode_length == 7)


def test_the_successor_of_a_step_comes_with_it():
    """Without them, diagnostics and Q(lambda) would evaluate another state."""
    env = adapter.adapt(Echo())
    settings = config("pqn_rnn", rollout_length=TIME, num_minibatches=1)
    settings = dataclasses.replace(settings, trace_decay=0.0, discount=0.5)
    agent, state = echo_agent(settings)

    def collect(key):
        start = loop.init(key, agent, env, ENVS)
        return loop.collect(KEY, agent, env, start, lambda *_: jnp.zeros(()), TIME)[1]

    steps = learned_steps.as_learned(settings, jax.jit(collect)(jax.random.key(1)))
    one = jax.tree.map(lambda x: x[:, 0], steps)
    returns = jax.jit(
        lambda one: q_lambda.q_lambda_returns(
            echoing(), {}, one, settings, settings.discount
        )
    )(one)
    # The value of every true successor is that of its right action, 1.
    np.testing.assert_allclose(returns, one.reward + 0.5, atol=1e-6)
    play = jax.jit(
        lambda key: sampled_episodes.play(key, settings, agent, state, env, 20)
    )
    _, error = play(KEY)
    # Returns exceed the values, which are 1; after a wrong action they would not.
    assert np.all(error < 0.0)


def numbered(rng, time, envs):
    """Random steps whose memory is what the loop would have put there."""
    shape = time, envs
    terminated = rng.random(shape) < 0.15
    truncated = (rng.random(shape) < 0.15) & ~terminated
    action = rng.integers(3, size=shape).astype(np.int32)
    reward = rng.normal(size=shape).astype(np.float32)
    before = [
        np.concatenate([np.full((1, envs), start, x.dtype), x[:-1]])
        for start, x in ((-1, action), (0, reward))
    ]
    ended = np.concatenate([np.zeros((1, envs), bool), (terminated | truncated)[:-1]])
    observation = np.arange(time * envs * 4, dtype=np.float32).reshape(*shape, 4)
    memory = recall.Memory(
        network=observation[..., 0],
        action=np.where(ended, -1, before[0]).astype(np.int32),
        reward=np.where(ended, 0, before[1]).astype(np.float32),
    )
    return Step(
        observation, action, reward, terminated, truncated, observation, memory
    )  # fmt: skip


def test_replayed_sequences_hold_them_for_every_step(rng, strict):
    settings = config(prioritized=False)
    store = stores.uniform(settings, SPEC)
    steps = numbered(rng, 2 * TIME, ENVS)
    example = jax.tree.map(lambda x: jnp.asarray(x[0, 0]), steps)
    state = jax.jit(store.init)(example)
    for part in (slice(TIME), slice(TIME, None)):
        rows = jax.tree.map(lambda x, part=part: jnp.asarray(x[part]), steps)
        state = jax.jit(store.add)(state, rows)
    sample = jax.jit(store.sample)(KEY, state, jnp.int32(0))
    sequence = jax.device_get(sample.example)
    assert isinstance(sequence.observation, recall.Recalled)
    length = settings.burn_in + settings.sequence_length + settings.n_step
    starts = set()
    for b in range(settings.batch_size):
        number = int(sequence.observation.observation[b, 0, 0]) // 4
        row, env = divmod(number, ENVS)
        rows = slice(row, row + length)
        np.testing.assert_array_equal(
            sequence.observation.observation[b], steps.observation[rows, env]
        )
        for name in ("action", "reward"):
            np.testing.assert_array_equal(
                getattr(sequence.observation, name)[b],
                getattr(steps.memory, name)[rows, env],
            )
        assert sequence.memory[b] == steps.memory.network[row, env]
        starts.add((sequence.observation.action[b] < 0).any())
    assert len(starts) == 2


@pytest.mark.parametrize("cell", ["gru", "min_gru"])
def test_the_cell_sees_the_features_then_the_action_then_the_reward(cell, rng):
    network = factory.make_networks(config(cell=cell), SPEC).online
    x = rng.normal(size=4).astype(np.float32)

    def seen(action, reward):
        return recall.Recalled(x, jnp.int32(action), jnp.float32(reward))

    params = jax.jit(network.init)(KEY, seen(-1, 0.0))
    name = "in" if cell == "gru" else "candidate"
    kernel = np.asarray(params["cell"][name]["kernel"])
    assert kernel.shape == (5 + 3 + 1, 4)
    memory = network.initial_memory(KEY)
    step = jax.jit(lambda params, o: network.step(None, params, memory, o)[1])
    # At the start of an episode the inputs beside the features are zero.
    without = jax.tree.map(np.array, params)
    for part in without["cell"].values():
        if part["kernel"].shape[0] == 9:
            part["kernel"][5:] = 0
    start = seen(-1, 0.0)
    np.testing.assert_allclose(step(params, start), step(without, start), atol=1e-6)
    base = np.asarray(step(params, start))
    for action, reward, row in ((0, 0.0, 5), (2, 0.0, 7), (-1, 0.7, 8)):
        changed = jax.tree.map(np.array, params)
        for part in changed["cell"].values():
            if part["kernel"].shape[0] == 9:
                part["kernel"][5:] = 0
                scale = reward if row == 8 else 1.0
                part["bias"] = (
                    part["bias"]
                    + scale
                    * params["cell"][
                        next(k for k, v in changed["cell"].items() if v is part)
                    ]["kernel"][row]
                )
        actual = step(params, seen(action, reward))
        np.testing.assert_allclose(actual, step(changed, start), atol=1e-5)
        assert np.abs(actual - base).max() > 1e-3


@pytest.mark.parametrize("normalized", [False, True], ids=["plain", "normalized"])
@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "min_gru", "lru"])
@pytest.mark.parametrize("algorithm", ["r2d2", "pqn_rnn"])
def test_every_cell_keeps_the_structure_of_an_agent(
    algorithm, cell, masked, normalized
):
    env = family.masked_chain() if masked else family.gauntlet()
    changes = {"algorithm": algorithm, "recurrent": cell, "reset_period": 3}
    changes["normalize_observations"] = normalized
    if algorithm == "pqn_rnn":
        changes |= {"rollout_length": 4, "num_minibatches": 1, "num_envs": 4}
    settings = config(**changes)
    agent = algorithms.make(settings, env.spec)

    def cycle(key):
        state = loop.init(key, agent, env, settings.num_envs)
        collected, steps = loop.collect(
            key, agent, env, state, lambda *_: jnp.zeros(()), TIME
        )
        if algorithm == "pqn_rnn":
            steps = jax.tree.map(lambda x: x[:4], steps)
        observed = agent.observe(key, collected.agent, steps)
        return state.agent, agent.update(key, observed, jnp.float32(0))[0]

    before, after = (
        jax.tree.map(lambda x: (x.shape, x.dtype), state)
        for state in jax.eval_shape(cycle, KEY)
    )
    assert before == after
