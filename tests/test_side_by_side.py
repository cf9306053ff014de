"""The runner that alternates two programs, tested with a dummy peer."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import side_by_side
from experiments.support import update_floor

PEER = """
import json, sys
print("a warning from a library")
print(json.dumps({"versions": {"peer": "1"}}), flush=True)
print("{}", flush=True)
for i, _ in enumerate(sys.stdin):
    print(json.dumps({"steps": 100 * (i + 1), "seconds": 2.0}), flush=True)
"""


def test_a_worker_replies_once_per_chunk_until_it_is_closed():
    worker = side_by_side.Worker("peer", [sys.executable, "-c", PEER])
    assert worker.seconds_to_first_chunk > 0
    assert worker.manifest == {"versions": {"peer": "1"}}
    assert [worker.rate() for _ in range(3)] == [50.0, 100.0, 150.0]
    worker.close()


def test_the_error_names_a_worker_that_ends_early():
    with pytest.raises(SystemExit, match="peer ended"):
        side_by_side.Worker("peer", [sys.executable, "-c", "print('no module')"])


def test_a_row_has_the_medians_and_their_ratio():
    line = {
        "workload": "w1_harm",
        "seeds": 8,
        "ratio": 5.0,
        "steps_per_second": {"jaxq": [900.0, 1_000.0, 1_100.0], "rejax": [200.0] * 3},
        "seconds_to_first_chunk": {"jaxq": 10.0, "rejax": 12.5},
    }
    ours, theirs = line["steps_per_second"].values()
    assert np.median(ours) / np.median(theirs) == line["ratio"]
    assert side_by_side.row(line) == (
        "| w1_harm | 8 | 1,000 | 200 | 5.0 | 20% / 0% | 10.0 s / 12.5 s |"
    )


def test_only_matrix_products_count_towards_the_floor():
    def program(x, w):
        x = jax.lax.scan(lambda x, _: (jnp.tanh(x @ w), None), x, None, length=3)[0]
        return jax.vmap(lambda row: jnp.sum(row * row + 1.0))(x @ w.T)

    jaxpr = jax.jit(program).trace(jnp.ones((5, 7)), jnp.ones((7, 7))).jaxpr.jaxpr
    count = update_floor.product_flops(jaxpr)
    assert count == (3 + 1) * 2 * 5 * 7 * 7

    def on_any_platform(x):
        return jax.lax.platform_dependent(
            x, cpu=lambda x: x @ x.T, default=lambda x: (2 * x) @ x.T
        )

    jaxpr = jax.make_jaxpr(on_any_platform)(jnp.ones((5, 7))).jaxpr
    assert update_floor.product_flops(jaxpr) == 2 * 5 * 5 * 7


def test_jaxq_has_every_workload_of_the_peer():
    assert set(side_by_side.PEER_CHUNK) <= set(side_by_side.throughput.WORKLOADS)
