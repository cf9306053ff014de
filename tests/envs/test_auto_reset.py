"""Automatic resets, time limits and masks, on a toy that is stepped by hand."""

import types
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxq import ConfigError, from_five_values
from jaxq.envs import adapter, auto_reset
from jaxq.types import MaskedObservation

STEPS = 60


def start(key):
    """A random count below 3; an episode ends at 6, and action 1 counts double."""
    value = jax.random.randint(key, (), 0, 3)
    return jnp.float32(value), {"value": value}


def transition(key, state, action):
    value = state["value"] + 1 + action * jax.random.bernoulli(key)
    terminated = value >= 6
    state = {"value": value}
    return jnp.float32(value), state, jnp.float32(value), terminated, jnp.bool_(False)


RULES = auto_reset.Rules(start, transition, num_actions=2)


def adapted_steps(env, keys, actions):
    """Steps of an adapted environment, and the observation after each."""

    def body(state, inputs):
        state, step = env.step(*inputs[:1], state, inputs[1])
        return state, (step, state.observation)

    state = env.reset(keys[-1])
    _, outputs = jax.lax.scan(body, state, (keys[:-1], actions))
    return state.observation, outputs


def steps_by_hand(keys, actions, limit):
    """The same from the rules, with a Python `if` at the end of an episode."""
    observation, state = start(keys[-1])
    rows, count = [], 0
    for key, action in zip(keys[:-1], actions, strict=True):
        step_key, reset_key = jax.random.split(key)
        successor, state, reward, terminated, _ = transition(step_key, state, action)
        count += 1
        truncated = not terminated and count >= limit
        row = [float(observation), float(reward), bool(terminated), truncated]
        observation = successor
        if terminated or truncated:
            (observation, state), count = start(reset_key), 0
        rows.append((*row, float(successor), float(observation)))
    return rows


@pytest.mark.parametrize("limit", [None, 4])
def test_steps_equal_those_by_hand(limit):
    env = adapter.adapt(auto_reset.AutoReset(auto_reset.limited(RULES, limit)))
    assert env.time_limit == (limit or np.inf)
    keys = jax.random.split(jax.random.key(0), STEPS + 1)
    actions = jax.random.randint(jax.random.key(1), (STEPS,), 0, 2)
    first, (steps, after) = adapted_steps(env, keys, actions)
    by_hand = steps_by_hand(keys, actions, limit or np.inf)
    assert float(first) == by_hand[0][0]
    ends = steps.terminated | steps.truncated
    assert ends.sum() > 5 and bool(steps.truncated.any()) == (limit is not None)
    columns = (
        steps.observation,
        steps.reward,
        steps.terminated,
        steps.truncated,
        steps.next_observation,
        after,
    )
    assert [tuple(float(v) for v in row) for row in zip(*columns, strict=True)] == [
        tuple(float(v) for v in row) for row in by_hand
    ]


def test_a_termination_in_the_last_step_is_no_truncation():
    rules = RULES._replace(start=lambda key: (jnp.float32(0), {"value": jnp.int32(0)}))
    env = adapter.adapt(auto_reset.AutoReset(auto_reset.limited(rules, 6)))
    state = env.reset(jax.random.key(0))
    for key in jax.random.split(jax.random.key(0), 6):
        state, step = env.step(key, state, jnp.int32(0))
    assert step.terminated and not step.truncated


