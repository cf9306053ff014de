import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxq import heads, networks, rollouts
from jaxq.config import Config
from jaxq.types import EnvSpec, LossInfo, Network, Step

TIME, ENVS, ACTIONS, STATES = 7, 4, 3, 10
SPEC = EnvSpec(
    "test", jax.ShapeDtypeStruct((), jnp.int32), ACTIONS, num_states=STATES,
    state_index=lambda observation: observation,
)  # fmt: skip
TABLE = networks.table(SPEC, heads.scalar())


@pytest.fixture
def keys_used_once():
    with jax.debug_key_reuse(True):
        yield


def random_rollout(rng, time=TIME, envs=ENVS):
    """Random steps; after an end, the next row starts in another state."""
    shape = (time, envs)
    terminated = rng.random(shape) < 0.15
    truncated = ~terminated & (rng.random(shape) < 0.25)
    observation = rng.integers(0, STATES, shape)
    after = np.vstack([observation[1:], rng.integers(0, STATES, (1, envs))])
    elsewhere = (after + rng.integers(1, STATES, shape)) % STATES
    return Step(
        observation=observation.astype(np.int32),
        action=rng.integers(0, ACTIONS, shape).astype(np.int32),
        reward=rng.normal(size=shape).astype(np.float32),
        terminated=terminated,
        truncated=truncated,
        next_observation=np.where(terminated | truncated, elsewhere, after).astype(
            np.int32
        ),
    )


def plain_returns(values, rollout, gamma, decay, cut):
    """The recursion, from the end of the rollout, one environment at a time."""
    returns = np.zeros(rollout.action.shape)
    for e in range(returns.shape[1]):
        for t in reversed(range(returns.shape[0])):
            best = values[rollout.next_observation[t, e]].max()
            goes_on = t + 1 < returns.shape[0] and not rollout.truncated[t, e]
            if goes_on and not rollout.terminated[t, e]:
                here = values[rollout.observation[t + 1, e]]
                trace = decay
                if cut and here[rollout.action[t + 1, e]] < here.max():
                    trace = 0.0
                best = (1 - trace) * best + trace * returns[t + 1, e]
            going = 0.0 if rollout.terminated[t, e] else gamma
            returns[t, e] = rollout.reward[t, e] + going * best
    return returns


@functools.partial(jax.jit, static_argnames="config")
def returns_of(params, rollout, config):
    def one(steps):
        return rollouts.q_lambda_returns(TABLE, params, steps, config)

    return jax.vmap(one, in_axes=1, out_axes=1)(rollout)


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.7, 1.0])
def test_returns_equal_the_plain_recursion(decay, cut, rng):
    config = Config(discount=0.9, trace_decay=decay, trace_cut=cut)
    values = rng.normal(size=(STATES, ACTIONS))
    params = {"table": np.float32(values)[:, :, None]}
    for _ in range(20):
        rollout = random_rollout(rng)
        # Half of the actions are greedy, so that both kinds of trace occur.
        greedy = values.argmax(1)[rollout.observation].astype(np.int32)
        action = np.where(rng.random(greedy.shape) < 0.5, greedy, rollout.action)
        rollout = rollout._replace(action=action)
        found = returns_of(params, rollout, config)
        expected = plain_returns(values, rollout, 0.9, decay, cut)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_truncation_bootstraps_from_its_own_successor(rng):
    """Not from the next row, of another episode, nor through that row's return."""
    config = Config(discount=0.9, trace_decay=0.8)
    params = {"table": rng.normal(size=(STATES, ACTIONS, 1)).astype(np.float32)}
    rollout = random_rollout(rng)
    ends = np.zeros((TIME, ENVS), bool)
    ends[3] = True
    rollout = rollout._replace(truncated=ends, terminated=np.zeros_like(ends))
    found = returns_of(params, rollout, config)
    # What comes after the truncation makes no difference to what came before.
    other = random_rollout(rng)
    mixed = jax.tree.map(lambda a, b: np.vstack([a[:4], b[4:]]), rollout, other)
    np.testing.assert_array_equal(returns_of(params, mixed, config)[:4], found[:4])
    after = params["table"][rollout.next_observation[3]].max((1, 2))
    np.testing.assert_allclose(found[3], rollout.reward[3] + 0.9 * after, rtol=1e-5)
    # With no truncation it would.
    through = mixed._replace(truncated=np.zeros_like(ends))
    assert (returns_of(params, through, config)[:4] != found[:4]).any()


def test_ties_are_greedy():
    """Watkins: an action as good as the best is greedy, whichever comes first."""
    config = Config(discount=1.0, trace_decay=1.0, trace_cut=True)
    rollout = Step(*np.zeros((6, 3, 1), np.int32))
    rollout = rollout._replace(
        action=np.array([[0], [1], [2]]), reward=np.ones((3, 1), np.float32),
        terminated=np.zeros((3, 1), bool), truncated=np.zeros((3, 1), bool),
    )  # fmt: skip
    params = {"table": jnp.zeros((STATES, ACTIONS, 1))}
    found = returns_of(params, rollout, config)
    np.testing.assert_array_equal(found[:, 0], [3, 2, 1])
    params["table"] = params["table"].at[0, 0].set(0.5)  # now 1 and 2 are not
    found = returns_of(params, rollout, config)
    np.testing.assert_array_equal(found[:, 0], [1.5, 1.5, 1.5])


