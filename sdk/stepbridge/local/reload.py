"""Handlers are loaded anew when a file of the project changes; runs go on with the new code.

Files are looked at a few times a second. Rejected: `watchfiles`, whose events cost a dependency in Rust, and do not
come through where a container or a network mounts the folder; the dozens of files of a project take a millisecond.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from importlib.util import cache_from_source
from pathlib import Path
from types import ModuleType
from typing import Final

from stepbridge.app import App

_LOG = logging.getLogger("stepbridge")

LOOK_SECONDS: Final = 0.25
_OWN: Final = ("stepbridge", "__main__")

Seen = dict[str, tuple[int, int]]
"""When each file was written, in nanoseconds, and its size."""


class Sources:
    """The Python files of a project: those beside its loaded modules, and those that an import failed in.

    Args:
        root: The project's folder; what is installed in an environment below it is not the project's.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._known: dict[str, bool] = {}
        """Whether a place is the project's: asked of every loaded module, several times a second."""
        self.failed: set[str] = set()
        """Files of an import that failed; they may lie anywhere."""

    def modules(self) -> dict[str, ModuleType]:
        """The project's loaded modules by name, packages without `__init__.py` among them."""
        return {
            name: module
            for name, module in list(sys.modules.items())
            if name.partition(".")[0] not in _OWN and any(self._is_own(place) for place in _places(module))
        }

    def seen(self) -> Seen:
        """The files as they are now."""
        folders = {os.path.dirname(file) for file in self.failed}  # noqa: PTH120 - many, and often
        for module in self.modules().values():
            file = getattr(module, "__file__", None)
            folders.update([os.path.dirname(file)] if file else _places(module))  # noqa: PTH120
        return {entry.path: _mark(entry) for folder in folders for entry in _python_files(folder)}

    def files_of(self, error: BaseException) -> set[str]:
        """The project's files that an import has failed in."""
        files = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
        if isinstance(error, SyntaxError) and error.filename:
            files.add(error.filename)
        return {file for file in files if self._is_own(file)}

    def _is_own(self, place: str) -> bool:
        known = self._known.get(place)
        if known is None:
            path = Path(os.path.realpath(place))
            below = path.parents[: len(path.parts) - len(self._root.parts) - 1] if self._root in path.parents else ()
            environment = any(folder.name == "site-packages" or (folder / "pyvenv.cfg").exists() for folder in below)
            known = self._known[place] = self._root in path.parents and not environment
        return known


class Reloader:
    """Looks at the files, in a thread of its own, and has the app loaded anew when they have changed.

    Args:
        sources: Which files.
        load: Imports the app.
        place: Calls a function where no handler runs meanwhile: on the engine's loop. A breakpoint in a module
            then has the terminal, too.
        adopt: Takes the new app; raises `ConfigError` where it does not.
        tell: Is told of changed files, and of the error where the old code goes on.
    """

    def __init__(
        self,
        sources: Sources,
        load: Callable[[], App],
        place: Callable[[Callable[[], None]], None],
        adopt: Callable[[App], None],
        tell: Callable[[list[str], BaseException | None], None],
    ) -> None:
        self._sources = sources
        self._load = load
        self._place = place
        self._adopt = adopt
        self._tell = tell
        self._seen = sources.seen()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look, name="stepbridge-reload", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Looks no more."""
        self._stopping.set()

    def _look(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            now = self._sources.seen()
            changed = sorted(path for path in {*now, *self._seen} if now.get(path) != self._seen.get(path))
            if not changed:
                continue
            while not self._stopping.wait(LOOK_SECONDS / 3) and (later := self._sources.seen()) != now:
                now = later  # several files are being written: once they rest
            self._seen = now
            done = threading.Event()
            self._place(lambda changed=changed, done=done: self._reload(changed, done))  # type: ignore[misc]
            while not done.wait(LOOK_SECONDS) and not self._stopping.is_set():
                pass
            known = {os.path.dirname(path) for path in now}  # noqa: PTH120 - as above
            more = {path: mark for path, mark in self._sources.seen().items() if os.path.dirname(path) not in known}  # noqa: PTH120
            self._seen = now | more

    def _reload(self, changed: list[str], done: threading.Event) -> None:
        """Imports the project anew; whatever is wrong with it, the old code stays, and so do its modules."""
        kept = self._sources.modules()
        for path in changed:  # bytecode is told from older one by whole seconds only
            Path(cache_from_source(path)).unlink(missing_ok=True)
        for name in kept:
            del sys.modules[name]
        importlib.invalidate_caches()
        try:
            self._adopt(self._load())
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a module does when it is imported
            self._sources.failed = self._sources.files_of(error.__cause__ or error)
            for name in self._sources.modules():
                del sys.modules[name]
            sys.modules.update(kept)
            self._tell(changed, error)
        else:
            self._sources.failed = set()
            self._tell(changed, None)
        finally:
            done.set()


def _places(module: ModuleType) -> list[str]:
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        return [file]
    try:
        return [f"{folder}/" for folder in getattr(module, "__path__", ()) if isinstance(folder, str)]
    except Exception:  # noqa: BLE001 - a program may put anything among the modules
        return []


def _python_files(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if entry.name.endswith(".py"))
    except OSError:
        return  # gone meanwhile


def _mark(entry: os.DirEntry[str]) -> tuple[int, int]:
    try:
        stat = entry.stat()
    except OSError:
        return (0, 0)
    return (stat.st_mtime_ns, stat.st_size)
