"""Datasets: files that hold them exactly, and the transitions that are read."""

import dataclasses
import gc
import json
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import same
from mdps import MaskedChain

from jaxq import Config, ConfigError
from jaxq.envs import adapter
from jaxq.replay import ring, stores, sum_tree, transition_readers
from jaxq.runs import files, recording
from jaxq.training import checks, dataset_format, datasets
from jaxq.types import EnvSpec, MaskedObservation, Step

GAMMA = 0.9
SPEC = EnvSpec("numbers", jax.ShapeDtypeStruct((3,), np.float32), num_actions=4)


def make(rng, size=40, dtype=np.float32):
    """Random steps; every observation occurs once."""
    kind = rng.choice(4, size, p=[0.7, 0.1, 0.1, 0.1])
    kind[-1] = rng.integers(1, 4)
    ends = (kind == 2) | (kind == 3)

    def observations(count):
        x = rng.normal(size=(count, 3))
        return (x > 0) if dtype is bool else x.astype(dtype)

    return dataset_format.Dataset(
        observation=observations(size),
        action=rng.integers(0, 4, size, dtype=np.int32),
        reward=rng.normal(size=size).astype(np.float32),
        terminated=kind == 1,
        truncated=kind == 2,
        cut=kind == 3,
        final_observation=observations(int(ends.sum())),
    )


def plain_transitions(dataset, n, timeout_is_terminal=False, continuing=False):
    """Every transition: (observation, action, reward, discount, successor)."""
    finals = iter(dataset.final_observation)
    closed = dataset.truncated | dataset.cut
    successors = [
        next(finals) if closed[t] else dataset.observation[(t + 1) % closed.size]
        for t in range(closed.size)
    ]
    terminal = dataset.terminated | (dataset.truncated & timeout_is_terminal)
    found = []
    for t in range(closed.size):
        total, discount, k = 0.0, 1.0, t
        while True:
            total += discount * float(dataset.reward[k])
            discount *= GAMMA
            if terminal[k] and not continuing:
                discount = 0.0
                break
            if k - t + 1 == n or (closed[k] and not terminal[k]):
                break
            k = (k + 1) % closed.size
            if k == 0:  # what follows the last step was not recorded
                break
        last = closed.size - 1 if k == 0 and t > 0 else k
        found.append(
            (dataset.observation[t], dataset.action[t], total, discount,
             successors[last])
        )  # fmt: skip
    return found


def read_all(rows, n, spec=SPEC, continuing=False):
    """The transitions of all rows with a positive weight, in order."""
    rows = rows._replace(added=rows.added._replace(value=rows.added.value + n))
    count = int(ring.num_starts(rows, n))
    read = transition_readers.transitions(
        spec.observation, n, jnp.float32(GAMMA), continuing=continuing
    )
    sample = ring.gather(
        jax.tree.map(jnp.asarray, rows), read, jnp.arange(count), jnp.zeros(count, int)
    )
    keep = np.asarray(sample.weight) > 0
    return jax.tree.map(lambda leaf: np.asarray(leaf)[keep], sample.example)


