"""Runs that learn from a dataset: the same loop, and no step of the agent's own."""

import dataclasses
import functools
import json

import family
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CONFORMANCE, SLOW, equations, same
from scripts import run_script
from small_sweeps import train_curves

from jaxq import Config, ConfigError, load, run
from jaxq.agents import algorithms, factory, field_effects, replay_agent
from jaxq.config import loop_lengths
from jaxq.envs import make
from jaxq.replay import ring, transition_readers
from jaxq.rl import losses
from jaxq.runs import checkpoint, curves, manifest, recording, replayed, resume
from jaxq.sweeps import planning, storage
from jaxq.training import (
    blocks,
    checks,
    compiled,
    dataset_format,
    datasets,
    memory,
    population,
)

BASE = Config(
    defaults="plain",
    environment="Catch-bsuite",
    num_seeds=3,
    seed_block=2,
    total_steps=600,
    batch_size=16,
    update_steps=4,
    hidden_sizes=(8,),
    target_period=7,
    eval_points=3,
    eval_episodes=2,
    chunk_iterations=25,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A dataset of the random policy on Catch."""
    return write(tmp_path_factory.mktemp("data") / "catch.npz", BASE, 300)


def random_steps(env, count, seed=0):
    """Steps of random actions, recorded in one environment."""

    def advance(state, key):
        action_key, env_key = jax.random.split(key)
        action = jax.random.randint(action_key, (), 0, env.spec.num_actions)
        return env.step(env_key, state, action)

    keys = jax.random.split(jax.random.key(seed), count)
    steps = jax.lax.scan(advance, env.reset(jax.random.key(seed)), keys)[1]
    steps = jax.tree.map(lambda leaf: leaf[:, None], jax.device_get(steps))
    return recording.from_steps(env.spec, steps)


def write(path, config, count, seed=0):
    env = make.from_config(config)
    dataset = random_steps(env, count, seed)
    recording.write(path, dataset, recording.describe(dataset, env.spec, {}))
    return str(path)


def offline(path, **changes):
    return dataclasses.replace(BASE, dataset=path, **changes)


KINDS = {
    "uniform": {},
    "cql": {"algorithm": "cql", "head": "quantile", "num_quantiles": 4},
    "prioritized": {"prioritized": True, "n_step": 3, "double_q": True},
    "rem": {
        "ensemble_size": 3, "ensemble_target": "mixture", "ensemble_acting": "mean",
    },
    "bootstrapped": {"ensemble_size": 3, "prior_scale": 1.0},
    "munchausen_iqn": {
        "algorithm": "munchausen_iqn", "quantile_samples": 4, "target_samples": 4,
        "policy_samples": 4, "num_cosines": 4,
    },
    "retrace": {"return_estimator": "retrace", "n_step": 3},
    "expected_sarsa": {"next_value": "expected_sarsa", "epsilon_end": 0.3},
    "noisy_c51": {
        "algorithm": "c51", "noisy": True, "v_min": -1.0, "v_max": 1.0, "num_atoms": 5,
    },
    "averaged": {"averaged_targets": 3, "redo_period": 20, "reset_period": 50},
    "centred": {"average_reward": "centering"},
    "batch_norm": {"normalization": "batch", "margin_weight": 0.5},
    "normalized": {"normalize_observations": True, "num_envs": 3, "update_steps": 6},
    "table": {
        "algorithm": "tabular_q", "environment": "FrozenLake-misc", "update_steps": 1,
    },
    "double_table": {
        "algorithm": "double_q_learning", "environment": "FrozenLake-misc",
        "rollout_length": 0,
    },
}  # fmt: skip
CI_KINDS = ("cql", "prioritized", "bootstrapped", "table")
EVERY_KIND = [
    pytest.param(kind, marks=CONFORMANCE if kind in CI_KINDS else SLOW)
    for kind in KINDS
]


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    config = dataclasses.replace(BASE, environment="FrozenLake-misc")
    return write(tmp_path_factory.mktemp("data") / "lake.npz", config, 300)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_kind_learns_and_resumes_bit_for_bit(kind, path, lake, tmp_path):
    file = lake if "environment" in KINDS[kind] else path
    config = offline(file, **KINDS[kind])
    whole = run(config, plot=False, output=tmp_path / "whole")
    assert np.isfinite(whole.curve.loss[:, 1:]).all()
    assert not whole.curve.diverged.any()
    assert (whole.curve.train_episodes == 0).all()
    assert whole.curve.steps[0] == 0
    lengths = loop_lengths.loop_lengths(config)
    assert whole.curve.steps[-1] == lengths.total_steps

    short = dataclasses.replace(config, total_steps=lengths.point_steps, eval_points=1)
    part = run(short, plot=False, output=tmp_path / "part")
    more = dataclasses.replace(
        short, total_steps=lengths.total_steps, eval_points=lengths.num_points
    )
    resumed = run(more, plot=False, resume=part.directory)
    assert same(resumed.params, whole.params)
    np.testing.assert_array_equal(resumed.curve.eval_return, whole.curve.eval_return)
    np.testing.assert_array_equal(resumed.curve.loss, whole.curve.loss)
    policy = load(resumed)
    observation = policy.spec.example().observation
    assert int(policy.act(jax.random.key(0), observation)) >= 0


def started(config):
    env = checks.check(config)
    lengths = loop_lengths.loop_lengths(config)
    layout = blocks.layout(config, jax.devices()[:1])
    return env, lengths, population.Population(config, env, lengths, layout)


def test_no_step_is_taken_to_learn(path):
    _, _, seeds = started(offline(path))
    before = jax.device_get(seeds.states)
    seeds.train(5)
    after = jax.device_get(seeds.states)
    assert same([s.env for s in before], [s.env for s in after])
    assert same([s.episodes for s in before], [s.episodes for s in after])
    assert int(after[0].steps.value) == 5 * 4 and seeds.iterations == 5
    assert int(after[0].agent.updates.value) == 5
    assert not same(before[0].agent.learner.params, after[0].agent.learner.params)


@pytest.mark.slow
@pytest.mark.conformance
def test_seeds_differ_and_do_not_depend_on_each_other(path):
    several = run(offline(path), plot=False).params
    alone = run(offline(path, num_seeds=2, first_seed=1), plot=False).params
    for leaf, other in zip(
        jax.tree.leaves(several), jax.tree.leaves(alone), strict=True
    ):
        np.testing.assert_array_equal(leaf[1:], other)
        assert (leaf[0] != leaf[1]).any()


def shapes(config, **changes):
    """Shapes of the rows, of a block's state, and in the program that trains it."""
    env = checks.check(config)
    rows = datasets.loaded(config, env.spec).dataset
    traced = compiled.traced(config, changes, rows)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0)))
    start, chunk = (
        functools.partial(program, env=env)
        for program in (compiled.start, compiled.chunk)
    )
    state = jax.eval_shape(start, traced, keys)
    jaxpr = jax.make_jaxpr(chunk)(traced, keys, state)
    inside = [v.aval.shape for e in equations(jaxpr.jaxpr) for v in e.outvars]
    return rows.action.shape, [x.shape for x in jax.tree.leaves(state)], inside


