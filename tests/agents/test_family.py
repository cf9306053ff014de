"""Every algorithm finds the values it must, and meets the conditions of the lengths."""

import dataclasses

import family
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import same
from family import NAMES, OF_BEHAVIOUR, ROLLOUTS, Trained, lane
from mdps import CORRIDOR, PROBES, seen

from jaxq.agents import algorithms
from jaxq.config import algorithm_table, loop_lengths
from jaxq.training import compiled

# Slow to move: a step carries the mass of two-hot targets to the next atom only, and
# the maximum over noisy values is too large until the noise is learned away.
PATIENT = {"total_steps": 64_000, "learning_rate_updates": 8000.0}
MORE = {
    "two_hot_dqn": PATIENT,
    "dqn_reg": {"q_penalty": 0.01},
}


def test_every_name_has_a_paper_a_docstring_and_its_own_function():
    assert set(NAMES) == set(algorithm_table.ALGORITHMS)
    for name, algorithm in algorithms.ALGORITHMS.items():
        assert (
            algorithm.__name__ == name and algorithm.__doc__.endswith("\n    ")
        ) or (algorithm.__doc__.count("\n") == 0)
        assert algorithm_table.ALGORITHMS[name].paper


def history(name, observation):
    """What a network with a memory has seen when it meets an observation."""
    second = bool(observation[2]) and bool(observation[7])
    return [seen(2), observation] if second else [observation]


@pytest.mark.parametrize("name", NAMES)
def test_probes_a_constant_reward_and_a_time_limit(name):
    """Truncation is bootstrapped through: 1 / (1 - 0.9) = 10 in spite of the limit."""
    config = family.config(name, **MORE.get(name, {}))
    trained = Trained(config, family.gauntlet()).train()
    penalty = (config.q_penalty or 0.0) / 2
    for probe, truths in PROBES.items():
        for observation, action, value in truths:
            found = trained.q_values(history(name, observation))[action]
            if probe == "constant reward":
                bias = penalty / 0.1
                if config.munchausen:  # soft values: + gamma T log 2 for ever
                    bias -= 0.9 * config.entropy_temperature * np.log(2) / 0.1
                assert found == pytest.approx(value - bias, rel=0.015), probe
            else:
                assert found == pytest.approx(value, abs=0.04), (probe, observation)
    for observation, action, value in CORRIDOR:
        found = trained.q_values([observation])[action]
        if name in OF_BEHAVIOUR or config.recurrent != "none":
            # Uncorrected returns are partly those of the random behaviour.
            assert 0.5 * value < found <= value + 0.03
        else:
            assert found == pytest.approx(value, abs=0.04)


# Refused with n_step > 1 (see test_build), or, dyna_q, with a model of single steps.
ONE_STEP_ONLY = ("munchausen_dqn", "munchausen_qr_dqn", "munchausen_iqn", "dyna_q")
ONE_STEP_ONLY += ROLLOUTS


# The gauntlet covers the algorithms that have n_step = 1 by default.
QUICK = ("tabular_q", "n_step_q", "dqn", "c51")
N_STEPS = [
    pytest.param(name, n, marks=[pytest.mark.slow] if slow else [])
    for name in NAMES
    for n in (1, 3, 5)
    if name not in ONE_STEP_ONLY
    if n > 1 or name in ("n_step_q", "n_step_dqn", "rainbow", "r2d2")
    for slow in [name not in QUICK or (n != 3 and name not in ("tabular_q", "dqn"))]
]


@pytest.mark.parametrize(("name", "n_step"), N_STEPS)
def test_a_constant_reward_is_worth_its_geometric_sum(name, n_step):
    changes = {"n_step": n_step, "total_steps": 8000, "target_period": 4}
    if name in ("expected_sarsa", "double_q_learning"):
        changes["rollout_length"] = max(n_step, 2)  # windows lie within a rollout
    if name in ("two_hot_dqn", "noisy_dqn"):
        changes |= PATIENT
    config = family.config(name, **changes)
    # A field that has its default is filled in by the algorithm's component.
    config = dataclasses.replace(config, n_step=n_step)
    values = Trained(config, family.constant()).train().q_values([jnp.int32(0)])
    gamma_n = 0.9**n_step
    bias = (config.q_penalty or 0.0) / 2 / (1 - gamma_n)
    np.testing.assert_allclose(values, 10.0 - bias, rtol=0.02)


def short(name):
    """120 iterations, in chunks of 20."""
    config = family.config(name, chunk_iterations=20, warmup_steps=300)
    lengths = loop_lengths.loop_lengths(config)
    steps = lengths.warmup_steps + 120 * lengths.rollout_length * config.num_envs
    return dataclasses.replace(config, total_steps=steps)


# One for each kind of store and agent; the others are slow tests.
KINDS = (
    "tabular_q", "dyna_q", "peng_q_lambda", "dqn", "prioritized_dqn", "r2d2", "pqn",
)  # fmt: skip
CONDITIONS = [
    name if name in KINDS else pytest.param(name, marks=pytest.mark.slow)
    for name in NAMES
]


