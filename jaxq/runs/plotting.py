"""Import of matplotlib, before anything is compiled."""

import contextlib
import importlib
import os
import sys

from jaxq.config.fields import ConfigError


def check_matplotlib() -> None:
    """Check that matplotlib can be imported, whatever backend MPLBACKEND names.

    Raises:
        ConfigError: if it cannot be imported.
    """
    try:
        _import_matplotlib()
    except (ImportError, OSError) as error:
        raise ConfigError(
            f"matplotlib, which draws the plots, cannot be imported ({error}). Repair "
            "it (pip install --force-reinstall matplotlib), or draw no plots: "
            "--no-plot for a run or a sweep, plot=False from Python."
        ) from error


def _import_matplotlib() -> None:
    """Import matplotlib, without a backend if MPLBACKEND names an unknown one.

    `import matplotlib` then raises ValueError. A notebook sets the variable to its own
    backend, also for the processes that it starts, where the backend may not be
    installed. Figures are written to files without any.
    """
    is_imported = "matplotlib" in sys.modules
    backend = os.environ.pop("MPLBACKEND", "")
    try:
        importlib.import_module("matplotlib.backends.backend_agg")
    finally:
        if backend:
            os.environ["MPLBACKEND"] = backend
    if backend and not is_imported:
        with contextlib.suppress(ValueError):
            sys.modules["matplotlib"].rcParams["backend"] = backend
