"""Random configurations either raise a ConfigError or have a loop that traces."""

import dataclasses
import json
import random
import typing

import jax
import pytest

from jaxq.agents import algorithms
from jaxq.config import algorithm_table, loop_lengths
from jaxq.config.config import Config, annotation, from_json
from jaxq.config.fields import ConfigError, Range
from jaxq.training import checks, compiled, loop

ENVIRONMENTS = (
    "CartPole-v1", "Catch-bsuite", "MountainCar-v0", "FrozenLake-misc",
    "Breakout-MinAtar", "DeepSea-bsuite", "MemoryChain-bsuite", "Pendulum-v1", "Chess",
)  # fmt: skip
SMALL = Config(
    defaults="plain",
    num_seeds=1,
    total_steps=3_000,
    buffer_size=600,
    batch_size=8,
    warmup_steps=100,
    hidden_sizes=(8,),
    channels=2,
    dense_size=8,
    memory_size=4,
    sequence_length=5,
    burn_in=2,
    num_quantiles=4,
    num_atoms=5,
    eval_points=3,
    eval_episodes=2,
    eval_max_steps=9,
)
BATCHES, BATCH = 50, 10


def value(rng, name):
    """A value of a field: usually inside its range, sometimes far outside."""
    kind, metadata, optional = annotation(name)
    default = getattr(SMALL, name)
    bounds = next((m for m in metadata if isinstance(m, Range)), None)
    if optional and rng.random() < 0.3:
        return None
    if typing.get_origin(kind) is typing.Literal:
        choices = typing.get_args(kind)
        return rng.choice([*choices, *choices, "other"])
    if kind is bool:
        return rng.random() < 0.5
    if isinstance(default, tuple):
        if kind is str:
            return rng.choice([(), ("size=5",), ("nothing=1",), ("=",)])
        return tuple(rng.choice([0, 1, 3, 8]) for _ in range(rng.randrange(3)))
    if kind is int:
        return rng.choice([0, 1, 2, 3, 4, 5, 8, 16, 64, 600, 2**31 - 1, -1])
    if kind is float:
        odd = [bounds.low if bounds else -1.0, 1e6, float("nan"), -2.0]
        return rng.choice([*odd, 0.0, 0.1, 0.5, 0.9, 1.0, 3.0])
    return default


def generate(number):
    rng = random.Random(number)
    fields = [field.name for field in dataclasses.fields(Config)]
    selected = rng.sample(fields, rng.randrange(1, 7))
    changes = {name: value(rng, name) for name in selected}
    algorithm = rng.choice([*algorithms.ALGORITHMS, "dqn"])
    changes["algorithm"] = algorithm
    changes["environment"] = rng.choice(ENVIRONMENTS)
    if rng.random() < 0.9:  # fewer changes, so that enough are accepted
        shaping = {"num_envs", "n_step", "head", "recurrent", "noisy"}
        for name in sorted(set(selected) - shaping):
            if rng.random() < 0.4:
                changes.pop(name, None)
    if algorithm in algorithm_table.TABULAR:
        changes.setdefault("network", "table")
        changes["environment"] = rng.choice(["FrozenLake-misc", "DeepSea-bsuite"])
    return dataclasses.replace(SMALL, **changes)


def is_accepted(config):
    """Whether the configuration is accepted, after tracing its loop."""
    try:
        env = checks.check(config)
    except ConfigError as error:
        assert len(str(error)) > 20 and "\n" not in str(error)
        return False
    key = jax.eval_shape(lambda: jax.random.key(0))
    traced = compiled.traced(config)
    lengths = loop_lengths.loop_lengths(config)
    state = jax.eval_shape(lambda key: loop.start(traced, lengths, env, key), key)
    after = jax.eval_shape(
        lambda key, state: loop.iteration(traced, lengths, env, key, state)[0],
        key,
        state,
    )
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(
        lambda x: (x.shape, x.dtype), after
    )
    assert from_json(json.loads(json.dumps(dataclasses.asdict(config)))) == config
    return True


@pytest.mark.parametrize(
    "batch",
    [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(1, BATCHES))],
)
def test_a_random_configuration_raises_a_config_error_or_traces(batch):
    numbers = range(batch * BATCH, (batch + 1) * BATCH)
    accepted = []
    for number in numbers:
        config = generate(number)
        try:
            accepted.append(is_accepted(config))
        except Exception as error:
            defaults = dataclasses.asdict(SMALL)
            changed = {
                k: v for k, v in dataclasses.asdict(config).items() if v != defaults[k]
            }
            raise AssertionError(f"number {number}: {changed}") from error
    if batch:  # the other default tests keep their programs
        jax.clear_caches()
    print(f"{sum(accepted)} of {len(accepted)} accepted")
    assert 0 < sum(accepted) < BATCH
