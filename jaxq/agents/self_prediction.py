"""Self-predictive representations as a part of any feed-forward replay agent.

The features are the inputs of the output layers. Their model has parameters beside
those of the network, one set per member of an ensemble, so that they share its
optimizer, its target parameters, its resets and its checkpoints.

Reference: Schwarzer et al., arXiv:2007.05929.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxq.agents import plasticity
from jaxq.config.config import Config
from jaxq.networks import from_flax, layers
from jaxq.networks import self_prediction as networks
from jaxq.rl import self_prediction
from jaxq.types import Array, EnvSpec, Key, LossFunction, LossInfo, Network, PyTree


def _model(config: Config, spec: EnvSpec, size: int) -> networks.SelfPrediction:
    """The model of features [size]; it has neither noise nor normalisation."""
    style = layers.LayerConfig(config.weight_init, sparsity=config.sparsity)
    return networks.SelfPrediction(spec.num_actions, size, style)


def _members(config: Config) -> Callable[..., Any]:
    """`vmap` over the members of an ensemble; the identity if there is one network."""
    return jax.vmap if config.ensemble_size > 1 else lambda function: function


def features(
    network: Network, config: Config, params: PyTree, observation: PyTree
) -> Array:
    """Inputs of the output layers, without noise: [D], or [M, D] of an ensemble.

    No gradient enters statistics of inputs, which would then be learned like weights.
    """
    assert network.activations is not None
    params = jax.tree_util.tree_map_with_path(
        lambda path, x: (
            jax.lax.stop_gradient(x) if plasticity.part(path) == "fixed" else x
        ),
        params,
    )
    found = [
        activation
        for name, activation in network.activations(params, (), observation).items()
        if name.rpartition("/")[2] == layers.FEATURES
    ]
    return jnp.stack(found) if config.ensemble_size > 1 else found[0]


def extended(network: Network, config: Config, spec: EnvSpec) -> Network:
    """A network whose parameters include those of the model of its features."""

    def init(key: Key, observation: PyTree) -> PyTree:
        network_key, key = jax.random.split(key)
        params = network.init(network_key, observation)
        z = features(network, config, params, observation)
        module = _model(config, spec, z.shape[-1])

        def init_one(key: Key, z: Array) -> PyTree:
            return from_flax.flat(module.init(key, z, jnp.zeros(1, jnp.int32)))

        keys = jax.random.split(key, len(z)) if config.ensemble_size > 1 else key
        return {**params, networks.NAME: _members(config)(init_one)(keys, z)}

    return network._replace(init=init)


def add_loss(
    loss: LossFunction, network: Network, config: Config, spec: EnvSpec
) -> LossFunction:
    """The loss, plus spr_weight times that of K predictions, if there are any.

    Every member of an ensemble predicts its own features, where its mask is set, and
    the loss is the mean. Priorities are those of the given loss.

    Args:
        loss: of transitions or windows.
        network: whose features are learned; see `extended`.
        config: spr_steps and spr_weight.
        spec: describes the actions.
    """
    if config.spr_steps is None:
        return loss

    def predict(params: PyTree, z: Array, action: Array) -> Array:
        module = _model(config, spec, z.shape[-1])
        return from_flax.apply_module(module, params, None, z, action)

    def project(params: PyTree, z: Array) -> Array:
        module = _model(config, spec, z.shape[-1])
        return from_flax.apply_module(module, params, None, z, method="target")

    def added(params: PyTree, target_params: PyTree, example: Any) -> Array:
        following: self_prediction.Following = example.following
        z = features(network, config, params, example.observation)
        later = jax.vmap(
            lambda observation: features(network, config, target_params, observation),
            out_axes=-2,
        )(following.observation)

        def one(model: PyTree, target_model: PyTree, z: Array, later: Array) -> Array:
            return self_prediction.prediction_loss(
                predict(model, z, following.action),
                project(target_model, later),
                following.reached,
            )

        models = params[networks.NAME], target_params[networks.NAME]
        values = _members(config)(one)(*models, z, later)
        if config.ensemble_size > 1 and config.ensemble_target != "mixture":
            values *= example.memory.mask
        return jnp.mean(values)

    def loss_with_predictions(
        key: Key, params: PyTree, target_params: PyTree, example: PyTree
    ) -> tuple[Array, LossInfo]:
        value, info = loss(key, params, target_params, example)
        if config.averaged_targets > 1:
            target_params = jax.tree.map(lambda x: x[0], target_params)  # the newest
        return value + config.spr_weight * added(params, target_params, example), info

    return loss_with_predictions
