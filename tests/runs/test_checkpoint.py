"""Checkpoint files: corruption, hostile content, and crashes while saving."""

import errno
import hashlib
import json
import os
import pathlib
import shutil
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import same

from jaxq.config.fields import CheckpointError, Locked
from jaxq.runs import checkpoint, files
from jaxq.runs.checkpoint import MAGIC
from jaxq.training import pytree_arrays
from jaxq.types import counter

HEADER = {"iterations": 7, "config": {"algorithm": "dqn"}, "levels": {"a": 0.1}}
ARRAYS = {
    "weights/0": np.arange(600, dtype=np.float32).reshape(20, 30),
    "bits": np.arange(7) % 2 == 0,
    "count": np.int32(5),
    "bytes": np.arange(300, dtype=np.uint8),
    "none": np.zeros((0, 4)),
    "word": np.array([2**63], np.uint64),
}


def test_arrays_and_header_survive_a_round_trip(tmp_path):
    path = tmp_path / "a.jaxq"
    checkpoint.save(path, HEADER, ARRAYS)
    header, arrays = checkpoint.load(path)
    assert header == HEADER
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].shape == np.shape(array)
        assert arrays[name].dtype == array.dtype
        assert arrays[name].tobytes() == np.asarray(array).tobytes()


def test_the_file_matches_the_documented_format(tmp_path):
    path = tmp_path / "a.jaxq"
    checkpoint.save(path, HEADER, ARRAYS)
    content = path.read_bytes()
    length = int.from_bytes(content[8:16], "little")
    header = json.loads(content[16 : 16 + length])
    assert content[:8] == MAGIC and header["levels"] == {"a": 0.1}
    assert header["arrays"][0] == ["weights/0", "<f4", [20, 30]]
    first = np.frombuffer(content, "<f4", 600, 16 + length).reshape(20, 30)
    np.testing.assert_array_equal(first, ARRAYS["weights/0"])
    assert hashlib.sha256(content[:-32]).digest() == content[-32:]


def test_memory_layout_and_byte_order_do_not_matter(tmp_path):
    array = np.arange(12, dtype=">f4").reshape(3, 4).T
    checkpoint.save(tmp_path / "a", {}, {"x": array})
    checkpoint.save(tmp_path / "b", {}, {"x": np.ascontiguousarray(array, "<f4")})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([{}]), np.array([1j])])
def test_unsupported_dtypes_are_rejected(array, tmp_path):
    with pytest.raises(TypeError, match="x has dtype"):
        checkpoint.save(tmp_path / "a", {}, {"x": array})
    assert not list(tmp_path.iterdir())