@pytest.mark.parametrize("name", CONDITIONS)
def test_the_conditions_of_the_loop(name):
    """One trace, seeds apart, any neighbours, any chunks, the host, a diverged seed."""
    config = short(name)
    lengths = loop_lengths.loop_lengths(config)
    trained = Trained(config, family.gauntlet(), seeds=(0, 1, 2))
    start = trained.state
    before = compiled.chunk._cache_size()
    once = trained.chunk(start)
    twice = trained.chunk(once)
    # A round trip through the host.
    assert same(twice, trained.chunk(jax.device_get(once)))
    assert compiled.chunk._cache_size() == before + 1
    for leaf in jax.tree.leaves(twice.agent.learner.params):
        assert np.isfinite(leaf).all()
    if config.network != "table":
        changing = jax.tree.leaves(twice.agent.learner.params)
        assert all(len({row.tobytes() for row in np.asarray(x)}) == 3 for x in changing)
    shapes = jax.tree.map(lambda x: (x.shape, x.dtype), start)
    assert shapes == jax.tree.map(lambda x: (x.shape, x.dtype), twice)
    # The same seed beside others.
    others = Trained(config, family.gauntlet(), seeds=(7, 1, 0))
    assert same(lane(others.chunk(others.state), 1), lane(once, 1))
    # Twice as long a chunk.
    trained.traced = dataclasses.replace(trained.traced, chunk_iterations=40)
    assert (
        loop_lengths.loop_lengths(trained.traced).chunk_iterations
        == 2 * lengths.chunk_iterations
    )
    assert same(trained.chunk(start), twice)
    trained.traced = dataclasses.replace(trained.traced, chunk_iterations=20)
    # The target parameters matter; a peer's IQN keeps some and never uses them.
    learner = once.agent.learner
    shifted = jax.tree.map(lambda x: x + 1, learner.target_params)
    moved = once._replace(
        agent=once.agent._replace(learner=learner._replace(target_params=shifted))
    )
    params = trained.chunk(moved).agent.learner.params
    assert same(params, twice.agent.learner.params) == (name in ROLLOUTS)
    # One seed breaks.
    ill = jax.tree.map(jnp.array, once)
    learner = ill.agent.learner
    params = jax.tree.map(lambda x: x.at[1].set(jnp.nan), learner.params)
    target = jax.tree.map(lambda x: x.at[1].set(jnp.nan), learner.target_params)
    learner = learner._replace(params=params, target_params=target)
    ill = trained.chunk(ill._replace(agent=ill.agent._replace(learner=learner)))
    assert [int(d) >= 0 for d in ill.agent.learner.diverged_at] == [False, True, False]
    for seed in (0, 2):
        assert same(lane(ill, seed), lane(twice, seed))


EAGERLY = [
    name if name in ("tabular_q", "dqn") else pytest.param(name, marks=pytest.mark.slow)
    for name in NAMES
]


@pytest.mark.parametrize("name", EAGERLY)
def test_one_seed_eagerly_with_every_key_used_once(name):
    """The agent's functions without jit: structure, types, finite, no key twice."""
    env = family.gauntlet()
    config = family.config(name, buffer_size=400, batch_size=8)
    agent = algorithms.make(config, env.spec)
    envs = config.num_envs
    key = jax.random.key(3)

    def signature(tree):
        return jax.tree.map(lambda x: (jnp.shape(x), jnp.result_type(x)), tree)

    with jax.debug_key_reuse(True):
        keys = list(jax.random.split(key, 7))
        state = agent.init(keys[0], env.spec.example())
        memory = jax.vmap(agent.initial_memory)(jax.random.split(keys[1], envs))
        envs_state = jax.vmap(env.reset)(jax.random.split(keys[2], envs))
        action, after = jax.vmap(agent.act, (0, None, 0, 0, None, None))(
            jax.random.split(keys[3], envs), state, memory, envs_state.observation,
            jnp.float32(0.3), True,
        )  # fmt: skip
        assert signature(memory) == signature(after)
        assert action.dtype == np.int32 and set(np.asarray(action)) <= {0, 1}
        _, said = jax.vmap(env.step)(
            jax.random.split(keys[4], envs), envs_state, action
        )
        length = loop_lengths.loop_lengths(config).rollout_length
        times = max(length, -(-(loop_lengths.window(config) + 1) // length) * length)
        said = said._replace(memory=memory)
        rollout = jax.tree.map(lambda x: jnp.stack([x] * length), said)
        observed = state
        for i in range(times // length):
            observed = agent.observe(jax.random.fold_in(keys[5], i), observed, rollout)
        updated, metrics = agent.update(keys[6], observed, jnp.float32(0.3))
    assert signature(state) == signature(observed) == signature(updated)
    for leaf in jax.tree.leaves((metrics, updated.learner)):
        assert np.isfinite(leaf).all()
    assert not same(updated.learner.params, state.learner.params)
