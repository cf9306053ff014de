"""Runs: independent seeds, invariance to chunks and blocks, one compilation."""

import dataclasses
import json
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CONFORMANCE, equations, mark_others, same
from family import TINY, lane
from mdps import Corridor
from rollouts import random_rollout

from jaxq import types
from jaxq.agents import schedules
from jaxq.config import loop_lengths
from jaxq.config.config import Config, traced_fields
from jaxq.config.fields import ConfigError
from jaxq.envs import adapter, make
from jaxq.runs import (
    closing_message,
    files,
    manifest,
    pacing,
    results,
    run,
    summary,
)
from jaxq.training import blocks, checks, compiled, loop, metrics, population


def make_keys(config):
    return compiled.make_keys(blocks.layout(config, jax.devices()[:1])[0].seeds)


def trained(config, chunks=2, seeds=None):
    """State after a number of chunks; leading axis the seeds of one block."""
    env = make.from_config(config)
    keys = make_keys(config) if seeds is None else compiled.make_keys(np.uint32(seeds))
    state = compiled.start(compiled.traced(config), keys, env=env)
    for _ in range(chunks):
        state = compiled.chunk(compiled.traced(config), keys, state, env=env)
    return jax.device_get(state)


@pytest.fixture(scope="module")
def four():
    return trained(TINY)


def test_seeds_differ_in_every_random_leaf(four):
    names = jax.tree_util.tree_flatten_with_path(four.agent.learner.params)[0]
    for path, leaf in names:
        for i in range(4):
            for j in range(i):
                assert np.any(leaf[i] != leaf[j]), path
    ring = four.agent.store
    assert len({ring.observation[i].tobytes() for i in range(4)}) == 4
    assert len({ring.action[i].tobytes() for i in range(4)}) == 4


@pytest.mark.parametrize("neighbours", [[2, 2, 2, 2], [7, 2, 0, 9], [2, 3, 4, 5]])
def test_a_seed_does_not_depend_on_its_neighbours(four, neighbours):
    other = trained(TINY, seeds=neighbours)
    assert same(lane(other, neighbours.index(2)), lane(four, 2))


@pytest.mark.slow
@pytest.mark.conformance
def test_a_seed_alone_equals_itself_among_eight():
    alone = run.run(dataclasses.replace(TINY, num_seeds=1, first_seed=5))
    among = run.run(dataclasses.replace(TINY, num_seeds=8))
    index = 5
    first = jax.tree.map(lambda leaf: leaf[0], alone.params)
    assert same(first, jax.tree.map(lambda leaf: leaf[index], among.params))
    assert same(alone.eval_returns[0], among.eval_returns[index])
    for name, values in alone.curve._asdict().items():
        if name != "steps":
            assert same(values[0], getattr(among.curve, name)[index]), name


def test_the_number_of_devices_does_not_change_results():
    assert len(jax.devices()) == 2
    config = dataclasses.replace(TINY, num_seeds=8)
    one = run.run(config, devices=jax.devices()[:1])
    two = run.run(config, devices=jax.devices())
    assert same(one.params, two.params) and same(one.eval_returns, two.eval_returns)


def test_two_workers_of_a_device_compile_once_with_equal_results(monkeypatch):
    config = dataclasses.replace(TINY, num_seeds=8, hidden_sizes=(7, 5))
    traced = []
    chunk = loop.chunk
    monkeypatch.setattr(
        loop, "chunk", lambda *arguments: traced.append(1) or chunk(*arguments)
    )
    device = jax.devices()[0]
    two = run.run(config, devices=[device, device])
    assert traced == [1]
    one = run.run(config, devices=[device])
    assert traced == [1]
    assert same(one.params, two.params) and same(one.eval_returns, two.eval_returns)


class Spy:
    """Records the threads that lower and call a compiled function."""

    def __init__(self, function, fails=False):
        self._function, self._fails = function, fails
        self.lowered, self.called = [], []

    def lower(self, *args, **kwargs):
        self.lowered.append(threading.current_thread())
        if self._fails:
            raise RuntimeError("no program")
        return self._function.lower(*args, **kwargs)

    def __call__(self, *args, **kwargs):
        self.called.append(threading.current_thread())
        return self._function(*args, **kwargs)


