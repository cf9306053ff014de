"""Launches and bytes of a small program, counted by hand; budgets of the workloads."""

import importlib.util
import json
import pathlib

import jax
import jax.numpy as jnp
import pytest

from experiments import kernels
from experiments.support import activations, hlo, launches
from experiments.support.provenance import ROOT
from jaxq import ConfigError

PROGRAM = (pathlib.Path(__file__).parent / "chunk.hlo").read_text(encoding="utf-8")
ROW = 8 * 4


def test_the_launches_of_an_iteration_are_counted_by_part():
    found = {one.name: one for one in launches.of_iteration(hlo.parse(PROGRAM))}
    assert set(found) == {"write", "batch", "product", "both", "target"}
    write = found["write"]  # one row and its index are read, and one row is written
    assert (write.times, write.part, write.kind) == (32, "environment", "loop")
    assert write.bytes == ROW + 4 + ROW
    batch = found["batch"]  # four rows and their places are read, four rows written
    assert (batch.times, batch.part, batch.bytes) == (1, "network", 9 * 16 * 2 - 16)
    product = found["product"]
    assert (product.part, product.kind) == ("network", "__cublas$gemm")
    assert product.bytes == 512 * 4 * 2 + 4 * ROW
    both = found["both"]  # two arrays and a mask are read, two arrays written
    assert (both.part, both.kind) == ("optimizer", "reduction")
    assert both.bytes == 512 + 4 * 512 * 4 and both.selects == 512 * 4
    # The branch that refreshes the target copies; the other one does nothing.
    assert (found["target"].kind, found["target"].bytes) == ("condition", 0)


def test_a_loop_of_unknown_length_is_not_counted_as_one_pass():
    text = PROGRAM.replace("known_trip_count", "unknown")
    with pytest.raises(ValueError, match="number of passes"):
        launches.of_iteration(hlo.parse(text))


def test_a_file_that_is_corrupt_or_nowhere_is_refused_before_compiling(
    tmp_path, monkeypatch
):
    path = tmp_path / "kernels.jsonl"
    path.write_text('{"workload": "w2"')
    for output, message in ((path, "is corrupt"), (tmp_path / "no" / "x", "directory")):
        monkeypatch.setattr("sys.argv", ["kernels.py", "--output", str(output)])
        with pytest.raises(ConfigError, match=message):
            kernels.main()


def test_sizes_of_shapes():
    assert hlo.shape_bytes("f32[2,3]{1,0}") == 24
    assert hlo.shape_bytes("(pred[10]{0}, bf16[4]{0}, s32[])") == 22
    assert hlo.shape_bytes("token[]") == 0


def test_a_line_is_replaced_in_order(tmp_path):
    path = tmp_path / "kernels.jsonl"
    for name, seeds, count in (("w2", 128, 1), ("w1_harm", 16, 2), ("w2", 128, 3)):
        line = {"workload": name, "seeds": seeds, "launches": count}
        kernels.replace(path, line)
    lines = [json.loads(row) for row in path.read_text().splitlines()]
    assert [(one["workload"], one["launches"]) for one in lines] == [
        ("w1_harm", 2),
        ("w2", 3),
    ]


def test_the_floor_counts_passes_over_the_parameters():
    """One layer of 4 x 64, one of 64 x 64 and one of 64 x 2, with their biases.

    Of 32 examples, the estimates are written, read twice, and have a gradient that is
    written and read; the targets are written and read, and so are the values of the one
    step that is taken.
    """
    parameters = 4 * (5 * 64 + 65 * 64 + 65 * 2)
    outputs = 4 * (64 + 64 + 2)
    expected = parameters * (7 + 1 + 3 + 1) + outputs * (32 * (5 + 2) + 2)
    assert kernels.floor_bytes("w1_classic") == expected


def test_outputs_of_layers_count_loops_and_the_branch_of_accelerators():
    def function(x, w):
        def step(x, _):
            return x @ w, None

        y, _ = jax.lax.scan(step, x, None, length=5)
        return jax.lax.platform_dependent(y, cpu=lambda y: y, default=lambda y: y @ w)

    shapes = jnp.zeros((2, 3)), jnp.zeros((3, 3))
    assert activations.outputs(jax.jit(function), *shapes) == 6 * (5 + 1)


LINES = [
    json.loads(row)
    for row in (ROOT / "results" / "throughput" / "kernels.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]


def test_every_workload_has_a_budget():
    pairs = {(line["workload"], line["seeds"]) for line in LINES}
    assert pairs == {(name, n) for name in kernels.WORKLOADS for n in kernels.SEEDS}


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("jax_cuda12_plugin") is None,
    reason="needs XLA's compiler for GPUs; see .ci/kernels",
)
@pytest.mark.parametrize(
    "budget", LINES, ids=lambda line: f"{line['workload']}-{line['seeds']}"
)
def test_no_workload_exceeds_its_budget(budget):
    if jax.__version__ != budget["jax"]:
        pytest.skip(f"the budget is one of jax {budget['jax']}")
    name, seeds = budget["workload"], budget["seeds"]
    line = kernels.measure(name, seeds, kernels.compiled(name, seeds))
    report = kernels.report(line)
    assert line["launches"] <= budget["launches"], report
    assert line["bytes"] <= 1.001 * budget["bytes"], report
    assert len(line["copies"]) <= len(budget["copies"]), report