@pytest.mark.parametrize("dtype", [np.float32, bool])
@pytest.mark.parametrize("timeout_is_terminal", [False, True])
@pytest.mark.parametrize("n", [1, 3])
def test_every_step_is_read_with_its_true_successor(n, timeout_is_terminal, dtype, rng):
    spec = SPEC._replace(observation=jax.ShapeDtypeStruct((3,), dtype))
    for _ in range(5):
        dataset = make(rng, dtype=dtype)
        rows = datasets.to_ring(dataset, spec, timeout_is_terminal)
        example = read_all(rows, n, spec)
        expected = plain_transitions(dataset, n, timeout_is_terminal)
        assert len(expected) == example.action.size == dataset.action.size
        for t, (observation, action, total, discount, successor) in enumerate(expected):
            np.testing.assert_array_equal(example.observation[t], observation)
            assert example.action[t] == action
            np.testing.assert_allclose(example.reward[t], total, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(example.discount[t], discount, rtol=1e-5)
            if discount:
                np.testing.assert_array_equal(example.next_observation[t], successor)


def test_the_last_end_of_a_continuing_task_leads_to_the_first_start(rng):
    dataset = make(rng)
    last = np.zeros(40, bool)
    last[-1] = True
    closed = (dataset.truncated | dataset.cut) & ~last
    dataset = dataset._replace(
        terminated=dataset.terminated | last,
        truncated=dataset.truncated & ~last,
        cut=dataset.cut & ~last,
        final_observation=dataset.final_observation[: closed.sum()],
    )
    example = read_all(datasets.to_ring(dataset, SPEC), 1, continuing=True)
    expected = plain_transitions(dataset, 1, continuing=True)
    assert example.discount == pytest.approx(GAMMA)
    for t, (*_, successor) in enumerate(expected):
        np.testing.assert_array_equal(example.next_observation[t], successor)


def test_frames_are_stacked_from_their_own_episode():
    size, stack = 9, 3
    spec = EnvSpec("frames", jax.ShapeDtypeStruct((2, 2, 1), np.float32), 2)
    frame = np.arange(size, dtype=np.float32)[:, None, None, None] * np.ones((2, 2, 1))
    cut = np.isin(np.arange(size), (3, 8))
    none, zero = np.zeros(size, bool), np.zeros(size, np.float32)
    dataset = dataset_format.Dataset(
        frame.astype(np.float32), zero.astype(np.int32), zero, none, none, cut,
        np.full((2, 2, 2, 1), [[[[100]]], [[[200]]]], np.float32),
    )  # fmt: skip
    rows = datasets.to_ring(dataset, spec)
    rows = jax.tree.map(jnp.asarray, rows._replace(added=rows.added._replace(
        value=rows.added.value + 1)))  # fmt: skip
    read = transition_readers.transitions(spec.observation, 1, 0.9, stack)
    sample = ring.gather(rows, read, jnp.arange(11), jnp.zeros(11, int))
    seen = np.asarray(sample.example.observation)[:, 0, 0, :]
    after = np.asarray(sample.example.next_observation)[:, 0, 0, :]
    weight = np.asarray(sample.weight)
    np.testing.assert_array_equal(np.flatnonzero(weight == 0), [4, 10])
    np.testing.assert_array_equal(seen[0], [0, 0, 0])
    np.testing.assert_array_equal(seen[3], [1, 2, 3])
    np.testing.assert_array_equal(after[3], [2, 3, 100])
    np.testing.assert_array_equal(seen[5], [4, 4, 4])  # another episode starts
    np.testing.assert_array_equal(after[9], [7, 8, 200])


def test_every_step_that_can_be_learned_from_has_the_same_mass(rng):
    masses = jnp.float32(rng.uniform(size=1000))
    built = sum_tree.of(masses)
    updated = sum_tree.update(sum_tree.init(1000), jnp.arange(1000), masses)
    assert [level.shape for level in built] == [level.shape for level in updated]
    for one, other in zip(built, updated, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)

    dataset = make(rng)
    rows = datasets.to_ring(dataset, SPEC)
    config = Config(defaults="plain", prioritized=True, batch_size=64)
    config = dataclasses.replace(config, dataset=rows)
    store = stores.proportional(config, SPEC)
    state = store.init(SPEC.example())
    assert state.ring == ()
    leaves = np.asarray(state.tree[0])[: rows.ended.size]
    usable = rows.ended[:, 0] & ring.TRUNCATED == 0
    assert usable.sum() == 40
    np.testing.assert_array_equal(leaves > 0, usable)
    assert len(set(leaves[usable])) == 1


# Files.


def written(path, dataset, **facts):
    files.write_arrays(path, dataset_format.to_arrays(dataset, facts))
    return path


def test_a_dataset_is_written_and_read_bit_for_bit(tmp_path, rng):
    dataset = make(rng)
    path = tmp_path / "steps.npz"
    recording.write(path, dataset, {"note": "é"})
    back, facts, digest = dataset_format.read(path, SPEC)
    assert same(dataset, back)
    assert facts == {"schema": dataset_format.SCHEMA, "note": "é"}
    assert len(digest) == 64
    with pytest.raises(ConfigError, match=r"exists\. Delete it, or name another"):
        recording.write(path, make(rng), {})
    assert same(dataset, dataset_format.read(path, SPEC)[0])
    changed = dataset._replace(reward=dataset.reward + 1)
    other = written(tmp_path / "other.npz", changed)
    assert dataset_format.read(other, SPEC)[2] != digest
    with pytest.raises(ConfigError, match=r"must end in \.npz"):
        recording.write(tmp_path / "steps", dataset, {})
    with pytest.raises(ConfigError, match="is not a directory"):
        recording.write(tmp_path / "no" / "steps.npz", dataset, {})


def test_steps_of_several_environments_follow_each_other(rng):
    shape = (5, 2)
    terminated, truncated = np.zeros(shape, bool), np.zeros(shape, bool)
    terminated[1, 0] = truncated[1, 0] = truncated[4, 1] = True
    number = np.arange(10, dtype=np.float32).reshape(shape)
    steps = Step(
        observation=np.repeat(number[..., None], 3, -1),
        action=np.ones(shape, np.int32),
        reward=number,
        terminated=terminated,
        truncated=truncated,
        next_observation=np.repeat(100 + number[..., None], 3, -1),
    )
    dataset = recording.from_steps(SPEC, steps)
    np.testing.assert_array_equal(dataset.reward, [0, 2, 4, 6, 8, 1, 3, 5, 7, 9])
    np.testing.assert_array_equal(np.flatnonzero(dataset.terminated), [1])
    np.testing.assert_array_equal(np.flatnonzero(dataset.cut), [4])
    np.testing.assert_array_equal(np.flatnonzero(dataset.truncated), [9])
    np.testing.assert_array_equal(dataset.final_observation[:, 0], [108, 109])
    np.testing.assert_array_equal(recording.episode_returns(dataset), [2, 25])
    facts = recording.describe(dataset, SPEC, {"epsilon": 0.5})
    assert facts["mean_return"] == 13.5 and facts["episodes"] == 2
    json.dumps(facts, allow_nan=False)


def broken(**changes):
    return lambda dataset: dataset._replace(
        **{
            name: change(getattr(dataset, name).copy())
            for name, change in changes.items()
        }
    )


def put(index, value):
    def change(array):
        array[index] = value
        return array

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (broken(action=put(3, 4)), "action = 4 is not one of the 4 actions 0 to 3, at"),
        (broken(action=put(3, -1)), "action = -1 is not one of the 4 actions"),
        (broken(reward=put(5, np.nan)), "reward = nan is not finite, at step 5"),
        (broken(observation=put((2, 1), np.inf)), "observation .* is not finite, at"),
        (
            broken(terminated=put(slice(None), True)),
            "2 of terminated, truncated and cut are set",
        ),
        (broken(observation=lambda x: x[:, :2]), r"expected float32\[40, 3\]"),
        (broken(observation=np.float64), "observation is float64"),
        (broken(action=np.int64), "array action is int64"),
        (broken(reward=lambda x: x[:-1]), r"array reward is float32\[39\]"),
        (broken(cut=lambda x: x[:-1]), r"truncated and cut must be bool\[40\]"),
        (broken(final_observation=lambda x: x[1:]), "final_observation is float32"),
        (
            lambda dataset: jax.tree.map(lambda x: x[:0], dataset),
            "it has no steps",
        ),
    ],
)  # fmt: skip
def test_a_dataset_that_is_wrong_is_refused(change, message, tmp_path, rng):
    path = written(tmp_path / "steps.npz", change(make(rng)))
    with pytest.raises(ConfigError, match=message) as error:
        dataset_format.read(path, SPEC)
    assert str(path) in str(error.value) and "record_dataset.py" in str(error.value)