@pytest.mark.parametrize("prioritized", [False, True])
def test_seeds_share_the_dataset(prioritized, path):
    """It has no axis for seeds, and is in no state and so in no checkpoint."""
    rows, state, inside = shapes(offline(path, prioritized=prioritized))
    tree = -(-rows[0] // 8) * 8
    assert not any(shape[1:3] == rows or shape[:2] == rows for shape in state)
    assert ((2, tree) in state) is prioritized
    assert not any(shape[:1] == (2,) and shape[1:3] == rows for shape in inside)


def test_rewards_that_members_clip_differently_have_an_axis(path):
    """So that the shapes above would show one."""
    clips = np.float32([0.5, 1.0])
    rows, _, inside = shapes(offline(path, reward_clip=1.0), reward_clip=clips)
    assert (2, *rows) in inside


def test_the_estimate_counts_the_dataset_once(path):
    config = offline(path)
    env, lengths = checks.check(config), loop_lengths.loop_lengths(config)
    need = memory.estimate(config, env, lengths)
    rows = datasets.loaded(config, env.spec).dataset
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(rows._replace(added=())))
    assert need.dataset == held and need.experience < 100
    assert need.total < memory.estimate(BASE, env, lengths).total
    layout = blocks.layout(config, jax.devices()[:1])
    message = memory.check(config, lengths, need, layout)
    assert f"and {memory.readable(held)} of data per device" in message


