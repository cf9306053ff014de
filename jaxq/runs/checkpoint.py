"""Checkpoint files: named arrays with a checksum, without pickle.

A checkpoint consists of

    8 bytes     MAGIC
    8 bytes     length of the header, little-endian
    header      JSON, UTF-8: "arrays", a list of [name, dtype, shape], and the fields
                that the writer adds
    payload     the arrays one after another, little-endian, in C order, unpadded
    32 bytes    SHA-256 of everything before

in this order. Any language can read the format in a few lines, the header determines
the file size, and the checksum detects corruption. Files are read sequentially, with
memory for one copy of the arrays.
"""

import errno
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np

from jaxq.config.fields import CheckpointError
from jaxq.runs import files

MAGIC = b"jaxq\x00ck1"
KEPT = 2  # checkpoints of a run, so that one stays valid if the other is corrupt
_MAX_HEADER = 2**26
_DTYPES = (
    "|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8",
)  # fmt: skip
_DIGEST = 32


def _bytes(array: np.ndarray) -> memoryview:
    return memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]


class _HashedFile:
    """A file that hashes all data read from it or written to it."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, data: Any) -> None:
        self._file.write(data)
        self._hash.update(data)

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._hash.update(data)
        return data

    def read_into(self, array: np.ndarray) -> None:
        view = _bytes(array)
        if self._file.readinto(view) != len(view):  # type: ignore[attr-defined]
            raise CheckpointError("unexpected end of file")
        self._hash.update(view)

    def digest(self) -> bytes:
        return self._hash.digest()


def save(
    path: pathlib.Path, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write a checkpoint atomically.

    Args:
        path: path of the file.
        header: additional fields of the header; must be serialisable as JSON.
        arrays: name -> array of booleans, integers or floats.

    Raises:
        TypeError: for an array of another dtype.
        ValueError: if the header is too long or contains a non-finite number.
    """
    stored = {name: _portable(name, array) for name, array in arrays.items()}
    specs = [[name, a.dtype.str, list(a.shape)] for name, a in stored.items()]
    text = json.dumps({**header, "arrays": specs}, allow_nan=False).encode()
    if len(text) > _MAX_HEADER:
        raise ValueError(
            f"the checkpoint's header has {len(text)} bytes, but at most {_MAX_HEADER} "
            "are allowed; use fewer, wider blocks"
        )

    def write(file: IO[bytes]) -> None:
        hashed = _HashedFile(file)
        hashed.write(MAGIC)
        hashed.write(len(text).to_bytes(8, "little"))
        hashed.write(text)
        for array in stored.values():
            hashed.write(_bytes(array))
        file.write(hashed.digest())

    files.write(path, write)