def test_the_last_step_must_have_an_end(tmp_path, rng):
    dataset = make(rng)
    last = {name: put(-1, False) for name in dataset_format.ENDS}
    closed = bool((dataset.truncated | dataset.cut)[-1])
    dataset = broken(**last)(dataset)
    if closed:
        dataset = broken(final_observation=lambda x: x[:-1])(dataset)
    path = written(tmp_path / "steps.npz", dataset)
    with pytest.raises(ConfigError, match="its last step is neither terminated nor"):
        dataset_format.read(path, SPEC)


def foreign(path):
    np.savez(path, observation=np.zeros(3))


def single(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def pickled(path):
    np.savez(path, facts=np.array([{"schema": dataset_format.SCHEMA}], object))


def later(path):
    np.savez(path, facts=np.array('{"schema": "jaxq-dataset/9"}'))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, r"cannot be read \(No such file"),
        (lambda path: path.mkdir(), r"cannot be read \(Is a directory"),
        (lambda path: path.write_bytes(b""), "it is corrupt or not an npz file"),
        (lambda path: path.write_text("s,a,r\n"), "it is corrupt or not an npz file"),
        (foreign, "it has no facts, so it was not written by jaxq"),
        (single, "it holds a single array"),
        (pickled, "it is corrupt or not an npz file"),
        (later, "its schema is 'jaxq-dataset/9', not 'jaxq-dataset/1'"),
    ],
)
def test_a_file_that_is_not_a_dataset_is_refused(write, message, tmp_path):
    path = tmp_path / "steps.npz"
    write(path)
    with pytest.raises(ConfigError, match=message):
        dataset_format.read(path, SPEC)


