"""Scripts of experiments/, run in this process: that saves jax's start every time.

How scripts behave as processes is tested in runs/test_processes.py.
"""

import contextlib
import io
import os
import pathlib
import runpy
import subprocess
import sys
from unittest import mock

from jaxq.runs import signals

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run_script(path, *words):
    """Run a script as if from the command line; return its exit code and output."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    words = [str(ROOT / path), *map(str, words)]
    with (
        mock.patch.object(sys, "argv", words),
        mock.patch.object(sys, "path", [str(ROOT / "experiments"), *sys.path]),
        mock.patch.object(signals.Stopper, "end_process", False),
        mock.patch.dict(os.environ),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            runpy.run_path(words[0], run_name="__main__")
        except SystemExit as error:
            code = 0 if error.code is None else error.code
            if isinstance(code, str):
                print(code, file=err)
                code = 1
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())
