"""Outputs of the layers of a network, counted in its jaxpr."""

import math
from collections.abc import Callable, Iterator
from typing import Any, cast

import jax
from jax.extend import core

PRODUCTS = ("dot_general", "conv_general_dilated")


def outputs(function: Callable[..., Any], *arguments: Any) -> int:
    """Numbers that the products of a function write.

    Args:
        function: of pytrees of arrays.
        arguments: their shapes, which may be those of keys.
    """
    return _outputs(jax.make_jaxpr(function)(*arguments).jaxpr)


def _outputs(jaxpr: core.Jaxpr) -> int:
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name in PRODUCTS:
            (product,) = (cast(Any, out.aval) for out in equation.outvars)
            total += math.prod(product.shape)
        inner = [_outputs(one) for one in _bodies(equation)]
        if equation.primitive.name == "cond":
            inner = inner[-1:]  # the branch for accelerators
        total += equation.params.get("length", 1) * sum(inner)
    return total


def _bodies(equation: core.JaxprEqn) -> Iterator[core.Jaxpr]:
    for value in equation.params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, core.ClosedJaxpr):
                yield one.jaxpr
            elif isinstance(one, core.Jaxpr):
                yield one