def test_every_corruption_is_detected(tmp_path, rng):
    """3,000 bit flips, truncations, insertions, zeroed ranges and spliced files."""
    path = tmp_path / "a.jaxq"
    checkpoint.save(path, HEADER, ARRAYS)
    valid = path.read_bytes()
    other = tmp_path / "other.jaxq"
    checkpoint.save(other, HEADER | {"iterations": 8}, ARRAYS)

    def corrupt(kind):
        content = bytearray(valid)
        place = int(rng.integers(len(content)))
        size = int(rng.integers(1, 200))
        if kind == 0:
            content[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del content[place:]
        elif kind == 2:
            content[place : place + size] = bytes(len(content[place : place + size]))
        elif kind == 3:
            content[place:place] = rng.bytes(size)
        elif kind == 4:
            half = len(content) // 2
            content = content[half:] + content[:half]
        else:  # the start of one file and the end of another
            content[place:] = other.read_bytes()[place:]
        return bytes(content)

    count = 0
    while count < 3_000:
        content = corrupt(count % 6)
        if content in (valid, other.read_bytes()):
            continue
        path.write_bytes(content)
        with pytest.raises(CheckpointError):
            checkpoint.load(path)
        count += 1
    path.write_bytes(valid)
    checkpoint.load(path)


def forged(header, payload=b"", length=None, magic=MAGIC):
    """Arbitrary content with a valid checksum."""
    if not isinstance(header, bytes):
        header = json.dumps(header).encode()
    size = len(header) if length is None else length
    content = magic + size.to_bytes(8, "little") + header + payload
    return content + hashlib.sha256(content).digest()


def entry(name="x", dtype="<f4", shape=(1,)):
    return {"arrays": [[name, dtype, list(shape)]]}


HOSTILE = {
    "empty": b"",
    "short": b"jaxq",
    "only magic": MAGIC,
    "other magic": forged(entry(), bytes(4), magic=b"notjaxq!"),
    "npz": b"PK\x03\x04" + bytes(500),
    "giant header": MAGIC + (2**63).to_bytes(8, "little") + bytes(100),
    "header beyond the file": forged(entry(), bytes(4), length=3_000_000),
    "header too long": forged(b" " * 5_000_000 + b"{}"),
    "not JSON": forged(b"\x80\x04\x95pickle"),
    "not UTF-8": forged(b"\xff\xfe\xff"),
    "deeply nested": forged(b"[" * 100_000),
    "a list": forged([]),
    "a number": forged(b"7"),
    "no arrays": forged({}),
    "arrays is a string": forged({"arrays": "abc"}),
    "arrays is a dictionary": forged({"arrays": {"x": 1}}),
    "no shape": forged({"arrays": [["x", "<f4"]]}),
    "objects": forged(entry(dtype="|O"), bytes(8)),
    "strings": forged(entry(dtype="<U4"), bytes(16)),
    "void": forged(entry(dtype="|V8"), bytes(8)),
    "structured": forged(entry(dtype="f4,f4"), bytes(8)),
    "subarrays": forged(entry(dtype="(1000000,)<f4"), bytes(4)),
    "other byte order": forged(entry(dtype=">f4"), bytes(4)),
    "datetimes": forged(entry(dtype="<M8[s]"), bytes(8)),
    "no dtype": forged(entry(dtype=None), bytes(4)),
    "10^12 elements": forged(entry(shape=(10**12,)), bytes(4)),
    "2^64 elements": forged(entry(shape=(2**32, 2**32)), bytes(4)),
    "negative": forged(entry(shape=(-1,)), b""),
    "two negative axes": forged(entry(shape=(-1, -1)), bytes(4)),
    "fractional shape": forged(entry(shape=(0.5,)), bytes(4)),
    "boolean shape": forged(entry(shape=(True,)), bytes(4)),
    "float shape": forged(b'{"arrays": [["x", "<f4", [1e0]]]}', bytes(4)),
    "zero times a large number": forged(entry(shape=(0, 2**47, 2**47)), b""),
    "too many axes": forged(entry(shape=(1,) * 64), bytes(4)),
    "duplicate name": forged({"arrays": [["x", "|u1", [1]]] * 2}, bytes(2)),
    "name is not a string": forged(entry(name=5), bytes(4)),
    "payload too short": forged(entry(shape=(2,)), bytes(4)),
    "payload too long": forged(entry(), bytes(5)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_rejected_in_little_memory(name, tmp_path):
    assert len(HOSTILE) >= 30
    path = tmp_path / "checkpoint-0000000001.jaxq"
    path.write_bytes(HOSTILE[name])
    tracemalloc.start()
    with pytest.raises(CheckpointError):
        checkpoint.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


def test_array_names_are_not_used_as_paths(tmp_path):
    path = tmp_path / "run" / "a"
    path.parent.mkdir()
    path.write_bytes(forged(entry(name="../../x", dtype="|u1"), b"\x01"))
    _, arrays = checkpoint.load(path)
    assert list(arrays) == ["../../x"]
    assert [p.name for p in tmp_path.rglob("*")] == ["run", "a"]


def test_two_checkpoints_are_kept_and_the_newest_is_loaded(tmp_path):
    for iterations in (5, 50, 1_000, 20_000):
        checkpoint.keep(tmp_path, {"iterations": iterations}, {"x": np.ones(3)})
    names = [path.name for path in checkpoint.paths(tmp_path)]
    assert names == ["checkpoint-0000020000.jaxq", "checkpoint-0000001000.jaxq"]
    header, _, errors = checkpoint.newest(tmp_path)
    assert header["iterations"] == 20_000 and not errors


def test_newer_corrupt_checkpoints_are_deleted_by_the_next_save(tmp_path):
    for iterations in (100, 200, 300):
        checkpoint.save(
            checkpoint.path_of(tmp_path, iterations), {"iterations": iterations}, {}
        )
    for path in checkpoint.paths(tmp_path)[:2]:
        path.write_bytes(b"corrupt")
    checkpoint.keep(tmp_path, {"iterations": 150}, {})
    kept = [int(path.stem[-10:]) for path in checkpoint.paths(tmp_path)]
    assert kept == [150, 100]


def test_an_unreadable_header_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_MAX_HEADER", 100)
    with pytest.raises(ValueError, match="wider blocks"):
        checkpoint.save(tmp_path / "a", HEADER, ARRAYS)
    with pytest.raises(ValueError):
        checkpoint.save(tmp_path / "a", {"level": float("nan")}, {})
    assert not list(tmp_path.iterdir())


def test_a_corrupt_checkpoint_falls_back_to_the_previous_one(tmp_path):
    for iterations in (1, 2):
        checkpoint.keep(tmp_path, {"iterations": iterations}, {"x": np.ones(3)})
    newer, older = checkpoint.paths(tmp_path)
    content = bytearray(newer.read_bytes())
    content[-40] ^= 1
    newer.write_bytes(content)
    header, _, errors = checkpoint.newest(tmp_path)
    assert header["iterations"] == 1
    assert errors == [f"{newer.name} is corrupt: checksum mismatch"]
    older.write_bytes(b"")
    with pytest.raises(CheckpointError, match=f"{newer.name}.*{older.name}"):
        checkpoint.newest(tmp_path)


def test_an_unreadable_checkpoint_is_not_reported_as_corrupt(tmp_path, monkeypatch):
    for iterations in (1, 2):
        checkpoint.keep(tmp_path, {"iterations": iterations}, {"x": np.ones(3)})

    def failing(error):
        def fail(*arguments):
            raise error

        return fail

    with monkeypatch.context() as patched:
        patched.setattr(pathlib.Path, "open", failing(OSError(errno.EIO, "read error")))
        with pytest.raises(OSError, match="read error"):
            checkpoint.newest(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(np, "empty", failing(MemoryError()))
        with pytest.raises(OSError, match=r"allocate memory.*checkpoint-0000000002"):
            checkpoint.newest(tmp_path)
    assert checkpoint.newest(tmp_path)[0] == {"iterations": 2}


def test_a_renamed_checkpoint_is_rejected(tmp_path):
    checkpoint.keep(tmp_path, {"iterations": 3}, {"x": np.ones(3)})
    checkpoint.paths(tmp_path)[0].rename(checkpoint.path_of(tmp_path, 9))
    with pytest.raises(CheckpointError, match="name and header disagree"):
        checkpoint.newest(tmp_path)


def test_a_directory_without_checkpoints_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="has no checkpoint"):
        checkpoint.newest(tmp_path)


class Crashes:
    """Copies of a directory as a crash at any step of saving would leave it."""

    def __init__(self, monkeypatch, directory, keep):
        self.copies = []
        self.directory, self.keep = directory, keep
        for owner, name in (
            (os, "fsync"), (os, "replace"), (os, "open"), (os, "unlink"),
            (pathlib.Path, "replace"), (pathlib.Path, "unlink"),
            (pathlib.Path, "open"),
        ):  # fmt: skip
            monkeypatch.setattr(owner, name, self.around(getattr(owner, name)))
        write = checkpoint._HashedFile.write
        monkeypatch.setattr(checkpoint._HashedFile, "write", self.flushed(write))

    def snapshot(self):
        if self.directory.exists():
            copy = self.keep / f"{len(self.copies):03}"
            self.copies.append(copy)
            shutil.copytree(self.directory, copy)

    def around(self, function):
        def call(*args, **kwargs):
            if self.busy():
                return function(*args, **kwargs)
            self.inside = True
            try:
                self.snapshot()
                result = function(*args, **kwargs)
                self.snapshot()
            finally:
                self.inside = False
            return result

        return call

    def flushed(self, write):
        def call(hashed, data):
            half = len(data) // 2
            for part in (data[:half], data[half:]):
                write(hashed, part)
                hashed._file.flush()
                self.inside = True
                self.snapshot()
                self.inside = False

        return call

    inside = False

    def busy(self):
        return self.inside


def test_a_crash_at_any_step_of_saving_leaves_a_valid_checkpoint(tmp_path, monkeypatch):
    directory, copies = tmp_path / "run", tmp_path / "copies"
    directory.mkdir(), copies.mkdir()
    for iterations in (1, 2):
        checkpoint.keep(directory, {"iterations": iterations}, ARRAYS)
    with monkeypatch.context() as patched:
        crashes = Crashes(patched, directory, copies)
        checkpoint.keep(directory, {"iterations": 3}, ARRAYS)
    assert len(crashes.copies) > 30
    iterations = set()
    for copy in crashes.copies:
        header, arrays, errors = checkpoint.newest(copy)
        assert not errors
        assert arrays["weights/0"].tobytes() == ARRAYS["weights/0"].tobytes()
        iterations.add(header["iterations"])
        files.clear(copy)
        assert not list(copy.glob(".*.tmp"))
    assert iterations == {2, 3}


def test_a_state_with_keys_and_counters_survives_a_round_trip():
    state = {
        "key": jax.random.split(jax.random.key(3), 4),
        "count": counter(5),
        "nested": (jnp.ones((2, 3), jnp.bfloat16).astype(jnp.float32), None, ()),
        "scalar": jnp.uint8(7),
    }
    arrays = pytree_arrays.flatten(state, "block0/")
    shapes = jax.eval_shape(lambda: state)
    restored = pytree_arrays.unflatten(shapes, arrays, "block0/")
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    keys = [jax.random.key_data(tree.pop("key")) for tree in (restored, state)]
    assert same(*keys)
    assert same(restored, state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": None}, "array x is missing"),
        (
            {"x": np.zeros(3, np.float32)},
            r"array x is float32\[3\], expected float32\[2",
        ),
        ({"x": np.zeros(2, np.int32)}, r"array x is int32\[2\], expected float32\[2"),
    ],
)
def test_arrays_of_another_shape_or_dtype_are_rejected(change, message):
    arrays = {"x": np.zeros(2, np.float32)} | change
    arrays = {name: array for name, array in arrays.items() if array is not None}
    with pytest.raises(CheckpointError, match=message):
        pytree_arrays.unflatten({"x": jnp.zeros(2)}, arrays)


def test_a_directory_is_locked_by_one_process(tmp_path):
    first = files.Lock(tmp_path)
    with pytest.raises(Locked, match=f"in use by process {os.getpid()}"):
        files.Lock(tmp_path)
    first.release()
    files.Lock(tmp_path).release()


def test_a_directory_deleted_while_saving_is_a_missing_file(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "paths", lambda directory: [])
    with pytest.raises(FileNotFoundError, match="No such file or directory"):
        checkpoint.keep(tmp_path, {"iterations": 1}, {"a": np.zeros(2)})


def test_half_precision_survives_a_round_trip(tmp_path):
    tree = {
        "half": jnp.float16([1.5, -0.0, jnp.nan]),
        "brain": jnp.bfloat16([[3.14, jnp.inf]]),
        "one": jnp.bfloat16(2.5),
    }
    path = tmp_path / "a"
    checkpoint.save(path, {}, pytree_arrays.flatten(tree, "p/"))
    restored = pytree_arrays.unflatten(tree, checkpoint.load(path)[1], "p/")
    for name, leaf in tree.items():
        assert restored[name].dtype == leaf.dtype and restored[name].shape == leaf.shape
        assert restored[name].tobytes() == np.asarray(leaf).tobytes()
    single = jax.tree.map(jnp.float32, tree)
    with pytest.raises(CheckpointError, match="array p/brain is uint16"):
        pytree_arrays.unflatten(
            {"brain": single["brain"]}, pytree_arrays.flatten(tree, "p/"), "p/"
        )
