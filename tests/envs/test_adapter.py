"""The adapter: types at the boundary, key formats, and violations of the interface."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments.minatar.breakout import MinBreakout as Breakout
from mdps import MDP, Corridor, Discrete, MaskedChain
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


def stepping(**parts):
    """A Corridor of which some outputs of step are replaced."""

    class Env(Corridor):
        def step(self, key, state, action, params):
            names = (
                "observation",
                "state",
                "reward",
                "terminated",
                "truncated",
                "info",
            )
            out = super().step(key, state, action, params)
            out = dict(zip(names, out, strict=True))
            return tuple((out | {k: f(out[k]) for k, f in parts.items()}).values())

    return Env()


class Wrapped:
    """Its states are functions of a Corridor's: of reset, and of step."""

    name = "Wrapped"

    def __init__(self, first, later):
        self.env, self.first, self.later = Corridor(), first, later
        self.default_params = self.env.default_params
        self.action_space = self.env.action_space

    def reset(self, key, params):
        observation, state = self.env.reset(key, params)
        return observation, self.first(state)

    def step(self, key, state, action, params):
        nodes = jax.tree.leaves(state, is_leaf=lambda x: hasattr(x, "time"))
        (inner,) = (node for node in nodes if hasattr(node, "time"))
        out = self.env.step(key, inner, action, params)
        return out[0], self.later(out[1]), *out[2:]


class Observes(Corridor):
    def __init__(self, value):
        self.value = value

    def observe(self, value):
        return self.value


class Actions(Corridor):
    def __init__(self, n):
        self.n = n

    def action_space(self, params):
        return Discrete(self.n)


class WithoutParams(Corridor):
    def step(self, key, state, action):
        raise NotImplementedError


class Masked(Corridor):
    def action_mask(self, observation):
        return jnp.ones(1, bool)


class TwiceMasked(MaskedChain):
    def action_mask(self, observation):
        return observation.action_mask


class Stepwise:
    """A state object in place of tuples, as in navix and pgx."""

    default_params = None

    def init(self, key):
        raise NotImplementedError


class Timestep(Corridor):
    def reset(self, key, params):
        return {"observation": super().reset(key, params)[0]}


class Forwarding:
    """Forwards attributes to an object that lacks them, as xminigrid's wrappers do."""

    default_params = None

    def __getattr__(self, name):
        return getattr(object(), name)


