"""The crash driver: cuts the engine before or after any request, as if its sandbox had been killed there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

from stepbridge import App
from stepbridge.core.keys import HEAD_SK
from stepbridge.engine.store import Store
from stepbridge.local.simulated import MotoSite
from stepbridge.ports import Ports
from stepbridge.testing import Simulation


class Crash(BaseException):
    """The sandbox is gone: nothing of this invocation happens any more."""


@dataclass(slots=True)
class Knife:
    """Counts requests; kills at the numbers in `cuts`: 2n is before request n, 2n + 1 after it."""

    cuts: frozenset[int] = frozenset()
    requests: int = 0
    dead: bool = False
    trace: list[str] = field(default_factory=list)

    def around(self, name: str, request: Callable[[], Any]) -> Any:
        """Makes the request, unless the sandbox is dead by then."""
        if self.dead:
            raise Crash
        number = self.requests
        self.requests += 1
        self.trace.append(name)
        self._die_at(2 * number)
        answer = request()
        self._die_at(2 * number + 1)
        return answer

    def _die_at(self, point: int) -> None:
        if point in self.cuts:
            self.dead = True
            raise Crash


class _Cut:
    """A port whose every call is a request under the knife."""

    def __init__(self, port: Any, knife: Knife) -> None:
        self._port = port
        self._knife = knife

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        what = f"{type(self._port).__name__}.{name}"
        if name == "query":
            return lambda *args, **more: iter(self._knife.around(what, lambda: list(method(*args, **more))))
        return lambda *args, **more: self._knife.around(what, lambda: method(*args, **more))


def under(knife: Knife, ports: Ports) -> Ports:
    """The ports, under the knife; the clock is no request."""
    cut: dict[str, Any] = {
        name: _Cut(getattr(ports, name), knife) for name in ("table", "queue", "bus", "timers", "blobs")
    }
    return replace(ports, **cut)


class CrashingSimulation(Simulation):
    """A simulation whose invocations die at the knife's points, and whose messages then come back."""

    def __init__(self, *apps: App, knife: Knife, seed: int | None = None) -> None:
        super().__init__(*apps, seed=seed)
        self.knife = knife
        for site in self._sites:
            site.ports = under(knife, site.stack.ports)
            site.store = Store(site.ports.table)

    def __enter__(self) -> Self:
        """On moto the sites are made here."""
        super().__enter__()
        for site in self._sites:
            if isinstance(site, MotoSite):
                site.stack.ports = under(self.knife, site.stack.ports)
                site.restart()
        return self

    def _deliver_one(self, site: Any) -> bool:
        with self._sandbox(site):
            return super()._deliver_one(site)
        return True

    @contextmanager
    def _sandbox(self, site: Any) -> Iterator[None]:
        """An invocation that may end here; with its sandbox all is gone that the process knew."""
        self.knife.dead = False
        queue = site.stack.queue
        acknowledge = queue.acknowledge
        queue.acknowledge = lambda done: self.knife.around("acknowledge", lambda: acknowledge(done))
        try:
            yield
        except Crash:
            site.restart()
        finally:
            queue.acknowledge = acknowledge

    def leftovers(self) -> list[str]:
        """What stands though it should be gone: waits, schedules, messages."""
        return leftovers(self._sites)

    def heads(self) -> list[dict[str, Any]]:
        """The raw heads."""
        return [item for site in self._sites for item in site.stack.table.items() if item["sk"] == HEAD_SK]


def leftovers(sites: Sequence[Any]) -> list[str]:
    """What stands though it should be gone: waits, schedules, messages."""
    found: list[str] = []
    for site in sites:
        stack = site.stack
        found += [f"wait {i['pk']!r} {i['sk']!r}" for i in stack.table.items() if str(i["pk"]).startswith("W#")]
        found += [f"schedule {name}" for name in stack.timers.names()]
        found += [f"message {stack.queue.depth()}"] if stack.queue.depth() not in {0, (0, 0)} else []
        found += [f"dead {reason!r}" for reason in stack.queue.dead]
    return found
