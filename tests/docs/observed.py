"""A simulation that notes every request of the engine, in the words of ARCHITECTURE."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from stepbridge import App
from stepbridge.core.conditions import Item, Key
from stepbridge.core.keys import HEAD_SK, REGISTER_PREFIX
from stepbridge.engine.store import Store
from stepbridge.testing import Simulation

_PARTITIONS = {"W#": "wait", "B#": "kept event", "M#": "map"}


class Observed(Simulation):
    """Notes requests as lines, an invocation a list."""

    def __init__(self, *apps: App) -> None:
        super().__init__(*apps, backend="memory")
        self.invocations: list[list[str]] = []
        for site in self._sites:
            noted = {name: _Noted(getattr(site.ports, name), name, self._note) for name in _WORDS}
            site.ports = replace(site.ports, **noted)
            site.store = Store(site.ports.table)

    def _note(self, line: str) -> None:
        self.invocations[-1].append(line)

    def _deliver_one(self, site: Any) -> bool:
        self.invocations.append([])
        moved = super()._deliver_one(site)
        if not moved:
            self.invocations.pop()
        return moved


class _Noted:
    def __init__(self, port: Any, name: str, note: Callable[[str], None]) -> None:
        self._port = port
        self._name = name
        self._note = note

    def __getattr__(self, method: str) -> Any:
        call = getattr(self._port, method)

        def noted(*args: Any, **more: Any) -> Any:
            self._note(_WORDS[self._name](method, *args))
            return call(*args, **more)

        return noted


def _table(method: str, what: Key | Item | str, *rest: Any) -> str:
    match what:
        case Key(pk, sk):
            changed = getattr(rest[0], "set", {}).get("st") if rest else None
            return f"{method} {_thing(pk, sk)}" + (f", {changed}" if changed else "")
        case str():
            return f"{method} {_thing(what, '*')}"
        case _:
            step = str(what.get("n", ""))
            return f"{method} {_thing(str(what['pk']), str(what['sk']))} {step}".strip()


def _thing(pk: str, sk: str) -> str:
    if pk == "REG":
        return f"signatures of {sk.removeprefix('SIG#')}"
    if pk[:2] != "R#":
        return _PARTITIONS[pk[:2]]
    return "head" if sk == HEAD_SK else "register" if sk.startswith(REGISTER_PREFIX) else "registers"


def _queue(method: str, messages: Any) -> str:
    (message,) = messages
    return f"{method} {json.loads(message.body)['k']}"


_WORDS: dict[str, Callable[..., str]] = {
    "table": _table,
    "queue": _queue,
    "timers": lambda method, *_: f"{method} schedule",
    "bus": lambda method, *_: f"{method} events",
    "blobs": lambda method, *_: f"{method} blob",
}
"""How a request to each port is told."""
