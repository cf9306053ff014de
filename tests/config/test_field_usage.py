"""The table of which part reads which field, against the fields actually read."""

import dataclasses

import family
import jax
import jax.numpy as jnp
import pytest

from jaxq import Config
from jaxq.agents import algorithms, schedules
from jaxq.config import compatibility, field_usage, loop_lengths

FIELDS = [field.name for field in dataclasses.fields(Config)]
# Read by the parts of a run that know no agent: the edge, the environment, evaluation.
OUTSIDE = {
    "algorithm", "defaults", "num_seeds", "first_seed", "seed_block", "environment",
    "environment_args", "time_limit", "timeout_is_terminal", "sticky_actions",
    "full_action_set", "eval_points", "eval_episodes", "eval_epsilon",
    "eval_max_steps", "chunk_iterations", "total_steps",
}  # fmt: skip
# Read by code that every configuration shares, also where the result is not used.
SHARED = {
    "huber_delta",  # by the scalar head, whatever its loss
    "output_scale",  # by every layer, whatever its weights
    "noisy",  # by the gradient step, which splits its key
    "optimizer_eps", "learning_rate_updates",  # by the optimizer, also by sgd
    "buffer_size",  # by the loop lengths
    "ensemble_size",  # by the networks, also those of Q(lambda)
    "target_period", "target_tau",  # by the refresh, also of a target that is not used
}  # fmt: skip
CASES = [
    {"algorithm": name} for name in algorithms.ALGORITHMS if name in family.NAMES
] + [
    {"algorithm": "dqn", "optimizer": "rmsprop", "loss": "huber"},
    {"algorithm": "dqn", "optimizer": "sgd", "learning_rate_schedule": "constant"},
    {"algorithm": "dqn", "weight_init": "orthogonal", "exploration": "boltzmann"},
    {"algorithm": "dqn", "epsilon_schedule": "ladder", "epsilon_start": 0.4},
    {"algorithm": "dqn", "epsilon_schedule": "episodic"},
    {"algorithm": "dqn", "epsilon_schedule": "linear", "rollout_length": 3},
    {"algorithm": "pqn", "network": "mlp"},
]


def recording(config):
    """A configuration that records which of its fields are read."""
    read = set()

    class Recording(Config):
        def __getattribute__(self, name):
            if name in FIELDS:
                read.add(name)
            return super().__getattribute__(name)

    fields = {name: getattr(config, name) for name in FIELDS}
    return Recording(**fields), read


def fields_read(config, env):
    """Fields read while an agent is made, acts, observes and learns."""
    config, read = recording(config)
    read.clear()
    agent = algorithms.make(config, env.spec)
    length = loop_lengths.loop_lengths(config).rollout_length
    schedules.epsilon_schedule(config)(jnp.int32(0), jnp.int32(0))

    def cycle(key):
        state = agent.init(key, env.spec.example())
        memory = jax.vmap(agent.initial_memory)(jax.random.split(key, config.num_envs))
        step = env.spec.example()._replace(memory=jax.tree.map(lambda x: x[0], memory))
        rollout = jax.tree.map(
            lambda x: jnp.zeros((length, config.num_envs, *x.shape), x.dtype), step
        )
        state = agent.observe(key, state, rollout)
        agent.act(key, state, step.memory, step.observation, jnp.float32(0), True)
        return agent.update(key, state, jnp.float32(0))

    jax.eval_shape(cycle, jax.random.key(0))
    return read


@pytest.mark.parametrize("changes", CASES, ids=str)
def test_the_table_agrees_with_what_is_read(changes):
    """A field without a reader is not read, and a field with a reader is.

    A field of which only one value is compatible need not be read.
    """
    config = family.config(changes["algorithm"], **changes)
    read = fields_read(config, family.gauntlet())
    unused = set(field_usage.unused(config))
    assert (read & unused) - SHARED == set()
    rules = compatibility.RULES
    fixed = {rule.field for rule in rules if rule.when.holds(config)}
    if config.recurrent != "none":
        fixed |= {"ensemble_size"}  # an ensemble is not recurrent
    if config.network == "auto":
        fixed |= {"channels", "dense_size"}  # the gauntlet observes no grid
    assert set(FIELDS) - unused - OUTSIDE - fixed - read == set()


def test_every_field_has_a_reader():
    assert all(field_usage.readers(name) for name in FIELDS)
    named = {name for usage in field_usage.USAGE for name in usage.fields}
    assert named == set(FIELDS)


def test_fields_of_parts_that_are_off_are_unused():
    assert "priority_exponent" in field_usage.unused(Config(defaults="plain"))
    assert "priority_exponent" not in field_usage.unused(
        Config(defaults="plain", prioritized=True)
    )
    assert {"v_min", "v_max"} <= set(field_usage.unused(Config(defaults="plain")))
    assert "v_max" not in field_usage.unused(Config(defaults="plain", algorithm="c51"))
