"""Stores of the newest experience, from which each step is learned once."""

import jax
import jax.numpy as jnp

from jaxq.config import annealing, loop_lengths
from jaxq.config.config import Config
from jaxq.replay import horizons, readers, stores
from jaxq.replay import ring as replay_ring
from jaxq.rl import off_policy, returns
from jaxq.types import Array, EnvSpec, Key, Step, Transition
from jaxq.xla import indexing


def sarsa_queue(config: Config, spec: EnvSpec) -> stores.Store:
    """A queue of steps, each sampled once, when its successors' actions are known."""
    length, window = config.rollout_length, loop_lengths.window(config)
    history = config.frame_stack - 1
    rows = -(-(length + window + history) // length) * length
    init, add = stores.ring_functions(config, spec, rows)

    def sample(
        key: Key, state: replay_ring.ReplayState, updates: Array
    ) -> replay_ring.Sample:
        del key
        read = readers.reader(config, spec, updates)
        return replay_ring.sample_latest(state, read, length, window)

    return stores.Store(init, add, sample, stores.ignore_priorities)


def current_rollout(config: Config, spec: EnvSpec) -> stores.Store:
    """The steps of the newest rollout, each once, with their true successors.

    A window of n steps ends with its episode or with the rollout.
    """
    del spec
    length, n = config.rollout_length, annealing.longest_return(config)

    def init(example: Step) -> Step:
        return replay_ring.zeros(example, length, config.num_envs)

    def add(state: Step, rollout: Step) -> Step:
        del state
        return rollout

    def sample(key: Key, state: Step, updates: Array) -> replay_ring.Sample:
        del key
        gamma, limit = horizons.horizon(config, updates)
        last = jnp.arange(length) == length - 1
        ended = state._replace(truncated=state.truncated | last[:, None])

        def read(time: Array, env: Array) -> Transition | off_policy.Window:
            window = jnp.minimum(time + jnp.arange(n), length - 1)
            steps = jax.tree.map(lambda leaf: leaf[window, env], ended)
            if config.return_estimator != "n_step":
                return off_policy.window(steps, gamma, limit)
            continuing = config.average_reward != "none"
            return returns.n_step(steps, gamma, continuing, limit)

        place = jnp.arange(length * config.num_envs)
        examples = jax.vmap(read)(*indexing.row_and_column(place, config.num_envs))
        return replay_ring.Sample(examples, jnp.ones(place.size), place)

    return stores.Store(init, add, sample, stores.ignore_priorities)
