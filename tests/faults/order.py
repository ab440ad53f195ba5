"""In which order the engine makes its requests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stepbridge import App
from stepbridge.engine.store import Store
from stepbridge.ports import Ports
from stepbridge.testing import Simulation


class _Noted:
    """A port whose every call is written down before it is made."""

    def __init__(self, port: Any, asked: list[str]) -> None:
        self._port = port
        self._asked = asked

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)

        def call(*args: Any, **more: Any) -> Any:
            self._asked.append(f"{name} {args!r} {more!r}")
            return method(*args, **more)

        return call


def noted(ports: Ports, asked: list[str]) -> Ports:
    """The ports; what is asked of them goes into `asked`."""
    parts: dict[str, Any] = {name: _Noted(getattr(ports, name), asked) for name in ("table", "queue", "timers")}
    return replace(ports, **parts)


def place(asked: list[str], *words: str) -> int:
    """Where the first request stands that holds all the words.

    Raises:
        StopIteration: There is none.
    """
    return next(number for number, text in enumerate(asked) if all(word in text for word in words))


class NotedSimulation(Simulation):
    """A simulation that writes down what is asked of its backend."""

    def __init__(self, *apps: App) -> None:
        super().__init__(*apps)
        self.asked: list[str] = []
        for site in self._sites:
            site.ports = noted(site.stack.ports, self.asked)
            site.store = Store(site.ports.table)
