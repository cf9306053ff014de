"""The persistent cache of compiled programs."""

import os
import pathlib
import sys


def use() -> None:
    """Keep compiled programs, if there is a directory to keep them in."""
    import jax

    try:
        jax.config.update("jax_compilation_cache_dir", str(directory()))
    except OSError as error:
        print(
            f"note: compiled programs are not cached ({error}). For faster starts, set "
            "JAX_COMPILATION_CACHE_DIR to a writable directory.",
            file=sys.stderr,
        )
    else:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def directory() -> pathlib.Path:
    """Directory of the persistent compilation cache; created if it does not exist.

    Raises:
        OSError: if it cannot be written, as for a container's user without a home.
    """
    root = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(root):  # the XDG specification ignores relative paths
        root = os.path.join(os.path.expanduser("~"), ".cache")
    path = pathlib.Path(root, "jaxq", "compiled")
    if not path.is_absolute():
        raise OSError("the user has no home directory")
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(f"{path} is not writable")
    return path
