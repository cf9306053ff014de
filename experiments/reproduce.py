"""Reproduce published results, each with a test and a verdict.

A target declares its source, the protocol, the published number and the test that
decides. Its record, in results/reproduced, has the curves of every seed; the figure, in
results/figures/reproduced, draws our curve over the published one. Targets with a
record are skipped, and interrupted runs resume.
"""

import dataclasses
import pathlib
import sys
import time
from typing import TYPE_CHECKING

from experiments.reproductions import records, registry
from experiments.reproductions.target import Target, verdict
from experiments.support import search
from jaxq import Config, cli
from jaxq.config import command_line, flags
from jaxq.config.fields import ConfigError, check_name
from jaxq.runs import matplotlib_check

if TYPE_CHECKING:
    from jaxq import Result

RESULTS = pathlib.Path(__file__).resolve().parent.parent / "results"


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Command-line arguments."""

    target: tuple[str, ...] = ()
    """Targets to reproduce; --list names them."""
    all: bool = False
    """Reproduce every target."""
    list: bool = False
    """Print the targets with their cost and verdict."""
    check: bool = False
    """Judge the committed records again, from their curves; exit with 1 if one differs
    from its recorded outcome or from its declaration."""
    output: pathlib.Path = RESULTS
    """Directory in which to write reproduced/ and figures/reproduced/."""
    runs: pathlib.Path = RESULTS / "runs" / "reproduced"
    """Directory of the run directories."""


def main() -> None:
    """List, check or reproduce."""
    arguments = command_line.read(Arguments, __doc__)
    for name in arguments.target:
        check_name("target", name, registry.TARGETS)
    if arguments.list:
        print(listing(arguments.output / "reproduced"))
    if arguments.check:
        sys.exit(check(arguments.output / "reproduced"))
    names = tuple(registry.TARGETS) if arguments.all else arguments.target
    if not names and not arguments.list:
        raise ConfigError("name a --target, or use --all, --list or --check.")
    if names:
        matplotlib_check.check_matplotlib()
        cli.set_up_jax(flags.Options())
        for name in names:
            reproduce(name, registry.TARGETS[name], arguments.output, arguments.runs)


def reproduce(
    name: str, target: Target, output: pathlib.Path, runs: pathlib.Path
) -> None:
    """Run what has not been run, write the record and the figure, print the verdict."""
    from experiments.reproductions import figure

    directory = output / "reproduced"
    if not records.paths(name, directory)[0].exists():
        if target.simulate is None:
            results = {label: train(c, runs) for label, c in target.runs.items()}
            records.write(name, target, results, directory)
        else:
            simulate(name, target, directory)
    record = records.read(name, target, directory)
    figures = output / "figures" / "reproduced"
    figures.mkdir(parents=True, exist_ok=True)
    figure.draw(figures / f"{name}.png", target, record)
    passed, sentence = target.criterion.judge(record.values)
    word = verdict(target, passed) if passed or target.reason else "not reproduced"
    print(f"{name}: {word}; {sentence}")


def train(config: Config, runs: pathlib.Path) -> "Result":
    """Run a configuration, or resume its run."""
    from jaxq import run

    return run(
        config,
        output=runs,
        resume=search.latest(config, runs),
        show_progress=True,
        plot=False,
    )


def simulate(name: str, target: Target, directory: pathlib.Path) -> None:
    """Run a simulation and write its record."""
    import jax

    from jaxq.runs import manifest

    assert target.simulate is not None
    facts, start = manifest.collect(name, jax.devices()[:1], 1), time.monotonic()
    values = target.simulate()
    seconds = time.monotonic() - start
    records.write_simulation(name, target, values, facts, seconds, directory)


def listing(directory: pathlib.Path) -> str:
    """A line per target: name, minutes on two cores, verdict, title."""
    lines = []
    for name, target in registry.TARGETS.items():
        word = records.verdict_of(name, target, directory)
        minutes = f"{target.cost.cpu:g} min"
        lines.append(f"{name:<34}{minutes:>9}  {word:<20} {target.title}")
    return "\n".join(lines)


def check(directory: pathlib.Path) -> int:
    """Print what is wrong with the committed records; 1 if anything is."""
    found, count = [], 0
    for name, target in registry.TARGETS.items():
        if records.paths(name, directory)[0].exists():
            count += 1
            found += records.problems(name, target, directory)
    print("\n".join([*found, f"{count} records, {len(found)} problems"]))
    return bool(found)


if __name__ == "__main__":
    with cli.exit_codes():
        main()
