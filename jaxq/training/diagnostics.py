"""Diagnostics of one seed's learning, measured at a point of its learning curve."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxq.agents import plasticity
from jaxq.config.config import Config
from jaxq.envs.adapter import Environment
from jaxq.networks import layers
from jaxq.rl import representation
from jaxq.stats import ranks
from jaxq.training import sampled_episodes
from jaxq.types import Agent, Array, Key, PyTree

DORMANT = 0.025  # largest score of a dormant unit; see `representation.unit_scores`

NAMES = (
    "weight_norm",
    "distance_from_init",
    "policy_churn",
    "overestimation",
    "dormant_units",
    "effective_rank",
    "stable_rank",
)


def measure(
    key: Key,
    config: Config,
    agent: Agent,
    agent_state: PyTree,
    initial_params: PyTree,
    env: Environment,
    max_steps: int,
) -> dict[str, Array]:
    """Diagnostics on the states that the evaluated policy visits.

    Args:
        key: for the episodes and for the update of policy_churn.
        config: evaluation, discount, and the rewards that the agent learns from.
        agent, agent_state: the agent.
        initial_params: its parameters before the first gradient step.
        env: the environment.
        max_steps: length at which an episode is cut off.

    Returns:
        name -> [], unless stated otherwise:
        weight_norm: Euclidean norm of the parameters.
        distance_from_init: Euclidean norm of their change since the start.
        policy_churn: fraction of states whose greedy action one gradient step changes.
        overestimation: mean over states of Q(s, a) minus the discounted return of the
            evaluated policy, of rewards as the agent learns from them; not with
            normalize_rewards, munchausen or an intrinsic bonus, whose estimates are of
            other sums.
        dormant_units: fraction of hidden units whose score is at most 0.025.
        features, weight: inputs of the output layers, [M, N, D], and the weights [N] of
            the states, for `with_ranks`. These and dormant_units only for networks
            whose activations are recorded.

    Reference: Sokar et al., arXiv:2302.12902 (dormant units); Kumar et al.,
    arXiv:2010.14498 (effective rank); Schaul et al., arXiv:2206.00730 (churn); van
    Hasselt et al., arXiv:1509.06461 (overestimation).
    """
    play_key, update_key = jax.random.split(key)
    samples, error = sampled_episodes.play(
        play_key, config, agent, agent_state, env, max_steps
    )
    observation, memory, weight = jax.tree.map(
        lambda x: x.reshape(-1, *x.shape[2:]), samples
    )
    # Statistics of inputs are not weights.
    params, start = map(
        plasticity.learned, (agent_state.learner.params, initial_params)
    )
    found = {
        "weight_norm": optax.tree.norm(params),
        "distance_from_init": optax.tree.norm(optax.tree.sub(params, start)),
        "policy_churn": _churn(
            update_key, config, agent, agent_state, observation, memory, weight
        ),
    }
    other = config.normalize_rewards or config.munchausen
    if not other and config.intrinsic_bonus == "none":
        found["overestimation"] = jnp.mean(error)
    if agent.activations is None:
        return found
    read = jax.vmap(agent.activations, in_axes=(None, 0, 0))
    return found | of_representation(read(agent_state, memory, observation), weight)


def of_representation(activations: dict[str, Array], weight: Array) -> dict[str, Array]:
    """Dormant units of all layers, and the weighted features of every member.

    Args:
        activations: name -> [N, ..., units].
        weight: [N].
    """
    features = [
        activation
        for name, activation in activations.items()
        if name.rpartition("/")[2] == layers.FEATURES
    ]
    scores = [
        representation.unit_scores(activation, weight)
        for name, activation in activations.items()
        if name.rpartition("/")[2] != layers.FEATURES
    ]
    units = jnp.concatenate([*scores, jnp.ones(0)])
    return {
        "dormant_units": jnp.sum(units <= DORMANT) / max(units.size, 1),
        "features": jnp.stack(features),
        "weight": weight,
    }


def with_ranks(measured: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Replace the features of every seed by their ranks, averaged over members.

    Args:
        measured: result of `measure` for all seeds, name -> [S, ...].
    """
    found = dict(measured)
    if "features" in found:
        weight = found.pop("weight")[:, None]
        values = ranks.singular_values(found.pop("features"), weight)
        found["effective_rank"] = ranks.effective_rank(values).mean(axis=1)
        found["stable_rank"] = ranks.stable_rank(values).mean(axis=1)
    return found


def _churn(
    key: Key,
    config: Config,
    agent: Agent,
    agent_state: PyTree,
    observation: PyTree,
    memory: PyTree,
    weight: Array,
) -> Array:
    """Weighted fraction of states whose greedy action changes in one gradient step."""
    after, _ = agent.update(key, agent_state, jnp.asarray(config.epsilon_end))

    def greedy(state: PyTree) -> Array:
        values = jax.vmap(agent.q_values, in_axes=(None, 0, 0))
        return jnp.argmax(values(state, memory, observation), axis=-1)

    changed = greedy(after) != greedy(agent_state)
    return jnp.sum(weight * changed) / jnp.sum(weight)
