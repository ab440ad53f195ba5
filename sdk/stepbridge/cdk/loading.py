"""The user's app, imported at synthesis: functions, triggers, waits and cancels are written once, in the app."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from stepbridge.app import App
from stepbridge.errors import ConfigError


def load_app(name: str, source: Path) -> App:
    """The app that `name`, as module:attribute, names in the folder `source`.

    What the app's modules raise when they are imported is raised as it comes.

    Raises:
        ConfigError: The name is malformed, there is no such module, or it holds no such app.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise ConfigError(f"StepbridgeApp: app={name!r}. Mend: MODULE:ATTRIBUTE, 'functions.shop:app' say.")
    if str(source) not in sys.path:
        sys.path.insert(0, str(source))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            raise ConfigError(
                f"StepbridgeApp: app={name!r}: there is no module {error.name!r} in {source}."
                " Mend: source= is the folder that holds it."
            ) from error
        raise
    found = getattr(module, attribute, None)
    if not isinstance(found, App):
        raise ConfigError(
            f"StepbridgeApp: app={name!r}: {attribute!r} of {module_name!r} is {found!r:.80}, not a stepbridge.App."
        )
    return found


def needs_cel(app: App) -> bool:
    """Whether a declaration holds an expression, so that the function's cold start needs `stepbridge[cel]`."""
    return any(
        getattr(one, "if_exp", None) is not None
        for function in app.functions.values()
        for one in (*function.triggers, *function.waits, *(canceller.pattern for canceller in function.cancellers))
    )
