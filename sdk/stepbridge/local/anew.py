"""Importing an app anew, so that nothing of a process's state survives: as if every invocation were a cold start."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

from stepbridge.app import App
from stepbridge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Home:
    """Where an app is found."""

    module: str
    attribute: str

    @property
    def package(self) -> str:
        """The top-level package, or module, with all that the app consists of."""
        return self.module.partition(".")[0]


def home_of(app: App) -> Home:
    """The module that holds the app, in the package that its functions are written in.

    Raises:
        ConfigError: No importable module has it as an attribute.
    """
    packages = {function.handler.__module__.partition(".")[0] for function in app.functions.values()}
    homes = [
        Home(name, attribute)
        for name, module in list(sys.modules.items())
        if hasattr(module, "__dict__")  # a program may put anything there
        for attribute, value in list(vars(module).items())
        if value is app and name != "__main__" and (not packages or name.partition(".")[0] in packages)
    ]
    if not homes:
        raise ConfigError(
            f"app {app.id!r} cannot be imported anew: no module of its functions' package has it as an attribute."
            " Mend: keep it at the top level of a module, or leave reimport=True out."
        )
    return min(homes, key=lambda home: (home.module.count("."), home.module, home.attribute))


@contextmanager
def imported_anew(homes: Sequence[Home], home: Home) -> Iterator[App]:
    """The app of a new import; the modules that were there come back at the end.

    Args:
        homes: Of all apps: their packages are out of the way meanwhile.
        home: Of the one that is wanted.
    """
    packages = {one.package for one in homes}
    kept = _take_out(packages)
    try:
        yield getattr(importlib.import_module(home.module), home.attribute)
    finally:
        _take_out(packages)
        sys.modules.update(kept)


def _take_out(packages: set[str]) -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name.partition(".")[0] in packages]
    return {name: sys.modules.pop(name) for name in names}