@pytest.mark.slow
@pytest.mark.conformance
@pytest.mark.parametrize("fails", [False, True])
def test_training_is_compiled_in_parallel_with_the_start(monkeypatch, caplog, fails):
    hidden = (7 + fails,)  # so that nothing is cached
    config = dataclasses.replace(TINY, hidden_sizes=hidden, eval_points=2)
    spy = Spy(compiled.chunk, fails)
    monkeypatch.setattr(compiled, "chunk", spy)
    jax.config.update("jax_log_compiles", True)  # in all threads
    try:
        result = run.run(config, devices=jax.devices()[:1] * 2)
    finally:
        jax.config.update("jax_log_compiles", False)
    assert len(spy.lowered) == 1 and spy.called
    spy.lowered[0].join()
    assert spy.lowered[0] not in (threading.main_thread(), *spy.called)
    compilations = [
        line for line in caplog.messages if line.startswith("Compiling jit(chunk)")
    ]
    assert len(compilations) == 1
    assert np.isfinite(result.eval_returns).all()


def test_a_cpu_has_one_worker_per_core(monkeypatch):
    device = jax.devices()[0]
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    assert blocks.workers(3) == [device] * 3
    assert blocks.workers() == [device] * blocks.available_cores()
    monkeypatch.undo()
    assert blocks.workers(3) == jax.devices()  # several devices: one worker each


@pytest.mark.conformance
@pytest.mark.parametrize("length", mark_others([25, 250], [25], CONFORMANCE))
def test_the_chunk_length_does_not_change_results(four, length):
    assert loop_lengths.loop_lengths(TINY).chunk_iterations == 125
    config = dataclasses.replace(TINY, chunk_iterations=length, eval_points=1)
    assert loop_lengths.loop_lengths(config).chunk_iterations == length
    assert same(trained(config, chunks=250 // length), four)


@pytest.mark.slow
@pytest.mark.conformance
def test_a_chunk_length_that_does_not_divide_a_point_does_not_change_results(
    four, monkeypatch
):
    """A point is 125 iterations: two calls of 60 and one of 5."""
    config = dataclasses.replace(TINY, chunk_iterations=60)
    whole, parts = run.run(TINY), run.run(config)
    # As on an accelerator: the length of a whole chunk is compiled into its program.
    monkeypatch.setattr(population.Population, "_on_cpu", False)
    calls = []
    chunk = compiled.chunk
    monkeypatch.setattr(
        compiled,
        "chunk",
        lambda *args, **k: calls.append(args[3:]) or chunk(*args, **k),
    )
    accelerated = run.run(config)
    assert calls == [(), (), (5,)] * 2
    for result in (parts, accelerated):
        assert same(result.curve, whole.curve)
        assert same(result.params, four.agent.learner.params)


def test_timeout_is_terminal_acts_on_an_environment_object():
    """As on one that is named, to the same bits."""
    config = dataclasses.replace(TINY, timeout_is_terminal=True)
    named = checks.check(dataclasses.replace(config, time_limit=12))
    passed = checks.check(config, make.make("CartPole-v1", time_limit=12))
    steps = random_rollout(passed, 40, 4)
    assert same(steps, random_rollout(named, 40, 4))
    assert steps.terminated.any() and not steps.truncated.any()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("environment_args", ("gravity=9.0",)),
        ("time_limit", 12),
        ("sticky_actions", 0.25),
        ("full_action_set", True),
    ],
)
def test_options_that_build_an_environment_are_refused_for_an_object(field, value):
    config = dataclasses.replace(TINY, **{field: value})
    with pytest.raises(ConfigError, match=f"{field} = .* has no effect.*Build the env"):
        checks.check(config, make.make("CartPole-v1"))


def test_an_environment_object_is_wrapped_once():
    """Otherwise every run would compile its programs again."""
    env = make.make("CartPole-v1", ("gravity=9.0",))
    config = dataclasses.replace(TINY, timeout_is_terminal=True)
    wrapped = checks.check(config, env)
    assert wrapped is checks.check(config, env) and wrapped is not env
    assert checks.check(TINY, env) is env
    bound = wrapped.bind({"gravity": jnp.float32(9.0)})
    assert bound.step is not env.step and wrapped.parameters == env.parameters


