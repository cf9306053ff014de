"""Lower bound on the time of an update, from measured ceilings of the device."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxq import Config
from jaxq.agents import algorithms
from jaxq.envs.adapter import Environment
from jaxq.training import memory


def update_seconds(config: Config, env: Environment, device: jax.Device) -> float:
    """Lower bound on the seconds of one seed's update on one device.

    It is the time of the update's matrix products at the speed of a large product. On
    an accelerator it is the time of Adam's traffic at the speed of a large copy, if
    that is longer.
    """
    agent = algorithms.make(config, env.spec)
    keys = jax.random.split(jax.random.key(0), 2)
    state = jax.eval_shape(agent.init, keys[0], env.spec.example())
    traced = jax.jit(agent.update).trace(keys[1], state, jnp.float32(0.1))
    flops = product_flops(traced.jaxpr.jaxpr)
    traffic = 7 * memory.bytes_per_seed(
        state.learner.params
    )  # Adam reads 4 trees, writes 3
    with jax.default_device(device):
        seconds = flops / matrix_speed()
        if device.platform == "cpu":  # the parameters stay in its caches
            return seconds
        return max(seconds, traffic / copy_speed())


def product_flops(jaxpr: Any) -> float:
    """Floating-point operations of a program's matrix products.

    The body of a loop counts once per iteration. Of the branches of a `cond` only the
    most expensive counts: those for different platforms compute the same.
    """
    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            terms = np.prod([shape[axis] for axis in contracted])
            total += 2.0 * terms * equation.outvars[0].aval.size
        inner_flops = [product_flops(inner) for inner in _inner_jaxprs(equation)]
        branches = equation.primitive.name == "cond"
        iterations = equation.params.get("length", 1)
        total += iterations * (max(inner_flops) if branches else sum(inner_flops))
    return total


def _inner_jaxprs(equation: Any) -> list[Any]:
    """Programs that an equation calls."""
    jaxprs = []
    for value in equation.params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            jaxpr = getattr(item, "jaxpr", item)
            if hasattr(jaxpr, "eqns"):
                jaxprs.append(jaxpr)
    return jaxprs


def matrix_speed(size: int = 2_048) -> float:
    """Floating-point operations per second of a large matrix product."""
    x = jnp.ones((size, size))
    product = jax.jit(lambda x: x @ x)
    return 2 * size**3 / best_time(lambda: product(x))


def copy_speed(size: int = 2**26) -> float:
    """Bytes read and written per second by a large addition."""
    x = jnp.ones(size)
    add = jax.jit(lambda x: x + 1)
    return 2 * x.nbytes / best_time(lambda: add(x))


def best_time(compute: Callable[[], jax.Array], repeats: int = 5) -> float:
    """Shortest seconds of several calls, after a first one that compiles."""
    compute().block_until_ready()
    times = []
    for _ in range(repeats):
        start_time = time.monotonic()
        compute().block_until_ready()
        times.append(time.monotonic() - start_time)
    return min(times)
