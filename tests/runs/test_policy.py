"""Policies of finished, unfinished and untrained runs, and warm starts."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import same
from family import TINY
from mdps import Corridor, MaskedChain

import jaxq
from jaxq.agents import algorithms
from jaxq.config.fields import CheckpointError, ConfigError
from jaxq.envs import adapter, make
from jaxq.runs import files, policy, results, run
from jaxq.training import blocks, compiled, warm_start

OBSERVATION = np.float32([0.01, -0.2, 0.03, 0.4])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = dataclasses.replace(TINY, first_seed=3)
    return run.run(config, output=tmp_path_factory.mktemp("run"), plot=False)


def untrained(config, returns=(1.0, 3.0, np.nan), environment=None):
    """A Result with initial parameters and given final returns."""
    spec = (environment or make.from_config(config)).spec
    agent = algorithms.make(config, spec)
    keys = jax.random.split(jax.random.key(0), len(returns))
    init = jax.jit(jax.vmap(lambda k: agent.init(k, spec.example()).learner.params))
    curve = results.Curve(*[np.zeros((len(returns), 1))] * len(results.Curve._fields))
    curve = curve._replace(eval_return=np.float32(returns)[:, None])
    return results.Result(config, curve, curve.eval_return, {}, init(keys), {}, None)


SMALL = {
    "num_seeds": 3, "buffer_size": 200, "batch_size": 4, "hidden_sizes": (8,),
    "memory_size": 4, "sequence_length": 4, "burn_in": 2,
}  # fmt: skip


def plain_values(directory, seed, observation):
    """Q(s, .) of a network with one hidden layer, from the saved arrays."""
    with np.load(directory / "params.npz") as arrays:
        hidden, output = sorted({name.rpartition("/")[0] for name in arrays.files})
        kernel, bias = arrays[f"{hidden}/kernel"], arrays[f"{hidden}/bias"]
        x = np.maximum(np.float64(observation) @ kernel[seed] + bias[seed], 0)
        return x @ arrays[f"{output}/kernel"][seed] + arrays[f"{output}/bias"][seed]


def test_a_policy_has_the_values_of_the_saved_network(finished):
    directory = finished.directory
    for seed in range(4):
        agent = jaxq.load(directory, seed=3 + seed)
        values = agent.q_values(OBSERVATION)
        expected = plain_values(directory, seed, OBSERVATION)
        np.testing.assert_allclose(values, expected, rtol=1e-5)
        action = agent.act(jax.random.key(0), OBSERVATION)
        assert action.dtype == jnp.int32 and action == np.argmax(expected)


def test_the_best_seed_has_the_highest_last_return():
    result = untrained(dataclasses.replace(TINY, **SMALL))
    best = jaxq.load(result)
    assert best.seeds == (1,)
    assert same(best.params, jax.tree.map(lambda leaf: leaf[1], result.params))


def test_a_directory_gives_the_policy_of_its_result(finished):
    from_result, from_files = jaxq.load(finished), jaxq.load(str(finished.directory))
    assert from_result.seeds == from_files.seeds
    assert same(from_result.params, from_files.params)
    assert repr(from_files).startswith("Policy(environment='CartPole-v1', seed=")


def test_an_unfinished_run_gives_the_policy_of_its_last_checkpoint(finished, tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    for path in finished.directory.glob("[!.]*"):
        (directory / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((directory / "manifest.json").read_text())
    files.write_json(directory / "manifest.json", manifest | {"status": "interrupted"})
    (directory / "params.npz").write_bytes(b"of an earlier, shorter run")
    unfinished = jaxq.load(directory, seed="all")
    assert same(unfinished.params, jaxq.load(finished, seed="all").params)
    assert jaxq.load(directory).seeds == jaxq.load(finished).seeds
    for path in directory.glob("*.jaxq"):
        path.unlink()
    with pytest.raises(CheckpointError, match="has no checkpoint"):
        jaxq.load(directory)


def test_policies_pass_through_jit_and_vmap(finished):
    every = jaxq.load(finished, seed="all")
    assert every.seeds == (3, 4, 5, 6)
    values = jax.jit(jax.vmap(lambda agent: agent.q_values(OBSERVATION)))(every)
    for seed, row in zip(every.seeds, values, strict=True):
        alone = every.seed(seed).q_values(OBSERVATION)
        np.testing.assert_allclose(row, alone, rtol=1e-6)
    observations = np.stack([OBSERVATION, -OBSERVATION])
    agent = every.seed(4)
    keys = jax.random.split(jax.random.key(0), 2)
    actions = jax.vmap(agent.act)(keys, observations)
    assert [int(a) for a in actions] == [
        int(jnp.argmax(agent.q_values(x))) for x in observations
    ]


def test_all_seeds_have_an_axis_even_if_there_is_one():
    config = dataclasses.replace(TINY, **SMALL | {"num_seeds": 1})
    every = jaxq.load(untrained(config, (1.0,)), seed="all")
    values = jax.vmap(lambda agent: agent.q_values(OBSERVATION))(every)
    assert values.shape == (1, 2)
    np.testing.assert_allclose(values[0], every.seed(0).q_values(OBSERVATION))


def test_policies_of_several_seeds_share_a_program(finished):
    every = jaxq.load(finished, seed="all")
    every.seed(3).act(jax.random.key(0), OBSERVATION)
    before = policy._step._cache_size()
    for seed in (4, 5, 6):
        every.seed(seed).act(jax.random.key(0), OBSERVATION)
    assert policy._step._cache_size() == before
    stacked = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), every.seed(3), every.seed(5)
    )
    assert stacked.seeds == (3, 5)


def test_bootstrapped_dqn_acts_without_its_memory():
    """It selects the member that explores; the evaluated policy is that of the mean."""
    config = dataclasses.replace(TINY, algorithm="bootstrapped_dqn", **SMALL)
    agent = jaxq.load(untrained(config))
    action = agent.act(jax.random.key(0), OBSERVATION)
    assert action == jnp.argmax(agent.q_values(OBSERVATION))


def test_the_memory_of_exploration_is_not_that_of_a_policy():
    config = dataclasses.replace(TINY, exploration="epsilon_z_greedy", **SMALL)
    agent = jaxq.load(untrained(config))
    action = agent.act(jax.random.key(0), OBSERVATION)
    assert action == jnp.argmax(agent.q_values(OBSERVATION))
    recurrent = jaxq.load(untrained(dataclasses.replace(config, algorithm="r2d2")))
    with pytest.raises(ValueError, match="has a memory"):
        recurrent.act(jax.random.key(0), OBSERVATION)
    memory = recurrent.initial_memory(jax.random.key(0))
    action, after = recurrent.step(jax.random.key(0), memory, OBSERVATION)
    assert action == jnp.argmax(recurrent.q_values(OBSERVATION, memory))
    assert same(after.repetition, memory.repetition)


@pytest.mark.slow
@pytest.mark.conformance
@pytest.mark.parametrize("bonus", ["count", "rnd"])
def test_a_run_with_every_kind_of_exploration_is_loaded_and_plays(bonus, tmp_path):
    config = dataclasses.replace(
        TINY, environment="Catch-bsuite", algorithm="bootstrapped_dqn",
        ensemble_acting="ucb", exploration="epsilon_z_greedy", intrinsic_bonus=bonus,
        ensemble_size=3, rnd_size=4,
    )  # fmt: skip
    result = run.run(config, output=tmp_path, plot=False)
    every = jaxq.load(result.directory, seed="all")
    assert same(every.params, result.params)
    path = result.directory / "manifest.json"
    manifest = json.loads(path.read_text())
    files.write_json(path, manifest | {"status": "interrupted"})
    assert same(jaxq.load(result.directory, seed="all").params, result.params)
    agent, env = every.seed(2), make.make("Catch-bsuite")
    state = env.reset(jax.random.key(0))
    for _ in range(9):
        action = agent.act(jax.random.key(1), state.observation)
        assert action == jnp.argmax(agent.q_values(state.observation))
        state, step = env.step(jax.random.key(2), state, action)
    assert step.terminated


@pytest.mark.slow
@pytest.mark.conformance
def test_a_checkpoint_of_several_blocks_gives_every_seed(tmp_path):
    config = dataclasses.replace(TINY, num_seeds=3, seed_block=2, eval_points=1)
    result = run.run(config, output=tmp_path, plot=False)
    manifest = json.loads((result.directory / "manifest.json").read_text())
    files.write_json(
        result.directory / "manifest.json", manifest | {"status": "interrupted"}
    )
    assert same(jaxq.load(result.directory, seed="all").params, result.params)


def test_epsilon_is_the_probability_of_a_random_action(finished):
    agent = jaxq.load(finished)
    keys = jax.random.split(jax.random.key(1), 4000)
    greedy = int(agent.act(keys[0], OBSERVATION))
    actions = jax.vmap(lambda key: agent.act(key, OBSERVATION, epsilon=0.5))(keys)
    assert abs(np.mean(actions != greedy) - 0.25) < 4 * (0.1875 / 4000) ** 0.5


@pytest.mark.parametrize("algorithm", ["r2d2", "pqn_rnn"])
def test_a_recurrent_policy_carries_its_memory(algorithm):
    config = dataclasses.replace(TINY, algorithm=algorithm, **SMALL)
    agent = jaxq.load(untrained(config))
    with pytest.raises(ValueError, match=r"has a memory\. Start an episode with"):
        agent.act(jax.random.key(0), OBSERVATION)
    with pytest.raises(ValueError, match="has a memory"):
        agent.q_values(OBSERVATION)
    memory = agent.initial_memory(jax.random.key(0))
    first = agent.q_values(OBSERVATION, memory)
    action, memory = agent.step(jax.random.key(0), memory, OBSERVATION)
    assert action == jnp.argmax(first)
    second = agent.q_values(OBSERVATION, memory)
    assert not np.allclose(first, second)


def test_a_policy_that_sees_the_last_reward_asks_for_it():
    changes = SMALL | {"recurrent_inputs": "action_reward", "reward_clip": 1.0}
    config = dataclasses.replace(TINY, algorithm="r2d2", **changes)
    agent, key = jaxq.load(untrained(config)), jax.random.key(0)
    memory = agent.initial_memory(key)
    with pytest.raises(ValueError, match=r"sees the last reward .*Pass reward ="):
        agent.step(key, memory, OBSERVATION)
    with pytest.raises(ValueError, match="sees the last reward"):
        agent.q_values(OBSERVATION, memory)
    first = agent.q_values(OBSERVATION, memory, 0.0)
    action, memory = agent.step(key, memory, OBSERVATION, reward=0.0)
    assert action == jnp.argmax(first) == memory.action
    values = [agent.q_values(OBSERVATION, memory, reward) for reward in (0.0, 1.0, 5.0)]
    assert not np.allclose(values[0], values[1])
    np.testing.assert_array_equal(values[1], values[2])  # clipped, as while learning
    action, memory = agent.step(key, memory, OBSERVATION, reward=5.0)
    assert action == jnp.argmax(values[1])
    # A policy that does not see it takes it nevertheless, so that code can be shared.
    other = dataclasses.replace(config, recurrent_inputs="observation")
    agent = jaxq.load(untrained(other))
    memory = agent.initial_memory(key)
    actions = [
        agent.step(key, memory, OBSERVATION, reward=reward)[0] for reward in (None, 9.0)
    ]
    assert actions[0] == actions[1]


def test_a_policy_acts_greedily_inside_a_scan(finished):
    agent, env = jaxq.load(finished), make.make("CartPole-v1")

    def play(state, key):
        action_key, env_key = jax.random.split(key)
        action = agent.act(action_key, state.observation)
        return env.step(env_key, state, action)

    keys = jax.random.split(jax.random.key(0), 500)
    _, steps = jax.lax.scan(play, env.reset(jax.random.key(1)), keys)
    length = int(np.argmax(steps.terminated | steps.truncated)) + 1
    observed = np.asarray(steps.observation[:length])
    greedy = [int(jnp.argmax(agent.q_values(x))) for x in observed]
    assert greedy == np.asarray(steps.action[:length]).tolist()


def test_wrong_uses_raise_with_the_way_out(finished, tmp_path):
    agent = jaxq.load(finished)
    with pytest.raises(ValueError, match=r"shape \[2, 4\].*Use jax.vmap"):
        agent.act(jax.random.key(0), np.zeros((2, 4)))
    with pytest.raises(ConfigError, match=r"seed = 9: choose .* or one of 3 to 6"):
        jaxq.load(finished, seed=9)
    with pytest.raises(ConfigError, match=r"is not a jaxq environment.*jaxq\.adapt"):
        jaxq.load(finished, Corridor())
    unknown = dataclasses.replace(finished.config)
    object.__setattr__(unknown, "algorithm", "mine")
    with pytest.raises(ConfigError, match="algorithm = 'mine': choose one of"):
        jaxq.load(finished._replace(config=unknown))
    with pytest.raises(ConfigError, match="is not the directory of a run"):
        jaxq.load(tmp_path)
    with pytest.raises(ConfigError, match=r"do not fit Acrobot-v1: array .* expected"):
        jaxq.load(finished, make.make("Acrobot-v1"))


def test_a_policy_takes_an_observation_as_a_list(finished):
    agent = jaxq.load(finished)
    values = agent.q_values(OBSERVATION.tolist())
    np.testing.assert_array_equal(values, agent.q_values(OBSERVATION))


def test_a_policy_takes_stacks_of_frames():
    config = dataclasses.replace(TINY, frame_stack=3, **SMALL)
    result, stack = untrained(config), np.tile(OBSERVATION, 3)
    for environment in (None, make.make("CartPole-v1")):
        agent = jaxq.load(result, environment)
        assert agent.q_values(stack).shape == (2,)
        with pytest.raises(ValueError, match=r"shape \[4\], .* trained on \[12\]"):
            agent.q_values(OBSERVATION)


def test_a_policy_takes_observations_as_the_environment_returns_them():
    env = adapter.adapt(MaskedChain())
    agent = jaxq.load(
        untrained(dataclasses.replace(TINY, **SMALL), environment=env), env
    )
    observation, _ = MaskedChain().reset(jax.random.key(0), None)
    values = agent.q_values(observation)
    assert (np.isfinite(values) == observation["action_mask"]).all()
    keys = jax.random.split(jax.random.key(0), 200)
    actions = jax.vmap(lambda key: agent.act(key, observation, 1.0))(keys)
    assert observation["action_mask"][actions].all() and len(set(actions.tolist())) == 2
    with pytest.raises(ValueError, match=r"was trained on MaskedObservation\(observ"):
        agent.q_values(observation["observation"])


def test_a_run_on_an_object_needs_the_object(tmp_path):
    env = adapter.adapt(Corridor())
    config = dataclasses.replace(TINY, num_seeds=1, seed_block=1, eval_points=1)
    result = run.run(config, env, output=tmp_path, plot=False)
    assert repr(result).startswith("dqn on Corridor\nseeds: 1, ")
    for source in (result, result.directory):
        with pytest.raises(ConfigError, match=r"was on Corridor.*load\(run, envir"):
            jaxq.load(source)
    assert jaxq.load(result, env, seed="all").params.keys()
    agent = jaxq.load(result.directory, env)
    assert agent.q_values(jnp.int32(0)).shape == (2,)
    assert same(agent.params, jax.tree.map(lambda leaf: leaf[0], result.params))


@pytest.mark.parametrize("of_one_seed", [False, True])
def test_a_run_starts_from_given_parameters(finished, tmp_path, of_one_seed):
    still = dataclasses.replace(TINY, optimizer="sgd", learning_rate=1e-30)
    params = jaxq.load(finished, seed=5 if of_one_seed else "all").params
    result = run.run(still, params=params, output=tmp_path, plot=False)
    for seed in range(4):
        mine = jax.tree.map(lambda leaf, seed=seed: leaf[seed], result.params)
        index = 2 if of_one_seed else seed
        given = jax.tree.map(lambda leaf, i=index: leaf[i], finished.params)
        assert same(mine, given)
    manifest = json.loads((result.directory / "manifest.json").read_text())
    assert len(manifest["initial_params"]) == 64


def test_both_networks_start_from_the_parameters(finished):
    config = dataclasses.replace(TINY, num_seeds=3, seed_block=2)
    env, devices = make.from_config(config), jax.devices()[:1]
    layout = blocks.layout(config, devices)
    states = [
        compiled.start(
            compiled.traced(config), compiled.make_keys(block.seeds), env=env
        )
        for block in layout
    ]
    params = warm_start.per_seed(
        config, env.spec, jax.tree.map(lambda leaf: leaf[:3], finished.params)
    )
    replaced = warm_start.replace_params(states, params)
    for number, members in enumerate(([0, 1], [2, 2])):
        learner = replaced[number].agent.learner
        expected = jax.tree.map(lambda leaf, m=members: leaf[m], finished.params)
        assert same(learner.params, expected)
        assert same(learner.target_params, expected)
        both = (jax.tree.leaves(learner.params), jax.tree.leaves(learner.target_params))
        for online, target in zip(*both, strict=True):
            assert online.unsafe_buffer_pointer() != target.unsafe_buffer_pointer()


def test_parameters_that_do_not_fit_are_refused(finished):
    wide = dataclasses.replace(TINY, hidden_sizes=(17,))
    with pytest.raises(ConfigError, match=r"params do not fit dqn on CartPole-v1.*17"):
        run.run(wide, params=finished.params)
    deep = dataclasses.replace(TINY, hidden_sizes=(16, 16))
    with pytest.raises(ConfigError, match=r"array .* is unknown"):
        run.run(TINY, params=untrained(deep, (1.0,)).params)
    with pytest.raises(ConfigError, match="num_seeds = 2: array"):
        run.run(dataclasses.replace(TINY, num_seeds=2), params=finished.params)
    with pytest.raises(ConfigError, match="no effect on a run that resumes"):
        run.run(TINY, resume=finished.directory, params=finished.params)


def test_a_result_prints_in_five_lines_and_converts_to_pandas(finished):
    lines = repr(finished).splitlines()
    assert len(lines) == 5 and lines[0] == "dqn on CartPole-v1"
    assert lines[1].startswith("seeds: 4, 600 steps per seed, ")
    assert lines[2].startswith("final return IQM ")
    frame = finished.to_pandas()
    assert list(frame.columns[:3]) == ["seed", "step", "epsilon"]
    assert len(frame) == 4 * 3
    last = frame[frame.step == frame.step.max()].set_index("seed")
    np.testing.assert_array_equal(
        last.loc[[3, 4, 5, 6]].eval_return, finished.curve.eval_return[:, -1]
    )
