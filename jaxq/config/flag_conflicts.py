"""Options that have no effect in combination with others, and are refused."""

from collections.abc import Iterable, Mapping

from jaxq.config import aliases
from jaxq.config.fields import ConfigError


def given(args: Iterable[str]) -> set[str]:
    """Canonical options of a command line; --no-plot counts as --plot, too."""
    words = [word.partition("=")[0] for word in aliases.canonical_flags(args)]
    names = {word for word in words if word.startswith("--")}
    return names | {name.replace("--no-", "--", 1) for name in names}


def refuse(args: Iterable[str], without_effect: Mapping[str, str]) -> None:
    """Refuse options that have no effect.

    Args:
        args: words of the command line.
        without_effect: option -> the reason.

    Raises:
        ConfigError: if any of them is given.
    """
    names = given(args) & set(without_effect)
    if names:
        problems = [f"{n} has no effect {without_effect[n]}" for n in sorted(names)]
        raise ConfigError(f"{'; '.join(problems)}. Omit {', '.join(sorted(names))}.")


def check_run(args: Iterable[str]) -> None:
    """Check the options of a run.

    Raises:
        ConfigError: if some have no effect.
    """
    args = list(args)
    without_effect = {}
    if "--resume" in given(args):
        without_effect = {
            "--preset": "with --resume, which uses the run's own configuration",
            "--output": "with --resume, which writes to the run's own directory",
        }
    else:
        options = "--force-resume", "--allow-import"
        without_effect = dict.fromkeys(options, "without --resume")
    if "--no-checkpoint" in given(args):
        without_effect["--checkpoint-seconds"] = "with --no-checkpoint"
    refuse(args, without_effect)
