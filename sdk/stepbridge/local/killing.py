"""A sandbox that is killed where a test says: a step's function has run, and its record is not written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from stepbridge.core.conditions import Item
from stepbridge.core.keys import REGISTER_PREFIX
from stepbridge.core.records import Mark
from stepbridge.ports import Ports


class Killed(BaseException):
    """The sandbox is gone: nothing of this invocation happens any more."""


class Killer:
    """Which steps' next records are never written."""

    def __init__(self) -> None:
        self.planned: Counter[str] = Counter()
        """How many times, by step id."""
        self._dead = False

    def revive(self) -> None:
        """The next invocation has a sandbox of its own."""
        self._dead = False

    def around(self, ports: Ports) -> Ports:
        """The ports of a sandbox that may be killed; the clock goes on."""
        mortal: dict[str, Any] = {name: _Mortal(getattr(ports, name), self) for name in _PORTS}
        return replace(ports, **mortal)

    def check(self, call: str, args: tuple[Any, ...]) -> None:
        """Raises `Killed` where the sandbox is dead, or dies by this call."""
        if call == "put" and args and isinstance(args[0], dict) and self._is_planned(args[0]):  # no blob, no events
            self._dead = True
        if self._dead:
            raise Killed

    def _is_planned(self, item: Item) -> bool:
        step_id = str(item.get("n", ""))
        is_record = str(item.get("sk", "")).startswith(REGISTER_PREFIX) and item.get("st") != Mark.STARTED.value
        if not is_record or self.planned[step_id] < 1:
            return False
        self.planned[step_id] -= 1
        return True


_PORTS = ("table", "queue", "bus", "timers", "blobs")


class _Mortal:
    """A port of such a sandbox."""

    def __init__(self, port: Any, killer: Killer) -> None:
        self._port = port
        self._killer = killer

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._port, name)

        def call(*args: Any, **more: Any) -> Any:
            self._killer.check(name, args)
            return method(*args, **more)

        return call
