"""Settings x seeds in the fewest compiled programs, ranked, and the best confirmed.

--grid takes every combination of ranges, --random N draws from them, --settings reads a
CSV file. A range is field=1,2,3, field=log:LOW:HIGH or field=uniform:LOW:HIGH, with
:POINTS after it in a grid; env.NAME is a parameter of the environment. The same command
goes on with a sweep that was stopped.
"""

import contextlib
import dataclasses
import json
import pathlib
import shlex
import sys
from typing import TYPE_CHECKING, Literal

import arlbench
import dqn

from jaxq import cli
from jaxq.config import flags
from jaxq.config.config import Config, ConfigError
from jaxq.config.validate import validate
from jaxq.sweeps import search_space

if TYPE_CHECKING:
    from jaxq.sweeps.report import Verdict
    from jaxq.sweeps.sweep import Sweep

PRESETS = dqn.PRESETS | arlbench.PRESETS


@dataclasses.dataclass(frozen=True)
class Search(flags.Machine):
    """What is tried, what ranks it, and what is told."""

    ranges: tuple[str, ...] = ()
    """Ranges that settings are drawn from."""
    sample_seed: int = 0
    """Seed of the draws."""
    score: Literal["final", "area"] = "final"
    """What ranks: the greedy return in the end, or its mean over the steps."""
    confirm_seeds: int | None = None
    """Fresh seeds on which the best setting is run again; None takes as many as it was
    chosen on, 0 none."""
    top: int = 10
    """Settings that are printed."""


@dataclasses.dataclass(frozen=True)
class Arguments(Search):
    """What is tried, and where."""

    grid: tuple[str, ...] = ()
    """Ranges of which every combination is tried."""
    random: int = 0
    """Settings to draw from --ranges."""
    method: Literal["random", "latin", "sobol"] = "sobol"
    """How --random draws: independently, a Latin hypercube, or Sobol's sequence."""
    settings: pathlib.Path | None = None
    """CSV file with a setting in every row and a field in every column."""
    dry_run: bool = False
    """Print the programs, members, bytes and blocks, and compute nothing."""
    shard: str = "1/1"
    """i/n: compute every n-th block, the i-th first; --merge puts shares together."""
    merge: tuple[pathlib.Path, ...] = ()
    """Directories of shares of a sweep: gather their blocks in the first, and rank."""
    distributed: str = ""
    """Compute with other processes: auto (SLURM, Open MPI, TPU pods), or
    ADDRESS:PORT,INDEX/COUNT."""


def main(args: list[str] | None = None) -> None:
    """Run a sweep, or what is missing of it, and say what it tells."""
    with cli.exit_codes("the same command goes on", at_once=args is None):
        words = sys.argv[1:] if args is None else args
        config, arguments = flags.parse(PRESETS, __doc__ or "", words, Arguments())
        validate(config)
        check_search(arguments)
        share = read_share(arguments.shard)
        settings, ranges = read_settings(arguments)
        for setting in settings:
            check_setting(config, setting)
        cli.set_up_jax(arguments, join=arguments.distributed)
        run(config, settings, ranges, share, arguments)


def check_setting(config: Config, setting: search_space.Setting) -> None:
    """Refuse a setting that cannot run, and say which it is."""
    try:
        validate(search_space.apply(config, setting))
    except ConfigError as error:
        raise ConfigError(f"setting {setting}: {error}") from error


