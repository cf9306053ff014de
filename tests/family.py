"""A small configuration for every algorithm, and helpers to train it."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from mdps import ConstantReward, Corridor, Gauntlet, MaskedChain

from jaxq.agents import algorithms
from jaxq.config import algorithm_table, loop_lengths
from jaxq.config.config import Config
from jaxq.envs import adapter, gymnax_facts
from jaxq.training import compiled, pytree_arrays

# A run on CartPole that takes about a second.
TINY = Config(
    defaults="plain",
    environment="CartPole-v1",
    num_seeds=4,
    seed_block=4,
    total_steps=600,
    num_envs=2,
    buffer_size=400,
    batch_size=16,
    warmup_steps=100,
    update_steps=2,
    hidden_sizes=(16,),
    learning_rate=1e-2,
    target_period=7,
    epsilon_steps=300.0,
    eval_points=2,
    eval_episodes=3,
    chunk_iterations=125,
)
# The behaviour is always random, so that all actions of all states are learned.
DEEP = Config(
    defaults="plain",
    num_seeds=1,
    seed_block=1,
    total_steps=16_000,
    num_envs=8,
    buffer_size=4000,
    batch_size=64,
    warmup_steps=800,
    update_steps=8,
    hidden_sizes=(48,),
    learning_rate=4e-3,
    learning_rate_schedule="linear",
    learning_rate_updates=2_000.0,
    target_period=10,
    discount=0.9,
    epsilon_schedule="exponential",
    epsilon_end=1.0,
    eval_points=1,
    eval_episodes=2,
    eval_max_steps=20,
    v_min=-3.0,
    v_max=13.0,
    num_quantiles=16,
    quantile_samples=8,
    target_samples=8,
    policy_samples=8,
    num_cosines=16,
    sequence_length=6,
    burn_in=2,
    memory_size=16,
    importance_updates=2000.0,
)
TABLE = dataclasses.replace(
    DEEP, network="table", learning_rate=0.05, learning_rate_schedule="constant",
    learning_rate_updates=500.0, num_updates=2, target_period=1,
)  # fmt: skip
ROLLOUT = {"rollout_length": 4, "num_minibatches": 2, "num_epochs": 2}
STREAM = {"num_envs": 1, "total_steps": 60_000, "normalize_rewards": False}
CHANGES = {
    "prioritized_dqn": {"priority_exponent": 0.3},
    "rainbow": {"priority_exponent": 0.3},
    "btr": {"priority_exponent": 0.3, "munchausen_alpha": 0.0},
    "sr_spr": {"priority_exponent": 0.3, "num_updates": 1, "n_step": 3},
    "munchausen_dqn": {"munchausen_alpha": 0.0},
    "munchausen_qr_dqn": {"munchausen_alpha": 0.0},
    "munchausen_iqn": {"munchausen_alpha": 0.0},
    "bootstrapped_dqn": {"ensemble_size": 3, "prior_scale": 0.3},
    "maxmin": {"ensemble_size": 2},
    "rem": {"ensemble_size": 2},
    "der": {"n_step": 3, "priority_exponent": 0.3},
    # A reset at half of the run, and returns of five steps at first.
    "bbf": {
        "priority_exponent": 0.3,
        "n_step": 1,
        "n_step_start": 5,
        "discount_start": 0.8,
        "anneal_updates": 500.0,
        "reset_period": 2_000,
        "total_steps": 32_000,
        "learning_rate_updates": 4_000.0,
        "weight_decay": 1e-4,
        "target_tau": 0.5,
    },
    "isqn": {"iterated_heads": 3},
    "r2d2": {"batch_size": 16, "n_step": 1, "priority_exponent": 0.3},
    "pqn": ROLLOUT | {"total_steps": 40_000},
    "pqn_rnn": ROLLOUT | {"total_steps": 40_000},
    "pqn_vdn": ROLLOUT | {"total_steps": 40_000},
    "stream_q": STREAM | {"learning_rate": 1.0, "learning_rate_updates": 60_000.0},
    "stream_sarsa": STREAM | {"learning_rate": 1.0, "learning_rate_updates": 60_000.0},
    "qrc": STREAM
    | {
        "learning_rate": 3e-3,
        "learning_rate_updates": 400_000.0,
        "total_steps": 240_000,
        "weight_init": "torch",
    },
    "adaptive_q": STREAM | {"learning_rate": 2e-3, "learning_rate_updates": 60_000.0},
    "intentional_q": STREAM | {"learning_rate": 0.3, "learning_rate_updates": 60_000.0},
    "dyna_q": {"batch_size": 16},
    "cql": {"conservative_weight": 1e-3},
    "differential_q": {"discount": 1.0},
    "double_q_learning": {"total_steps": 32_000},
}


def config(name, **changes):
    """Small configuration of an algorithm, with its components filled in."""
    base = TABLE if name in TABULAR else DEEP
    fields = CHANGES.get(name, {}) | {"algorithm": name} | changes
    return dataclasses.replace(base, **fields)


TABULAR = tuple(algorithm_table.TABULAR)
NAMES = tuple(algorithms.ALGORITHMS)
# With random behaviour, their targets are not those of the greedy policy.
BEHAVIOUR_TARGETS = ("sarsa", "expected_sarsa", "n_step_q", "n_step_dqn", "rainbow")
BEHAVIOUR_TARGETS += ("btr", "der", "bbf", "sr_spr")
BEHAVIOUR_TARGETS += ("watkins_q_lambda", "peng_q_lambda", "pqn", "pqn_rnn")
BEHAVIOUR_TARGETS += ("pqn_vdn",)
# Their episodes lead to one another, so their values are not those of one episode.
CONTINUING = ("differential_q",)
EPISODIC = tuple(name for name in NAMES if name not in CONTINUING)
BEHAVIOUR_TARGETS += ("stream_sarsa",)
STREAMS = ("stream_q", "stream_sarsa", "qrc", "adaptive_q", "intentional_q")
# They have no target network.
ROLLOUTS = ("watkins_q_lambda", "peng_q_lambda", "pqn", "pqn_rnn", "pqn_vdn")
ROLLOUTS += STREAMS


@functools.cache
def gauntlet():
    return adapter.adapt(
        Gauntlet(), table=gymnax_facts.TableIndex(7 * 27, Gauntlet.row)
    )


@functools.cache
def corridor():
    return adapter.adapt(Corridor())


@functools.cache
def masked_chain():
    return adapter.adapt(
        MaskedChain(), table=gymnax_facts.TableIndex(5, MaskedChain.row)
    )


@functools.cache
def constant():
    return adapter.adapt(ConstantReward())


class Trained:
    """Seeds of a configuration that are trained without evaluation."""

    def __init__(self, config, env, seeds=(0,)):
        self.config, self.env = config, env
        self.traced = compiled.traced(config)
        self.keys = compiled.make_keys(np.uint32(seeds))
        self.state = compiled.start(self.traced, self.keys, env=env)

    def chunk(self, state):
        # The state is donated, so pass a copy.
        state = jax.tree.map(jnp.array, state)
        return compiled.chunk(self.traced, self.keys, state, env=self.env)

    def train(self):
        lengths = loop_lengths.loop_lengths(self.config)
        for _ in range(lengths.num_points * lengths.point_chunks):
            self.state = self.chunk(self.state)
        return self

    def q_values(self, observations, seed=0):
        """Values of the last observation, after the earlier ones of its episode."""
        agent = algorithms.make(self.config, self.env.spec)
        state = lane(self.state, seed).agent
        memory = agent.initial_memory(jax.random.key(0))
        for observation in observations[:-1]:
            _, memory = agent.act(
                jax.random.key(0), state, memory, observation, jnp.float32(0), False
            )
        return np.asarray(agent.q_values(state, memory, observations[-1]))


def shapes(config, env):
    """State before and after a chunk, as shapes and dtypes; nothing is compiled."""
    traced, keys = compiled.traced(config), compiled.make_keys(np.uint32([0]))
    start = jax.eval_shape(lambda t, k: compiled.start(t, k, env=env), traced, keys)
    return start, jax.eval_shape(
        lambda t, k, s: compiled.chunk(t, k, s, env=env), traced, keys, start
    )


def same_shapes(*trees):
    """Whether trees have the same structure, shapes and dtypes."""
    first, second = (jax.tree.map(lambda x: (x.shape, x.dtype), t) for t in trees)
    return first == second


def lane(state, i):
    """State of one seed."""
    axes = pytree_arrays.seed_axes(state)
    return jax.tree.map(
        lambda axis, tree: tree if axis is None else jax.tree.map(lambda x: x[i], tree),
        axes,
        state,
        is_leaf=lambda axis: axis is None,
    )
