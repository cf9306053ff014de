"""Shared settings: two CPU devices, a compilation cache, and jax's own checks on."""

import os
import pathlib
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_enable_compilation_cache", True)


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """One cache for the whole session, whatever the number of processes."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    jax.config.update("jax_compilation_cache_dir", str(root / "jax-cache"))
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(root / "jax-cache")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


_tests_done = 0


@pytest.fixture(autouse=True)
def few_executables():
    """Let compiled programs go now and then.

    Each maps memory of its own, and a process that holds hundreds of them meets the
    system's limit on mappings and is aborted in the compiler.
    """
    global _tests_done
    yield
    _tests_done += 1
    if _tests_done % 25 == 0:
        jax.clear_caches()


@pytest.fixture
def strict():
    """No implicit promotion of dtypes, and no key consumed twice."""
    with jax.numpy_dtype_promotion("strict"), jax.debug_key_reuse(True):
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def same(left, right):
    """Whether two pytrees are equal bit for bit."""
    leaves, others = jax.tree.leaves(left), jax.tree.leaves(right)
    assert len(leaves) == len(others)
    return all(
        np.asarray(a).dtype == np.asarray(b).dtype
        and np.asarray(a).tobytes() == np.asarray(b).tobytes()
        for a, b in zip(leaves, others, strict=True)
    )


def key(seed=0):
    return jax.random.key(seed)


def equations(jaxpr):
    """Every equation of a jaxpr and of what it calls."""
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for part in value if isinstance(value, tuple | list) else (value,):
                part = getattr(part, "jaxpr", part)
                if hasattr(part, "eqns"):
                    yield from equations(part)


assert jnp  # imported so that a broken installation fails here, once