def check_search(arguments: Search) -> None:
    """Refuse numbers that mean nothing."""
    for name, least in (("top", 1), ("confirm_seeds", 0), ("sample_seed", 0)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise ConfigError(f"{name} = {value} is less than {least}.")


def read_share(text: str) -> tuple[int, int]:
    """Which share, from zero on, of how many; text: i/n."""
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise ConfigError(f"shard = {text!r} is not of the form i/n, with 1 <= i <= n.")
    return int(index) - 1, int(count)


def read_settings(arguments: Arguments) -> tuple[list[search_space.Setting], list[str]]:
    """The settings, and the ranges they come from."""
    ways = {
        "grid": bool(arguments.grid),
        "random": arguments.random != 0,
        "settings": arguments.settings is not None,
        "merge": bool(arguments.merge),
    }
    given = [f"--{name}" for name, is_given in ways.items() if is_given]
    if len(given) != 1:
        raise ConfigError(
            f"{' and '.join(given) or 'nothing'} says what is tried: give one of "
            "--grid, --random with --ranges, --settings, and --merge."
        )
    if bool(arguments.random) != bool(arguments.ranges):
        raise ConfigError("--random N and --ranges belong together.")
    words = list(arguments.grid or arguments.ranges)
    ranges = [search_space.parse(word) for word in words]
    names = [r.field for r in ranges]
    if len(set(names)) < len(names):
        raise ConfigError(f"a field is given twice: {', '.join(names)}.")
    if arguments.settings:
        return search_space.read(arguments.settings), []
    if arguments.grid:
        return search_space.grid(ranges), words
    if arguments.random:
        draw = arguments.random, arguments.method, arguments.sample_seed
        return search_space.sample(ranges, *draw), words
    return [], []


def run(
    config: Config,
    settings: list[search_space.Setting],
    ranges: list[str],
    share: tuple[int, int],
    arguments: Arguments,
) -> None:
    """Compute what is missing, and report."""
    from jaxq.runs import files, manifest, progress, signals
    from jaxq.sweeps import hosts, storage, sweep, workers
    from jaxq.training import blocks

    signals.Stopper.end_process = True
    devices = blocks.workers(arguments.cpu_cores)
    if arguments.merge:
        target, *others = arguments.merge
        storage.read(target)
        with files.Lock(target):
            copied = storage.merge(target, others)
            print(f"{copied} blocks copied to {target}")
            tried = storage.load(target, devices, computed=False)
            report(tried, target, arguments)
        return
    tried = sweep.make(config, settings, ranges, devices)
    directory = sweep.directory_of(
        arguments.output, "sweep", tried.base, tried.settings
    )
    if arguments.dry_run:
        print(sweep.describe(tried), f"would be kept in {directory}", sep="\n")
        return
    with contextlib.ExitStack() as held:
        stop = held.enter_context(signals.Stopper())
        if hosts.index() == 0:
            specs = {program.env.spec.name for program in tried.programs}
            record = manifest.collect(", ".join(sorted(specs)), devices, 0)
            directory.mkdir(parents=True, exist_ok=True)
            held.enter_context(files.Lock(directory, _lock(share)))
            tried = storage.begin(
                tried, directory, record, devices, arguments.force_resume
            )
        tried = workers.agree(tried, devices)
        total = sum(tried.steps(job) for job in tried.jobs[share[0] :: share[1]])
        shown = arguments.progress and hosts.index() == 0
        with progress.Progress(total, 1, shown) as bar:
            bar.print(sweep.describe(tried))
            bar.print(f"sweep: {directory}")
            there = workers.run(tried, directory, devices, share, bar, stop)
        if hosts.index() == 0:
            if there:
                print(f"{there} blocks were there already")
            if share[1] == 1:
                storage.clear(directory, tried)
                report(tried, directory, arguments)
            else:
                words = [cli.python(), sys.argv[0], "--merge", str(directory)]
                print(
                    f"share {arguments.shard} is finished; when all are: "
                    f"{shlex.join(words)} [directories of others]"
                )


def _lock(share: tuple[int, int]) -> str:
    """Shares may be computed side by side in one directory."""
    return ".lock" if share[1] == 1 else f".lock-{share[0] + 1}-of-{share[1]}"


def report(tried: "Sweep", directory: pathlib.Path, arguments: Arguments) -> None:
    """Rank, draw, and run the best setting again on fresh seeds."""
    from jaxq.sweeps import report as sweeps_report
    from jaxq.sweeps import storage

    curves = storage.collect(directory, tried)
    verdicts = sweeps_report.judge(tried, curves, arguments.score)
    sweeps_report.write(
        directory, tried, curves, verdicts, arguments.score, arguments.plot
    )
    for found in verdicts:
        tell(tried, found, directory, arguments)
    print(f"\nsaved in {directory}")


def tell(
    tried: "Sweep",
    found: "Verdict",
    directory: pathlib.Path,
    arguments: Search,
    of: str = "",
) -> None:
    """Print the table and its warnings, and confirm the best; of: which settings."""
    from jaxq.sweeps import report as sweeps_report

    print(f"\n{found.environment}, {arguments.score} return{of}:")
    print(sweeps_report.table(tried, found, arguments.top))
    for text in found.warnings:
        print(f"warning: {text}")
    if found.rows[0].diverged:
        print(f"warning: {found.rows[0].diverged} seeds of the best have diverged.")
    confirm(tried, found, directory, arguments)


def confirm(
    tried: "Sweep", found: "Verdict", directory: pathlib.Path, arguments: Search
) -> None:
    """Run the best setting again on seeds that it was not chosen by."""
    import numpy as np

    from jaxq.runs import checkpoint, run
    from jaxq.stats import intervals
    from jaxq.sweeps import report as sweeps_report
    from jaxq.training import blocks

    config = tried.configs[found.best]
    program = next(i for i, p in enumerate(tried.programs) if found.best in p.settings)
    width = tried.packings[program].width
    words = [cli.python(), "experiments/dqn.py", "--preset", "cleanrl"]
    exact = dataclasses.replace(config, seed_block=width)
    print(f"the best as a single run: {shlex.join(words + flags.flags(exact))}")
    seeds = arguments.confirm_seeds
    seeds = config.num_seeds if seeds is None else seeds
    if not seeds:
        return
    fresh = sweeps_report.confirmation(config, seeds)
    root = directory / "confirmed"
    before = [path.parent for path in root.rglob("config.json")]
    same = [path for path in before if flags.read_config(path) == fresh]
    done = [path for path in same if (path / "summary.json").exists()]
    begun = [path for path in same if checkpoint.paths(path)]
    if done:
        summary = json.loads((done[0] / "summary.json").read_text())
    else:
        summary = run.run(
            fresh,
            output=root,
            resume=begun[0] if begun else None,
            force_resume=arguments.force_resume,
            plot=arguments.plot,
            devices=blocks.workers(arguments.cpu_cores),
        ).summary
    per_seed = {
        "final": summary["final_eval_return"]["per_seed"],
        "area": summary["mean_eval_return_over_steps"],
    }
    again = intervals.bootstrap_iqm(np.array(per_seed[arguments.score])[:, None])
    iqm, low, high = (float(part[0]) for part in again)
    if diverged := len(summary["diverged_seeds"]):
        print(f"warning: {diverged} fresh seeds have diverged.")
    print(
        f"on {seeds} fresh seeds: {arguments.score} return IQM {iqm:.4g}, 95 % CI "
        f"[{low:.4g}, {high:.4g}] ({found.rows[0].iqm:.4g} on those it was chosen by)"
    )


if __name__ == "__main__":
    main()
