"""Sweeps over fields without effect."""

import pytest

from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.sweeps import effects, sampling, search_space


def grid(*texts):
    return sampling.grid([search_space.parse(text) for text in texts])


def effects_of(base, settings):
    return [effects.effect(base, setting) for setting in settings]


@pytest.mark.parametrize(
    ("fields", "texts", "message"),
    [
        ({}, ["priority_exponent=0.1,0.9"], "priority_exponent has no effect.*set pri"),
        ({}, ["v_max=1,2", "discount=0.9,1"], "v_max has no effect.*set head to categ"),
        ({}, ["v_max=1"], "over v_max has"),
        ({}, ["channels=4,8"], "channels: only MinAtar's torso would read it"),
        ({"environment": "Breakout-MinAtar"}, ["hidden_sizes=4,8"], "an mlp torso"),
        ({"algorithm": "pqn", "rollout_length": 8}, ["buffer_size=99,999"], "replay"),
        ({}, ["algorithm=dqn,qr_dqn", "munchausen_clip=-1,-2", "v_min=-3"],
         "over munchausen_clip and v_min has"),
    ],
)  # fmt: skip
def test_a_sweep_over_a_field_that_no_setting_reads_is_refused(fields, texts, message):
    base, settings = Config(**fields), grid(*texts)
    with pytest.raises(ConfigError, match=message):
        effects.check_swept(settings, effects_of(base, settings))


def test_settings_of_equal_effect_are_left_out():
    base, settings = Config(), grid("algorithm=dqn,c51", "v_max=5,9", "discount=0.9,1")
    found = effects_of(base, settings)
    effects.check_swept(settings, found)
    kept, note = effects.distinct(settings, found)
    assert kept == [s for s in settings if s["algorithm"] == "c51" or s["v_max"] == 5]
    assert note.startswith("left out 2 of 8 settings")
    assert "only in v_max, without effect there" in note


def test_settings_of_different_effect_are_kept():
    texts = "prioritized=true", "priority_exponent=0.1,0.9", "env.length=0.4,0.5"
    settings = grid(*texts)
    kept, note = effects.distinct(settings, effects_of(Config(), settings))
    assert kept == settings and not note


def test_fields_that_no_setting_reads_are_found():
    found = effects_of(Config(), grid("prioritized=true,false"))
    names = "v_max", "priority_exponent", "discount"
    assert effects.unread(names, found) == ["v_max"]
