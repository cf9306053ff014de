"""A configuration is always resolved: its algorithm fills in what is not given."""

import dataclasses
import json
import subprocess
import sys

import pytest

from jaxq import Config, ConfigError, preset
from jaxq.config import algorithm_table
from jaxq.config.config import Fields, from_json
from jaxq.sweeps import search_space

RAINBOW = algorithm_table.ALGORITHMS["rainbow"].components


def components_of(config, name):
    return {field: getattr(config, field) for field in algorithm_table.components(name)}


@pytest.mark.parametrize("name", algorithm_table.ALGORITHMS)
def test_the_algorithm_fills_in_its_components(name):
    config = Config(algorithm=name, defaults="plain")
    assert components_of(config, name) == dict(algorithm_table.components(name))


@pytest.mark.parametrize("name", algorithm_table.ALGORITHMS)
def test_every_row_names_fields_and_a_paper(name):
    row = algorithm_table.ALGORITHMS[name]
    fields = {field.name for field in dataclasses.fields(Config)}
    assert set(row.components) | set(row.settings) <= fields
    assert row.paper and row.summary.endswith(".")
    assert not row.differs or row.differs.endswith(".")


def test_a_given_value_wins_even_if_it_equals_the_default():
    assert Config().n_step == 1 and Config(algorithm="rainbow").n_step == 3
    config = Config(algorithm="rainbow", n_step=1)
    assert config.n_step == 1 and config.head == "categorical"
    ablation = Config(algorithm="rainbow", prioritized=False)
    assert not ablation.prioritized and ablation.noisy and ablation.n_step == 3
    assert preset("rainbow", n_step=1, noisy=False).n_step == 1


def test_replace_keeps_what_was_given_and_fills_in_the_rest():
    replace = dataclasses.replace
    base = Config(num_seeds=3, learning_rate=0.1)
    rainbow = replace(base, algorithm="rainbow")
    assert rainbow == Config(num_seeds=3, learning_rate=0.1, algorithm="rainbow")
    assert rainbow.given == {"num_seeds", "learning_rate", "algorithm"}
    assert replace(rainbow, algorithm="dqn") == base
    assert replace(rainbow, num_seeds=4).n_step == 3
    # Given in the same call, and equal to the value that it had.
    assert replace(Config(), algorithm="rainbow", n_step=1).n_step == 1
    assert replace(Config(), n_step=1, algorithm="rainbow").n_step == 1
    # Given before.
    assert replace(Config(n_step=1), algorithm="rainbow").n_step == 1
    assert replace(replace(Config(), n_step=1), algorithm="rainbow").n_step == 1
    # A component of one algorithm does not stay in another.
    assert replace(Config(algorithm="c51"), algorithm="qr_dqn").head == "quantile"
    assert replace(Config(algorithm="c51"), algorithm="dqn").head == "scalar"
    assert replace(Config(algorithm="c51", v_max=5.0), algorithm="dqn").v_max == 5.0


def test_replace_does_the_same_in_every_supported_python():
    code = (
        "import dataclasses; from jaxq.config.config import Config;"
        "a = dataclasses.replace(Config(), algorithm='rainbow', n_step=1);"
        "assert (a.n_step, a.noisy) == (1, True);"
        "assert a.given == {'algorithm', 'n_step'}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_given_takes_no_part_in_comparisons():
    config = Config(n_step=1)
    assert config == Config() and hash(config) == hash(Config())
    assert "given" not in dataclasses.asdict(config)


def test_only_keywords_are_accepted():
    with pytest.raises(TypeError):
        Config("dqn")
    with pytest.raises(TypeError, match="n_steps"):
        Config(n_steps=3)


def test_a_registered_algorithm_has_no_components():
    assert dataclasses.asdict(Config(algorithm="mine")) == (
        dataclasses.asdict(Config()) | {"algorithm": "mine"}
    )


def test_json_keeps_every_value_and_what_was_given():
    config = Config(algorithm="rainbow", n_step=1, hidden_sizes=(8, 4))
    text = json.loads(json.dumps(dataclasses.asdict(config)))
    assert from_json(text) == config
    again = from_json(text, sorted(config.given))
    assert again == config and again.given == config.given
    assert dataclasses.replace(again, algorithm="dqn").n_step == 1
    text["noisy"] = False  # as if Rainbow had had other components
    assert not from_json(text).noisy
    with pytest.raises(
        ConfigError, match="another version of jaxq, with other settings"
    ):
        from_json(text, ["algorithm", "unknown"])
    with pytest.raises(
        ConfigError, match="another version of jaxq, with other settings"
    ):
        from_json(text, sorted(config.given))
    del text["shared_noise"], text["defaults"]  # as if written before they were added
    assert from_json(text).shared_noise and from_json(text).defaults == "plain"
    with pytest.raises(ConfigError, match="exist in only one of them"):
        from_json({"algorithm": "dqn"})


def test_a_sweep_over_algorithms_gives_each_its_components():
    base = Config(algorithm="rainbow", learning_rate=0.1)
    for name in ("dqn", "c51", "rainbow", "tabular_q"):
        config = search_space.apply(base, {"algorithm": name})
        assert config == Config(algorithm=name, learning_rate=0.1)
    config = search_space.apply(base, {"algorithm": "n_step_dqn", "n_step": 1})
    assert config.n_step == 1


def parsed(*words):
    from jaxq.config import flags

    presets = {"small": Config(hidden_sizes=(8,)), "default": Config()}
    return flags.parse(presets, "", list(words), flags.Options())[0]


def test_flags_resolve_as_the_constructor_does():
    assert parsed() == Config(hidden_sizes=(8,))
    assert parsed("--algorithm", "rainbow") == Config(
        hidden_sizes=(8,), algorithm="rainbow"
    )
    config = parsed("--algorithm=rainbow", "--n-step", "1", "--no-prioritized")
    assert (config.n_step, config.prioritized, config.noisy) == (1, False, True)
    assert config.given == {"algorithm", "n_step", "prioritized", "hidden_sizes"}


@pytest.mark.parametrize("name", algorithm_table.ALGORITHMS)
def test_a_configuration_can_be_written_as_flags(name):
    from jaxq.config import flags

    for config in (Config(algorithm=name), preset(name, n_step=1, max_grad_norm=2.0)):
        assert parsed("--preset", "default", *flags.flags(config)) == config


def test_the_fields_of_the_flags_are_those_of_the_configuration():
    names = [field.name for field in dataclasses.fields(Fields)]
    assert names == [field.name for field in dataclasses.fields(Config)]