def zeros(count, dtype=jnp.float32):
    return lambda state: (state, jnp.zeros(count, dtype))


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (
            OldStep(),
            "returns 5 values from step instead of 6.*follow gymnax 1.*wrap st",
        ),
        (NoFinal(), "returns no final_observation"),
        (VectorReward(), r"reward of shape \(1,\)"),
        (Continuous(), "not a finite set of actions"),
        (Shifting(), r"shape \(\) from reset but \(1,\) from step"),
        # Methods.
        (Stepwise(), "is a Stepwise, which has no method reset.*follow gymnax 1"),
        (Forwarding(), "is a Forwarding, which has no method reset"),
        (Masked(), r"action_mask of shape \(1,\) instead of \(2,\)"),
        (object(), "object must have default_params"),
        (Corridor, r"Corridor is a class; pass an object, as in Corridor\(\)"),
        ("CartPole-v1", "'CartPole-v1' is a name"),
        (WithoutParams(), r"method step\(key, state, action\), which does not take"),
        (Timestep(), "returns a dict from reset instead of 2 values"),
        # States.
        (
            Wrapped(lambda s: {"a": s}, lambda s: {"a": s, "b": 1}),
            r"returns state\['b'\] from step but not from reset",
        ),
        (
            Wrapped(lambda s: {"a": s, "b": 1}, lambda s: {"a": s}),
            r"returns state\['b'\] from reset but not from step",
        ),
        (
            Wrapped(lambda s: (s, None), lambda s: (s, 1.0)),
            r"returns state\[1\] from step but not from reset",
        ),
        (
            Wrapped(lambda s: [s, 1], lambda s: (s, 1)),
            r"structure PyTreeDef\(\[.*from reset but PyTreeDef\(\(.*from step",
        ),
        (
            Wrapped(lambda s: (s, "new"), lambda s: (s, "old")),
            r"state\[1\] = 'new' of type str from reset; only arrays and numbers",
        ),
        (
            Wrapped(lambda s: (s, np.array(["a"])), lambda s: (s, 1)),
            r"state\[1\] = .*of type ndarray from reset",
        ),
        (
            Wrapped(zeros(2), zeros(3)),
            r"state\[1\] of type float32\[2\] from reset but float32\[3\] from step",
        ),
        (
            Wrapped(zeros(2), zeros(2, jnp.int32)),
            r"state\[1\] of type float32\[2\] from reset but int32\[2\] from step",
        ),
        (
            Wrapped(lambda s: (s, 0.5), lambda s: (s, 1)),
            r"state\[1\] of type float32\[\] from reset but int32\[\] from step",
        ),
        # Actions.
        (Actions(-1), "has -1 actions; it must have a positive"),
        (Actions(0), "has 0 actions; it must have a positive"),
        (Actions(2.5), "has 2.5 actions"),
        (Actions(jnp.float32(2.5)), "has Array.*2.5.* actions"),
        (Actions(None), "has None actions"),
        (Actions((2, 3)), r"has \(2, 3\) actions"),
        # Observations.
        (Observes(jnp.zeros((0,))), r"observation of shape \(0,\), which is empty"),
        (Observes(jnp.zeros((3, 0))), r"observation of shape \(3, 0\), which is empty"),
        (Observes(jnp.zeros(2, complex)), "observation of type complex64"),
        (Observes(None), "observation None, which holds no array"),
        (Observes({}), "which holds no array"),
        (
            Observes({"a": jnp.zeros(2), "b": jnp.zeros((0,))}),
            r"observation\['b'\] of shape \(0,\), which is empty",
        ),
        (
            Observes({"observation": jnp.zeros(2), "action_mask": jnp.zeros(3)}),
            r"action_mask of shape \(3,\) instead of \(2,\)",
        ),
        (TwiceMasked(), "gives the mask of actions twice"),
        (Observes("start"), "returns observation = 'start' of type str from reset"),
        (
            stepping(observation=lambda x: {"x": x}),
            r"shape \(\) from reset but \{'x': \(\)\} from step",
        ),
        # Outputs of step.
        (stepping(reward=lambda x: None), "returns a NoneType as reward"),
        (stepping(reward=lambda x: {"a": x}), "returns a dict as reward"),
        (stepping(reward=lambda x: x + 1j), "reward of type complex64"),
        (stepping(terminated=lambda x: x[None]), r"terminated of shape \(1,\)"),
        (stepping(truncated=lambda x: "no"), "truncated = 'no' of type str from step"),
        (stepping(info=lambda x: None), "returns a NoneType as the info of step"),
        (
            stepping(info=lambda x: {"final_observation": None}),
            r"shape \(\) from reset but None from step",
        ),
    ],
)
def test_an_environment_that_breaks_the_interface_raises(env, message):
    with pytest.raises(ConfigError, match=message):
        adapter.adapt(env)


@pytest.mark.parametrize(
    "env",
    [
        Wrapped(lambda s: (s, 0, 0.0, False), lambda s: (s, jnp.uint8(3), 2.5, True)),
        Wrapped(lambda s: (s, 0), lambda s: (s, jnp.float32(0.5))),
        Wrapped(lambda s: (s, None), lambda s: (s, None)),
        stepping(info=lambda x: x | {"name": "Corridor", "file": object()}),
        stepping(reward=lambda x: 1, terminated=lambda x: False),
        Actions(np.int64(2)),
        Actions(jnp.int32(2)),
    ],
)
def test_an_environment_may_use_python_numbers_and_return_any_info(env):
    adapted = adapter.adapt(env)
    key = prng.key(0)
    state, _ = adapted.step(key, adapted.reset(key), jnp.int32(1))
    again, _ = jax.jit(adapted.step)(key, state, jnp.int32(1))
    assert adapted.spec.num_actions == 2
    assert jax.tree.structure(again) == jax.tree.structure(state)
    types = [jax.tree.map(lambda leaf: leaf.dtype, x) for x in (state, again)]
    assert types[0] == types[1]


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
def test_environments_may_keep_keys_and_draw_poisson_numbers(env):
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


@pytest.mark.slow
@pytest.mark.conformance
@pytest.mark.parametrize("env", [KeepsItsKey(), Arrivals()])
def test_a_run_resumes_with_the_keys_that_its_environment_keeps(env, tmp_path):
    adapted = adapter.adapt(env)
    small = config.Config(
        defaults="plain",
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