@pytest.mark.slow
@pytest.mark.conformance
def test_rewards_are_clipped_as_those_of_the_agents_own_steps(path):
    """Catch pays 1 or -1: clipped to 0.5, values are half as large."""
    fields = {"batch_size": 128, "learning_rate": 1e-2, "total_steps": 8_000}
    clipped, full = (
        run(offline(path, reward_clip=clip, num_seeds=2, **fields), plot=False)
        for clip in (0.5, 1.0)
    )
    ratio = np.abs(clipped.curve.td_error[:, 1]) / np.abs(full.curve.td_error[:, 1])
    assert (ratio < 0.8).all()


@pytest.mark.conformance
@pytest.mark.slow
def test_another_dataset_does_not_resume_a_run(tmp_path):
    file = tmp_path / "steps.npz"
    write(file, BASE, 200)
    config = offline(str(file), total_steps=200, eval_points=1)
    result = run(config, output=tmp_path / "runs", plot=False)
    facts = resume.read_manifest(result.directory)["dataset"]
    assert facts["steps"] == 200 and facts["sha256"]
    header = checkpoint.newest(result.directory)[0]
    assert header["made_with"]["dataset"] == facts["sha256"]
    longer = dataclasses.replace(config, total_steps=400, eval_points=2)
    moved = dataclasses.replace(longer, dataset=str(file.rename(tmp_path / "new.npz")))
    resumed = run(moved, resume=result.directory, plot=False)
    assert resumed.config.dataset == moved.dataset
    assert same(resumed.params, run(moved, plot=False).params)
    config = moved
    file = tmp_path / "new.npz"
    file.unlink()
    assert load(result.directory).seeds  # acting needs no data
    with pytest.raises(ConfigError, match="cannot be read"):
        run(config, resume=result.directory, plot=False)
    write(file, BASE, 200, seed=1)
    with pytest.raises(ConfigError, match=r"other versions, data or .*dataset was '"):
        run(config, resume=result.directory, plot=False)


def test_a_field_without_effect_is_noted(path):
    config = offline(path, epsilon_end=0.3)
    spec = make.from_config(config).spec
    notes = field_effects.notes(config, spec, ["epsilon_end", "update_steps"])
    reason = "the run learns from a dataset and collects no experience"
    assert notes == [f"epsilon_end has no effect: {reason}"]
    assert curves._epsilon(config, np.arange(3), np.zeros(3)) == 0.0
    assert curves._epsilon(BASE, np.arange(3), np.zeros(3))[0] == 1.0


@pytest.mark.conformance
@pytest.mark.slow
def test_a_dataset_is_recorded_by_the_script(tmp_path):
    config = dataclasses.replace(
        family.TINY, num_seeds=2, seed_block=2, frame_stack=2, reward_clip=0.5
    )
    directory = run(config, output=tmp_path, plot=False).directory
    file = tmp_path / "cartpole.npz"
    words = [str(directory), "--steps", "90", "--num-envs", "4", "--epsilon", "0.5"]
    done = run_script("experiments/record_dataset.py", *words, "--output", str(file))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("92 steps, ")
    env = make.make("CartPole-v1")  # frames are stored one by one
    dataset, facts, _ = dataset_format.read(file, env.spec)
    assert facts["epsilon"] == 0.5 and facts["algorithm"] == "dqn"
    assert facts["environment"] == "CartPole-v1" and facts["steps"] == 92
    assert int(dataset.cut.sum()) <= 4
    _check_dynamics(env, dataset)
    again = run_script("experiments/record_dataset.py", *words, "--output", str(file))
    assert again.returncode != 0 and "exists. Delete it" in again.stderr
    words = [str(directory), "--replay", "--output", str(tmp_path / "replayed.npz")]
    done = run_script("experiments/record_dataset.py", *words)
    assert done.returncode == 0, done.stderr
    replay, facts, _ = dataset_format.read(tmp_path / "replayed.npz", env.spec)
    assert facts["reward_clip"] == 0.5 and facts["episodic_life"] is False
    assert (replay.reward == 0.5).all() and (dataset.reward == 1.0).all()
    for stack in (1, 3):
        learned = dataclasses.replace(config, dataset=str(file), frame_stack=stack)
        assert np.isfinite(run(learned, plot=False).curve.loss[:, -1]).all()