@pytest.mark.parametrize("part", [0.3, 0.5, 0.9])
def test_a_corrupt_or_short_file_is_refused(part, tmp_path, rng):
    path = tmp_path / "steps.npz"
    recording.write(path, make(rng, 400), {})
    content = bytearray(path.read_bytes())
    place = int(part * len(content))
    path.write_bytes(content[:place])
    with pytest.raises(ConfigError, match="corrupt or not an npz file"):
        dataset_format.read(path, SPEC)
    content[place] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"steps\.npz"):
        dataset_format.read(path, SPEC)


@pytest.mark.parametrize(("offset", "value"), [(8, 1), (10, 99)])
def test_a_damaged_entry_of_the_archive_is_refused(offset, value, tmp_path, rng):
    """A flag that says encrypted, and an unknown method of compression."""
    path = tmp_path / "steps.npz"
    recording.write(path, make(rng), {})
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + offset] = value
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="corrupt or not an npz file"):
        dataset_format.read(path, SPEC)


def test_scalars_in_place_of_columns_are_refused(tmp_path):
    path = tmp_path / "steps.npz"
    facts = json.dumps({"schema": dataset_format.SCHEMA})
    zero = {name: np.zeros((), bool) for name in dataset_format.ENDS}
    np.savez(path, facts=facts, action=np.int32(0), reward=np.float32(0), **zero)
    with pytest.raises(ConfigError, match="must be bool"):
        dataset_format.read(path, SPEC)


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path, rng, monkeypatch):
    path = tmp_path / "steps.npz"
    check = recording.check_output

    def late(path):
        check(path)
        path.write_bytes(b"somebody's")

    monkeypatch.setattr(recording, "check_output", late)
    with pytest.raises(ConfigError, match="exists"):
        recording.write(path, make(rng), {})
    assert path.read_bytes() == b"somebody's"
    assert list(tmp_path.iterdir()) == [path]


def masked(rng, valid=True):
    """Steps of the masked chain, whose actions are valid or not."""
    state = np.arange(8) % 4
    mask = np.arange(3) != (state % 3)[:, None]
    action = (state + 1) % 3
    none = np.zeros(8, bool)
    observation = MaskedObservation(np.eye(5, dtype=np.float32)[state], mask)
    return dataset_format.Dataset(
        observation=observation,
        action=np.int32(action if valid else state % 3),
        reward=np.full(8, -1.0, np.float32),
        terminated=state == 3,
        truncated=none,
        cut=none,
        final_observation=jax.tree.map(lambda x: x[:0], observation),
    )


