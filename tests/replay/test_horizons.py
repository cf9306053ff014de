"""Annealed returns: the schedule, and the windows that the stores then yield."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from streams import (
    SPEC,
    check_transition,
    example,
    make_stream,
    plain_transition,
    rollouts,
    unbatched,
)

from jaxq.config.config import Config
from jaxq.replay import horizons, rollout_stores, stores
from jaxq.types import EnvSpec

PLAIN = Config(defaults="plain")
BBF = {
    "n_step": 3, "n_step_start": 10, "discount": 0.997, "discount_start": 0.97,
    "anneal_updates": 10_000.0,
}  # fmt: skip


def plain_horizon(config, updates):
    """The schedule, number by number in float64."""
    since = updates
    while config.reset_period and since >= config.reset_period:
        since -= config.reset_period
    left = max(0.0, 1.0 - since / config.anneal_updates)
    n, gamma = config.n_step, config.discount
    if config.n_step_start is not None:
        n = round(n * np.exp(left * np.log(config.n_step_start / n)))
    if config.discount_start is not None:
        rate = np.log((1.0 - config.discount_start) / (1.0 - gamma))
        gamma = 1.0 - (1.0 - gamma) * np.exp(left * rate)
    return gamma, n


@pytest.mark.parametrize(
    "fields",
    [
        BBF,
        {**BBF, "reset_period": 40_000},
        {**BBF, "reset_period": 4_001},  # the annealing never ends
        {"n_step": 5, "n_step_start": 1, "anneal_updates": 700.0},
        {"discount": 0.5, "discount_start": 0.999, "anneal_updates": 0.5},
        {"discount": 0.9, "discount_start": 0.0, "reset_period": 3},
    ],
    ids=str,
)
def test_the_schedule_equals_its_definition(fields, rng):
    config = dataclasses.replace(PLAIN, **fields)
    horizon = jax.jit(jax.vmap(lambda t: horizons.horizon(config, t)))
    ends = [0, 1, 3_999, 4_000, 4_001, 9_999, 10_000, 39_999, 40_000, 40_001, 10**6]
    updates = np.append(ends, rng.integers(0, 90_000, 300)).astype(np.int32)
    annealed = config.n_step_start is not None, config.discount_start is not None
    gamma, limit = horizon(updates)
    for i, t in enumerate(updates):
        expected = plain_horizon(config, int(t))
        if annealed[1]:
            np.testing.assert_allclose(1 - gamma[i], 1 - expected[0], rtol=2e-4)
        if annealed[0]:
            assert limit[i] == expected[1], t
    assert (limit is not None) == annealed[0]
    if not annealed[1]:
        np.testing.assert_array_equal(gamma, np.float32(config.discount))


def test_the_ends_of_the_schedule_are_those_of_bbf():
    config = dataclasses.replace(PLAIN, **BBF, reset_period=40_000)
    for t, n, gamma in [(0, 10, 0.97), (10_000, 3, 0.997), (39_999, 3, 0.997),
                        (40_000, 10, 0.97), (45_000, 5, 1 - 9e-5**0.5)]:  # fmt: skip
        horizon = horizons.horizon(config, jnp.int32(t))
        assert horizon.limit == n
        np.testing.assert_allclose(horizon.discount, gamma, atol=1e-6)


def test_without_annealing_the_horizon_is_that_of_the_configuration():
    horizon = horizons.horizon(PLAIN, jnp.int32(3))
    assert horizon == (PLAIN.discount, None)


# n falls from 5 to 1, and gamma rises from 0.5 to 0.9, in 40 updates.
FALLING = {
    "n_step": 1, "n_step_start": 5, "discount": 0.9, "discount_start": 0.5,
    "anneal_updates": 40.0,
}  # fmt: skip
UPDATES = (0, 7, 14, 24, 40)


def test_the_tested_updates_have_every_length():
    config = dataclasses.replace(PLAIN, **FALLING)
    lengths = [plain_horizon(config, t)[1] for t in UPDATES]
    assert lengths == [5, 4, 3, 2, 1]


@pytest.mark.parametrize("prioritized", [False, True])
@pytest.mark.parametrize("total", [8, 40, 44])  # not full, full, and wrapped around
def test_a_ring_yields_shorter_transitions_up_to_its_write_head(
    total, prioritized, rng
):
    config = Config(
        defaults="plain", num_envs=2, update_steps=8, buffer_size=40, batch_size=256,
        prioritized=prioritized, **FALLING,
    )  # fmt: skip
    kind = stores.proportional if prioritized else stores.uniform
    store = stores.Store(*map(jax.jit, kind(config, SPEC)))
    stream, state = make_stream(rng, total, 2), store.init(example())
    for rollout in rollouts(stream, 4):
        state = store.add(state, rollout)
    for t in UPDATES:
        gamma, n = plain_horizon(config, t)
        sample = store.sample(jax.random.key(t), state, jnp.int32(t))
        places = set()
        for i, transition in enumerate(unbatched(sample.example)):
            row, e = divmod(int(transition.observation), 2)
            exists = plain_transition(stream, row, e, n, gamma) is not None
            assert (sample.weight[i] > 0) == exists
            if exists:
                check_transition(transition, stream, row, e, n, gamma)
            places.add((row, e))
        newest = max(row for row, _ in places)
        # As many rows as the longest window follow the newest that is drawn.
        assert newest == total - 1 - 5
        assert len({row for row, _ in places}) == min(total, 20) - 5


def test_the_sarsa_queue_yields_every_step_once_at_every_length(rng):
    config = Config(
        defaults="plain", num_envs=2, rollout_length=5, next_value="sarsa", **FALLING
    )
    store = stores.Store(*map(jax.jit, rollout_stores.sarsa_queue(config, SPEC)))
    stream, state = make_stream(rng, 40, 2), store.init(example())
    drawn = []
    for index, rollout in enumerate(rollouts(stream, 5)):
        state = store.add(state, rollout)
        t = UPDATES[index % 5]
        gamma, n = plain_horizon(config, t)
        sample = store.sample(jax.random.key(0), state, jnp.int32(t))
        for transition, weight in zip(
            unbatched(sample.example), sample.weight, strict=True
        ):
            if weight > 0:
                row, e = divmod(int(transition.observation), 2)
                check_transition(transition, stream, row, e, n, gamma)
                drawn.append((row, e))
    usable = ~stream.truncated[: 40 - 5]
    assert sorted(drawn) == [tuple(x) for x in np.argwhere(usable)]


@pytest.mark.parametrize("t", UPDATES)
def test_the_current_rollout_yields_shorter_windows(t, rng, strict):
    config = Config(defaults="plain", num_envs=3, rollout_length=6, **FALLING)
    gamma, n = plain_horizon(config, t)
    store = stores.Store(*map(jax.jit, rollout_stores.current_rollout(config, SPEC)))
    (rollout,) = rollouts(make_stream(rng, 6, 3, 0.15, 0.15), 6)
    state = store.add(store.init(example()), rollout)
    sample = store.sample(jax.random.key(0), state, jnp.int32(t))
    for transition, (row, e) in zip(
        unbatched(sample.example), np.ndindex(6, 3), strict=True
    ):
        reward, discount = 0.0, 1.0
        for k in range(row, min(row + n, 6)):
            reward += discount * rollout.reward[k, e]
            discount *= gamma
            if rollout.terminated[k, e]:
                discount = 0.0
            if rollout.terminated[k, e] or rollout.truncated[k, e]:
                break
        np.testing.assert_allclose(transition.reward, reward, atol=1e-5)
        np.testing.assert_allclose(transition.discount, discount, rtol=1e-5)
        assert transition.next_observation == rollout.next_observation[k, e]


@pytest.mark.parametrize("source", ["ring", "rollout"])
@pytest.mark.parametrize("t", UPDATES)
def test_windows_of_corrected_returns_end_earlier(t, source, rng):
    """The flag of the last step that counts is off; rows are those of the longest."""
    fields = {"return_estimator": "retrace", "num_envs": 2, **FALLING}
    if source == "ring":
        fields |= {"update_steps": 8, "buffer_size": 40, "batch_size": 128}
        config = Config(defaults="plain", **fields)
        store = stores.uniform(config, SPEC)
    else:
        config = Config(defaults="plain", rollout_length=40, **fields)
        store = rollout_stores.current_rollout(config, SPEC)
    gamma, n = plain_horizon(config, t)
    stream, state = make_stream(rng, 40, 2, 0.15, 0.15), store.init(example())
    for rollout in rollouts(stream, 4 if source == "ring" else 40):
        state = store.add(state, rollout)
    drawn = jax.jit(store.sample)(jax.random.key(0), state, jnp.int32(t))
    for window in unbatched(drawn.example):
        row, e = divmod(int(window.observation), 2)
        if row + 5 >= 40:
            continue
        rows = slice(row, row + 5)
        if source == "ring":
            inside = [*~stream.truncated[row + 1 : row + 5, e], False]
        else:
            inside = ~(stream.terminated | stream.truncated)[rows, e]
        expected = np.array(inside) & (np.arange(5) < n - 1)
        np.testing.assert_array_equal(window.continues, expected)
        discount = np.where(stream.terminated[rows, e], 0.0, gamma)
        np.testing.assert_allclose(window.discount, discount, rtol=1e-5)
        np.testing.assert_array_equal(window.reward, stream.reward[rows, e])


def test_the_model_of_dyna_discounts_what_it_recalls_by_the_current_factor(rng):
    spec = EnvSpec(
        "numbered", jax.ShapeDtypeStruct((), jnp.float32), 3, num_states=20,
        state_index=lambda observation: observation.astype(jnp.int32),
    )  # fmt: skip
    from jaxq.replay import dyna

    fields = {"discount": 0.9, "discount_start": 0.5, "anneal_updates": 40.0}
    config = Config(
        defaults="plain", algorithm="dyna_q", rollout_length=4, num_envs=1,
        batch_size=30, **fields,
    )  # fmt: skip
    store = dyna.dyna_store(config, spec)
    stream, state = make_stream(rng, 20, 1, 0.3, 0.1), store.init(example())
    for rollout in rollouts(stream, 4):
        state = store.add(state, rollout)
    found = set()
    for t in (0, 20, 40):
        sample = store.sample(jax.random.key(t), state, jnp.int32(t))
        gamma = plain_horizon(config, t)[0]
        for transition in unbatched(sample.example):
            ended = stream.terminated[int(transition.observation), 0]
            expected = 0.0 if ended else gamma
            np.testing.assert_allclose(transition.discount, expected, rtol=1e-5)
            found.add((t, bool(ended)))
    assert len(found) == 6
