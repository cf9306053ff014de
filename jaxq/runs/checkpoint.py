"""The file that a run goes on from: named arrays, checksummed, without pickle.

A checkpoint is, in this order,

    8 bytes     MAGIC
    8 bytes     length of the header, little-endian
    header      JSON, UTF-8: "arrays", a list of [name, dtype, shape], and what the
                writer adds
    payload     the arrays one after another, little-endian, in C order, unpadded
    32 bytes    SHA-256 of everything before

so that any language reads it in a few lines, its size is known from its header, and no
damage goes unseen. It is read from start to end with memory for one copy of the arrays.
"""

import errno
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from jaxq.config.fields import CheckpointError
from jaxq.runs import files

MAGIC = b"jaxq\x00ck1"
KEPT = 2
_MAX_HEADER = 2**26
_DTYPES = (
    "|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8",
)  # fmt: skip
_DIGEST = 32


def _bytes(array: np.ndarray) -> memoryview:
    return memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]


class _Hashed:
    """A file of which everything read or written goes into a checksum."""

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
            raise CheckpointError("it ends too early")
        self._hash.update(view)

    def digest(self) -> bytes:
        return self._hash.digest()


def save(
    path: pathlib.Path, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write a checkpoint whole or not at all.

    Args:
        path: of the file.
        about: what the header says besides; anything that JSON can hold.
        arrays: by name, of booleans, integers or floats.
    """
    stored = {name: _portable(name, array) for name, array in arrays.items()}
    listed = [[name, a.dtype.str, list(a.shape)] for name, a in stored.items()]
    header = json.dumps({**about, "arrays": listed}, allow_nan=False).encode()
    if len(header) > _MAX_HEADER:
        raise ValueError(f"a header of {len(header)} bytes; use fewer, wider blocks")

    def put(file: IO[bytes]) -> None:
        hashed = _Hashed(file)
        hashed.write(MAGIC)
        hashed.write(len(header).to_bytes(8, "little"))
        hashed.write(header)
        for array in stored.values():
            hashed.write(_bytes(array))
        file.write(hashed.digest())

    files.write(path, put)


def _portable(name: str, array: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(array).reshape(np.shape(array))
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if array.dtype.str not in _DTYPES:
        raise TypeError(f"{name} has dtype {array.dtype}, which no checkpoint holds")
    return array


def load(path: pathlib.Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays of a checkpoint.

    Nothing is believed before it is checked: a file that promises more than it holds is
    refused before memory is taken for it.

    Raises:
        CheckpointError: if a single bit is not as it was written.
        OSError: if the file cannot be read, or not for want of memory.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        hashed = _Hashed(file)
        if hashed.read(len(MAGIC)) != MAGIC:
            raise CheckpointError("it is not a checkpoint of this version of jaxq")
        length = int.from_bytes(hashed.read(8), "little")
        if length > min(_MAX_HEADER, size):
            raise CheckpointError(f"its header would have {length} bytes")
        about = _parse(hashed.read(length))
        specs = [_spec(entry) for entry in about.pop("arrays")]
        payload = sum(dtype.itemsize * math.prod(shape) for _, dtype, shape in specs)
        expected = len(MAGIC) + 8 + length + payload + _DIGEST
        if size != expected:
            raise CheckpointError(f"it has {size} bytes in place of {expected}")
        arrays = {}
        for name, dtype, shape in specs:
            try:
                arrays[name] = np.empty(shape, dtype)
            except ValueError as error:
                raise CheckpointError(f"{name} has no room: {error}") from error
            except MemoryError as error:  # the file is as large as it says
                text = os.strerror(errno.ENOMEM)
                raise OSError(errno.ENOMEM, text, str(path)) from error
            hashed.read_into(arrays[name])
        if file.read(_DIGEST) != hashed.digest():
            raise CheckpointError("its checksum is wrong")
    if len(arrays) != len(specs):
        raise CheckpointError("two of its arrays have one name")
    return about, arrays


def _parse(header: bytes) -> dict[str, Any]:
    try:
        about = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise CheckpointError("its header is not JSON") from error
    if not isinstance(about, dict) or not isinstance(about.get("arrays"), list):
        raise CheckpointError("its header lists no arrays")
    return about


def _spec(entry: Any) -> tuple[str, np.dtype, tuple[int, ...]]:
    """Name, dtype and shape of an array, from its entry in the header."""
    match entry:
        case [str(name), str(dtype), [*shape]] if dtype in _DTYPES and len(shape) < 33:
            if all(type(n) is int and 0 <= n < 2**48 for n in shape):
                return name, np.dtype(dtype), tuple(shape)
    raise CheckpointError(f"its header lists {str(entry)[:80]!r}")


def path_of(directory: pathlib.Path, iterations: int) -> pathlib.Path:
    """Where the checkpoint after a number of iterations is kept."""
    return directory / f"checkpoint-{iterations:010}.jaxq"


def found(directory: pathlib.Path) -> list[pathlib.Path]:
    """The checkpoints of a directory, newest first."""
    return sorted(directory.glob("checkpoint-*.jaxq"), reverse=True)


def keep(
    directory: pathlib.Path, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Save the checkpoint of a run, and keep the `KEPT` newest up to it.

    Those beyond it are damaged: a run goes on from the newest that is whole.

    Args:
        directory: of the run, which this process must hold.
        about: with "iterations", which the file is named by.
        arrays: by name.
    """
    path = path_of(directory, about["iterations"])
    save(path, about, arrays)
    paths = found(directory)
    if path not in paths:  # the directory was taken away in between
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    place = paths.index(path)
    for other in paths[:place] + paths[place + KEPT :]:
        other.unlink(missing_ok=True)


def newest(
    directory: pathlib.Path,
) -> tuple[dict[str, Any], dict[str, np.ndarray], list[str]]:
    """The newest checkpoint of a run that is whole.

    Returns:
        Its header, its arrays, and what is wrong with newer ones, in words.

    Raises:
        CheckpointError: if there is none, or none that is whole.
        OSError: if one cannot be read now; it may be whole, and is not passed over.
    """
    wrong = []
    for path in found(directory):
        try:
            about, arrays = load(path)
            if path_of(directory, about.get("iterations", -1)) != path:
                raise CheckpointError("it is that of another time, renamed")
        except (CheckpointError, FileNotFoundError, TypeError, ValueError) as error:
            wrong.append(f"{path.name} is damaged: {error}")
        else:
            return about, arrays, wrong
    raise CheckpointError("; ".join(wrong) or f"{directory} has no checkpoint")
