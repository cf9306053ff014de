"""The products and biases of a loss and its gradient, as a CPU computes them fast.

The gradient of a layer's weights is a sum over the minibatch, X^T D of X [B, I] and
D [B, O], whose factors both have the summed axis first. XLA's CPU compiler leaves such
a product to Eigen; a product whose first factor is stored [I, B] goes to YNNPACK, at
the speed of a large one. So a factor is transposed before: the one that costs less.

Microseconds of an update on one core of an AMD EPYC, jax 0.10.2, without and with:
CartPole, 16 seeds with a minibatch of 32, 387 and 326; 8 seeds, 128, 617 and 558;
Breakout-MinAtar, one seed, 807 and 690. Inside them, X^T D of 32 x 1024 and 32 x 128
takes 143 and 102, of 32 x 64 and 32 x 2 for 8 seeds 18 and 1.5.

A product of a few terms, as in a first layer of four inputs or the gradient of a last
one of two actions, is written out. XLA fuses the terms with the bias and the activation
that follow, or with the mask of a gradient, and saves a call and a pass: for 16 seeds
and a minibatch of 32, 6.8 and 3.4 us to 64 units of four inputs, 8.7 and 2.7 us back
from two actions; 331 and 318 us an update (one seed: 29.2 and 28.0).

The bias of a few channels is repeated for a whole row of positions before it is added:
XLA vectorises what follows only along runs longer than the channels. Breakout-MinAtar,
one seed: bias and activation of 32 x 64 positions and 16 channels, 12.8 and 3.4 us; its
mask, 11.4 and 3.6; 680 and 655 us an update.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.extend.core import primitives as jaxpr_primitives

from jaxq.types import Array
from jaxq.xla import primitives

_HANDLED = {
    "dimension_numbers", "precision", "preferred_element_type", "out_sharding",
}  # fmt: skip


def tuned(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function of arrays, its products and biases rewritten for CPUs.

    Those in the bodies of `jit` and `scan` are rewritten too. Other loops, branches,
    `jax.checkpoint` and custom rules stay as they are, and so does what is computed on
    an accelerator.

    Args:
        function: of positional arguments, pytrees of arrays.
    """

    @functools.wraps(function)
    def rewrite(*arguments: Any) -> Any:
        if jax.config.jax_disable_jit:  # type: ignore[attr-defined]
            return function(*arguments)
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        rewritten = core.jaxpr_as_fun(_rewritten(closed, {}))
        results = rewritten(*jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return rewrite


def _rewritten(
    closed: core.ClosedJaxpr, seen: dict[int, tuple[Any, Any]]
) -> core.ClosedJaxpr:
    """A program with its products and biases rewritten; itself, if there are none.

    Args:
        closed: the program.
        seen: id of a program -> the program, which so lives on, and the new one: what
            is called in several places is to be compiled once.
    """
    if id(closed) not in seen:
        old = closed.jaxpr.eqns
        dots = [one for one in old if one.primitive is jaxpr_primitives.dot_general_p]
        made = {id(one.outvars[0]) for one in dots}
        new = [_equation(equation, seen, made) for equation in old]
        changed = any(a is not b for a, b in zip(old, new, strict=True))
        jaxpr = closed.jaxpr.replace(eqns=new) if changed else closed.jaxpr
        result = closed.replace(jaxpr=jaxpr) if changed else closed
        seen[id(closed)] = closed, result
    return seen[id(closed)][1]


def _equation(
    equation: core.JaxprEqn, seen: dict[int, tuple[Any, Any]], made: set[int]
) -> core.JaxprEqn:
    """An equation rewritten, or itself; `made` are the variables that are products."""
    params = equation.params
    if equation.primitive in (jaxpr_primitives.jit_p, jaxpr_primitives.scan_p):
        body = _rewritten(params["jaxpr"], seen)
        same = body is params["jaxpr"]
        return equation if same else equation.replace(params=params | {"jaxpr": body})
    if _adds_bias(equation, made):
        faster: Callable[..., Array] = _biased
    elif (way := _way(equation)) is not None:
        faster = functools.partial(
            _product,
            way=way,
            numbers=params["dimension_numbers"],
            precision=params["precision"],
            result=params["preferred_element_type"],
        )
    else:
        return equation
    operands = [variable.aval for variable in equation.invars]
    (call,) = jax.make_jaxpr(faster)(*operands).eqns
    return equation.replace(primitive=call.primitive, params=call.params)


def _adds_bias(equation: core.JaxprEqn, made: set[int]) -> bool:
    """Whether it adds [1, ..., 1, C] to a product [B, ..., C] of several positions."""
    if (
        equation.primitive is not jaxpr_primitives.add_p
        or id(equation.invars[0]) not in made
    ):
        return False
    operands: list[Any] = [variable.aval for variable in equation.invars]
    x, bias = (aval.shape for aval in operands)
    positions, channels = x[1:-1], x[-1:]
    repeated = bias == (1,) * (len(x) - 1) + channels and np.prod(positions) > 1
    return bool(repeated and np.prod(x))


@jax.jit
def _biased(x: Array, bias: Array) -> Array:
    return jax.lax.platform_dependent(x, bias, cpu=_biased_rows, default=jax.lax.add)


def _biased_rows(x: Array, bias: Array) -> Array:
    rows = x.reshape(x.shape[0], -1)
    repeated = jnp.tile(bias.reshape(-1), rows.shape[1] // bias.size)
    return (rows + primitives.materialise(repeated)[None]).reshape(x.shape)


def _way(equation: core.JaxprEqn) -> Callable[..., Array] | None:
    """How a CPU shall compute an equation; None for as it is."""
    params = equation.params
    if (
        equation.primitive is not jaxpr_primitives.dot_general_p
        or set(params) != _HANDLED
    ):
        return None
    operands: list[Any] = [variable.aval for variable in equation.invars]
    precisions = params["precision"] or (None,)
    plain = (
        all(aval.size for aval in operands)
        and {aval.dtype for aval in operands} == {np.dtype(np.float32)}
        and params["out_sharding"] is None
        # A CPU computes all of these alike, but not an algorithm that is named.
        and isinstance(precisions, tuple)
        and all(isinstance(one, jax.lax.Precision | None) for one in precisions)
    )
    summed, batched = params["dimension_numbers"]
    if not plain or not summed[0]:
        return None
    # A product with a vector or a batch of vectors has nothing to gain.
    if any(aval.ndim == len(summed[0]) + len(batched[0]) for aval in operands):
        return None
    if np.prod([operands[0].shape[axis] for axis in summed[0]]) <= primitives.FEW:
        return _sum_of_few
    axes = tuple(range(len(batched[0]) + len(summed[0])))
    batch_first = tuple(batched) == (axes[: len(batched[0])],) * 2
    if batch_first and tuple(summed) == (axes[len(batched[0]) :],) * 2:
        return _sum_of_many
    return None


@functools.partial(jax.jit, static_argnames=("way", "numbers", "precision", "result"))
def _product(
    left: Array, right: Array, *,
    way: Callable[..., Array], numbers: Any, precision: Any, result: Any,
) -> Array:  # fmt: skip
    return jax.lax.platform_dependent(
        left,
        right,
        cpu=functools.partial(way, numbers=numbers, result=result),
        default=functools.partial(
            jax.lax.dot_general,
            dimension_numbers=numbers,
            precision=precision,
            preferred_element_type=result,
        ),
    )


def _sum_of_few(left: Array, right: Array, numbers: Any, result: Any) -> Array:
    """A product of few terms, one after another: XLA fuses them with what follows."""

    def terms(x: Array, summed: Sequence[int], batched: Sequence[int]) -> Array:
        """[terms, batch..., free...]."""
        free = [axis for axis in range(x.ndim) if axis not in (*summed, *batched)]
        x = x.transpose(*summed, *batched, *free)
        return x.reshape(-1, *x.shape[len(summed) :])

    def outer(x: Array, y: Array) -> Array:
        return x.reshape(*x.shape, *[1] * y.ndim) * y.reshape(*[1] * x.ndim, *y.shape)

    summed, batched = numbers
    x, y = map(terms, (left, right), summed, batched)
    for _ in batched[0]:
        outer = jax.vmap(outer)
    total = outer(x[0], y[0])
    for k in range(1, x.shape[0]):
        total += outer(x[k], y[k])
    return total.astype(result or total.dtype)


def _sum_of_many(left: Array, right: Array, numbers: Any, result: Any) -> Array:
    """A sum of outer products whose axes are [batch..., summed..., free...]."""
    (summed, _), (batched, _) = numbers
    inner = len(summed)

    def one(left: Array, right: Array) -> Array:
        shape = *left.shape[inner:], *right.shape[inner:]
        left, right = (x.reshape(*_matrix(x.shape, inner)) for x in (left, right))
        return sum_of_outer_products(left, right, result).reshape(shape)

    for _ in batched:
        one = jax.vmap(one)
    return one(left, right)


def _matrix(shape: tuple[int, ...], inner: int) -> tuple[int, int]:
    return int(np.prod(shape[:inner])), int(np.prod(shape[inner:]))


def sum_of_outer_products(left: Array, right: Array, result: Any = None) -> Array:
    """sum_k left[k] right[k]^T, that is left^T right, for a CPU.

    The right factor is transposed, and the product then computed as [N, M]: its
    transpose is what a gradient uses, and so is free. Where it moves fewer numbers, the
    left factor is transposed and the product turned.

    Args:
        left: [K, M].
        right: [K, N].
        result: dtype of the product.

    Returns:
        [M, N].
    """
    turned = left.shape[1] * right.shape[1]
    if left.size + turned < right.size:
        product = jax.lax.dot(_transposed(left), right, preferred_element_type=result)
        return jax.lax.optimization_barrier(product)  # or XLA turns it in the product
    return jax.lax.dot(_transposed(right), left, preferred_element_type=result).T


def _transposed(x: Array) -> Array:
    """Transpose x, as a copy that XLA does not fold into the product.

    Long rows are materialised first: fused with what makes x, the copy of rows that are
    4,096 bytes apart, which share a set of the cache, takes 65 us in place of 8 (32 x
    1024). Rows of 64 take 2 % of an update less without.
    """
    x = primitives.materialise(x) if x.shape[-1] > 64 else x
    return jax.lax.optimization_barrier(x.T)
