"""The table of which part reads which field, against what is read in fact."""

import dataclasses

import family
import jax
import jax.numpy as jnp
import pytest

from jaxq import Config
from jaxq.agents import algorithms
from jaxq.config import field_usage, loop_lengths
from jaxq.training import loop

FIELDS = [field.name for field in dataclasses.fields(Config)]
# Read by the parts of a run that know no agent: the edge, the environment, evaluation.
OUTSIDE = {
    "algorithm", "num_seeds", "first_seed", "seed_block", "environment",
    "environment_args", "time_limit", "timeout_is_terminal", "sticky_actions",
    "full_action_set", "eval_points", "eval_episodes", "eval_epsilon",
    "eval_max_steps", "chunk_iterations", "total_steps",
}  # fmt: skip
# Read and handed on where they have no effect: to a loss that is not Huber's, to
# weights that are not orthogonal.
HANDED_ON = {"huber_delta", "output_scale"}
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
    """A configuration of its own class that notes which fields are read."""
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
    loop.epsilon_schedule(config)(jnp.int32(0), jnp.int32(0))

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
def test_the_table_says_what_is_read(changes):
    """A field without a reader is not read; one with a reader is."""
    name = changes["algorithm"]
    config = family.config(name, **{k: v for k, v in changes.items()})
    read = fields_read(config, family.gauntlet())
    unused = set(field_usage.unused(config))
    assert not (read & unused) - HANDED_ON
    used = set(FIELDS) - unused - OUTSIDE
    if config.network == "auto":
        used -= {"channels", "dense_size"}  # the gauntlet observes no grid
    assert used <= read


def test_every_field_has_a_reader():
    assert all(field_usage.readers(name) for name in FIELDS)
    named = {name for usage in field_usage.USAGE for name in usage.fields}
    assert named == set(FIELDS)


def test_a_sweep_over_an_unused_field_can_be_recognised():
    assert "priority_exponent" in field_usage.unused(Config())
    assert "priority_exponent" not in field_usage.unused(Config(prioritized=True))
    assert {"v_min", "v_max"} <= set(field_usage.unused(Config()))
    assert "v_max" not in field_usage.unused(Config(algorithm="c51"))
