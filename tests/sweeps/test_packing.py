"""Packing of sweeps into programs and blocks."""

import dataclasses

import jax
import numpy as np
import pytest
from small_sweeps import BASE, RATES, train_curves

from jaxq.config import loop_lengths
from jaxq.config.fields import ConfigError
from jaxq.sweeps import packing, sampling, search_space
from jaxq.training import compiled


def test_settings_that_differ_in_traced_fields_share_a_program():
    settings = sampling.grid(
        [
            search_space.parse("learning_rate=1e-4,1e-3"),
            search_space.parse("batch_size=8,16"),
            search_space.parse("env.length=0.3,0.6"),
            search_space.parse("max_grad_norm=none,1,2"),
        ]
    )
    programs = packing.group(
        [search_space.apply(BASE, setting) for setting in settings]
    )
    assert [len(program.settings) for program in programs] == [4, 8, 4, 8]
    assert set(programs[1].changes) == {"learning_rate", "max_grad_norm"}
    assert set(programs[1].parameters) == {"length"}
    for program in programs:
        assert program.lengths == loop_lengths.loop_lengths(program.config)


def test_a_program_is_compiled_once(tmp_path):
    programs = (compiled.start, compiled.chunk, compiled.evaluate_block)
    before = [program._cache_size() for program in programs]
    # One block of five per setting, and a shape that no other test has compiled.
    base = dataclasses.replace(BASE, num_seeds=5, hidden_sizes=(3,))
    train_curves(tmp_path, base, RATES)
    after = [program._cache_size() for program in programs]
    assert np.subtract(after, before).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("seeds", "settings", "block", "width", "count", "mixed"),
    [
        (8, 64, 0, 8, 64, False),
        (10, 3, 0, 10, 3, False),
        (20, 2, 0, 10, 4, False),  # equal blocks of at most 16
        (17, 2, 0, 9, 4, False),
        (2, 20, 0, 14, 3, True),  # two seeds are too narrow for a block
        (1, 1, 0, 1, 1, False),
        (6, 2, 4, 4, 3, True),
        (8, 2, 4, 4, 4, False),
    ],
)
def test_packing_on_a_cpu(seeds, settings, block, width, count, mixed):
    base = dataclasses.replace(BASE, num_seeds=seeds, seed_block=block)
    configs = [
        dataclasses.replace(base, discount=0.9 + i / 1000) for i in range(settings)
    ]
    (program,) = packing.group(configs)
    one = packing.pack(program, jax.devices()[:1])
    two = packing.pack(program, jax.devices()[:2])
    assert (one.width, len(one.lanes), one.mixed) == (width, count, mixed)
    assert one.width == two.width  # regardless of the machine
    assert np.concatenate(one.lanes).tolist() == list(range(seeds * settings))
    assert max(lanes.size for lanes in one.lanes) <= width


def test_blocks_on_an_accelerator_hold_several_settings():
    class Gpu:
        platform = "gpu"

        def memory_stats(self):
            return {"bytes_limit": self.free, "bytes_in_use": 0}

    configs = [dataclasses.replace(BASE, discount=0.9 + i / 1000) for i in range(64)]
    (program,) = packing.group(configs)
    devices = [Gpu(), Gpu()]
    for free, width in ((10**10, 128), (100 * program.need.total, 64)):
        for device in devices:
            device.free = free
        packed = packing.pack(program, devices)
        assert packed.mixed and packed.width == width
    for device in devices:
        device.free = program.need.total
    with pytest.raises(ConfigError, match="a member needs"):
        packing.pack(program, devices)


def test_a_block_is_padded_with_its_last_member():
    base = dataclasses.replace(BASE, num_seeds=5, seed_block=4, first_seed=10)
    (program,) = packing.group(
        [dataclasses.replace(base, discount=d) for d in (0.9, 0.8)]
    )
    packed = packing.pack(program, jax.devices())
    block = packing.block(program, packed, 2, 1, jax.devices()[1])
    assert block.seeds.tolist() == [13, 14, 14, 14]
    assert block.changes["discount"].tolist() == [0.8] * 4
    middle = packing.block(program, packed, 1, 0, jax.devices()[0])
    assert middle.seeds.tolist() == [14, 10, 11, 12]
    assert middle.changes["discount"].tolist() == [0.9, 0.8, 0.8, 0.8]
