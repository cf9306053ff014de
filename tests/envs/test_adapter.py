"""The adapter: types at the boundary, key formats, and violations of the interface."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments.minatar.breakout import MinBreakout as Breakout
from mdps import MDP, Corridor, Discrete
from rollouts import random_rollout

from jaxq.config import config
from jaxq.config.fields import ConfigError
from jaxq.envs import adapter, contract, make
from jaxq.runs import run
from jaxq.xla import prng


class OldStep(Corridor):
    def step(self, key, state, action, params):
        observation, state, reward, terminated, _, info = super().step(
            key, state, action, params
        )
        return observation, state, reward, terminated, info


class NoFinal(Corridor):
    def step(self, key, state, action, params):
        return (*super().step(key, state, action, params)[:5], {})


class VectorReward(Corridor):
    def transition(self, key, value, action):
        value, reward, terminated = super().transition(key, value, action)
        return value, reward[None], terminated


class Continuous(Corridor):
    def action_space(self, params):
        return object()


class Shifting(Corridor):
    def step(self, key, state, action, params):
        out = super().step(key, state, action, params)
        return (out[0][None], *out[1:])


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (OldStep, "returns 5 values from step instead of 6.*follow gymnax 1"),
        (NoFinal, "returns no final_observation"),
        (VectorReward, r"reward of shape \(1,\)"),
        (Continuous, "not a finite set of actions"),
        (Shifting, r"shape \(\) from reset but \(1,\) from step"),
    ],
)
def test_an_environment_that_breaks_the_interface_raises(env, message):
    with pytest.raises(ConfigError, match=message):
        adapter.adapt(env())


class IntegerReward(MDP):
    """Returns integer rewards and int16 observations."""

    num_actions = 3

    def action_space(self, params):
        return Discrete(3)

    def first(self, key):
        return 0

    def observe(self, value):
        return jnp.full((2,), value, jnp.int16)

    def transition(self, key, value, action):
        return value + action, action, value > 5


def test_rewards_and_observations_are_cast():
    env = adapter.adapt(IntegerReward())
    steps = random_rollout(env, 30, 2)
    assert steps.reward.dtype == np.float32
    assert steps.observation.dtype == np.int32


class Shifted(MDP):
    """Observes `first` at reset and `later` after a step, of other dtypes."""

    limit = 2

    def __init__(self, first, later, final=None):
        self.values = first, later, later if final is None else final

    def reset(self, key, params):
        return jnp.asarray(self.values[0]), jnp.int32(0)

    def step(self, key, state, action, params):
        _, later, final = self.values
        done = state == 1
        info = {"final_observation": jnp.asarray(final)}
        return jnp.asarray(later), state + 1, 1.0, done, ~done, info


def array(dtype, value):
    return np.full(1, value, dtype)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ((array(np.int32, 0), array(np.float32, 0.75)), jnp.float32),
        ((array(np.uint8, 7), array(np.float32, 300.5)), jnp.float32),
        ((array(np.uint8, 7), array(np.int32, 300)), jnp.int32),
        ((array(np.uint8, 7), array(np.int8, -1)), jnp.int32),
        ((array(bool, True), array(np.float32, 0.25)), jnp.float32),
        ((array(bool, True), array(np.uint8, 9)), jnp.uint8),
        ((np.int32(0), np.float32(3.7)), jnp.float32),
        ((np.float32(0.5), np.int32(3)), jnp.float32),
        ((array(np.int32, 4), array(np.int32, 4), array(np.float32, 0.5)), jnp.float32),
        ((array(bool, 1), array(bool, 1), array(np.float32, 0.25)), jnp.float32),
        ((array(bool, True), array(bool, False)), jnp.bool_),
        ((array(np.uint8, 7), array(np.uint8, 255)), jnp.uint8),
    ],
    ids=str,
)
def test_observations_have_the_common_type_of_reset_and_step(values, dtype):
    env = adapter.adapt(Shifted(*values))
    assert env.spec.observation.dtype == dtype
    start = env.reset(prng.key(0))
    state, step = env.step(prng.key(1), start, jnp.int32(0))
    first, later, final = values if len(values) == 3 else (*values, values[1])
    for actual, expected in (
        (start.observation, first),
        (step.observation, first),
        (step.next_observation, final),
        (state.observation, later),
    ):
        assert actual.dtype == dtype
        np.testing.assert_array_equal(actual, expected)


def test_a_scalar_that_is_not_always_an_integer_does_not_number_the_states():
    assert adapter.adapt(Corridor()).spec.num_states == 5
    spec = adapter.adapt(Shifted(np.int32(0), np.float32(3.7))).spec
    assert spec.num_states is None and spec.num_categories is None


class Likely(Corridor):
    """Returns the probability of an end in place of the end."""

    def step(self, key, state, action, params):
        out = super().step(key, state, action, params)
        return (*out[:3], 0.25 * out[3], *out[4:])


def test_an_end_that_is_a_real_number_is_refused():
    with pytest.raises(ConfigError, match="terminated of type float32 instead of bool"):
        adapter.adapt(Likely())


class Faded(Breakout):
    """Breakout with grey pixels and another reward."""

    def get_obs(self, *args, **kwargs):
        return 0.5 * super().get_obs(*args, **kwargs)


def test_facts_about_a_gymnax_environment_do_not_apply_to_a_class_of_its_name():
    env = Faded()
    assert env.name == "Breakout-MinAtar"
    adapted = adapter.adapt(env)
    assert adapted.spec.observation.dtype == jnp.float32
    assert np.max(adapted.reset(prng.key(0)).observation) == 0.5
    assert make.make("Breakout-MinAtar").spec.observation.dtype == bool
    assert np.isnan(adapter.adapt(Corridor(), name="CartPole-v1").optimal_return)


class KeepsItsKey(MDP):
    """Its state is a key that determines rewards; ends with probability 1/4."""

    def first(self, key):
        return key

    def observe(self, value):
        return jax.random.uniform(value, (3,))

    def transition(self, key, value, action):
        del key
        now, later = jax.random.split(value)
        return later, self.reward(now) + action, jax.random.uniform(now) < 0.25

    def reward(self, key):
        return jax.random.normal(key)

    def step(self, key, state, action, params):
        value, reward, terminated = self.transition(key, state.value, action)
        fresh_observation, fresh = self.reset(key, params)
        stepped = dataclasses.replace(state, value=value, time=state.time + 1)
        following = jax.lax.cond(terminated, lambda: fresh, lambda: stepped)
        observation = jnp.where(terminated, fresh_observation, self.observe(value))
        info = {"final_observation": self.observe(value)}
        return observation, following, reward, terminated, jnp.bool_(False), info


class Arrivals(KeepsItsKey):
    """Draws Poisson numbers, for which jax accepts only its own keys."""

    def reward(self, key):
        return jax.random.poisson(key, 3.0)


class KeepsJaxsKey(KeepsItsKey):
    """Starts from one of jax's own keys, then stores the keys that it is given."""

    def first(self, key):
        return jax.random.key(7)

    def transition(self, key, value, action):
        return key, super().transition(key, value, action)[1], False


