"""Lazy imports: a module is imported when it is first used."""

import contextlib
import importlib
import sys
import types
from collections.abc import Iterable, Iterator
from typing import Any


class _LazyModule(types.ModuleType):
    """Stands in for a module and imports it on the first access to an attribute."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system's own look-ups
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextlib.contextmanager
def lazy_imports(names: Iterable[str]) -> Iterator[None]:
    """Make imports of these modules lazy while the context is active.

    A module that is imported inside the context gets a stand-in for each name, and
    keeps it. On leaving the context the stand-ins are removed from `sys.modules`, so
    that later imports elsewhere find the real modules. Modules that are already
    imported are left alone.

    `importlib.util.LazyLoader` would leave its lazy modules in `sys.modules` for all
    later importers, without the attribute of the parent package.
    """
    stand_ins = {name: _LazyModule(name) for name in names if name not in sys.modules}
    sys.modules.update(stand_ins)
    for name, stand_in in stand_ins.items():  # `from package import module`
        package, _, module = name.rpartition(".")
        if package in stand_ins:
            setattr(stand_ins[package], module, stand_in)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]
