"""Settings of a sweep: a grid over ranges, random samples of them, or a CSV file."""

import csv
import itertools
import math
import pathlib
from collections.abc import Sequence
from typing import Literal

import numpy as np

from jaxq.config.fields import ConfigError
from jaxq.sweeps import search_space
from jaxq.sweeps.search_space import MAX_SETTINGS, ParameterRange, Setting

Method = Literal["random", "latin", "sobol"]


def grid(ranges: Sequence[ParameterRange]) -> list[Setting]:
    """Every combination of the values; the last field varies fastest.

    Raises:
        ConfigError: for more than `MAX_SETTINGS` settings.
    """
    points = [r.points() for r in ranges]
    total = math.prod(map(len, points))
    if total > MAX_SETTINGS:
        raise ConfigError(
            f"the grid has {total} settings, more than {MAX_SETTINGS}; list fewer "
            "values, or sample some with --random."
        )
    names = [r.field for r in ranges]
    return [
        dict(zip(names, values, strict=True)) for values in itertools.product(*points)
    ]


def sample(
    ranges: Sequence[ParameterRange],
    count: int,
    method: Method = "sobol",
    seed: int = 0,
) -> list[Setting]:
    """Sample settings from the ranges.

    Args:
        ranges: intervals, and lists whose values are equally likely.
        count: number of settings.
        method: independent samples; a Latin hypercube, with one value in each of
            `count` equal parts of every range; or a scrambled Sobol sequence, whose
            first points stay the same when more are drawn.
        seed: of the samples.

    Raises:
        ConfigError: if `count` is outside [1, MAX_SETTINGS].

    Reference: McKay et al. (1979); Owen (1998), Scrambling Sobol' and Niederreiter-Xing
    points; as in scipy.stats.qmc.
    """
    if not 1 <= count <= MAX_SETTINGS:
        raise ConfigError(f"random = {count} is outside [1, {MAX_SETTINGS}].")
    shares = _unit_cube(len(ranges), count, method, seed)
    return [
        {r.field: r.at(float(share)) for r, share in zip(ranges, row, strict=True)}
        for row in shares
    ]


def _unit_cube(dimension: int, count: int, method: Method, seed: int) -> np.ndarray:
    """Points in [0, 1)^dimension; [count, dimension]."""
    if method == "random":
        return np.random.default_rng(seed).random((count, dimension))
    from scipy.stats import qmc

    if method == "latin":
        return qmc.LatinHypercube(dimension, rng=seed).random(count)
    # Drawn in powers of two, where they are balanced; a prefix is as good as any part.
    sobol = qmc.Sobol(dimension, rng=seed)
    return sobol.random_base2(math.ceil(math.log2(count)))[:count]


def read_csv(path: pathlib.Path) -> list[Setting]:
    """Read settings from a CSV file with one column per field.

    Raises:
        ConfigError: if the file cannot be read, or has malformed rows or columns.
    """
    try:
        reader = csv.DictReader(path.read_text().splitlines())
        header = [search_space.canonical(name) for name in reader.fieldnames or ()]
        reader.fieldnames = header
        rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(
            f"settings = {str(path)!r} cannot be read: {error}."
        ) from error
    if not rows:
        raise ConfigError(f"settings = {str(path)!r} has no rows.")
    _check_header(path, header)
    for line, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise ConfigError(
                f"settings = {str(path)!r}: line {line} does not have as many values "
                "as the header has columns."
            )
    return [
        {name: search_space.parse_value(name, text) for name, text in row.items()}
        for row in rows
    ]


def _check_header(path: pathlib.Path, header: Sequence[str]) -> None:
    for name in header:
        if not name:
            raise ConfigError(
                f"settings = {str(path)!r}: a column has no name. Leave out a numbered "
                "first column, as pandas writes it (index=False)."
            )
        if header.count(name) > 1:
            raise ConfigError(f"settings = {str(path)!r}: {name} appears twice.")
        search_space.check_field(name)
