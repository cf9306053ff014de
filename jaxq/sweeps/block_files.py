"""Files of the blocks of a sweep, finished or in progress."""

import pathlib
from collections.abc import Mapping

import numpy as np

from jaxq.config.fields import CheckpointError, ConfigError
from jaxq.runs import checkpoint
from jaxq.sweeps.planning import SCHEMA, Job, Sweep


def finished(directory: pathlib.Path, sweep: Sweep) -> tuple[set[Job], list[str]]:
    """The finished blocks, and a message for every corrupt one."""
    jobs, messages = set(), []
    for job in sweep.jobs:
        path = directory / "blocks" / job.name
        if not path.exists():
            continue
        try:
            load_block(path, job, sweep.members(job))
        except CheckpointError as error:
            messages.append(f"{path} is corrupt and will be trained again: {error}")
        else:
            jobs.add(job)
    return jobs, messages


def load_block(
    path: pathlib.Path, job: Job, members: list[int] | None = None
) -> dict[str, np.ndarray]:
    """Load the measurements of a block.

    Args:
        path: of its file.
        job: the block that it must be.
        members: the members it must hold, `Sweep.members`; None accepts any.

    Raises:
        CheckpointError: if the file is corrupt, or is another block.
    """
    header, arrays = checkpoint.load(path)
    if (header.get("program"), header.get("block")) != job:
        raise CheckpointError("it is another block, renamed")
    if members not in (None, header.get("members", members)):
        raise CheckpointError("it was packed differently, by another process")
    return arrays


def save_block(
    directory: pathlib.Path,
    job: Job,
    members: list[int],
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Write the measurements of a block, and the members they belong to."""
    (directory / "blocks").mkdir(exist_ok=True)
    header = {"schema": SCHEMA, **job._asdict(), "members": members}
    checkpoint.save(directory / "blocks" / job.name, header, arrays)


def partial_path(directory: pathlib.Path, job: Job) -> pathlib.Path:
    """File of a block that is still being trained."""
    return directory / "blocks" / f"{job.name}.part"


def save_partial(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the states and measurements of a block that is still being trained."""
    path.parent.mkdir(exist_ok=True)
    checkpoint.save(path, {"schema": SCHEMA}, arrays)


def require_block(
    path: pathlib.Path, job: Job, members: list[int] | None = None
) -> dict[str, np.ndarray]:
    """Load a block that must exist and be valid."""
    try:
        return load_block(path, job, members)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path} is missing: not every shard is finished, or merged."
        ) from error
    except CheckpointError as error:
        raise ConfigError(
            f"{path} is corrupt: {error}. Run the command of its shard to train it "
            "again."
        ) from error
