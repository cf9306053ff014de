"""Import of matplotlib, before anything is compiled."""

import contextlib
import importlib
import os
import sys
from typing import Literal, get_args

from jaxq.config.fields import ConfigError, check_name

Format = Literal["png", "pdf"]  # of figures; a PDF is written beside the PNG


def check_figures(plot: bool, figure_format: str) -> None:
    """Check that figures can be drawn, and that their format has an effect.

    Args:
        plot: whether figures are drawn.
        figure_format: png or pdf.

    Raises:
        ConfigError: for an unknown format, or one that is not used; or if matplotlib
            cannot be imported.
    """
    check_name("figure_format", figure_format, get_args(Format))
    if plot:
        check_matplotlib()
    elif figure_format != "png":
        raise ConfigError(
            f"figure_format = {figure_format!r} has no effect: no figures are drawn. "
            "Omit it."
        )


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