def test_the_level_of_the_random_policy_has_keys_of_its_own(monkeypatch):
    """With random evaluation, the first point would otherwise repeat the level."""
    measured = []
    evaluate = population.Population.evaluate

    def spy(self, *arguments):
        evaluation = evaluate(self, *arguments)
        measured.append(evaluation.episode_return)
        return evaluation

    monkeypatch.setattr(population.Population, "evaluate", spy)
    result = run.run(dataclasses.replace(TINY, eval_epsilon=1.0))
    level, first = measured[:2]
    assert level.shape == first.shape == (4, 3)
    assert (level != first).any(axis=1).all()  # every seed
    assert same(first, result.eval_returns[:, 0])
    assert result.summary["levels"]["random policy"] == pytest.approx(level.mean())


def test_a_round_trip_to_the_host_does_not_change_results(four):
    state = trained(TINY, chunks=1)
    state = jax.tree.map(lambda leaf: np.array(leaf), state)
    env = make.from_config(TINY)
    state = compiled.chunk(compiled.traced(TINY), make_keys(TINY), state, env=env)
    assert same(jax.device_get(state), four)


def test_no_key_is_consumed_twice():
    env, lengths = make.from_config(TINY), loop_lengths.loop_lengths(TINY)
    with jax.debug_key_reuse(True):
        state = jax.jit(lambda key: loop.start(TINY, lengths, env, key))(
            jax.random.key(0)
        )
        chunk = jax.jit(lambda key, state: loop.chunk(TINY, lengths, env, key, state))
        state = chunk(jax.random.key(0), state)
    assert int(state.agent.updates.value) == 125


def test_one_compilation_serves_every_value_of_every_traced_field():
    env = make.from_config(TINY)
    base = dataclasses.replace(
        TINY, max_grad_norm=1.0, q_penalty=0.1, conservative_weight=0.1,
        margin_weight=0.1,
        reward_clip=1.0, weight_decay=0.1,
        l2_penalty=0.1, l2_init_penalty=0.1, reset_period=50, hare_period=9,
        redo_period=40, exploration="epsilon_z_greedy", intrinsic_bonus="rnd",
        rnd_size=4, target_tau=0.5, v_min=-1.0, v_max=2.0, discount_start=0.5,
        spr_steps=2,
    )  # fmt: skip
    keys = make_keys(TINY)
    state = compiled.start(compiled.traced(base), keys, env=env)
    size = None
    for name in traced_fields():
        value = getattr(base, name)
        changed = dataclasses.replace(
            base, **{name: value + 1 if isinstance(value, int) else value / 2}
        )
        state = compiled.chunk(compiled.traced(changed), keys, state, env=env)
        size = size or compiled.chunk._cache_size()
        assert compiled.chunk._cache_size() == size, name
    assert len(traced_fields()) >= 30


@pytest.fixture(scope="module", params=[4, 1], ids=["four", "alone"])
def resumed(request):
    width = request.param
    return resumed_chunk(
        dataclasses.replace(
            TINY, buffer_size=400_000, num_seeds=width, seed_block=width
        )
    )


def resumed_chunk(config):
    """The chunk, traced for a state that comes from the host."""
    env, keys = make.from_config(config), make_keys(config)
    config = compiled.traced(config)
    shapes = jax.eval_shape(lambda keys: compiled.start(config, keys, env=env), keys)
    state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    return state, compiled.chunk.trace(config, keys, state, env=env)


def test_a_resumed_chunk_neither_selects_nor_scatters_over_the_buffer(resumed):
    state, trace = resumed
    limit = state.agent.store.action[0].size  # of one seed
    primitives = set()
    for equation in equations(trace.jaxpr.jaxpr):
        sizes = [v.aval.size for v in equation.invars if hasattr(v.aval, "size")]
        if max(sizes, default=0) < limit:
            continue
        name = equation.primitive.name
        primitives.add(name)
        assert name not in ("select_n", "copy", "concatenate", "where"), equation
        if name.startswith("scatter"):
            # One slice at one index: every seed writes the same rows.
            assert equation.invars[1].aval.ndim == 1, equation
    assert "gather" in primitives  # the traversal reaches the replay


