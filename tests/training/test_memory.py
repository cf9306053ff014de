"""The memory estimate, and the error for a run that does not fit."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxq.config import loop_lengths
from jaxq.config.config import Config
from jaxq.config.fields import ConfigError
from jaxq.envs import make
from jaxq.runs import run
from jaxq.training import blocks, compiled, memory
from jaxq.types import Counter

SMALL = Config(
    defaults="plain",
    environment="Breakout-MinAtar",
    num_seeds=2,
    buffer_size=500,
    batch_size=8,
    warmup_steps=20,
    num_envs=2,
    channels=4,
    dense_size=8,
)


def estimate(config):
    lengths = loop_lengths.loop_lengths(config)
    return memory.estimate(config, make.from_config(config), lengths)


def check_layout(config, need, layout):
    return memory.check(config, loop_lengths.loop_lengths(config), need, layout)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"prioritized": True},
        {"spr_steps": 5},
        {"algorithm": "pqn", "rollout_length": 4, "num_minibatches": 2},
    ],
)
def test_the_estimate_equals_the_bytes_of_the_state(changes):
    config = dataclasses.replace(SMALL, **changes)
    env = make.from_config(config)
    keys = compiled.make_keys(np.uint32([0, 1]))
    state = compiled.start(compiled.traced(config), keys, env=env)
    per_seed = jax.tree.map(
        lambda leaf: () if isinstance(leaf, Counter) else leaf,
        state,
        is_leaf=lambda leaf: isinstance(leaf, Counter),
    )
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(per_seed)) / 2
    need = estimate(config)
    assert need.total - need.work - need.rollout == held
    learner = state.agent.learner
    assert need.learner == sum(leaf.nbytes for leaf in jax.tree.leaves(learner)) / 2


@pytest.mark.parametrize(("batch", "width"), [(32, 16), (128, 8)])
def test_large_minibatches_get_narrow_blocks(batch, width):
    config = Config(
        defaults="plain",
        environment="CartPole-v1",
        hidden_sizes=(64, 64),
        batch_size=batch,
        num_seeds=32,
    )
    need = estimate(config)
    params, outputs = 4 * 64 + 64 + 64 * 64 + 64 + 64 * 2 + 2, 64 + 64 + 2
    observations = 4 * 2 * batch * 4
    assert need.work == 4 * (3 * params + observations + 7 * batch * outputs)
    assert need.rollout == 0
    layout = blocks.layout(config, jax.devices("cpu")[:1] * 2, need.update)
    assert {block.seeds.size for block in layout} == {width}


def test_a_million_minatar_transitions_take_56_bytes_each():
    config = dataclasses.replace(SMALL, buffer_size=1_000_000)
    need = estimate(config)
    # 400 bits, an action, a reward and two flags.
    assert need.experience == 1_000_000 * (50 + 1 + 4 + 1)


def test_the_error_for_too_many_seeds_says_how_many_fit(monkeypatch):
    need = estimate(SMALL)
    room = int(need.total * 3 / 0.9 + 100)
    monkeypatch.setattr(memory, "available", lambda devices: room)
    devices = jax.devices()[:1]

    def check(**changes):
        config = dataclasses.replace(SMALL, **changes)
        return check_layout(config, need, blocks.layout(config, devices))

    assert " per seed (56 bytes per transition), " in check(num_seeds=3)
    too_many = dataclasses.replace(SMALL, num_seeds=4)
    with pytest.raises(ConfigError, match=r"num_seeds = 4 .* 3 seeds fit\. Use --num-"):
        run.run(too_many, devices=devices)
    # A repeat fills up the second block.
    with pytest.raises(ConfigError, match=r"in 2 blocks of 2\), .* 2 seeds fit"):
        check(num_seeds=3, seed_block=2)
    with pytest.raises(ConfigError, match=r"0 seeds fit\. Use --seed-block 3 or less"):
        check(num_seeds=4, seed_block=4)
    monkeypatch.setattr(memory, "available", lambda devices: need.total)
    with pytest.raises(ConfigError, match=r"0 seeds fit\. Use a smaller --buffer-size"):
        check()
    monkeypatch.setattr(memory, "available", lambda devices: None)
    assert "free" not in check(num_seeds=4)


class Device:
    def __init__(self, platform):
        self.platform = platform


def test_blocks_must_fit_on_their_devices(monkeypatch):
    need = estimate(SMALL)
    room = int(need.total * 6 / 0.9 + 100)
    monkeypatch.setattr(memory, "available", lambda devices: room * len(devices))
    config = dataclasses.replace(SMALL, num_seeds=12, seed_block=4)
    devices = [Device("gpu"), Device("gpu")]
    layout = blocks.layout(config, devices)
    assert len(layout) == 3
    with pytest.raises(ConfigError, match=r"in 3 blocks of 4\), .* 8 seeds fit"):
        check_layout(config, need, layout)
    message = check_layout(config, need, layout[:2])
    assert f" in total, of {memory.readable(2 * room)} free" in message
    # CPU devices share one memory.
    layout = blocks.layout(config, [Device("cpu"), Device("cpu")])
    with pytest.raises(ConfigError, match=r"4 seeds fit"):
        check_layout(config, need, layout[:2])
    message = check_layout(config, need, layout[:1])
    assert f" in total, of {memory.readable(room)} free" in message


def test_the_host_reports_a_plausible_amount_of_free_memory():
    free = memory.available(jax.devices())
    assert free is None or 0 < free < 2**50


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (57_000, "57 kB"), (2.34e9, "2.34 GB")],
)
def test_bytes_are_printed_with_three_digits_and_a_unit(count, text):
    assert memory.readable(count) == text
