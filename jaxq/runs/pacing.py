"""Number of training iterations in each compiled call."""

from jaxq.config import loop_lengths

CALL_SECONDS = 1.0  # of a call on a CPU; a signal waits for the end of a call


class Pacer:
    """Chooses the length of compiled calls, so that signals are handled promptly.

    A GPU runs the number of iterations it was compiled for, except in a shorter last
    call before a point of the curve. A CPU program takes any number; unless the
    configuration fixes it, calls adapt to `CALL_SECONDS`. The first call has one
    iteration and is not timed, because it includes compilation.
    """

    def __init__(self, lengths: loop_lengths.LoopLengths, adaptive: bool):
        self.adaptive = adaptive
        self.calls = 0  # that have returned
        self._chunk = lengths.chunk_iterations
        self._point = lengths.point_iterations
        self._length = 1

    def next(self, iterations: int, whole_chunk: bool = False) -> int:
        """Iterations of the next call, which never passes a point of the curve.

        Args:
            iterations: done so far.
            whole_chunk: do not adapt, so that the call is long enough for a profile.
        """
        adapt = self.adaptive and not whole_chunk
        length = self._length if adapt else self._chunk
        return min(length, self._point - iterations % self._point)

    def record(self, iterations: int, seconds: float) -> None:
        """Adapt to the duration of a call; the length grows at most tenfold."""
        if self.calls:
            length = int(iterations * CALL_SECONDS / seconds)
            self._length = max(1, min(10 * iterations, length))
        self.calls += 1