def test_counters_have_no_seed_axis(resumed):
    state, _ = resumed
    counters = [
        leaf
        for leaf in jax.tree.leaves(
            state, is_leaf=lambda x: isinstance(x, types.Counter)
        )
        if isinstance(leaf, types.Counter)
    ]
    assert len(counters) == 3
    assert all(counter.value.shape == () for counter in counters)


def test_a_resumed_chunk_updates_the_buffer_in_place(resumed):
    state, trace = resumed
    memory = trace.lower().compile().memory_analysis()
    ring = [leaf.nbytes for leaf in jax.tree.leaves(state.agent.store)]
    assert memory.alias_size_in_bytes >= sum(ring)
    # Less than the ring's second smallest array: no large array is copied.
    assert memory.temp_size_in_bytes < sorted(ring)[1]


def test_a_resumed_chunk_updates_the_sum_tree_in_place():
    config = dataclasses.replace(TINY, buffer_size=400_000, prioritized=True)
    state, trace = resumed_chunk(config)
    memory = trace.lower().compile().memory_analysis()
    assert memory.temp_size_in_bytes < state.agent.store.tree[0].nbytes


def test_a_lone_member_has_no_seed_axis():
    """With a seed axis of size 1, XLA takes twice the time for the gradient."""
    config = dataclasses.replace(TINY, num_seeds=1, seed_block=1)
    _, trace = resumed_chunk(config)
    products = [
        equation
        for equation in equations(trace.jaxpr.jaxpr)
        if equation.primitive.name == "dot_general"
    ]
    assert products
    for product in products:
        _, batched = product.params["dimension_numbers"]
        assert batched == ((), ()), product


def test_sampled_indices_are_fenced(resumed):
    _, trace = resumed
    fences = [
        {variable.aval.dtype.name for variable in equation.invars}
        for equation in equations(trace.jaxpr.jaxpr)
        if equation.primitive.name == "optimization_barrier"
    ]
    # Once per platform: the indices, and the values gathered with them.
    assert fences.count({"int32"}) == 2
    assert fences.count({"int32", "float32"}) == 2


def test_a_chunk_has_no_grouped_convolution_and_one_select_over_parameters():
    """Both were the most expensive operations on a GPU."""
    config = dataclasses.replace(
        TINY, environment="Breakout-MinAtar", buffer_size=2_000, batch_size=8
    )
    env, keys = make.from_config(config), make_keys(config)
    config = compiled.traced(config)
    state = jax.eval_shape(lambda keys: compiled.start(config, keys, env=env), keys)
    trace = compiled.chunk.trace(config, keys, state, env=env)
    names = {equation.primitive.name for equation in equations(trace.jaxpr.jaxpr)}
    assert "conv_general_dilated" not in names and "dot_general" in names
    kernel = (4, 1024, 128)  # of four seeds
    passes = [
        equation.primitive.name
        for equation in equations(trace.jaxpr.jaxpr)
        if any(getattr(out.aval, "shape", ()) == kernel for out in equation.outvars)
    ]
    # Only the choice between the new parameters and those of a frozen seed.
    assert passes.count("select_n") == 2  # once per platform


@pytest.mark.parametrize("num_envs", mark_others([1, 7, 16], [7], CONFORMANCE))
def test_update_and_refresh_counts_are_exact(num_envs):
    config = dataclasses.replace(
        TINY, num_envs=num_envs, update_steps=10, num_updates=3, total_steps=3000,
        eval_points=1, chunk_iterations=0, target_period=9, num_seeds=1, seed_block=1,
    )  # fmt: skip
    lengths = loop_lengths.loop_lengths(config)
    learning_steps = lengths.total_steps - lengths.warmup_steps
    assert learning_steps * 3 % 10 == 0
    state = trained(config, chunks=lengths.point_chunks * lengths.num_points)
    updates = int(state.agent.updates.value)
    assert updates == learning_steps * 3 // 10
    assert int(state.steps.value) * num_envs == lengths.total_steps
    # The target params equal the params exactly when a refresh has just happened.
    assert same(state.agent.learner.target_params, state.agent.learner.params) == (
        updates % 9 == 0
    )


