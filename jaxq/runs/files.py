"""Atomic file writes, and a lock that gives a directory to one process at a time."""

import csv
import datetime
import io
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO, Any, Self

import numpy as np

from jaxq.config import fields

try:
    import fcntl
except ImportError:  # Windows: directories are not locked
    fcntl = None  # type: ignore[assignment]


def write(
    path: pathlib.Path, save: Callable[[IO[bytes]], Any], new: bool = False
) -> None:
    """Write a file atomically: `save` fills a temporary file, which is renamed.

    Args:
        path: of the file.
        save: writes the content.
        new: whether the file must not exist.

    Raises:
        FileExistsError: if `new` and it exists.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            save(file)
            file.flush()
            os.fsync(file.fileno())
        if new:
            path.hardlink_to(temporary)
        else:
            temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(directory: pathlib.Path) -> None:
    """Flush a rename to disk, so that it survives a power failure."""
    if os.name == "nt":  # directories cannot be opened
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def clear(directory: pathlib.Path) -> None:
    """Delete temporary files of killed processes; the caller must hold the lock."""
    for path in directory.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy a file atomically."""
    content = source.read_bytes()
    write(target, lambda file: file.write(content))


def write_json(path: pathlib.Path, content: Mapping[str, Any]) -> None:
    """Write a dictionary as JSON; non-finite numbers become null."""
    text = json.dumps(plain(content), indent=2, allow_nan=False) + "\n"
    write_text(path, text)


def write_text(path: pathlib.Path, text: str) -> None:
    """Write text as UTF-8, atomically."""
    write(path, lambda file: file.write(text.encode()))


def write_csv(path: pathlib.Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as comma-separated values; the first row is the header.

    A number has the fewest digits that give back its bits; a boolean is 0 or 1.
    """
    text = io.StringIO()
    cells = [[int(x) if isinstance(x, np.bool) else x for x in row] for row in rows]
    csv.writer(text, lineterminator="\n").writerows(cells)
    write_text(path, text.getvalue())


def plain(value: Any) -> Any:
    """Convert nested values to JSON types; non-finite numbers become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def write_arrays(
    path: pathlib.Path,
    arrays: Mapping[str, np.ndarray],
    compress: bool = False,
    new: bool = False,
) -> None:
    """Write named arrays to an npz file; see `write`."""
    save: Any = np.savez_compressed if compress else np.savez
    write(path, lambda file: save(file, **arrays), new)


class Lock:
    """Exclusive lock on a directory, released by the system if the process dies.

    Raises:
        Locked: with the process ID and start time of the holder.
    """

    def __init__(self, directory: pathlib.Path, name: str = ".lock"):
        self._file = (directory / name).open("a+", encoding="utf-8")
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip()
            self._file.close()
            raise fields.Locked(
                f"{directory} is in use by {holder or 'another process'}. Wait "
                "until it finishes, or stop it."
            ) from None
        self._file.truncate(0)
        now = datetime.datetime.now().isoformat(sep=" ", timespec="seconds")
        self._file.write(f"process {os.getpid()}, started {now}\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Release the lock."""
        self._file.close()
