"""Matrix products rewritten so that XLA's CPU compiler computes them fast.

The gradient of a layer's weights is a sum over the minibatch, X^T D of X [B, I] and
D [B, O], whose factors both have the summed axis first. XLA's CPU compiler hands such a
product to Eigen; one whose first factor is stored [I, B] goes to YNNPACK, which is
faster. So one factor is transposed beforehand, whichever costs less.

Products of few terms, and biases of few channels, are rewritten as well; see
`jaxq.xla.small_products`.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.extend.core import primitives as jaxpr_primitives

from jaxq.types import Array
from jaxq.xla import platforms, primitives, small_products, switch

_HANDLED = {
    "dimension_numbers",
    "precision",
    "preferred_element_type",
    "out_sharding",
}


@switch.tunes(jax.value_and_grad)
def value_and_grad(
    function: Callable[..., Any], has_aux: bool = False
) -> Callable[..., Any]:
    """jax.value_and_grad, its products as a CPU computes them fast.

    10 to 16 % of an update; see results/performance.md#products.
    """
    return rewrite_products(jax.value_and_grad(function, has_aux=has_aux))


@switch.tunes(lambda function: function)
def rewrite_products(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function of arrays, with its products rewritten for CPUs.

    Products in the bodies of `jit` and `scan` are rewritten too; other loops, branches,
    `jax.checkpoint` and custom rules are left unchanged, as are all products on an
    accelerator. A function that chooses by `platforms.by_platform` is traced for both.

    Args:
        function: of positional arguments, pytrees of arrays.
    """

    @functools.wraps(function)
    def rewritten(*arguments: Any) -> Any:
        if jax.config.jax_disable_jit:  # type: ignore[attr-defined]
            return function(*arguments)
        with platforms.tracing("cpu") as chose:
            closed, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
            differs = chose()
        program = core.jaxpr_as_fun(_rewrite(closed, {}))

        def on_cpu(*arguments: Any) -> Any:
            results = program(*jax.tree.leaves(arguments))
            return jax.tree.unflatten(jax.tree.structure(shapes), results)

        return platforms.either(on_cpu, function, differs)(*arguments)

    return rewritten


def _rewrite(
    closed: core.ClosedJaxpr, done: dict[int, tuple[Any, Any]]
) -> core.ClosedJaxpr:
    """The program with its products rewritten; the same object if it has none.

    Args:
        closed: the program.
        done: id of a program -> (the program, its rewritten version), so that a
            function called in several places stays one function. Holding the program
            keeps its id from being reused.
    """
    if id(closed) not in done:
        old = closed.jaxpr.eqns
        dots = [
            each for each in old if each.primitive is jaxpr_primitives.dot_general_p
        ]
        made = {id(dot.outvars[0]) for dot in dots}
        new = [_equation(equation, done, made) for equation in old]
        changed = any(a is not b for a, b in zip(old, new, strict=True))
        result = closed.replace(jaxpr=closed.jaxpr.replace(eqns=new))
        done[id(closed)] = closed, result if changed else closed
    return done[id(closed)][1]


def _equation(
    equation: core.JaxprEqn, done: dict[int, tuple[Any, Any]], made: set[int]
) -> core.JaxprEqn:
    """The equation rewritten, or itself; `made` are the variables that are products."""
    if equation.primitive in (jaxpr_primitives.jit_p, jaxpr_primitives.scan_p):
        return _with_rewritten_body(equation, done)
    if small_products.adds_bias(equation, made):
        faster: Callable[..., Array] = small_products.add_bias
    elif (method := _method(equation)) is not None:
        faster = functools.partial(
            _product,
            method=method,
            numbers=equation.params["dimension_numbers"],
            precision=equation.params["precision"],
            result=equation.params["preferred_element_type"],
        )
    else:
        return equation
    operands = [variable.aval for variable in equation.invars]
    (call,) = jax.make_jaxpr(faster)(*operands).eqns
    return equation.replace(primitive=call.primitive, params=call.params)


