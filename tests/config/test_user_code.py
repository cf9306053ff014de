"""Code of a user's own by name: forms, imports, and names that only a file gives."""

import subprocess
import sys

import pytest

from jaxq import Config, ConfigError
from jaxq.config import user_code
from jaxq.config.validate import validate


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """A working directory with modules of a user's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "their_package").mkdir()
    (tmp_path / "their_package" / "envs.py").write_text("Maze = 3\n_Hidden = 4\n")
    (tmp_path / "their_failure.py").write_text("1 / 0\n")
    (tmp_path / "their_exit.py").write_text("import sys\nsys.exit(1)\n")
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("their_")]:
        del sys.modules[name]


def test_modules_of_the_working_directory_are_found(modules):
    assert user_code.load("environment", "their_package.envs:Maze") == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("their_package.envs:Mase", "has no attribute 'Mase'. Did you mean Maze"),
        ("their_package.enws:Maze", "ModuleNotFoundError.*the working directory"),
        ("their_failure:Maze", "cannot be imported .ZeroDivisionError: division"),
        ("their_exit:Maze", "cannot be imported .SystemExit: 1"),
    ],
)
def test_a_failing_import_is_an_error_of_the_configuration(name, message, modules):
    with pytest.raises(ConfigError, match=message) as error:
        user_code.load("environment", name)
    assert str(error.value).startswith(f"environment = {name!r}")


@pytest.mark.parametrize("name", [":Maze", "envs:", "a/b:c", "a.:b", "a:b:c", "a: b"])
def test_malformed_names_are_rejected(name):
    with pytest.raises(ConfigError, match="not of the form module:attribute"):
        validate(Config(environment=name, v_min=0.0, v_max=1.0))
    with pytest.raises(ConfigError, match=r"algorithm = .*my_package\.envs:Maze"):
        validate(Config(algorithm=name))


def test_a_file_must_not_name_code_that_the_user_does_not():
    values = {"environment": "envs:Maze", "algorithm": "agents:mine", "n_step": 3}
    check = user_code.check_permitted
    check(values, "config.json", {"envs:Maze", "agents:mine"}, "")
    check({"environment": "CartPole-v1"}, "config.json", (), "")
    check({}, "config.json", (), "")
    for given, flags in (
        ((), "--environment envs:Maze --algorithm agents:mine"),
        (("envs:Maze", None), "--algorithm agents:mine"),
    ):
        with pytest.raises(ConfigError, match=f"config.json names.*Add {flags}!"):
            check(values, "config.json", given, "Add {flags}!")


def test_a_name_needs_no_jax_before_it_is_used():
    code = (
        "import sys; from jaxq import Config, cli; from jaxq.config import validate;"
        "validate.validate(Config(algorithm='a:b', algorithm_args=('beta=1',)));"
        "assert not {'jax', 'gymnax', 'numpy', 'a'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
