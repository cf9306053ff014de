"""The gradient correction of QRC(lambda): a second network that estimates TD errors.

Its parameters are a part of those of the agent, and of the trace.
"""

from collections.abc import Callable
from typing import Any

import jax

from jaxq.types import Array, Key, Network, PyTree

_VALUES, _CORRECTION = "estimate", "correction"  # parts of the parameters


def with_correction(network: Network) -> tuple[Network, Callable[..., PyTree]]:
    """A network with a second set of parameters, and the function h of that set.

    Args:
        network: the architecture of both.

    Returns:
        The network of the estimates, and h: (params, observation) -> output.
    """

    def init(key: Key, observation: PyTree) -> PyTree:
        keys = jax.random.split(key)
        return {
            _VALUES: network.init(keys[0], observation),
            _CORRECTION: network.init(keys[1], observation),
        }

    def apply(key: Key | None, params: PyTree, observation: PyTree) -> PyTree:
        return network.apply(key, params[_VALUES], observation)

    def step(
        key: Key | None, params: PyTree, memory: PyTree, observation: PyTree
    ) -> tuple[PyTree, PyTree]:
        return network.step(key, params[_VALUES], memory, observation)

    def update_batch_stats(params: PyTree, observation: PyTree) -> PyTree:
        assert network.update_batch_stats is not None
        update = network.update_batch_stats
        return {name: update(part, observation) for name, part in params.items()}

    def activations(
        params: PyTree, memory: PyTree, observation: PyTree
    ) -> dict[str, Array]:
        assert network.activations is not None
        return network.activations(params[_VALUES], memory, observation)

    def correction(params: PyTree, observation: PyTree) -> PyTree:
        return network.apply(None, params[_CORRECTION], observation)

    view = network._replace(
        init=init,
        apply=apply,
        step=step,
        update_batch_stats=update_batch_stats if network.update_batch_stats else None,
        activations=activations if network.activations else None,
    )
    return view, correction


def corrected_step(
    params: PyTree,
    trace: PyTree,
    gradient: PyTree,
    td_gradient: PyTree,
    td_error: Array,
    h_value: Array,
    bias: Array,
    penalty: Array | float,
    rate: Array,
    correction_rate: Array | float,
) -> PyTree:
    """The step of both networks.

    Q: alpha (delta z - h grad Q - b grad delta)
    h: alpha_h (delta z_h - h grad h - beta theta_h)

    Args:
        params, trace, gradient: of both networks.
        td_gradient: of delta, through both estimates; zero for h.
        td_error: [] delta.
        h_value: [] h(s, a).
        bias: [] b, the trace of h(s, a).
        penalty: [] beta.
        rate: [] alpha.
        correction_rate: [] alpha_h / alpha.

    Reference: Elelimy et al., arXiv:2507.09087, QRC(lambda).
    """

    def step(
        path: tuple[Any, ...], theta: Array, z: Array, g: Array, d: Array
    ) -> Array:
        direction = td_error * z - h_value * g
        if path[0].key == _CORRECTION:
            return rate * correction_rate * (direction - penalty * theta)
        return rate * (direction - bias * d)

    return jax.tree_util.tree_map_with_path(step, params, trace, gradient, td_gradient)