def _with_rewritten_body(
    equation: core.JaxprEqn, done: dict[int, tuple[Any, Any]]
) -> core.JaxprEqn:
    body = _rewrite(equation.params["jaxpr"], done)
    if body is equation.params["jaxpr"]:
        return equation
    return equation.replace(params=equation.params | {"jaxpr": body})


def _method(equation: core.JaxprEqn) -> Callable[..., Array] | None:
    """The function that computes an equation faster on a CPU, if there is one."""
    if not _is_plain_product(equation):
        return None
    operands: list[Any] = [variable.aval for variable in equation.invars]
    summed, batched = equation.params["dimension_numbers"]
    # Products with a vector, or a batch of vectors, have nothing to gain.
    if any(aval.ndim == len(summed[0]) + len(batched[0]) for aval in operands):
        return None
    if np.prod([operands[0].shape[axis] for axis in summed[0]]) <= primitives.FEW:
        return small_products.sum_of_few
    axes = tuple(range(len(batched[0]) + len(summed[0])))
    batch_first = tuple(batched) == (axes[: len(batched[0])],) * 2
    if batch_first and tuple(summed) == (axes[len(batched[0]) :],) * 2:
        return _sum_of_many
    return None


def _is_plain_product(equation: core.JaxprEqn) -> bool:
    """Whether it is a product of float32 arrays that sums over some axis."""
    params = equation.params
    if (
        equation.primitive is not jaxpr_primitives.dot_general_p
        or set(params) != _HANDLED
    ):
        return False
    operands: list[Any] = [variable.aval for variable in equation.invars]
    precisions = params["precision"] or (None,)
    return (
        all(aval.size for aval in operands)
        and {aval.dtype for aval in operands} == {np.dtype(np.float32)}
        and params["out_sharding"] is None
        and bool(params["dimension_numbers"][0][0])
        # A CPU ignores the precision, but not a named algorithm.
        and isinstance(precisions, tuple)
        and all(isinstance(each, jax.lax.Precision | None) for each in precisions)
    )


@functools.partial(
    jax.jit, static_argnames=("method", "numbers", "precision", "result")
)
def _product(
    left: Array,
    right: Array,
    *,
    method: Callable[..., Array],
    numbers: Any,
    precision: Any,
    result: Any,
) -> Array:
    return jax.lax.platform_dependent(
        left,
        right,
        cpu=functools.partial(method, numbers=numbers, result=result),
        default=functools.partial(
            jax.lax.dot_general,
            dimension_numbers=numbers,
            precision=precision,
            preferred_element_type=result,
        ),
    )


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


def _outer_products(left: Array, right: Array, result: Any = None) -> Array:
    return jnp.einsum("km,kn->mn", left, right, preferred_element_type=result)


@switch.tunes(_outer_products)
def sum_of_outer_products(left: Array, right: Array, result: Any = None) -> Array:
    """sum_k left[k] right[k]^T, that is left^T right, for a CPU.

    The right factor is transposed and the product computed as [N, M]; its transpose
    fuses with the optimizer that reads the gradient and so is free. Where it moves
    fewer numbers, the left factor is transposed, and the product as well.

    Args:
        left: [K, M].
        right: [K, N].
        result: dtype of the product.

    Returns:
        [M, N].
    """
    size = left.shape[1] * right.shape[1]
    if left.size + size < right.size:
        product = jax.lax.dot(_transposed(left), right, preferred_element_type=result)
        # Otherwise XLA folds the transposition back into the product.
        return jax.lax.optimization_barrier(product)
    return jax.lax.dot(_transposed(right), left, preferred_element_type=result).T


def _transposed(x: Array) -> Array:
    """x^T, as a copy that XLA does not fold into the product.

    Long rows are materialised first: elements 4,096 bytes apart share a set of the
    cache, and a transposition fused with the computation of x takes 8 times as long.
    """
    x = primitives.materialise(x) if x.shape[-1] > 64 else x
    return jax.lax.optimization_barrier(x.T)
