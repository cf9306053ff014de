"""Members of a sweep are bit-identical to single runs."""

import dataclasses

import jax
import numpy as np
import pytest
from small_sweeps import BASE, RATES, train_curves

from jaxq.config.config import traced_fields
from jaxq.runs import run
from jaxq.sweeps import packing
from jaxq.training import compiled


def single(config, width):
    """The curves of one setting from a single run."""
    alone = dataclasses.replace(config, seed_block=width)
    result = run.run(alone, devices=jax.devices()[:1], plot=False)
    return result.curve._asdict() | {"eval_returns": result.eval_returns}


def assert_equal(curves, expected):
    for name, values in expected.items():
        actual = curves.steps if name == "steps" else curves.arrays[name]
        np.testing.assert_array_equal(actual, values, err_msg=name)


@pytest.mark.conformance
def test_every_member_equals_its_single_run(tmp_path):
    fields = {"learning_rate": 1e-3, "target_period": 3, "epsilon_end": 0.2}
    settings = [{"target_period": 7, "epsilon_end": 0.05} | s for s in RATES]
    settings.append(fields)
    sweep, curves = train_curves(tmp_path, BASE, settings)
    assert [packed.mixed for packed in sweep.packings] == [False]
    for config, curve in zip(sweep.configs, curves, strict=True):
        assert_equal(curve, single(config, sweep.packings[0].width))


@pytest.mark.slow
@pytest.mark.conformance
def test_every_member_of_a_mixed_block_equals_its_single_run(tmp_path):
    base = dataclasses.replace(BASE, num_seeds=2, seed_block=3)
    settings = [
        s | {"env.length": n} for s, n in zip(RATES, (0.5, 1.0, 2.0), strict=True)
    ]
    sweep, curves = train_curves(tmp_path, base, settings)
    (packed,) = sweep.packings
    assert packed.mixed and [lanes.size for lanes in packed.lanes] == [3, 3]
    # The second setting has a member in each block.
    for config, curve in list(zip(sweep.configs, curves, strict=True))[1:]:
        assert_equal(curve, single(config, 3))
    returns = [curve.arrays["train_return"] for curve in curves]
    assert len({values.tobytes() for values in returns}) == 3


# Not true of v_min, v_max and Munchausen's temperature: the last bit differs.
@pytest.mark.slow
@pytest.mark.conformance
@pytest.mark.parametrize("algorithm", ["dqn", "prioritized_dqn"])
def test_per_member_traced_fields_give_the_same_bits_as_shared_ones(algorithm):
    base = dataclasses.replace(
        BASE, algorithm=algorithm, max_grad_norm=5.0, loss="huber", n_step=3,
        learning_rate_schedule="linear", learning_rate_updates=500.0,
    )  # fmt: skip
    config = compiled.traced(base)
    env = packing.group([base])[0].env
    names = [n for n in traced_fields() if getattr(config, n) is not None]
    per_member = {name: np.full(4, getattr(config, name)) for name in names}
    keys = compiled.make_keys(np.arange(4, dtype=np.uint32))

    def train(config):
        state = compiled.start(config, keys, env=env)
        return compiled.chunk(config, keys, state, np.int32(150), env=env)

    one, many = train(config), train(compiled.traced(base, per_member))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)
