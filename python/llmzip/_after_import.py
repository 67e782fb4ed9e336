"""Calls that wait for a module to be imported, so that importing this package imports nothing else."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType


def call(awaited: str, module: str, function: str) -> None:
    """Call a function of a module without arguments once another module is imported.

    Parameters
    ----------
    awaited : str
        The module that is waited for; where it is imported already, the call is made now.
    module, function : str
        The function, and the module that has it, which is imported for the call.
    """

    def now() -> None:
        getattr(__import__(module, fromlist=[function]), function)()

    if awaited in sys.modules:
        now()
    else:
        sys.meta_path.insert(0, _Finder(awaited, now))


class _Finder:
    """A finder that finds nothing itself: it has the module's own loader make the call."""

    def __init__(self, awaited: str, then: object) -> None:
        self.awaited, self.then = awaited, then

    def find_spec(
        self, name: str, path: object = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self.awaited:
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        for finder in others:
            spec = finder.find_spec(name, path, target)  # type: ignore[arg-type]
            if spec is not None:
                break
        else:
            return None
        loader, then = spec.loader, self.then
        execute = loader.exec_module  # type: ignore[union-attr]

        def exec_module(module: ModuleType) -> None:
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            then()  # type: ignore[operator]

        loader.exec_module = exec_module  # type: ignore[union-attr, method-assign]
        return spec
