"""Names of suites, checked without importing any of them."""

import importlib.util
import pathlib
import subprocess
import sys
import tomllib

import pytest

from jaxq import Config, ConfigError
from jaxq.config import environment_table, suites, validate
from jaxq.envs import make, suite_env

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def all_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)


@pytest.fixture
def none_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def test_a_name_has_a_suite_and_an_id():
    assert suites.split("CartPole-v1") == ("", "CartPole-v1")
    assert suites.split("gxm::Navix/Navix-Empty-5x5-v0") == (
        "gxm", "Navix/Navix-Empty-5x5-v0",
    )  # fmt: skip


def test_every_suite_has_an_extra_and_an_adapter():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = extras["project"]["optional-dependencies"]
    for name in suites.SUITES:
        assert name in extras
        assert (ROOT / "jaxq" / "envs" / "suites" / f"{name}.py").exists()


@pytest.mark.parametrize("suite", suites.SUITES)
def test_a_suite_that_is_not_installed_is_named_with_its_command(suite, none_installed):
    name = f"{suite}::{suites.SUITES[suite].example}"
    message = rf"not installed.*pip install 'jaxq\[{suite}\]'"
    with pytest.raises(ConfigError, match=message):
        validate.validate(Config(environment=name))
    with pytest.raises(ConfigError, match=message):
        make.make(name)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"environment": "navx::Empty"},
            r"'navx', which is unknown\. Did you mean nav",
        ),
        ({"environment": "::Empty"}, r"the suite '', which is unknown.*Known: craftax"),
        ({"environment": "navix::"}, r"needs an id, for example navix::Navix-Empty"),
        (
            {"environment": "pgx::2048", "sticky_actions": 0.1},
            r"has no effect on pgx::",
        ),
        ({"environment": "pgx::2048", "full_action_set": True}, r"has no effect on"),
    ],
)
def test_a_bad_name_or_option_is_refused(fields, message, all_installed):
    with pytest.raises(ConfigError, match=message):
        validate.validate(Config(**fields))
    fields = dict(fields)
    with pytest.raises(ConfigError, match=message):
        make.make(fields.pop("environment"), **fields)


def test_checking_a_name_imports_nothing():
    code = (
        "import sys\n"
        "from jaxq import Config\n"
        "from jaxq.config import suites, validate\n"
        "for name, suite in suites.SUITES.items():\n"
        "    try: validate.validate(Config(environment=f'{name}::{suite.example}'))\n"
        "    except ValueError: pass\n"
        "print(sorted({'jax', *(m for s in suites.SUITES.values() for m in s.modules)}"
        " & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_settings_are_of_known_suites():
    for name in environment_table.ROWS.keys() - environment_table.ENVIRONMENTS.keys():
        assert suites.split(name)[0] in suites.SUITES
        assert Config(environment=name).defaults == "environment"
    config = Config(environment="pgx::minatar-breakout", algorithm="c51")
    assert (config.total_steps, config.v_max) == (500_000, 16.5)


def test_an_unknown_id_lists_similar_ones():
    names = [f"Empty-{n}x{n}" for n in range(5, 30)]
    with pytest.raises(ConfigError, match=r"'Empty5x5' is unknown\. Did you mean Empty-5x5.*13 more"):  # fmt: skip  # noqa: E501
        suite_env._check_id("navix::Empty5x5", "Empty5x5", names)
