"""Options without effect are refused."""

import pytest

from jaxq import cli
from jaxq.config import flag_conflicts
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--preset b --resume D", "--preset has no effect with --resume, which uses"),
        ("--resume=D --preset=b", "--preset has no effect with --resume"),
        ("--resume D --output E", "--output has no effect with --resume, which writes"),
        ("--output=E --resume=D", "own directory. Omit --output."),
        (
            "--preset b --resume D --output E",
            "own directory; --preset has no effect with --resume, which uses the run's "
            "own configuration. Omit --output, --preset.",
        ),
        ("--force-resume", "--force-resume has no effect without --resume"),
        ("--force_resume", "--force-resume has no effect without --resume"),
        (
            "--checkpoint-seconds 5 --no-checkpoint",
            "--checkpoint-seconds has no effect with --no-checkpoint",
        ),
    ],
)
def test_options_of_a_run_without_effect_are_refused(words, message, capsys):
    presets = {"a": Config(), "b": Config(algorithm="rainbow")}
    with pytest.raises(SystemExit) as raised:
        cli.main(presets, "", words.split())
    assert raised.value.code == cli.BAD_INPUT
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error


@pytest.mark.parametrize(
    "words",
    [
        "--preset b --output E",
        "--resume D --force-resume --total-steps 9 --no-plot",
        "--resume D --checkpoint-seconds 5 --checkpoint",
        "--no-checkpoint",
    ],
)
def test_other_combinations_are_accepted(words):
    flag_conflicts.check_run(words.split())


def test_both_forms_of_a_boolean_are_found():
    words = ["--no_plot", "--lr=1", "x", "--", "--output", "E"]
    given = flag_conflicts.given(words)
    assert given >= {"--no-plot", "--plot", "--learning-rate", "--output"}
    with pytest.raises(ConfigError, match=r"--plot has no effect here\. Omit"):
        flag_conflicts.refuse(words, {"--plot": "here", "--output-dir": "there"})