def test_a_diverged_seed_is_frozen_and_the_others_unaffected(four):
    """The parameters of seed 1 become nan after a chunk."""
    state = trained(TINY, chunks=1)
    params = jax.tree.map(np.array, state.agent.learner.params)
    for leaf in jax.tree.leaves(params):
        leaf[1] = np.nan
    poisoned = state._replace(
        agent=state.agent._replace(learner=state.agent.learner._replace(params=params))
    )
    env = make.from_config(TINY)
    after = compiled.chunk(compiled.traced(TINY), make_keys(TINY), poisoned, env=env)
    after = jax.device_get(after)
    assert after.agent.learner.diverged_at.tolist() == [-1, 125, -1, -1]
    for i in (0, 2, 3):
        assert same(lane(after, i), lane(four, i))


def test_divergence_is_reported_and_counted(tmp_path):
    config = dataclasses.replace(
        TINY, optimizer="sgd", learning_rate=1e8, hidden_sizes=(16, 16)
    )
    result = run.run(config, output=tmp_path)
    assert closing_message.all_diverged(result)
    assert "diverged and frozen: seeds 0, 1, 2, 3" in closing_message.text(result)
    assert len(result.summary["final_eval_return"]["per_seed"]) == 4
    for leaf in jax.tree.leaves(result.params):
        assert np.isfinite(leaf).all()
    assert json.loads((result.directory / "manifest.json").read_text())["status"] == (
        "diverged"
    )
    summary = json.loads((result.directory / "summary.json").read_text())
    assert summary["diverged_seeds"] == [0, 1, 2, 3]


def test_files_of_a_run(tmp_path):
    result = run.run(TINY, output=tmp_path)
    again = run.run(TINY, output=tmp_path)
    assert again.directory != result.directory
    assert same(again.eval_returns, result.eval_returns)
    names = {path.name for path in result.directory.iterdir()}
    assert names == {
        "config.json", "manifest.json", "metrics.csv", "metrics.npz", "summary.json",
        "params.npz", "curve.png", "report.html", ".lock",
        "checkpoint-0000000250.jaxq",
    }  # fmt: skip
    assert result.directory.parent == tmp_path / "dqn" / "CartPole-v1"
    arrays = np.load(result.directory / "metrics.npz", allow_pickle=False)
    np.testing.assert_array_equal(arrays["eval_return"], result.curve.eval_return)
    assert arrays["eval_returns"].shape == (4, 3, 3)
    rows = (result.directory / "metrics.csv").read_text().splitlines()
    assert len(rows) == 1 + 4 * 3 and rows[0].startswith("seed,step,epsilon,train_")
    saved = json.loads((result.directory / "config.json").read_text())
    assert saved.pop("schema") == manifest.SCHEMA
    saved = {k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()}
    assert Config(**saved) == TINY
    provenance = json.loads((result.directory / "manifest.json").read_text())
    assert provenance["status"] == "finished" and provenance["versions"]["jax"]
    assert provenance["seed_block"] == 4
    params = np.load(result.directory / "params.npz", allow_pickle=False)
    assert len(params.files) == len(jax.tree.leaves(result.params))


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt, "interrupted"), (RuntimeError, "failed")]
)
@pytest.mark.parametrize("disk_full", [False, True])
def test_an_aborted_run_keeps_its_measurements(
    tmp_path, monkeypatch, error, status, disk_full
):
    """The error is raised in the second chunk, after the state was donated."""
    advance, calls = population.Population.train, []

    def aborted(self, iterations=None):
        calls.append(1)
        advance(self, iterations)
        self.intact = False
        if len(calls) == 2:
            for leaf in jax.tree.leaves(self.states):
                leaf.delete()
            raise error("the cause")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(population.Population, "train", aborted)
    if disk_full:
        monkeypatch.setattr(files, "write_arrays", full)
    with pytest.raises(error, match="the cause"):
        run.run(TINY, output=tmp_path)
    (directory,) = (tmp_path / "dqn" / "CartPole-v1").iterdir()
    provenance = json.loads((directory / "manifest.json").read_text())
    assert provenance["status"] == status
    if not disk_full:
        assert np.load(directory / "metrics.npz")["eval_return"].shape[1] == 2
        assert (directory / "curve.png").exists()


