"""The user's project: what pyproject.toml says of the app, and the app itself."""

from __future__ import annotations

import importlib
import sys
import tomllib
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stepbridge.cli.problems import USAGE, CommandError
from stepbridge.errors import ConfigError

if TYPE_CHECKING:
    from stepbridge.app import App

CONFIG: Final = "[tool.stepbridge] app"
_INTERRUPTED: Final = 130
"""The exit code after Ctrl-C."""
_MEND: Final = 'app = "functions.shop:app"'


@dataclass(frozen=True, slots=True)
class Project:
    """The folder of the next pyproject.toml upwards, or the current one, and its `[tool.stepbridge]`."""

    root: Path
    settings: dict[str, Any]

    @property
    def first_event(self) -> dict[str, Any]:
        """`[tool.stepbridge.first-event]`: name and data of the event that `dev` sends.

        Raises:
            CommandError: It is of the wrong shape, or cannot be sent.
        """
        from stepbridge.events import drafts_of

        event: Any = self.settings.get("first-event", {})
        what = f"[tool.stepbridge.first-event] of {self.root / 'pyproject.toml'}"
        is_event = isinstance(event, dict) and set(event) <= {"name", "data"}
        if not is_event or not isinstance(event.get("name", ""), str) or not isinstance(event.get("data", {}), dict):
            raise CommandError(
                f'{what} is {event!r:.80}. Mend: give it name = "order/created" and a table of data.', USAGE
            )
        try:
            drafts_of({"name": "any", **event}, what=what)
        except ConfigError as error:
            raise CommandError(str(error), USAGE) from error
        return dict(event)

    def load(self, wanted: str | None) -> App:
        """The app that `wanted` names, as module:attribute, or the project's own.

        Raises:
            CommandError: None is named, or it cannot be imported; says why and what to do.
        """
        named = wanted or self.settings.get("app")
        where = "" if wanted else f" (named by {CONFIG} of {self.root / 'pyproject.toml'})"
        if not isinstance(named, str):
            raise CommandError(
                f"no app is named. Mend: stepbridge dev MODULE:ATTRIBUTE, or write {_MEND} below [tool.stepbridge]"
                f" in {self.root / 'pyproject.toml'}.",
                USAGE,
            )
        module_name, _, attribute = named.partition(":")
        if "" in module_name.split("."):
            raise CommandError(f"{named!r:.80}{where} names no module. Mend: one like functions.shop:app.", USAGE)
        for folder in (str(self.root), str(Path.cwd())):
            if folder not in sys.path:
                sys.path.insert(0, folder)
        return _app_in(_module(module_name, named, where), attribute or "app", where)


def find_project(start: Path) -> Project:
    """The project that `start` lies in.

    Raises:
        CommandError: Its pyproject.toml cannot be read.
    """
    for folder in (start, *start.parents):
        file = folder / "pyproject.toml"
        if file.is_file():
            try:
                content = tomllib.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError, RecursionError) as error:
                raise CommandError(f"{file} cannot be read: {error}. Mend: correct it.", USAGE) from error
            tools = content.get("tool")
            settings = tools.get("stepbridge") if isinstance(tools, dict) else None
            return Project(folder, settings if isinstance(settings, dict) else {})
    return Project(start, {})


def _module(name: str, named: str, where: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise CommandError(
                f"the app {named!r:.80}{where} cannot be imported: there is no module {error.name!r:.80}. Mend: run"
                " from the folder that holds it, or name it like functions.shop:app.",
                USAGE,
            ) from error
        raise _broken(name, where, error) from error
    except SystemExit as error:
        raise CommandError(
            f"the module {name!r}{where} ends the process when it is imported. Mend: do so below"
            ' `if __name__ == "__main__":`.',
            USAGE,
        ) from error
    except KeyboardInterrupt as error:
        raise CommandError(f"the import of the module {name!r}{where} was interrupted.", _INTERRUPTED) from error
    except BaseException as error:
        raise _broken(name, where, error) from error


def _broken(name: str, where: str, error: BaseException) -> CommandError:
    """The user's own part of the traceback, and the cause."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "importlib" not in frame.filename and frame.filename != __file__]
    sys.stderr.write("".join(traceback.format_list(own)))
    cause = "".join(traceback.format_exception_only(error)).strip()
    return CommandError(f"the module {name!r}{where} cannot be imported: {cause}. Mend: correct the line above.", USAGE)


def _app_in(module: Any, attribute: str, where: str) -> App:
    from stepbridge.app import App

    try:
        found = getattr(module, attribute, None)
    except Exception as error:
        raise _broken(module.__name__, where, error) from error
    if isinstance(found, App):
        return found
    others = [name for name, held in vars(module).items() if isinstance(held, App)]
    hint = f"name {module.__name__}:{others[0]}" if others else "make one there: app = App('shop')"
    is_what = "is not there" if found is None else f"is no stepbridge.App but of type {type(found).__name__}"
    raise CommandError(f"{attribute!r} of the module {module.__name__!r}{where} {is_what}. Mend: {hint}.", USAGE)
