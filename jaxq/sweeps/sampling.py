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

    A byte order mark, blanks around values, and blank lines are ignored. The separator
    is a comma, or else a semicolon or tab that the header has. An empty value is None,
    for fields that may be.

    Raises:
        ConfigError: if the file cannot be read, or has malformed rows or columns.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = _read_rows(file.read())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(
            f"settings = {str(path)!r} cannot be read: {error}. Save it as UTF-8 text "
            "with commas between the columns."
        ) from error
    if len(rows) < 2:
        raise ConfigError(f"settings = {str(path)!r} has no rows after the header.")
    (_, names), *rows = rows
    header = [search_space.canonical(name) for name in names]
    _check_header(path, header)
    return [_read_setting(path, line, header, row) for line, row in rows]


def _read_rows(text: str) -> list[tuple[int, list[str]]]:
    """Line number and stripped values of every row, except for blank lines."""
    lines = text.splitlines()
    header = next((line for line in lines if line.strip()), "")
    delimiter = next((mark for mark in ";\t" if mark in header), ",")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    rows = [(reader.line_num, [value.strip() for value in row]) for row in reader]
    return [(line, row) for line, row in rows if lines[line - 1].strip()]


def _read_setting(
    path: pathlib.Path, line: int, header: Sequence[str], row: Sequence[str]
) -> Setting:
    """The setting of a row.

    Raises:
        ConfigError: for a row of another length, or a value of another type.
    """
    place = f"settings = {str(path)!r}: line {line}"
    if len(row) != len(header):
        raise ConfigError(
            f"{place} does not have as many values as the header has columns: "
            f"{len(row)} instead of {len(header)}."
        )
    try:
        return {
            name: search_space.parse_value(name, text)
            for name, text in zip(header, row, strict=True)
        }
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from error


def _check_header(path: pathlib.Path, header: Sequence[str]) -> None:
    for name in header:
        if not name:
            raise ConfigError(
                f"settings = {str(path)!r}: a column has no name. Leave out a numbered "
                "first column, as pandas writes it (index=False), or an empty last one."
            )
        if header.count(name) > 1:
            raise ConfigError(f"settings = {str(path)!r}: {name} appears twice.")
        try:
            search_space.check_field(name)
        except ConfigError as error:
            raise ConfigError(
                f"settings = {str(path)!r}: the first line must name the columns: "
                f"{error}"
            ) from error