def _check_dynamics(env, dataset):
    """Every stored successor is that of the dynamics of CartPole."""
    finals = iter(dataset.final_observation)
    for t in range(dataset.action.size):
        closed = dataset.truncated[t] or dataset.cut[t]
        if dataset.terminated[t]:
            continue
        after = next(finals) if closed else dataset.observation[t + 1]
        x, v, angle, w = np.float64(dataset.observation[t])
        force = 10.0 if dataset.action[t] else -10.0
        part = (force + 0.05 * w**2 * np.sin(angle)) / 1.1
        turn = (9.8 * np.sin(angle) - np.cos(angle) * part) / (
            0.5 * (4 / 3 - 0.1 * np.cos(angle) ** 2 / 1.1)
        )
        push = part - 0.05 * turn * np.cos(angle) / 1.1
        expected = [x + 0.02 * v, v + 0.02 * push, angle + 0.02 * w, w + 0.02 * turn]
        np.testing.assert_allclose(after, expected, atol=1e-5)


def test_facts_are_json(path):
    env = make.from_config(BASE)
    assert json.dumps(datasets.facts(offline(path), env.spec), allow_nan=False)


@pytest.mark.slow
@pytest.mark.conformance
@pytest.mark.parametrize("wrapped", [True, False])
def test_the_replay_buffer_of_a_run_is_a_dataset(wrapped, tmp_path):
    """Its transitions are those that the run could replay."""
    size = 60 if wrapped else 2_000
    config = dataclasses.replace(
        BASE, num_envs=3, buffer_size=size, warmup_steps=60, update_steps=3,
        total_steps=150, eval_points=1, time_limit=7,
    )  # fmt: skip
    directory = run(config, output=tmp_path, plot=False).directory
    env = make.from_config(config)
    for seed in (0, 2):  # in two blocks
        dataset = replayed.read(directory, env.spec, seed)
        own = _transitions(_ring_of(directory, config, env, seed), env.spec)
        held = _transitions(datasets.to_ring(dataset, env.spec), env.spec, 1)
        assert own <= held and len(own) > (20 if wrapped else 100)
        assert all(discount == 0 for *_, discount, _ in held - own)  # the newest
        assert not dataset.truncated.any() and dataset.cut.any()
    with pytest.raises(ConfigError, match="seed = 5: choose one of 0 to 2"):
        replayed.read(directory, env.spec, 5)


def _ring_of(directory, config, env, seed):
    """The ring of a seed, from the newest checkpoint."""
    _, arrays, _ = checkpoint.newest(directory)
    lengths = loop_lengths.loop_lengths(config)
    layout = blocks.layout(config, jax.devices()[:1])
    states = population.Population(config, env, lengths, layout, dict(arrays)).states
    block, lane = divmod(seed, 2)
    return family.lane(states[block], lane).agent.store


def _transitions(rows, spec, window=0):
    """Distinct transitions of one step that can be learned from."""
    added = rows.added._replace(value=rows.added.value + window)
    rows = jax.tree.map(jnp.asarray, rows._replace(added=added))
    count = int(ring.num_starts(rows, 1))
    num_envs = rows.action.shape[1]
    oldest = int(rows.added.value) - count - 1
    row, env = np.divmod(np.arange(count * num_envs), num_envs)
    read = transition_readers.transitions(spec.observation, 1, 0.9)
    sample = ring.gather(rows, read, jnp.asarray(oldest + row), jnp.asarray(env))
    keep = np.asarray(sample.weight) > 0
    example = jax.tree.map(lambda leaf: np.asarray(leaf)[keep], sample.example)
    return {
        (
            example.observation[i].tobytes(), int(example.action[i]),
            float(example.reward[i]), float(example.discount[i]),
            example.next_observation[i].tobytes() if example.discount[i] else b"",
        )
        for i in range(example.action.size)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"algorithm": "pqn", "rollout_length": 8}, "keeps no replay buffer"),
        ({"intrinsic_bonus": "rnd"}, "include the bonus of their time"),
    ],
)
def test_runs_without_steps_to_replay_are_refused(fields, message):
    config = dataclasses.replace(BASE, **fields)
    with pytest.raises(ConfigError, match=message):
        replayed._ring_shape(config, make.from_config(config).spec)


