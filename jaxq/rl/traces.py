"""Eligibility traces, and rules that turn a trace and a TD error into a step.

A rule is a pair of functions, like an optimizer:

init: (params) -> state
update: (state, gradient, trace, td_error, step_size) -> (step, state), where the
    parameters become params + step
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxq.types import Array, PyTree

_TINY = 1e-12  # keeps divisions finite


class TraceRule(NamedTuple):
    """A rule for the step of parameters along their eligibility trace."""

    init: Callable[[PyTree], PyTree]
    update: Callable[[PyTree, PyTree, PyTree, Array, Array], tuple[PyTree, PyTree]]


def accumulate(
    trace: PyTree, gradient: PyTree, decay: Array | float, cut: Array
) -> PyTree:
    """Accumulating trace: z <- decay z + gradient, or the gradient alone where cut.

    Args:
        trace, gradient: pytrees of the same structure.
        decay: [] gamma lambda.
        cut: [] bool, whether earlier steps are forgotten.

    Reference: Sutton and Barto (2018), equation 12.5; Watkins (1989) for the cut.
    """
    kept = jnp.where(cut, 0.0, decay)
    return jax.tree.map(lambda z, g: kept * z + g, trace, gradient)


def _sum(function: Callable[..., Array], *trees: PyTree) -> Array:
    leaves = jax.tree.leaves(jax.tree.map(lambda *x: jnp.sum(function(*x)), *trees))
    return sum(leaves, start=jnp.zeros(()))


def gradient_descent() -> TraceRule:
    """Step = alpha delta z: TD(lambda) as in the textbook.

    Reference: Sutton and Barto (2018), equation 12.7.
    """

    def update(
        state: PyTree, gradient: PyTree, trace: PyTree, td_error: Array, rate: Array
    ) -> tuple[PyTree, PyTree]:
        del gradient
        return jax.tree.map(lambda z: rate * td_error * z, trace), state

    return TraceRule(lambda params: (), update)


def overshooting_bounded(kappa: Array | float) -> TraceRule:
    """ObGD: gradient descent whose step size is bounded so that it does not overshoot.

    step = min(alpha, 1 / (kappa max(|delta|, 1) |z|_1)) delta z

    Args:
        kappa: [] larger values give smaller steps.

    Reference: Elsayed et al., arXiv:2410.14606, algorithm 3.
    """

    def update(
        state: PyTree, gradient: PyTree, trace: PyTree, td_error: Array, rate: Array
    ) -> tuple[PyTree, PyTree]:
        del gradient
        size = jnp.maximum(jnp.abs(td_error), 1.0) * _sum(jnp.abs, trace)
        bounded = rate / jnp.maximum(1.0, rate * kappa * size)
        return jax.tree.map(lambda z: bounded * td_error * z, trace), state

    return TraceRule(lambda params: (), update)


def adaptive(decay: Array, eps: Array | float) -> TraceRule:
    """Adam's scale for traces: step = alpha delta z / (sqrt(v) + eps).

    v <- decay v + (1 - decay) gradient^2, without a correction of its bias

    Args:
        decay: [] gamma lambda, that of the trace.
        eps: [].

    Reference: Gogianu et al., arXiv:2605.06764 (Adaptive Q(lambda)).
    """

    def init(params: PyTree) -> PyTree:
        return jax.tree.map(jnp.zeros_like, params)

    def update(
        square: PyTree, gradient: PyTree, trace: PyTree, td_error: Array, rate: Array
    ) -> tuple[PyTree, PyTree]:
        square = jax.tree.map(
            lambda v, g: decay * v + (1.0 - decay) * g**2, square, gradient
        )
        step = jax.tree.map(
            lambda z, v: rate * td_error * z / (jnp.sqrt(v) + eps), trace, square
        )
        return step, square

    return TraceRule(init, update)


class IntentionalState(NamedTuple):
    """Moving averages of the intentional rule."""

    square: PyTree  # of the gradient, elementwise
    norm: Array  # [] of the gradient's squared scaled norm
    error: Array  # [] of the squared TD error
    steps: Array  # [] int32


def intentional(
    decay: Array,
    square_decay: Array | float,
    eps: Array | float,
    error_decay: float = 0.9998,
    largest_error: float = 20.0,
) -> TraceRule:
    """A step that changes the estimate by a fraction alpha of its TD error.

    step = alpha clip(delta) z / m / sqrt(<|g|^2_m> |z|^2_m),  |x|^2_m = sum(x^2 / m),

    where m = sqrt(v) + eps is RMSprop's scale, < > is a moving average, and delta is
    clipped to 20 times its root mean square. All averages are corrected for their bias.

    Args:
        decay: [] gamma lambda, of the average of the gradient's norm.
        square_decay: [] of v.
        eps: [].
        error_decay: of the mean square of the TD error.
        largest_error: in units of its root.

    Reference: Sharifnassab et al., arXiv:2604.19033 (Intentional Q(lambda)).
    """

    def init(params: PyTree) -> IntentionalState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return IntentionalState(zeros, jnp.zeros(()), jnp.zeros(()), jnp.int32(0))

    def update(
        state: IntentionalState,
        gradient: PyTree,
        trace: PyTree,
        td_error: Array,
        rate: Array,
    ) -> tuple[PyTree, IntentionalState]:
        steps = state.steps + 1
        square = jax.tree.map(
            lambda v, g: square_decay * v + (1.0 - square_decay) * g**2,
            state.square,
            gradient,
        )
        scale = jax.tree.map(
            lambda v: jnp.sqrt(v / (1.0 - square_decay**steps)) + eps, square
        )
        norms = [_sum(lambda x, m: x**2 / m, x, scale) for x in (gradient, trace)]
        norm = decay * state.norm + (1.0 - decay) * norms[0]
        mean_norm = norm / jnp.maximum(1.0 - decay**steps, _TINY)
        error = error_decay * state.error + (1.0 - error_decay) * td_error**2
        bound = largest_error * jnp.sqrt(error / (1.0 - error_decay**steps))
        size = rate * jnp.clip(td_error, -bound, bound)
        size /= jnp.maximum(jnp.sqrt(mean_norm * norms[1]), _TINY)
        step = jax.tree.map(lambda z, m: size * z / m, trace, scale)
        return step, IntentionalState(square, norm, error, steps)

    return TraceRule(init, update)