def counting(count, recurrent=False):
    """A network whose parameters, by a loss of theirs, count uses of an example.

    An observation is the number of an example. With a memory, the value of an action
    is the observation plus ten times the steps since the start of the episode.
    """

    def output(observation, memory):
        value = observation.astype(jnp.float32) + 10.0 * memory
        return jnp.full((ACTIONS, 1), value)

    def loss(key, params, target_params, example):
        numbers = jnp.atleast_1d(example.observation)
        return jnp.sum(params[numbers]), LossInfo(jnp.zeros(()), jnp.zeros(()))

    network = Network(
        init=lambda key, observation: jnp.zeros(count),
        apply=lambda key, params, observation: output(observation, 0.0),
        head=heads.scalar(),
    )
    if recurrent:
        network = network._replace(
            begin=lambda key: jnp.zeros(()),
            step=lambda key, params, memory, observation: (
                output(observation, memory), memory + 1,
            ),
        )  # fmt: skip
    return network, loss


def numbered(rng, recurrent):
    number = np.arange(TIME * ENVS).reshape(TIME, ENVS).astype(np.int32)
    memory = rng.integers(0, 9, (TIME, ENVS)).astype(np.float32) if recurrent else ()
    return random_rollout(rng)._replace(observation=number, memory=memory)


@pytest.mark.parametrize("recurrent", [False, True])
def test_an_epoch_uses_every_example_once_in_an_order_of_its_own(
    recurrent, rng, keys_used_once
):
    examples = ENVS if recurrent else ENVS * TIME
    config = Config(
        num_envs=ENVS, rollout_length=TIME, num_epochs=3, num_minibatches=2,
        optimizer="sgd", learning_rate=1.0, loss_reduction="sum",
        recurrent="gru" if recurrent else "none",
    )  # fmt: skip
    network, loss = counting(TIME * ENVS, recurrent)
    agent = rollouts.rollout_agent(network, network, loss, config)
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
    assert {len(minibatch) for minibatch in chosen} == {TIME * ENVS // 2}
    for first, second in zip(chosen[::2], chosen[1::2], strict=True):
        assert first | second == set(range(TIME * ENVS))
    if recurrent:  # whole environments
        for minibatch in chosen:
            sequences = {number % ENVS for number in minibatch}
            assert len(sequences) == examples // 2
    assert len(set(chosen)) > (2 if recurrent else 11)


@pytest.mark.parametrize("cut", [False, True])
def test_targets_are_computed_once_for_a_rollout(cut, rng):
    config = Config(
        num_envs=ENVS, rollout_length=TIME, num_epochs=2, num_minibatches=4,
        optimizer="sgd", learning_rate=0.5, loss_reduction="sum", discount=0.9,
        trace_decay=0.7, trace_cut=cut, network="table",
    )  # fmt: skip
    # Every step has a state of its own, so that no two examples move the same entry.
    large = SPEC._replace(num_states=TIME * ENVS)
    table = networks.table(large, heads.scalar())

    def loss(key, params, target_params, example):
        value = table.apply(None, params, example.observation)[example.action, 0]
        error = example.target_return - value
        return error**2 / 2, LossInfo(jnp.abs(error), value)

    agent = rollouts.rollout_agent(table, table, loss, config)
    state = agent.init(jax.random.key(0), large.example())
    values = rng.normal(size=(TIME * ENVS, ACTIONS))
    params = {"table": jnp.asarray(values[:, :, None], jnp.float32)}
    state = state._replace(learner=state.learner._replace(params=params))
    rollout = numbered(rng, False)
    expected = plain_returns(values, rollout, 0.9, 0.7, cut)
    state = agent.observe(jax.random.key(1), state, rollout)
    found = state.examples.target_return.reshape(TIME, ENVS)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    update = jax.jit(agent.update)
    for _ in range(8):
        state, _ = update(jax.random.key(2), state, jnp.zeros(()))
    # Twice half of the way to the same target, for the action that was taken.
    for number, action, target in zip(
        *(leaf.reshape(-1) for leaf in (rollout.observation, rollout.action, expected)),
        strict=True,
    ):
        values[number, action] += 0.75 * (target - values[number, action])
    found = state.learner.params["table"][:, :, 0]
    np.testing.assert_allclose(found, values, rtol=1e-3, atol=1e-4)


def test_sequences_have_the_returns_and_the_memory_before_their_first_step(rng):
    config = Config(
        num_envs=ENVS, rollout_length=TIME, recurrent="gru", num_minibatches=2,
        discount=0.9, trace_decay=0.7,
    )  # fmt: skip
    network, loss = counting(TIME * ENVS, recurrent=True)
    agent = rollouts.rollout_agent(network, network, loss, config)
    state = agent.init(jax.random.key(0), SPEC.example())
    rollout = numbered(rng, True)
    found = agent.observe(jax.random.key(0), state, rollout).examples
    np.testing.assert_array_equal(found.memory, rollout.memory[0])
    for field in ("observation", "action", "terminated", "truncated"):
        np.testing.assert_array_equal(getattr(found, field), getattr(rollout, field).T)
    # A successor's value comes from the memory after the step.
    next_value = rollout.next_observation + 10.0 * (rollout.memory + 1)
    expected = np.zeros((TIME, ENVS))
    for e in range(ENVS):
        for t in reversed(range(TIME)):
            value = next_value[t, e]
            if t < TIME - 1 and not rollout.truncated[t, e]:
                value = 0.3 * value + 0.7 * expected[t + 1, e]
            going = 0.0 if rollout.terminated[t, e] else 0.9
            expected[t, e] = rollout.reward[t, e] + going * value
    np.testing.assert_allclose(found.reward, expected.T, rtol=1e-4)
