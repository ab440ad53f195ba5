"""A world that outlasts its process: kept in a file, taken up again by the next one."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any, Final

from stepbridge.core.items import head_of
from stepbridge.core.keys import HEAD_SK
from stepbridge.core.records import Status
from stepbridge.engine.store import Store
from stepbridge.errors import ConfigError
from stepbridge.memory.world import World

_FORMAT: Final = 1
_PAUSE_SECONDS: Final = 1.0
_SHARE: Final = 20
"""The pause is this many times what the last save took: saving holds the engine up for a twentieth at most."""


class StateFile:
    """Where a world is kept; one process at a time has it.

    Args:
        path: Made where it is not there yet; readable by its owner only, since it holds what the runs hold.

    Raises:
        ConfigError: Another process has it, or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except (OSError, ValueError) as error:
            raise ConfigError(f"the state file {path} cannot be written: {error}. Mend: name another one.") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise ConfigError(
                f"the state file {path} is used by another process. Mend: end that one, or name another file."
            ) from error

    def touch(self, _run_id: str = "") -> None:
        """There is something new to be kept. Safe in any thread, and cheap."""
        self._changed = True

    def load(self, world: World) -> None:
        """Fills an empty world with what the file holds; a file that is not there is an empty world.

        What a former process had in hand comes back at once: that process is gone, and with it its leases.

        Raises:
            ConfigError: It is no state file of this version.
        """
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            world.load(_checked(content))
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"the state file {self._path} cannot be read: {error!r}. Mend: remove it, or name another one."
            ) from error
        for stack in world.stacks.values():
            stack.queue.recall()
            store = Store(stack.table)
            for item in stack.table.items():
                if item["sk"] == HEAD_SK and (head := head_of(item)).status is Status.RUNNING:
                    store.release(head)

    def save(self, world: World) -> None:
        """Writes the world, all of it or nothing. To be called where no message is acknowledged meanwhile.

        A table that is older than its queue would lose the runs whose messages are gone.
        """
        self._changed = False
        draft = self._path.with_name(self._path.name + ".new")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps({"stepbridge": _FORMAT, "world": world.dump()}), encoding="utf-8")
        draft.replace(self._path)

    async def keep(self, world: World) -> None:
        """Saves again and again what has changed; on the engine's loop, where messages are acknowledged."""
        pause = _PAUSE_SECONDS
        while True:
            await asyncio.sleep(pause)
            if self._changed:
                began = time.perf_counter()
                self.save(world)
                pause = max(_PAUSE_SECONDS, _SHARE * (time.perf_counter() - began))

    def close(self) -> None:
        """Leaves the file to others."""
        os.close(self._lock)


def _checked(content: dict[str, Any]) -> str:
    if content["stepbridge"] != _FORMAT:
        raise ValueError(f"its format is {content['stepbridge']!r}, not {_FORMAT}")
    return str(content["world"])
