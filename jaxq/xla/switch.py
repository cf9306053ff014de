"""Switch between the tuned functions of this package and their plain references.

`PLAIN` maps the name of every tuned function to the few lines of jax that define it.
Inside `plain()` those lines run instead: to read what a function means, to rule out a
trick while debugging, and to test that training does not depend on one.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import jax

F = TypeVar("F", bound=Callable[..., Any])

PLAIN: dict[str, Callable[..., Any]] = {}  # name -> plain reference

_depth = 0  # of `plain()`; not per thread, as runs trace programs in worker threads


def tunes(reference: Callable[..., Any]) -> Callable[[F], F]:
    """Decorator of a tuned version of `reference`, which it registers in `PLAIN`.

    Args:
        reference: same arguments and, up to rounding or the random numbers drawn, the
            same result.
    """

    def register(tuned: F) -> F:
        PLAIN[tuned.__name__] = reference

        @functools.wraps(tuned)
        def choose(*arguments: Any, **named: Any) -> Any:
            return (reference if _depth else tuned)(*arguments, **named)

        return cast(F, choose)

    return register


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Use the plain references in everything traced inside the context.

    Compiled programs are discarded on entry and exit, since they do not record which
    version they were traced with. Keys made inside have a different implementation
    from keys made outside, and must not be mixed with them; nor must an environment
    that was adapted inside be used outside.
    """
    global _depth
    try:
        _depth += 1
        jax.clear_caches()
        yield
    finally:
        _depth -= 1
        jax.clear_caches()
