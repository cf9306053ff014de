"""Threads of the block pool: order, sharing of a device's blocks, compiling once."""

import threading
import time

import jax
import numpy as np
import pytest

from jaxq.training import block_pool, blocks


def blocks_on(devices, count):
    """Blocks of one seed each, dealt to one worker per entry of `devices` in turn."""
    return [
        blocks.Block(np.uint32([i]), i % len(devices), devices[i % len(devices)])
        for i in range(count)
    ]


def test_results_come_in_the_order_of_the_blocks():
    pool = block_pool.BlockPool(blocks_on(jax.devices(), 5))
    assert pool.devices == jax.devices()
    assert pool.map("square", lambda index: index**2) == [0, 1, 4, 9, 16]


def test_a_free_worker_takes_the_next_block():
    pool = block_pool.BlockPool(blocks_on(jax.devices()[:1] * 2, 4))
    pool.map("program", lambda index: index)  # "compiled" from here on
    first, others = threading.Event(), threading.Event()
    done = []

    def call(index):
        if index == 0:
            first.set()
            assert others.wait(60)
        assert first.wait(60)
        done.append(index)
        if index == 3:
            others.set()
        return index

    assert pool.map("program", call) == [0, 1, 2, 3]
    assert done == [1, 2, 3, 0]


def test_an_error_reaches_the_caller_and_cancels_the_waiting_blocks():
    pool = block_pool.BlockPool(blocks_on(jax.devices()[:1], 50))
    called = []

    def call(index):
        called.append(index)
        raise ValueError(f"block {index}")

    with pytest.raises(ValueError, match="block 0"):
        pool.map("program", call)
    pool.map("another", lambda index: index)  # after whatever was still running
    assert len(called) < 50


def test_the_first_call_of_a_program_runs_alone_and_the_others_side_by_side():
    once, num_threads = block_pool.CompileOnce(), 4
    side_by_side = threading.Barrier(num_threads - 1)
    calls, results = [], []

    def call():
        calls.append(threading.current_thread())
        if len(calls) == 1:
            time.sleep(0.2)  # time for the others to come too early
            assert len(calls) == 1
            return "first"
        side_by_side.wait(60)
        return "other"

    threads = [
        threading.Thread(target=lambda: results.append(once("program", call)))
        for _ in range(num_threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == ["first"] + ["other"] * (num_threads - 1)


def test_after_an_error_the_next_call_compiles():
    once = block_pool.CompileOnce()

    def fails():
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        once("program", fails)
    assert once("program", lambda: 1) == once("program", lambda: 1) == 1


def test_programs_do_not_wait_for_one_another():
    once = block_pool.CompileOnce()
    assert once("outer", lambda: once("inner", lambda: 3)) == 3


@pytest.mark.parametrize("fails", [False, True])
def test_map_waits_for_a_program_that_is_compiled_ahead(fails):
    device = jax.devices()[0]
    pool = block_pool.BlockPool(blocks_on([device], 2))
    started, events = threading.Event(), []

    def compile_():
        started.set()
        time.sleep(0.2)
        events.append("compiled")
        if fails:
            raise RuntimeError("no program")

    pool.compile_ahead("program", device, compile_)
    assert started.wait(60)
    assert pool.map("program", lambda index: events.append(index)) == [None, None]
    assert events == ["compiled", 0, 1]
