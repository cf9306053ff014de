"""`--help`: groups, the parts in use, and the texts."""

import dataclasses
import re

import pytest

from experiments import dqn
from experiments.support import search
from jaxq.config import flags, help_page
from jaxq.config.config import Config


@pytest.fixture
def shown(capsys, monkeypatch):
    """The help for some words of a command line."""
    monkeypatch.setenv("COLUMNS", "80")

    def show(*words, presets=dqn.PRESETS, options=None):
        with pytest.raises(SystemExit) as ended:
            flags.parse(presets, "A script.", list(words), options or flags.Options())
        assert ended.value.code == 0
        return capsys.readouterr().out

    return show


def boxes(text):
    """Title -> text of every box; without UTF-8, they have no sides."""
    parts = re.split(r"^[╭─ ]+((?:[a-z]+ )?options) .*$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def has(text, flag):
    """Whether a flag is in the first column of a help."""
    lines = [line.lstrip("│ ") for line in text.splitlines()]
    return any(line.startswith((f"{flag} ", f"--[no-]{flag[2:]} ")) for line in lines)


def test_help_is_short_and_starts_with_the_common_flags(shown):
    text = shown("--help")
    assert len(text.splitlines()) <= 120
    assert max(map(len, text.splitlines())) <= 80
    first = boxes(text)["options"]
    for flag in ("preset", "algorithm", "environment", "num-seeds", "learning-rate"):
        assert has(first, f"--{flag}")
    name, config = next(iter(dqn.PRESETS.items()))
    assert f"from: {name}, cleanrl, or" in first and f"[{name}]" in first
    assert f"(--lr) [{config.learning_rate}]" in first
    assert "bootstrapped_dqn" in text
    assert [*boxes(text)] == [
        "options", "environment options", "target options", "replay options",
        "optimizer options", "network options", "exploration options",
        "evaluation options", "machine options",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "some", "others"),
    [
        ([], ["--head", "--munchausen"], ["--v-min", "--munchausen-alpha"]),
        (["--head", "categorical"], ["--num-atoms", "--v-min"], ["--num-quantiles"]),
        (["--algorithm", "c51"], ["--num-atoms", "--v-max"], ["--rmsprop-decay"]),
        (["--munchausen"], ["--munchausen-alpha", "--munchausen-clip"], []),
        (["--optimizer=rmsprop"], ["--rmsprop-decay", "--rmsprop-centered"], []),
        (["--preset", "pqn"], ["--trace-decay", "--num-epochs"], ["--buffer-size"]),
        (["--preset", "tabular_q"], ["--initial-value"], ["--hidden-sizes"]),
        (["--recurrent", "lstm"], ["--memory-size", "--burn-in"], []),
        (["--v-min"], ["--head"], ["--v-min"]),  # incomplete: the preset's
    ],
)
def test_the_flags_of_a_part_are_shown_with_it(shown, words, some, others):
    text = shown(*words, "--help")
    assert all(has(text, flag) for flag in some)
    assert not any(has(text, flag) for flag in others)


def test_help_all_shows_every_flag_with_its_default(shown):
    text = shown("--help-all", "--learning-rate", "0.125")
    options = dataclasses.fields(flags.Options)
    for field in (*dataclasses.fields(Config), *options):
        assert has(text, f"--{field.name.replace('_', '-')}"), field.name
    assert "(--lr) [0.125]" in text
    assert "Value of a successor: of its best action" in text  # not only one clause


def test_a_script_has_its_options_in_groups_of_their_own(shown):
    text = shown("-h", presets=search.PRESETS, options=search.Options())
    box = boxes(text)["search options"]
    assert has(box, "--ranges") and has(box, "--top")
    assert "options options" not in text


def test_every_field_has_one_group_and_a_description():
    parts = [part for parts in help_page.GROUPS.values() for part in parts]
    shown = [
        flag
        for part in parts
        for flag in help_page.flag_groups.declared(part, Config())
    ]
    names = [field.name for field in dataclasses.fields(Config)]
    assert sorted(flag.name for flag in shown) == sorted(names)
    assert all(flag.text.endswith((".", ")")) for flag in shown)
    options = [field.name for field in dataclasses.fields(flags.Options)]
    assert {*help_page.COMMON, *help_page.RARE} <= {
        *names, *options, "preset", "help_all",
    }  # fmt: skip
    assert not {*help_page.COMMON} & {*help_page.RARE}
