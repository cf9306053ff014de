"""Progress on the terminal: a bar, or plain lines when output is redirected."""

import math
import sys
import time
from typing import Self

import rich.console
import rich.progress

MIN_TIMED_SECONDS = 1.0  # speed is shown once it has been measured for this long


def short(number: float) -> str:
    """A number with three digits and k, M or G, such as 1.25M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Progress:
    """Reports steps, speed, returns and remaining time between compiled calls."""

    def __init__(
        self,
        total_steps: int,
        num_seeds: int,
        enabled: bool = True,
        verbose: bool = False,
    ):
        """Start the clock.

        Args:
            total_steps: environment steps of each seed.
            num_seeds: number of seeds.
            enabled: show progress, and print other lines.
            verbose: print other lines in any case.
        """
        self._total = total_steps
        self._seeds = num_seeds
        self._enabled = enabled
        self._verbose = enabled or verbose
        self._steps = 0
        self._first_steps = 0  # steps of the first call, which is not timed
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

    def print(self, text: str) -> None:
        """Print a line above the bar."""
        if self._verbose:
            self._console.print(text, soft_wrap=True, markup=False)

    @property
    def seconds_to_first_chunk(self) -> float:
        """Seconds of compilation, warm-up and the first compiled call."""
        return (self._started or time.monotonic()) - self._created

    def steps_per_second(self) -> float:
        """Environment steps per second over all seeds, excluding the first call."""
        if self._started is None or self._steps == self._first_steps:
            return float("nan")
        seconds = time.monotonic() - self._started
        return (self._steps - self._first_steps) * self._seeds / max(seconds, 1e-9)

    def update(self, steps: int, result: str) -> None:
        """Show the progress.

        Args:
            steps: environment steps taken by each seed.
            result: the latest result, shown after the steps.
        """
        if self._started is None:  # everything is compiled: start timing
            self._started, self._first_steps = time.monotonic(), steps
        self._steps = steps
        text = f"{short(steps)}/{short(self._total)} steps  {result}"
        speed = self.steps_per_second()
        if (
            math.isfinite(speed)
            and time.monotonic() - self._started > MIN_TIMED_SECONDS
        ):
            remaining = (self._total - steps) * self._seeds / speed
            text += f"  {short(speed)} steps/s (all seeds)  ETA {duration(remaining)}"
        self._show(steps, text)

    def _show(self, steps: int, text: str) -> None:
        share = steps / self._total
        if self._bar:
            self._bar.update(self._task, completed=steps, text=text)
        elif self._enabled and share >= self._next_line:
            self._next_line = int(share * 10 + 1) / 10
            print(f"{share:4.0%}  {text}", flush=True, file=sys.stdout)
