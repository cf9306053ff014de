"""Shared setup: two CPU devices, a compilation cache, and jax's own checks."""

import gc
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
# Tracing allocates so much that Python's collector, and what jax does with every
# collection, would take a tenth of the time.
gc.set_threshold(50_000, 20, 100)


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """One compilation cache for the session, shared by all worker processes."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    jax.config.update("jax_compilation_cache_dir", str(root / "jax-cache"))
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(root / "jax-cache")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def pytest_configure(config):
    """Compile with little optimization, unless slow tests are selected.

    Most of the time of the default tests is spent in LLVM. These options keep XLA's own
    passes, and with them the structure of a program, but generate its machine code in a
    half to a third of the time. The slow tests, which include representatives of every
    bit-equality test, run the code that users run.
    """
    if config.option.markexpr == "not slow":
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = " ".join([flags, *FAST_COMPILATION.split()])


FAST_COMPILATION = """
--xla_backend_optimization_level=0
--xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters
"""
MAX_MAPPINGS = 40_000
_tests_done = 0


@pytest.fixture(autouse=True)
def few_executables():
    """Release compiled programs when they are many.

    Every program adds memory mappings, and a process with hundreds of programs reaches
    the system's limit on mappings (65,530) and aborts in the compiler.
    """
    global _tests_done
    yield
    _tests_done += 1
    mappings = pathlib.Path("/proc/self/maps")
    if _tests_done % 10 or not mappings.exists():
        return
    if mappings.read_bytes().count(b"\n") > MAX_MAPPINGS:
        jax.clear_caches()


SLOW = (pytest.mark.slow,)
CONFORMANCE = (pytest.mark.slow, pytest.mark.conformance)


def mark_others(names, default, marks):
    """Parameters of a test: those of `default` unmarked, the others with `marks`."""
    return [
        name if name in default else pytest.param(name, marks=marks) for name in names
    ]


@pytest.fixture
def strict():
    """Disallow implicit dtype promotion and the reuse of keys."""
    with jax.numpy_dtype_promotion("strict"), jax.debug_key_reuse(True):
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def same(left, right):
    """Whether two pytrees are equal bit for bit."""
    left_leaves, right_leaves = jax.tree.leaves(left), jax.tree.leaves(right)
    assert len(left_leaves) == len(right_leaves)
    return all(
        np.asarray(a).dtype == np.asarray(b).dtype
        and np.asarray(a).tobytes() == np.asarray(b).tobytes()
        for a, b in zip(left_leaves, right_leaves, strict=True)
    )


def key(seed=0):
    return jax.random.key(seed)


def equations(jaxpr):
    """All equations of a jaxpr and of the jaxprs inside it."""
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for item in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(item, "jaxpr", item)
                if hasattr(inner, "eqns"):
                    yield from equations(inner)


assert jnp  # imported here so that a broken installation fails once
