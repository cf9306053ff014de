"""Threads that drive the devices, and compile each program once."""

import collections
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Hashable, Sequence

import jax

from jaxq.training.blocks import Block, used_devices
from jaxq.types import PyTree


class CompileOnce:
    """Lets the first of several threads compile a program while the others wait."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, threading.Lock] = {}
        self._compiled: set[Hashable] = set()

    def __call__(self, program: Hashable, call: Callable[[], PyTree]) -> PyTree:
        """Return `call()`; the first call of a program runs alone.

        Args:
            program: identifies what is compiled, and for which device.
            call: calls the program.
        """
        if program not in self._compiled:
            with self._locks.setdefault(program, threading.Lock()):
                if program not in self._compiled:
                    result = call()
                    self._compiled.add(program)
                    return result
        return call()


class BlockPool:
    """One thread per worker; the workers of a device share its blocks.

    Every device has its own executable. A single program partitioned over the
    devices would be compiled once, but to different code: its results differ in the
    last bit (jax 0.10.2, two CPU devices).
    """

    def __init__(
        self, blocks: Sequence[Block], compile_once: CompileOnce | None = None
    ):
        """Create the pool; threads start when blocks are computed.

        Args:
            blocks: the blocks to compute.
            compile_once: shared by pools that run the same programs; None creates one.
        """
        self.devices = used_devices(blocks)
        self._blocks = blocks
        self._compile_once = compile_once or CompileOnce()
        self._executors = {
            device: concurrent.futures.ThreadPoolExecutor(num_workers)
            for device, num_workers in collections.Counter(self.devices).items()
        }

    def map(self, program: Hashable, call: Callable[[int], PyTree]) -> list[PyTree]:
        """Return [call(0), call(1), ...], one result per block.

        A worker that is free takes the next block of its device, because cores differ
        in speed and are shared with other processes.

        Args:
            program: identifies the program that `call` runs.
            call: computes the block with the given index.
        """

        def compute(index: int) -> PyTree:
            key = program, self._blocks[index].device
            result = self._compile_once(key, lambda: call(index))
            return jax.block_until_ready(result)

        futures = [
            self._executors[block.device].submit(compute, index)
            for index, block in enumerate(self._blocks)
        ]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:  # blocks that are waiting when one fails
                future.cancel()

    def compile_ahead(
        self, program: Hashable, device: jax.Device, compile_: Callable[[], object]
    ) -> None:
        """Compile a program in the background; `map` waits for it.

        Errors are ignored, because calling the program raises them again.
        """

        def compile_quietly() -> None:
            with contextlib.suppress(Exception):
                self._compile_once((program, device), compile_)

        threading.Thread(target=compile_quietly).start()
