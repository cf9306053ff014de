"""Train settings x seeds in the fewest compiled programs, rank them, confirm the best.

--grid takes every combination of ranges, --random N samples from --ranges, --settings
reads a CSV file. A range is field=1,2,3, field=log:LOW:HIGH or field=uniform:LOW:HIGH,
followed by :POINTS in a grid; env.NAME is a parameter of the environment. The same
command resumes a sweep that was stopped.
"""

import contextlib
import dataclasses
import pathlib
import shlex
import sys
from typing import TYPE_CHECKING, ClassVar, Literal

from experiments.support import search, unused_flags
from jaxq import cli
from jaxq.config import environment_notes, flags, user_code
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.config.validate import validate
from jaxq.sweeps import sampling, search_space

if TYPE_CHECKING:
    import jax

    from jaxq.runs.signals import Stopper
    from jaxq.sweeps.planning import Sweep


@dataclasses.dataclass(frozen=True)
class Arguments(search.Options):
    """Settings to train, and the shard of them to train here."""

    title: ClassVar[str] = "sweep"

    grid: tuple[str, ...] = ()
    """Ranges of which every combination is trained."""
    random: int = 0
    """Number of settings to sample from --ranges."""
    method: Literal["random", "latin", "sobol"] = "sobol"
    """Sampling by --random: independent, Latin hypercube, or Sobol sequence."""
    settings: pathlib.Path | None = None
    """CSV file with one row per setting and one column per field."""
    dry_run: bool = False
    """Print the compilation plan and memory estimate, and exit."""
    shard: str = "1/1"
    """i/n: train every n-th block, starting with the i-th; --merge joins the shards."""
    merge: tuple[pathlib.Path, ...] = ()
    """Directories of the shards of a sweep: copy all blocks to the first, and rank."""
    allow_import: bool = False
    """With --merge: import the environments and algorithms of your own that the sweep
    names."""
    distributed: str = ""
    """Share the sweep with other processes: auto (SLURM, Open MPI, TPU pods), or
    ADDRESS:PORT,INDEX/COUNT."""


def main(args: list[str] | None = None) -> None:
    """Run or resume a sweep from the command line, and report."""
    with cli.exit_codes("run the same command to resume", at_once=args is None):
        words = sys.argv[1:] if args is None else args
        config, arguments = flags.parse(
            search.PRESETS, __doc__ or "", words, Arguments()
        )
        validate(config)
        search.check_options(arguments)
        shard = parse_shard(arguments.shard)
        settings, ranges = read_settings(arguments)
        unused_flags.refuse(words, config, settings)
        for setting in settings:
            search_space.check_setting(config, setting)
        cli.set_up_jax(arguments, join=arguments.distributed)
        if settings:
            settings, note = search.check_effects(config, settings, words)
            print(f"note: {note}\n" if note else "", end="")
        run(config, settings, ranges, shard, arguments)


def parse_shard(text: str) -> tuple[int, int]:
    """Index, from zero, and number of shards from i/n.

    Raises:
        ConfigError: if it is malformed.
    """
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise ConfigError(f"shard = {text!r} is not of the form i/n, with 1 <= i <= n.")
    return int(index) - 1, int(count)


def read_settings(arguments: Arguments) -> tuple[list[search_space.Setting], list[str]]:
    """The settings, and the ranges they come from.

    Raises:
        ConfigError: if not exactly one source of settings is given, or it is invalid.
    """
    _check_source(arguments)
    texts = list(arguments.grid or arguments.ranges)
    ranges = [search_space.parse(text) for text in texts]
    names = [r.field for r in ranges]
    if len(set(names)) < len(names):
        raise ConfigError(f"a field is given twice: {', '.join(names)}.")
    if arguments.settings:
        return sampling.read_csv(arguments.settings), []
    if arguments.grid:
        return sampling.grid(ranges), texts
    if arguments.random:
        options = arguments.random, arguments.method, arguments.sample_seed
        return sampling.sample(ranges, *options), texts
    return [], []


def _check_source(arguments: Arguments) -> None:
    is_given = {
        "--grid": bool(arguments.grid),
        "--random": arguments.random != 0,
        "--settings": arguments.settings is not None,
        "--merge": bool(arguments.merge),
    }
    given = [name for name, value in is_given.items() if value]
    if len(given) != 1:
        raise ConfigError(
            f"{' and '.join(given) or 'no source of settings'} given: give exactly one "
            "of --grid, --random with --ranges, --settings, and --merge."
        )
    if bool(arguments.random) != bool(arguments.ranges):
        raise ConfigError("--random N and --ranges must be given together.")


