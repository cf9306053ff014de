"""Progress of a run on the terminal: a bar, or plain lines where there is none."""

import math
import sys
import time
from typing import Self

import rich.console
import rich.progress


def short(number: float) -> str:
    """A number in thousands or millions."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


SHORTEST = 1.0  # seconds for which a speed is measured before it is told


class Progress:
    """Reports steps, speed, return and remaining time between compiled chunks."""

    def __init__(self, total_steps: int, num_seeds: int, enabled: bool = True):
        self._total = total_steps
        self._seeds = num_seeds
        self._enabled = enabled
        self._done = 0
        self._timed_from = 0
        self._next_line = 0.1
        self._created = time.monotonic()
        self._started: float | None = None
        self._console = rich.console.Console(highlight=False)
        self._bar: rich.progress.Progress | None = None
        if enabled and self._console.is_terminal:
            self._bar = rich.progress.Progress(
                rich.progress.TextColumn("{task.percentage:3.0f} %"),
                rich.progress.BarColumn(bar_width=24),
                rich.progress.TextColumn("{task.fields[text]}"),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=total_steps, text="compiling")

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self._enabled:
            self._console.print(text, soft_wrap=True, markup=False)

    @property
    def seconds_to_first_chunk(self) -> float:
        """Seconds that compilation, warm-up and the first chunk took."""
        return (self._started or time.monotonic()) - self._created

    def steps_per_second(self) -> float:
        """Environment steps a second over all seeds, the first chunk left out."""
        if self._started is None or self._done == self._timed_from:
            return float("nan")
        seconds = time.monotonic() - self._started
        return (self._done - self._timed_from) * self._seeds / max(seconds, 1e-9)

    def update(self, steps: int, result: str) -> None:
        """Report `steps` done by every seed and the latest result."""
        if self._started is None:  # compiled; speed is measured from here
            self._started, self._timed_from = time.monotonic(), steps
        self._done = steps
        speed = self.steps_per_second()
        text = f"{short(steps)}/{short(self._total)} steps  {result}"
        if math.isfinite(speed) and time.monotonic() - self._started > SHORTEST:
            left = (self._total - steps) * self._seeds / speed
            text += f"  {short(speed)} steps/s (all seeds)  ETA {duration(left)}"
        share = steps / self._total
        if self._bar:
            self._bar.update(self._task, completed=steps, text=text)
        elif self._enabled and share >= self._next_line:
            self._next_line = int(share * 10 + 1) / 10
            print(f"{share:4.0%}  {text}", flush=True, file=sys.stdout)