class KeepsWords(KeepsItsKey):
    """Stores its key as words, as `jax.random.PRNGKey` returns it."""

    def first(self, key):
        return jnp.asarray(key, jnp.uint32)


@pytest.mark.parametrize(
    ("env", "dtype"),
    [
        (Corridor(), prng.key(0).dtype),
        (KeepsItsKey(), prng.key(0).dtype),
        (Arrivals(), jax.random.key(0).dtype),
        (KeepsJaxsKey(), jax.random.key(0).dtype),
        (KeepsWords(), jnp.uint32),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_first_key_format_that_can_be_traced_is_used(env, dtype):
    types = contract.probe_contract(env, env.default_params, env.name)
    key = prng.key(3)
    converted = types.convert_key(key)
    assert converted.dtype == dtype
    words = converted if dtype == jnp.uint32 else jax.random.key_data(converted)
    np.testing.assert_array_equal(words, jax.random.key_data(key))


class Broken(Corridor):
    """Cannot be traced with any key; the error names the type of the key."""

    def reset(self, key, params):
        raise TypeError(f"reset with {key.dtype}")


def test_the_error_with_jaxqs_own_keys_is_raised_if_no_format_can_be_traced():
    with pytest.raises(TypeError, match="jaxq"):
        adapter.adapt(Broken())


@pytest.mark.parametrize("env", [KeepsJaxsKey(), KeepsWords()])
def test_keys_are_converted_to_the_format_that_the_environment_accepts(env):
    adapted = adapter.adapt(env)
    key = prng.key(7)
    step_fn = jax.jit(adapted.step)
    state, step = step_fn(key, adapted.reset(key), jnp.int32(1))
    again, _ = step_fn(key, state, jnp.int32(0))
    assert jax.tree.structure(again) == jax.tree.structure(state)
    now = jax.random.split(jax.random.key(7))[0]
    np.testing.assert_allclose(step.reward, 1 + env.reward(now), rtol=1e-6)


@pytest.mark.parametrize("env", [KeepsItsKey(), Arrivals()])
def test_environments_may_keep_keys_and_draw_poisson_numbers(env, tmp_path):
    adapted = adapter.adapt(env)
    key = prng.key(7)
    state = adapted.reset(key)
    kept = jax.random.key_data(state.inner.value)
    assert (kept == jax.random.key_data(key)).all()
    step_fn = jax.jit(adapted.step)
    rewards = []
    for i in range(40):
        state, step = step_fn(jax.random.fold_in(key, i), state, jnp.int32(0))
        rewards.append(float(step.reward))
    jaxs_own, expected = jax.random.key(7), []
    for i in range(40):
        now, jaxs_own = jax.random.split(jaxs_own)
        expected.append(float(env.reward(now)))
        if jax.random.uniform(now) < 0.25:
            jaxs_own = jax.random.fold_in(jax.random.key(7), i)
    np.testing.assert_allclose(rewards, expected, rtol=1e-6)
    small = config.Config(
        num_seeds=2, total_steps=400, buffer_size=200, batch_size=8, warmup_steps=50,
        hidden_sizes=(4,), eval_points=2, eval_episodes=2, eval_max_steps=5,
    )  # fmt: skip
    whole = run.run(small, adapted, output=tmp_path, plot=False)
    assert whole.directory is not None
    longer = dataclasses.replace(small, total_steps=600)
    more = run.run(longer, adapted, resume=whole.directory, plot=False)
    straight = run.run(more.config, adapted)
    np.testing.assert_array_equal(more.eval_returns, straight.eval_returns)


def test_bound_parameters_act_like_constant_ones():
    env = make.make("CartPole-v1", ("gravity=9.0", "max_steps_in_episode=5"))
    assert env.parameters == (("gravity", 9.0),) and env.bind is not None

    def step(values):
        bound = env.bind(values)
        state = bound.reset(jax.random.key(0))
        return bound.step(jax.random.key(1), state, jnp.int32(0))[1]

    other = make.make("CartPole-v1", ("gravity=20.0",))
    state = other.reset(jax.random.key(0))
    expected = other.step(jax.random.key(1), state, jnp.int32(0))[1]
    result = jax.jit(step)({"gravity": jnp.float32(20.0)})
    np.testing.assert_allclose(
        result.next_observation, expected.next_observation, rtol=1e-6
    )


def test_an_environment_without_changed_floats_has_no_bind():
    assert make.make("CartPole-v1").bind is None
    assert make.make("CartPole-v1", ("max_steps_in_episode=5",)).bind is None