def test_a_mask_belongs_to_the_state_of_its_observation():
    rules = RULES._replace(mask=lambda state: jnp.arange(2) < 2 - state["value"] // 5)
    game = auto_reset.AutoReset(rules)
    observation, state = game.reset(jax.random.key(0), game.default_params)
    assert isinstance(observation, MaskedObservation)
    for key in jax.random.split(jax.random.key(3), 20):
        observation, state, *_, info = game.step(
            key, state, jnp.int32(0), game.default_params
        )
        for shown in (observation, info["final_observation"]):
            assert shown.action_mask.tolist() == [True, shown.observation < 5]


def test_identifiers_become_bits():
    ids = jnp.array([[[0, 2], [1, 0]]], jnp.uint8)  # [1, 2, 2]
    bits = auto_reset.one_hot(ids, 2, 3)
    assert bits.dtype == bool
    assert bits.astype(int).tolist() == [[[1, 0, 0, 0, 1], [0, 1, 1, 0, 0]]]
    assert not auto_reset.one_hot(jnp.array([255], jnp.uint8), 3).any()


class Params(NamedTuple):
    max_steps_in_episode: int = 7
    end: int = 5


class State(NamedTuple):
    value: jax.Array
    time: jax.Array


class Counter:
    """Gymnax 0: a count that ends at 5, or after 7 steps."""

    default_params = Params()

    def action_space(self, params):
        return types.SimpleNamespace(n=2)

    def reset_env(self, key, params):
        state = State(jax.random.randint(key, (), 0, 2), jnp.int32(0))
        return jnp.float32(state.value), state

    def done(self, state, params):
        late = state.time >= params.max_steps_in_episode
        return (state.value >= params.end) | late

    def step_env(self, key, state, action, params):
        state = State(state.value + action, state.time + 1)
        done = self.done(state, params)
        return jnp.float32(state.value), state, jnp.float32(action), done, {}


class Judging(Counter):
    def is_terminal(self, state, params):
        return self.done(state, params)


class Resetting:
    default_params = Params()

    def __init__(self, env):
        self._env = env

    def __getattr__(self, name):
        return getattr(self._env, name)


@pytest.mark.parametrize("limit", [None, 6])
@pytest.mark.parametrize("kind", [Counter, Judging])
def test_five_values_equal_those_by_hand(kind, limit):
    object_, params = kind(), Params(limit or 7)
    env = from_five_values(object_, time_limit=limit)
    assert env.time_limit == (limit or 7) and env.spec.name == kind.__name__
    keys = jax.random.split(jax.random.key(0), STEPS + 1)
    actions = jax.random.randint(jax.random.key(1), (STEPS,), 0, 2)
    first, (steps, after) = adapted_steps(env, keys, actions)
    observation, state = object_.reset_env(keys[-1], params)
    assert first == observation
    at_both = 0
    for i, (key, action) in enumerate(zip(keys[:-1], actions, strict=True)):
        step_key, reset_key = jax.random.split(key)
        observation, state, reward, done, _ = object_.step_env(
            step_key, state, action, params
        )
        reached, late = state.value >= 5, state.time >= params[0]
        at_both += bool(reached & late)
        terminated = reached if kind is Judging else reached & ~late
        assert steps.reward[i] == reward
        assert steps.terminated[i] == terminated
        assert steps.truncated[i] == (done & ~terminated)
        assert steps.next_observation[i] == observation
        if done:
            observation, state = object_.reset_env(reset_key, params)
        assert after[i] == observation
    assert steps.terminated.any() and steps.truncated.any()


def test_five_values_without_a_limit():
    class Endless(Counter):
        default_params = types.SimpleNamespace(end=5)

        def done(self, state, params):
            return state.value >= params.end

    assert from_five_values(Endless()).time_limit == np.inf
    assert from_five_values(Endless(), time_limit=3).time_limit == 3
    game = from_five_values(Endless(), time_limit=3, timeout_is_terminal=True)
    state = game.reset(jax.random.key(0))
    for key in jax.random.split(jax.random.key(0), 3):
        state, step = game.step(key, state, jnp.int32(0))
    assert step.terminated and not step.truncated


def test_five_values_take_a_mask_of_the_state():
    env = from_five_values(Counter(), mask=lambda state: jnp.arange(2) < state.value)
    state = env.reset(jax.random.key(0))
    for key in jax.random.split(jax.random.key(3), 12):
        state, step = env.step(key, state, jnp.int32(1))
        for shown in (state.observation, step.next_observation):
            assert env.spec.valid_actions(shown).sum() == min(shown.observation, 2)


class SixValues(Counter):
    def step_env(self, key, state, action, params):
        return (*super().step_env(key, state, action, params), {})


class OnlyAutoReset:
    default_params = Params()

    def action_space(self, params):
        return types.SimpleNamespace(n=2)

    def reset(self, key, params):
        return jnp.float32(0), jnp.int32(0)

    def step(self, key, state, action, params):
        return jnp.float32(0), state, jnp.float32(0), jnp.bool_(False), {}


class FixedParams(Judging):
    default_params = types.SimpleNamespace(max_steps_in_episode=7, end=5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (OnlyAutoReset, r"does not define reset_env.*return six values"),
        (lambda: Resetting(Counter()), r"Resetting, which does not define reset_env"),
        (SixValues, r"returns 6 values from step_env instead of 5"),
        (FixedParams, r"must be a dataclass or a NamedTuple"),
        (lambda: Counter, r"Counter is a class"),
    ],
)
def test_five_values_that_cannot_be_adapted_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        from_five_values(make())


def test_gymnax_1_is_passed_to_adapt():
    import gymnax

    with pytest.raises(ConfigError, match=r"six-value step of gymnax 1.*jaxq\.adapt"):
        from_five_values(gymnax.make("CartPole-v1")[0])


def test_the_error_for_five_values_names_the_way_out():
    with pytest.raises(ConfigError, match=r"returns 5 values.*from_five_values"):
        adapter.adapt(OnlyAutoReset())