def run(
    config: Config,
    settings: list[search_space.Setting],
    ranges: list[str],
    shard: tuple[int, int],
    arguments: Arguments,
) -> None:
    """Train the missing blocks, or merge shards, and report."""
    from jaxq.runs import signals
    from jaxq.sweeps import planning
    from jaxq.training import blocks

    signals.Stopper.end_process = True
    devices = blocks.workers(arguments.cpu_cores)
    if arguments.merge:
        merge(devices, arguments)
        return
    sweep = planning.plan(config, settings, ranges, devices)
    root = arguments.output
    directory = planning.directory(root, "sweep", sweep.base, sweep.settings)
    if arguments.dry_run:
        print(*environment_notes.notes(sweep.base), planning.describe(sweep), sep="\n")
        print(f"directory: {directory}")
        return
    with signals.Stopper() as stop:
        train(sweep, directory, devices, shard, stop, arguments)


def merge(devices: "list[jax.Device]", arguments: Arguments) -> None:
    """Copy the blocks of all shards to the directory of the first, and report."""
    from jaxq.runs import files
    from jaxq.sweeps import storage

    target, *others = arguments.merge
    content = storage.read(target)
    if not arguments.allow_import:
        for values in (content["config"], *content["settings"]):
            source, remedy = f"{target}/sweep.json", "Add --allow-import."
            user_code.check_permitted(values, source, (), remedy)
    with files.Lock(target):
        copied = storage.merge(target, others)
        print(f"{copied} blocks copied to {target}")
        sweep = storage.load(target, devices, computed=False)
        write_report(sweep, target, arguments)


def train(
    sweep: "Sweep",
    directory: pathlib.Path,
    devices: "list[jax.Device]",
    shard: tuple[int, int],
    stop: "Stopper",
    arguments: Arguments,
) -> None:
    """Train the missing blocks of a shard, and report if it is the whole sweep."""
    from jaxq.runs import files, manifest, progress
    from jaxq.sweeps import hosts, planning, storage, workers

    is_main = hosts.index() == 0
    with contextlib.ExitStack() as stack:
        if is_main:
            names = {program.env.spec.name for program in sweep.programs}
            record = manifest.collect(", ".join(sorted(names)), devices, 0)
            directory.mkdir(parents=True, exist_ok=True)
            stack.enter_context(files.Lock(directory, _lock_name(shard)))
            sweep = storage.start_or_resume(
                sweep, directory, record, devices, arguments.force_resume
            )
        sweep = workers.share_packing(sweep, devices)
        total = sum(sweep.steps(job) for job in sweep.jobs[shard[0] :: shard[1]])
        show = arguments.progress and is_main
        with progress.Progress(total, 1, show, verbose=is_main) as bar:
            for line in environment_notes.notes(sweep.base):
                bar.print(line)
            bar.print(planning.describe(sweep))
            bar.print(f"sweep: {directory}")
            done = workers.train(sweep, directory, devices, shard, bar, stop)
        if not is_main:
            return
        if done:
            print(f"{done} blocks were already finished")
        if shard[1] == 1:
            storage.clean_up(directory, sweep)
            write_report(sweep, directory, arguments)
        else:
            command = [*cli.command(), "--merge", str(directory)]
            print(
                f"shard {arguments.shard} is finished; once all are, run: "
                f"{shlex.join(command)} [directories of the others]"
            )


def _lock_name(shard: tuple[int, int]) -> str:
    """Name of the lock; shards may be trained side by side in one directory."""
    return ".lock" if shard[1] == 1 else f".lock-{shard[0] + 1}-of-{shard[1]}"


def write_report(sweep: "Sweep", directory: pathlib.Path, arguments: Arguments) -> None:
    """Rank and plot the settings, and confirm the best of every environment."""
    from jaxq.sweeps import report, storage

    curves = storage.load_curves(directory, sweep)
    rankings = report.rank_settings(sweep, curves, arguments.score)
    report.write(
        directory,
        sweep,
        curves,
        rankings,
        arguments.score,
        arguments.plot,
        arguments.figure_format,
    )
    for ranking in rankings:
        search.print_ranking(sweep, ranking, arguments)
        search.confirm(sweep, ranking, directory, arguments)
    print(f"\nsaved in {directory}")


if __name__ == "__main__":
    main()