def test_masks_are_kept_and_invalid_actions_refused(tmp_path, rng):
    spec = adapter.adapt(MaskedChain()).spec
    path = written(tmp_path / "steps.npz", masked(rng))
    assert same(dataset_format.read(path, spec)[0], masked(rng))
    path = written(tmp_path / "bad.npz", masked(rng, valid=False))
    with pytest.raises(ConfigError, match="action = 0 was not valid, at step 0"):
        dataset_format.read(path, spec)


def test_numbers_of_states_must_exist(tmp_path, rng):
    spec = EnvSpec("states", jax.ShapeDtypeStruct((), np.int32), 4, num_categories=5)
    dataset = make(rng)
    count = dataset.final_observation.shape[0]
    numbered = dataset._replace(
        observation=np.full(40, 4, np.int32),
        final_observation=np.zeros(count, np.int32),
    )
    path = written(tmp_path / "steps.npz", numbered)
    dataset_format.read(path, spec)
    numbered.observation[7] = 5
    path = written(tmp_path / "bad.npz", numbered)
    with pytest.raises(ConfigError, match="observation = 5 is not one of 5 states, at"):
        dataset_format.read(path, spec)


def test_a_dataset_of_another_environment_is_refused_before_anything_compiles(
    tmp_path, rng
):
    path = written(tmp_path / "steps.npz", make(rng))
    config = Config(defaults="plain", dataset=str(path))
    with pytest.raises(ConfigError, match="it does not fit CartPole-v1: array"):
        checks.check(config)
    with pytest.raises(ConfigError, match=r"must be of type str; try '.*steps\.npz'"):
        checks.check(dataclasses.replace(config, dataset=path))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"algorithm": "pqn"}, "it learns on-policy from fresh experience"),
        (
            {"algorithm": "stream_q", "num_envs": 1},
            "it learns on-policy from fresh experience",
        ),
        ({"algorithm": "dyna_q"}, "it learns on-policy from fresh experience"),
        ({"algorithm": "r2d2"}, "replays from the memory before a step"),
        ({"rollout_length": 4}, "rollout_length = 0 learns from replay"),
        ({"intrinsic_bonus": "rnd"}, "nothing is explored"),
        ({"episodic_life": True}, "does not hold the loss of lives"),
        (
            {"ensemble_size": 3, "mask_probability": 0.5},
            "the masks of an ensemble are drawn while it acts",
        ),
        (
            {
                "return_estimator": "retrace", "next_value": "expected_sarsa",
                "n_step": 3,
            },
            "does not hold the probabilities",
        ),
    ],
)  # fmt: skip
def test_what_needs_its_own_steps_is_refused(fields, reason):
    with pytest.raises(ConfigError, match=reason):
        checks.check(Config(defaults="plain", dataset="steps.npz", **fields))


def test_a_device_holds_only_the_dataset_used_last(tmp_path, rng):
    device, rows = jax.local_devices()[0], []
    for name in ("first", "second"):
        path = tmp_path / f"{name}.npz"
        recording.write(path, make(rng), {})
        config = Config(algorithm="dqn", dataset=str(path))
        first, again = (datasets.on_device(config, SPEC, device) for _ in range(2))
        assert first.reward is again.reward
        rows.append(weakref.ref(first.reward))
        del first, again
    gc.collect()
    assert rows[0]() is None and rows[1]() is not None


def test_the_note_needs_no_facts(tmp_path, rng):
    path = tmp_path / "steps.npz"
    config = Config(algorithm="dqn", dataset=str(path))
    recording.write(path, make(rng, 1_200), {"mean_return": "high"})
    assert datasets.notes(config, SPEC) == [f"dataset: {path}, 1,200 steps"]
