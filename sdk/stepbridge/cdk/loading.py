"""The user's app, imported at synthesis: functions, triggers, waits and cancels are written once, in the app."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from stepbridge.app import App
from stepbridge.errors import ConfigError


def load_app(name: str, source: Path, include: Sequence[str] = ()) -> App:
    """The app that `name`, as module:attribute, names in the folder `source`.

    What the app's modules raise when they are imported is raised as it comes.

    Raises:
        ConfigError: The name is malformed, there is no such module, it is another folder's, it holds no such
            app, or it imports what the asset would lack.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise ConfigError(f"StepbridgeApp: app={name!r}. Mend: MODULE:ATTRIBUTE, 'functions.shop:app' say.")
    if str(source) not in sys.path:
        sys.path.insert(0, str(source))
    before = set(sys.modules)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            raise ConfigError(
                f"StepbridgeApp: app={name!r}: there is no module {error.name!r} in {source}."
                " Mend: source= is the folder that holds it."
            ) from error
        raise
    top = module_name.partition(".")[0]
    file = Path(module.__file__ or "").resolve()
    if not file.is_relative_to(source):
        raise ConfigError(
            f"StepbridgeApp: app={name!r} of {source}: {module_name!r} was imported from {file}."
            " Mend: give the two packages different names."
        )
    found = getattr(module, attribute, None)
    if not isinstance(found, App):
        raise ConfigError(
            f"StepbridgeApp: app={name!r}: {attribute!r} of {module_name!r} is {found!r:.80}, not a stepbridge.App."
        )
    if missing := sorted(_beside(set(sys.modules) - before, source) - {top, "stepbridge", *include}):
        raise ConfigError(
            f"StepbridgeApp: app={name!r} imports {', '.join(missing)} of {source}, which its function would lack."
            f" Mend: include={missing!r}."
        )
    return found


def _beside(names: Iterable[str], source: Path) -> set[str]:
    """Of the modules, the top-level packages that lie in `source`."""
    tops = {name.partition(".")[0] for name in names}
    return {top for top in tops if (source / top).is_dir() or (source / f"{top}.py").is_file()}


def needs_cel(app: App) -> bool:
    """Whether a declaration holds an expression, so that the function's cold start needs `stepbridge[cel]`."""
    return any(
        getattr(one, "if_exp", None) is not None
        for function in app.functions.values()
        for one in (*function.triggers, *function.waits, *(canceller.pattern for canceller in function.cancellers))
    )