def test_files_are_written_atomically(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"value": 1})

    def fails(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        files.write(path, fails)
    assert json.loads(path.read_text()) == {"value": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_layout_distributes_equal_blocks_over_devices():
    devices = jax.devices()
    for seeds, block, widths in (
        (10, 0, 5),
        (1, 0, 1),
        (3, 0, 2),
        (40, 0, 10),
        (5, 4, 4),
    ):
        config = dataclasses.replace(
            TINY, num_seeds=seeds, seed_block=block, first_seed=3
        )
        placed = blocks.layout(config, devices)
        assert {block.seeds.size for block in placed} == {widths}
        assert [block.device for block in placed[:2]] == devices[: len(placed)]
        assert [block.worker for block in placed] == [i % 2 for i in range(len(placed))]
        lanes = np.concatenate([block.seeds for block in placed])
        assert lanes[:seeds].tolist() == list(range(3, 3 + seeds))
        assert set(lanes[seeds:]) <= {3 + seeds - 1}


@pytest.mark.parametrize(
    ("share", "width"), [(0.0, 10), (0.1, 10), (0.2, 5), (0.4, 2), (2.0, 1)]
)
def test_a_block_fits_the_cache_of_a_cpu(share, width):
    config = dataclasses.replace(TINY, num_seeds=20, seed_block=0)
    update_bytes = int(share * blocks.MAX_CPU_BYTES)
    placed = blocks.layout(config, jax.devices(), update_bytes)
    assert {block.seeds.size for block in placed} == {width}
    assert len(placed) * width >= 20


def test_a_custom_environment(tmp_path):
    env = adapter.adapt(Corridor())
    config = dataclasses.replace(TINY, eval_points=1)
    result = run.run(config, env, output=tmp_path)
    assert result.curve.eval_return.shape == (4, 2)
    assert result.directory.parent == tmp_path / "dqn" / "Corridor"
    provenance = json.loads((result.directory / "manifest.json").read_text())
    assert provenance["environment"] == "Corridor"
    with pytest.raises(ConfigError, match=r"sticky_actions = 0\.5 has no effect"):
        run.run(dataclasses.replace(config, sticky_actions=0.5), env)


def test_an_environment_name_cannot_inject_paths_or_cells(tmp_path):
    name = "../../=cmd|'/c calc'!A1\n,\"x\"" + 300 * "y"
    env = adapter.adapt(Corridor())
    env = env._replace(spec=env.spec._replace(name=name))
    config = dataclasses.replace(TINY, environment="corridor", environment_args=())
    output = tmp_path / "a" / "runs"
    result = run.run(config, env, output=output)
    assert result.directory.is_relative_to(output)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    rows = (result.directory / "metrics.csv").read_text().splitlines()
    assert len(rows) == 1 + 4 * 3 and "cmd" not in "".join(rows)
    provenance = json.loads((result.directory / "manifest.json").read_text())
    assert provenance["environment"] == name


def test_epsilon_follows_the_configured_schedule():
    steps, episodes = jnp.int32(150), jnp.int32(40)
    for kind, expected in (
        ("linear", 1 - 0.95 * 0.5),
        ("exponential", 0.05 + 0.95 * np.exp(-0.5)),
        ("episodic", 1 - 40 * 0.001),
    ):
        config = dataclasses.replace(TINY, epsilon_schedule=kind)
        epsilon = schedules.epsilon_schedule(config)(steps, episodes)
        np.testing.assert_allclose(epsilon, expected, rtol=1e-6)


def test_episodic_epsilon_does_not_decay_during_warmup():
    config = dataclasses.replace(
        TINY, epsilon_schedule="episodic", epsilon_decrement=0.1, warmup_steps=200
    )
    env = make.from_config(config)
    state = compiled.start(compiled.traced(config), make_keys(config), env=env)
    assert np.all(
        state.agent.store.ended.any(axis=(1, 2))
    )  # episodes ended in the warm-up
    schedule = schedules.epsilon_schedule(config)
    assert np.all(schedule(state.steps.value, state.episodes.finished) == 1.0)


def test_epsilon_counts_the_steps_of_all_environments():
    """The stub acts 1 as long as epsilon > 0.75."""
    calls = []

    def act(key, state, memory, observation, epsilon, explore):
        calls.append((epsilon.shape, explore))
        return jnp.where(epsilon > 0.75, 1, 0).astype(jnp.int32), memory

    env = adapter.adapt(Corridor())
    agent = types.Agent(lambda *_: None, lambda key: (), act, None, None, None)
    state = loop.init(jax.random.key(0), agent, env, 2)
    schedule = schedules.epsilon_schedule(
        dataclasses.replace(
            TINY, epsilon_start=1.0, epsilon_end=0.0, epsilon_steps=80.0
        )
    )
    _, rollout = loop.collect(jax.random.key(1), agent, env, state, schedule, 20)
    assert calls[0] == ((), True)
    # epsilon = 1 - 2 t / 80 > 0.75 for t < 10, with two environment steps per row.
    np.testing.assert_array_equal(rollout.action[:, 0], np.arange(20) < 10)


def test_mean_returns_count_every_finished_episode_once():
    """The running means against a loop over the episodes of the same rollout."""
    rng = np.random.default_rng(0)
    reward = rng.normal(size=(50, 3)).astype(np.float32)
    done = rng.random((50, 3)) < 0.2
    episodes = metrics.Episodes(jnp.zeros(3), jnp.zeros(3, jnp.int32), jnp.int32(0))
    tally = metrics.zeros()
    no = jnp.zeros(3, bool)
    finished = []
    total, length = np.zeros(3), np.zeros(3)
    for t in range(50):
        step = types.Step(no, no, jnp.asarray(reward[t]), jnp.asarray(done[t]), no, no)
        episodes, tally = metrics.record_step(episodes, tally, step)
        total, length = total + reward[t], length + 1
        finished += [(total[e], length[e]) for e in range(3) if done[t, e]]
        total, length = np.where(done[t], 0, total), np.where(done[t], 0, length)
    assert int(tally.episodes) == int(episodes.finished) == len(finished)
    means = np.mean(finished, axis=0)
    np.testing.assert_allclose(tally.episode_return, means[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(tally.episode_length, means[1], rtol=1e-4)


# Two updates per iteration, or one.
@pytest.mark.parametrize("update_steps", mark_others([1, 2], [1], CONFORMANCE))
def test_update_metrics_are_means_over_updates(update_steps):
    """Means over five iterations equal the mean of the five separate ones."""
    config = dataclasses.replace(TINY, update_steps=update_steps, chunk_iterations=1)
    lengths = loop_lengths.loop_lengths(config)
    env, keys = make.from_config(config), make_keys(config)
    setting = compiled.traced(config)

    def five(reset_metrics):
        state = compiled.start(setting, keys, env=env)
        tallies = []
        for _ in range(5):
            if reset_metrics:
                state = state._replace(tally=jax.tree.map(jnp.zeros_like, state.tally))
            state = compiled.chunk(setting, keys, state, env=env)
            tallies.append(jax.device_get(state.tally))
        return tallies

    separate, together = five(True), five(False)[-1]
    assert all(tally.updates[0] == lengths.num_updates for tally in separate)
    assert together.updates[0] == 5 * lengths.num_updates == 10 // update_steps
    for name in types.UpdateMetrics._fields:
        values = np.stack([getattr(tally.update, name) for tally in separate])
        assert len(np.unique(values)) == values.size
        np.testing.assert_allclose(
            getattr(together.update, name), values.mean(axis=0), rtol=1e-5
        )


def test_the_training_return_excludes_seeds_without_a_finished_episode():
    """Their nan would be sorted as the largest number."""
    config = dataclasses.replace(TINY, num_seeds=10)
    curve = results.Curve(*[np.zeros((10, 2)) for _ in results.Curve._fields])
    returns = np.arange(10.0, 101.0, 10.0)
    returns[8:] = np.nan
    curve = curve._replace(
        steps=np.array([0, 1]), diverged=np.zeros((10, 2), bool),
        train_return=np.stack([returns, returns], axis=1),
    )  # fmt: skip
    arrays = results.Arrays(curve, np.zeros((10, 2, 1)), {})
    assert summary.summarize(config, arrays, {}, {})["final_train_return"]["iqm"] == 45
    curve.train_return[:] = np.nan
    iqm = summary.summarize(config, arrays, {}, {})["final_train_return"]["iqm"]
    assert np.isnan(iqm)


def test_the_last_line_of_progress_shows_the_last_point(capsys):
    config = dataclasses.replace(TINY, eval_points=2, total_steps=2_000)
    result = run.run(config, show_progress=True, plot=False)
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("100%")]
    final = result.summary["final_eval_return"]
    assert f"return IQM {final['iqm']:.4g} [" in line


def test_invalid_arguments_raise_helpful_errors(tmp_path):
    for environment in (Corridor(), Corridor, "CartPole-v1"):
        with pytest.raises(ConfigError, match=r"Pass jaxq\.adapt\(environment\)"):
            run.run(TINY, environment)
    for invalid, message in ((Corridor, "is a class"), (object(), "default_params")):
        with pytest.raises(ConfigError, match=message):
            adapter.adapt(invalid)
    with pytest.raises(ConfigError, match="is not a directory"):
        run.run(TINY, resume=str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"choose one of .* Did you mean dqn"):
        run.run(dataclasses.replace(TINY, algorithm="DQN"))


def test_unfinished_evaluation_episodes_are_reported(tmp_path):
    config = dataclasses.replace(TINY, eval_max_steps=3)
    result = run.run(config, output=str(tmp_path), plot=False)  # a string is accepted
    assert result.directory.is_relative_to(tmp_path)
    message = closing_message.text(result)
    assert "100% of the last evaluation's episodes were cut off" in message
    curve = result.curve._replace(eval_unfinished=result.curve.eval_unfinished * 0)
    assert "cut off" not in closing_message.text(result._replace(curve=curve))


def test_the_manifest_names_the_script_relative_to_the_repository(monkeypatch):
    script = manifest.ROOT / "experiments" / "dqn.py"
    assert script.exists()
    monkeypatch.setattr("sys.argv", [str(script), "--num-seeds", "2"])
    provenance = manifest.collect("CartPole-v1", jax.devices(), 4)
    assert provenance["command"] == "python experiments/dqn.py --num-seeds 2"
    assert (provenance["commit"] is not None) == (manifest.ROOT / ".git").exists()


def test_calls_on_a_cpu_adapt_to_a_second_and_stop_at_points():
    lengths = loop_lengths.loop_lengths(TINY)._replace(
        chunk_iterations=100, point_iterations=200
    )
    pacer = pacing.Pacer(lengths, adaptive=True)
    assert pacer.next(0) == 1
    pacer.record(1, 5.0)  # compilation is not timed
    assert pacer.next(1) == 1
    pacer.record(1, 0.01)  # at most tenfold
    assert pacer.next(2) == 10
    pacer.record(10, 0.2)
    assert pacer.next(12) == 50
    assert pacer.next(180) == 20 and pacer.next(200) == 50  # up to the next point
    assert pacer.next(12, whole_chunk=True) == 100
    pacer.record(50, 200.0)
    assert pacer.next(62) == 1


def test_calls_of_a_compiled_length_do_not_adapt_and_stop_at_points():
    lengths = loop_lengths.loop_lengths(TINY)._replace(
        chunk_iterations=60, point_iterations=125
    )
    pacer = pacing.Pacer(lengths, adaptive=False)
    done = 0
    for length in (60, 60, 5, 60, 60, 5):
        assert pacer.next(done) == length
        pacer.record(length, 100.0)
        done += length