def _portable(name: str, array: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(array).reshape(np.shape(array))
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if array.dtype.str not in _DTYPES:
        raise TypeError(
            f"{name} has dtype {array.dtype}, which checkpoints do not support"
        )
    return array


def load(path: pathlib.Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read and verify a checkpoint.

    The header is not trusted: sizes are checked before any memory is allocated.

    Returns:
        The additional fields of the header, and the arrays by name.

    Raises:
        CheckpointError: if the file is corrupt.
        OSError: if the file cannot be read, or memory runs out.
    """
    with path.open("rb") as file:
        hashed = _HashedFile(file)
        size = os.fstat(file.fileno()).st_size
        header, length = _read_header(hashed, size)
        specs = [_spec(entry) for entry in header.pop("arrays")]
        payload = sum(dtype.itemsize * math.prod(shape) for _, dtype, shape in specs)
        expected = len(MAGIC) + 8 + length + payload + _DIGEST
        if size != expected:
            raise CheckpointError(f"expected {expected} bytes, got {size}")
        arrays = {}
        for name, dtype, shape in specs:
            arrays[name] = _allocate(path, name, dtype, shape)
            hashed.read_into(arrays[name])
        if file.read(_DIGEST) != hashed.digest():
            raise CheckpointError("checksum mismatch")
    if len(arrays) != len(specs):
        raise CheckpointError("duplicate array name")
    return header, arrays


def _read_header(hashed: _HashedFile, size: int) -> tuple[dict[str, Any], int]:
    """Parsed header and its length, from the start of a file of `size` bytes."""
    if hashed.read(len(MAGIC)) != MAGIC:
        raise CheckpointError("not a checkpoint of this version of jaxq")
    length = int.from_bytes(hashed.read(8), "little")
    if length > min(_MAX_HEADER, size):
        raise CheckpointError(f"impossible header length of {length} bytes")
    try:
        header = json.loads(hashed.read(length))
    except (ValueError, RecursionError) as error:
        raise CheckpointError("the header is not valid JSON") from error
    if not isinstance(header, dict) or not isinstance(header.get("arrays"), list):
        raise CheckpointError("the header has no list of arrays")
    return header, length


def _spec(entry: Any) -> tuple[str, np.dtype, tuple[int, ...]]:
    """Name, dtype and shape of an array, from its entry in the header."""
    match entry:
        case [str(name), str(dtype), [*shape]] if dtype in _DTYPES and len(shape) < 33:
            if all(type(n) is int and 0 <= n < 2**48 for n in shape):
                return name, np.dtype(dtype), tuple(shape)
    raise CheckpointError(f"invalid array in the header: {str(entry)[:80]!r}")


def _allocate(
    path: pathlib.Path, name: str, dtype: np.dtype, shape: tuple[int, ...]
) -> np.ndarray:
    try:
        return np.empty(shape, dtype)
    except ValueError as error:
        raise CheckpointError(f"cannot allocate {name}: {error}") from error
    except MemoryError as error:  # the size was verified, so the file may be valid
        text = os.strerror(errno.ENOMEM)
        raise OSError(errno.ENOMEM, text, str(path)) from error


def path_of(directory: pathlib.Path, iterations: int) -> pathlib.Path:
    """Path of the checkpoint after a number of iterations."""
    return directory / f"checkpoint-{iterations:010}.jaxq"


def paths(directory: pathlib.Path) -> list[pathlib.Path]:
    """Paths of the checkpoints in a directory, newest first."""
    return sorted(directory.glob("checkpoint-*.jaxq"), reverse=True)


def keep(
    directory: pathlib.Path, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Save a checkpoint of a run, and delete all but the `KEPT` newest up to it.

    Newer files are corrupt (the run resumed from the newest valid one), so they are
    deleted.

    Args:
        directory: directory of the run, whose lock the caller holds.
        header: additional fields of the header; "iterations" names the file.
        arrays: name -> array.
    """
    path = path_of(directory, header["iterations"])
    save(path, header, arrays)
    existing = paths(directory)
    if path not in existing:  # the directory was deleted or moved meanwhile
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    index = existing.index(path)
    for other in existing[:index] + existing[index + KEPT :]:
        other.unlink(missing_ok=True)


def warnings(errors: Sequence[str]) -> list[str]:
    """Lines to print for the corrupt checkpoints that `newest` skipped."""
    return [f"warning: {error}; using the previous checkpoint" for error in errors]


def newest(
    directory: pathlib.Path,
) -> tuple[dict[str, Any], dict[str, np.ndarray], list[str]]:
    """Load the newest valid checkpoint of a run.

    Returns:
        Its header, its arrays, and error messages for newer, corrupt checkpoints.

    Raises:
        CheckpointError: if no checkpoint is valid.
        OSError: if a checkpoint cannot be read; it may be valid, so it is not skipped.
    """
    errors = []
    for path in paths(directory):
        try:
            header, arrays = load(path)
            if path_of(directory, header.get("iterations", -1)) != path:
                raise CheckpointError("file name and header disagree about iterations")
        except (CheckpointError, FileNotFoundError, TypeError, ValueError) as error:
            errors.append(f"{path.name} is corrupt: {error}")
        else:
            return header, arrays, errors
    raise CheckpointError("; ".join(errors) or f"{directory} has no checkpoint")
