"""What a run takes is told, and refused if it cannot fit, before anything compiles."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxq.config.config import Config, ConfigError
from jaxq.envs import make
from jaxq.runs import run
from jaxq.training import blocks, compiled, memory
from jaxq.types import Counter

SMALL = Config(
    environment="Breakout-MinAtar",
    num_seeds=2,
    buffer_size=500,
    batch_size=8,
    warmup_steps=20,
    num_envs=2,
    channels=4,
    dense_size=8,
)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"prioritized": True},
        {"algorithm": "pqn", "rollout_length": 4, "num_minibatches": 2},
    ],
)
def test_what_is_foretold_is_what_a_state_takes(changes):
    config = dataclasses.replace(SMALL, **changes)
    env = make.from_config(config)
    keys = compiled.make_keys(np.uint32([0, 1]))
    state = compiled.start(compiled.traced(config), keys, env=env)
    own = jax.tree.map(
        lambda leaf: () if isinstance(leaf, Counter) else leaf,
        state,
        is_leaf=lambda leaf: isinstance(leaf, Counter),
    )
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(own)) / 2
    need = memory.need(config, env)
    assert need.total - need.work - need.rollout == held
    learner = state.agent.learner
    assert need.learner == sum(leaf.nbytes for leaf in jax.tree.leaves(learner)) / 2


@pytest.mark.parametrize(("batch", "width"), [(32, 16), (128, 8)])
def test_large_minibatches_are_computed_in_narrow_blocks(batch, width):
    config = Config(
        environment="CartPole-v1", hidden_sizes=(64, 64), batch_size=batch, num_seeds=32
    )
    need = memory.need(config, make.from_config(config))
    params, outputs = 4 * 64 + 64 + 64 * 64 + 64 + 64 * 2 + 2, 64 + 64 + 2
    observations = 4 * 2 * batch * 4
    assert need.work == 4 * (3 * params + observations + 7 * batch * outputs)
    assert need.rollout == 0
    found = blocks.layout(config, jax.devices("cpu")[:1] * 2, need.update)
    assert {block.seeds.size for block in found} == {width}


def test_a_million_minatar_transitions_take_56_bytes_each():
    config = dataclasses.replace(SMALL, buffer_size=1_000_000)
    need = memory.need(config, make.from_config(config))
    # 400 booleans, an action, a reward and how it ends.
    assert need.experience == 1_000_000 * (50 + 1 + 4 + 1)


def test_too_many_seeds_are_refused_with_the_number_that_fits(monkeypatch):
    each = memory.need(SMALL, make.from_config(SMALL))
    room = int(each.total * 3 / 0.9 + 100)
    monkeypatch.setattr(memory, "available", lambda devices: room)
    devices = jax.devices()[:1]

    def check(**changes):
        config = dataclasses.replace(SMALL, **changes)
        return memory.check(config, each, blocks.layout(config, devices))

    assert " a seed (56 bytes a transition), " in check(num_seeds=3)
    too_many = dataclasses.replace(SMALL, num_seeds=4)
    with pytest.raises(ConfigError, match=r"num_seeds = 4 .* 3 seeds fit\. Use --num-"):
        run.run(too_many, devices=devices)
    # The second block is filled up with a repeat.
    with pytest.raises(ConfigError, match=r"in 2 blocks of 2\), .* 2 seeds fit"):
        check(num_seeds=3, seed_block=2)
    with pytest.raises(ConfigError, match=r"0 seeds fit\. Use --seed-block 3, or"):
        check(num_seeds=4, seed_block=4)
    monkeypatch.setattr(memory, "available", lambda devices: each.total)
    with pytest.raises(ConfigError, match=r"0 seeds fit\. Use a smaller --buffer-size"):
        check()
    monkeypatch.setattr(memory, "available", lambda devices: None)
    assert "free" not in check(num_seeds=4)


class Device:
    def __init__(self, platform):
        self.platform = platform


def test_every_device_must_hold_its_own_blocks(monkeypatch):
    each = memory.need(SMALL, make.from_config(SMALL))
    room = int(each.total * 6 / 0.9 + 100)
    monkeypatch.setattr(memory, "available", lambda devices: room * len(devices))
    config = dataclasses.replace(SMALL, num_seeds=12, seed_block=4)
    devices = [Device("gpu"), Device("gpu")]
    placed = blocks.layout(config, devices)
    assert len(placed) == 3
    with pytest.raises(ConfigError, match=r"in 3 blocks of 4\), .* 8 seeds fit"):
        memory.check(config, each, placed)
    told = memory.check(config, each, placed[:2])
    assert f" in all, of {memory.readable(2 * room)} free" in told
    # Two CPU devices have one memory.
    placed = blocks.layout(config, [Device("cpu"), Device("cpu")])
    with pytest.raises(ConfigError, match=r"4 seeds fit"):
        memory.check(config, each, placed[:2])
    told = memory.check(config, each, placed[:1])
    assert f" in all, of {memory.readable(room)} free" in told


def test_the_host_tells_what_is_free():
    free = memory.available(jax.devices())
    assert free is None or 0 < free < 2**50


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (57_000, "57 kB"), (2.34e9, "2.34 GB")],
)
def test_bytes_are_readable(count, text):
    assert memory.readable(count) == text