def own_replay(config, spec):
    """An algorithm of a user's own, with a store of jaxq."""
    networks = factory.make_networks(config, spec)
    loss = losses.td_loss(networks.online)
    store = algorithms.make_store(config, spec)
    return replay_agent.replay_agent(
        networks.online, networks.policy, loss, store, config
    )


def own_store(config, spec):
    """An algorithm of a user's own, whose store knows no dataset."""
    plain = dataclasses.replace(config, dataset=None)
    store = algorithms.make_store(plain, spec)
    networks = factory.make_networks(config, spec)
    loss = losses.td_loss(networks.online)
    return replay_agent.replay_agent(
        networks.online, networks.policy, loss, store, plain
    )


def own_scale(config, spec, *, scale=1.0):
    """An algorithm with a hyper-parameter, which is traced."""
    return own_replay(dataclasses.replace(config, q_penalty=scale), spec)


def test_a_custom_algorithm_learns_from_a_dataset_or_is_refused(path, monkeypatch):
    for algorithm in (own_replay, own_store, own_scale):
        monkeypatch.setitem(algorithms.ALGORITHMS, algorithm.__name__, algorithm)
    checks.check(offline(path, algorithm="own_scale", algorithm_args=("scale=0.5",)))
    config = offline(path, algorithm="own_replay")
    checks.check(config)
    unread = dataclasses.replace(config, double_q=True)
    with pytest.raises(ConfigError, match="does not read double_q = True"):
        checks.check(unread)
    with pytest.raises(ConfigError, match="'own_store' does not read dataset = "):
        checks.check(offline(path, algorithm="own_store"))


@pytest.mark.conformance
@pytest.mark.slow
def test_members_of_a_sweep_share_a_dataset_and_equal_their_single_runs(path, tmp_path):
    config = offline(path, num_seeds=4, seed_block=4, total_steps=200, eval_points=1)
    settings = [{"conservative_weight": w, "reward_clip": c} for w, c in PAIRS]
    sweep, curves = train_curves(tmp_path, config, settings)
    assert len(sweep.programs) == 1
    for setting, curve in zip(settings, curves, strict=True):
        alone = run(dataclasses.replace(config, **setting), plot=False,
                    devices=jax.devices()[:1])  # fmt: skip
        np.testing.assert_array_equal(curve.arrays["loss"], alone.curve.loss)
    assert not np.array_equal(curves[0].arrays["loss"], curves[1].arrays["loss"])
    provenance = manifest.collect("Catch-bsuite", jax.devices(), 4)
    made_with = storage.contents(sweep, provenance)["made_with"]
    assert len(made_with[f"dataset {path}"]) == 64


PAIRS = [(0.1, 1.0), (1.0, 1.0), (0.1, 0.5)]


def test_shards_are_merged_without_their_dataset(tmp_path):
    path = tmp_path / "steps.npz"
    config = offline(write(path, BASE, 50))
    settings = [{"conservative_weight": 0.1}, {"conservative_weight": 1.0}]
    devices = jax.devices()[:1]
    sweep = planning.plan(config, settings, [], devices)
    provenance = manifest.collect("Catch-bsuite", devices, 0)
    storage.start_or_resume(sweep, tmp_path / "sweep", provenance, devices)
    path.unlink()
    merged = storage.load(tmp_path / "sweep", devices, computed=False)
    assert merged.configs == sweep.configs and merged.widths == sweep.widths
    with pytest.raises(ConfigError, match=r"setting 0: dataset = .*steps\.npz"):
        storage.load(tmp_path / "sweep", devices)
