import jax
import jax.numpy as jnp
import numpy as np
import pytest
from streams import plain_returns, plain_table_returns, random_rollout

from jaxq.agents import rollout_agent
from jaxq.config.config import Config
from jaxq.networks import tables
from jaxq.rl import heads
from jaxq.types import EnvSpec, LossInfo, feed_forward

TIME, ENVS, ACTIONS = 7, 4, 3
COUNT = TIME * ENVS
# Every step of a rollout has its own state, so that examples can be distinguished.
SPEC = EnvSpec(
    "test", jax.ShapeDtypeStruct((), jnp.int32), ACTIONS, num_states=COUNT,
    state_index=lambda observation: observation,
)  # fmt: skip


@pytest.fixture
def keys_used_once():
    with jax.debug_key_reuse(True):
        yield


def counting(recurrent):
    """A network and a loss whose gradient counts the uses of every example.

    An observation is the number of an example. With a memory, the value of an action
    is the observation plus ten times the steps since the start of the episode.
    """

    def output(observation, memory):
        value = observation.astype(jnp.float32) + 10.0 * memory
        return jnp.full((ACTIONS, 1), value)

    def loss(key, params, target_params, example):
        numbers = jnp.atleast_1d(example.observation)
        return jnp.sum(params[numbers]), LossInfo(jnp.zeros(()), jnp.zeros(()))

    network = feed_forward(
        init=lambda key, observation: jnp.zeros(COUNT),
        apply=lambda key, params, observation: output(observation, 0.0),
        head=heads.scalar(),
    )
    if recurrent:
        network = network._replace(
            initial_memory=lambda key: jnp.zeros(()),
            step=lambda key, params, memory, observation: (
                output(observation, memory), memory + 1,
            ),
        )  # fmt: skip
    return network, loss


def numbered(rng, recurrent):
    number = np.arange(COUNT).reshape(TIME, ENVS).astype(np.int32)
    memory = rng.integers(0, 9, (TIME, ENVS)).astype(np.float32) if recurrent else ()
    return random_rollout(rng, TIME, ENVS, COUNT)._replace(
        observation=number, memory=memory
    )


@pytest.mark.parametrize("recurrent", [False, True])
def test_an_epoch_uses_every_example_once_in_its_own_order(
    recurrent, rng, keys_used_once
):
    examples = ENVS if recurrent else COUNT
    config = Config(
        defaults="plain",
        num_envs=ENVS, rollout_length=TIME, num_epochs=3, num_minibatches=2,
        optimizer="sgd", learning_rate=1.0, loss_reduction="sum",
        recurrent="gru" if recurrent else "none",
    )  # fmt: skip
    network, loss = counting(recurrent)
    agent = rollout_agent.rollout_agent(network, network, loss, config)
    state = agent.init(jax.random.key(0), SPEC.example())
    update, chosen = jax.jit(agent.update), []
    for number in range(2):
        rollout = numbered(rng, recurrent)
        state = agent.observe(jax.random.key(number), state, rollout)
        for _ in range(config.num_epochs * config.num_minibatches):
            before = state.learner.params
            state, _ = update(jax.random.key(0), state, jnp.zeros(()))
            used = np.asarray(before - state.learner.params)
            assert set(used.tolist()) == {0, 1}
            chosen.append(frozenset(np.flatnonzero(used).tolist()))
    # Every minibatch has its share; the two of an epoch have everything.
    assert {len(minibatch) for minibatch in chosen} == {COUNT // 2}
    for first, second in zip(chosen[::2], chosen[1::2], strict=True):
        assert first | second == set(range(COUNT))
    if recurrent:  # whole environments
        for minibatch in chosen:
            sequences = {number % ENVS for number in minibatch}
            assert len(sequences) == examples // 2
    assert len(set(chosen)) > (2 if recurrent else 11)


@pytest.mark.parametrize("cut", [False, True])
def test_targets_are_computed_once_for_a_rollout(cut, rng):
    config = Config(
        defaults="plain",
        num_envs=ENVS, rollout_length=TIME, num_epochs=2, num_minibatches=4,
        optimizer="sgd", learning_rate=0.5, loss_reduction="sum", discount=0.9,
        trace_decay=0.7, trace_cut=cut, network="table",
    )  # fmt: skip
    table = tables.table(SPEC, heads.scalar())

    def loss(key, params, target_params, example):
        value = table.apply(None, params, example.observation)[example.action, 0]
        error = example.target_return - value
        return error**2 / 2, LossInfo(jnp.abs(error), value)

    agent = rollout_agent.rollout_agent(table, table, loss, config)
    state = agent.init(jax.random.key(0), SPEC.example())
    values = rng.normal(size=(COUNT, ACTIONS))
    params = {"table": jnp.asarray(values[:, :, None], jnp.float32)}
    state = state._replace(learner=state.learner._replace(params=params))
    rollout = numbered(rng, False)
    expected = plain_table_returns(values, rollout, 0.9, 0.7, cut)
    state = agent.observe(jax.random.key(1), state, rollout)
    actual = state.examples.target_return.reshape(TIME, ENVS)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    update = jax.jit(agent.update)
    for _ in range(8):
        state, _ = update(jax.random.key(2), state, jnp.zeros(()))
    # Twice half the distance to the same target, for the action that was taken.
    for number, action, target in zip(
        *(leaf.reshape(-1) for leaf in (rollout.observation, rollout.action, expected)),
        strict=True,
    ):
        values[number, action] += 0.75 * (target - values[number, action])
    actual = state.learner.params["table"][:, :, 0]
    np.testing.assert_allclose(actual, values, rtol=1e-3, atol=1e-4)


def test_sequences_have_the_returns_and_the_memory_before_their_first_step(rng):
    config = Config(
        defaults="plain",
        num_envs=ENVS, rollout_length=TIME, recurrent="gru", num_minibatches=2,
        discount=0.9, trace_decay=0.7,
    )  # fmt: skip
    network, loss = counting(recurrent=True)
    agent = rollout_agent.rollout_agent(network, network, loss, config)
    state = agent.init(jax.random.key(0), SPEC.example())
    rollout = numbered(rng, True)
    actual = agent.observe(jax.random.key(0), state, rollout).examples
    np.testing.assert_array_equal(actual.memory, rollout.memory[0])
    for field in ("observation", "action", "terminated", "truncated"):
        np.testing.assert_array_equal(getattr(actual, field), getattr(rollout, field).T)
    # A successor's value comes from the memory after the step.
    next_value = rollout.next_observation + 10.0 * (rollout.memory + 1)
    trace = np.full((TIME, ENVS), 0.7)
    expected = plain_returns(rollout, next_value, trace, 0.9)
    np.testing.assert_allclose(actual.reward, expected.T, rtol=1e-4)
