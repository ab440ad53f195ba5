"""One app on either backend, message by message, with hooks at every request: what forces one order of happenings."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from stepbridge import App
from stepbridge.core.limits import INVOCATION
from stepbridge.core.messages import Work, message_text
from stepbridge.engine.answers import Invocation
from stepbridge.engine.engine import Engine
from stepbridge.engine.reader import Reader
from stepbridge.engine.rule import wants
from stepbridge.engine.store import Store
from stepbridge.engine.tracking import RunLoop
from stepbridge.engine.workers import Workers
from stepbridge.local.moto import MotoWorld
from stepbridge.memory.clock import VirtualClock
from stepbridge.memory.requests import Requests
from stepbridge.memory.world import World
from stepbridge.ports import Entry, Message, Outgoing, Ports
from stepbridge.views import RunView

START = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Hook:
    """Something that happens beside a request: `when` it is `"before"` or `"after"`; once."""

    when: str
    request: str
    """Port and method: `table.put`."""
    where: str
    """How the request's partition key begins."""
    action: Callable[[], object]
    done: bool = False


class _Hooked:
    """A port whose requests give hooks their moment."""

    def __init__(self, name: str, port: Any, hooks: list[Hook]) -> None:
        self._name = name
        self._port = port
        self._hooks = hooks

    def __getattr__(self, method: str) -> Any:
        request = getattr(self._port, method)
        name = f"{self._name}.{method}"

        def call(*args: Any, **more: Any) -> Any:
            self._play("before", name, args)
            answer = request(*args, **more)
            answer = iter(list(answer)) if method == "query" else answer
            self._play("after", name, args)
            return answer

        return call

    def _play(self, when: str, name: str, args: tuple[Any, ...]) -> None:
        where = _partition(args)
        for hook in self._hooks:
            if not hook.done and (hook.when, hook.request) == (when, name) and where.startswith(hook.where):
                hook.done = True
                hook.action()


def _partition(args: tuple[Any, ...]) -> str:
    first = args[0] if args else ""
    if isinstance(first, str):
        return first
    return str(first["pk"] if isinstance(first, dict) else getattr(first, "pk", ""))


class HurriedLoop(RunLoop):
    """A loop whose time is moved on by `ahead` seconds: an invocation's time is up when a test says so."""

    ahead = 0.0

    def time(self) -> float:
        """The real time of the loop, and what was added."""
        return super().time() + self.ahead


class Bench:
    """Hands messages to the engine one by one; each is an invocation of a process of its own, unless told."""

    def __init__(self, app: App, store: Callable[[Any], Store] = Store, backend: str = "memory") -> None:
        self.app = app
        self.clock = VirtualClock(START)
        self._undo = ExitStack()
        self.world: Any
        self.stack: Any
        if backend == "moto":
            self.world = self._undo.enter_context(MotoWorld(clock=self.clock))
            self.stack = self.world.stack(app)
        else:
            self.world = World(clock=self.clock)
            self.stack = self.world.stack(app.id, lambda entry: wants(app, entry.name))
        self.hooks: list[Hook] = []
        ports = self.stack.ports
        hooked: dict[str, Any] = {
            name: _Hooked(name, getattr(ports, name), self.hooks)
            for name in ("table", "queue", "bus", "timers", "blobs")
        }
        self.ports: Ports = replace(ports, **hooked)
        self.workers = self.new_workers()
        self.others: list[Workers] = []
        self.loop = HurriedLoop()
        self.invocations = 0
        self._store = store
        self._sent = 0

    def close(self) -> None:
        """Ends its threads and its loop."""
        for workers in (self.workers, *self.others):
            workers.close()
        self.loop.close()
        self._undo.close()

    def new_workers(self) -> Workers:
        """Of a process of its own; on moto with threads for requests, as on AWS."""
        return Workers(blocking=self.ports.blocking)

    # -- what happens --------------------------------------------------------------------------------
    def put(self, name: str, data: dict[str, Any] | None = None, *, id: str = "", ts: datetime | None = None) -> None:
        """An event on the bus, and so a message in the queue."""
        self._sent += 1
        meta = {"id": id or f"e{self._sent}", "ts": int((ts or self.clock.now()).timestamp() * 1000)}
        detail = json.dumps({"_stepbridge": meta, **(data or {})})
        self.world.bus.put([Entry(name=name, source="test", detail=detail)])

    def tell(self, work: Work) -> None:
        """A message of the engine to itself."""
        self.stack.ports.queue.send([Outgoing(body=message_text(work))])

    def later(self, seconds: float) -> None:
        """The clock goes on; nothing else happens."""
        self.clock.move_to(self.clock.now() + timedelta(seconds=seconds))

    def on(self, when: str, request: str, where: str, action: Callable[[], object]) -> None:
        """The action happens once, beside the next such request."""
        self.hooks.append(Hook(when, request, where, action))

    # -- handling ------------------------------------------------------------------------------------
    def receive(self) -> Message:
        """The next message."""
        received: list[Message] = self.stack.queue.receive(1)
        (message,) = received
        return message

    def handle(self, message: Message, *, seconds: float = INVOCATION.total_seconds()) -> bool:
        """Whether the message was acknowledged."""
        return self._handle(message, seconds, self.workers, self.loop)

    def _handle(self, message: Message, seconds: float, workers: Workers, loop: RunLoop) -> bool:
        self.invocations += 1
        engine = Engine(self.app, self.ports, workers, self._store(self.ports.table))
        invocation = Invocation(id=f"i{self.invocations}", deadline=self.clock.now() + timedelta(seconds=seconds))
        back = loop.run_until_complete(engine.handle_all([message], invocation=invocation))
        if not back:
            self.stack.queue.acknowledge([message])
        return not back

    def step(self, *, seconds: float = INVOCATION.total_seconds()) -> bool:
        """Receives the next message and handles it; whether it was acknowledged."""
        return self.handle(self.receive(), seconds=seconds)

    def meanwhile(self, name: str, data: dict[str, Any] | None = None, *, id: str = "") -> None:
        """An event is put, and handled at once by another process, while this one is in the middle."""
        self.put(name, data, id=id)
        self.elsewhere()

    def elsewhere(self, message: Message | None = None, workers: Workers | None = None) -> None:
        """A message is handled while another is in the middle: by another process, or by the one with these workers."""
        message = message or self.receive()
        if workers is None:
            workers = self.new_workers()
            self.others.append(workers)
        theirs = workers
        errors: list[BaseException] = []

        def handle() -> None:
            loop = RunLoop()
            try:
                self._handle(message, INVOCATION.total_seconds(), theirs, loop)
            except BaseException as error:  # noqa: BLE001 - raised again in the test
                errors.append(error)
            finally:
                loop.close()

        thread = threading.Thread(target=handle)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]

    def settle(self) -> None:
        """Handles what is there now."""
        while self._one():
            pass

    def drain(self) -> None:
        """Jumps from message to message and from timer to timer, until nothing is pending."""
        self.settle()
        while (at := self.world.next_at()) is not None:
            self.clock.move_to(max(at, self.clock.now()))
            self.settle()

    def _one(self) -> bool:
        fired = self.world.fire_due() > 0
        messages = self.stack.queue.receive(1)
        for message in messages:
            self.handle(message)
        return fired or bool(messages)

    # -- what came of it -----------------------------------------------------------------------------
    @property
    def requests(self) -> Requests:
        """What the engine asked for so far."""
        requests: Requests = self.stack.requests
        return requests

    @property
    def readable(self) -> Ports:
        """The app's world; what is asked of it is not counted."""
        if isinstance(self.world, MotoWorld):
            readable: Ports = self.stack.readable
            return readable
        unseen = Requests()
        table, blobs = self.stack.table.counted_by(unseen), self.stack.blobs.counted_by(unseen)
        ports: Ports = replace(self.stack.ports, table=table, blobs=blobs)
        return ports

    def runs(self, function_id: str = "f") -> list[RunView]:
        """The runs, in the order in which they were made."""
        heads = [item for item in self.stack.table.items() if item["sk"] == "#" and item["fn"] == function_id]
        reader = Reader(self.readable)
        views = [reader.run(str(head["pk"])[2:]) for head in heads]
        return [view for view in views if view is not None]

    def run(self, function_id: str = "f") -> RunView:
        """The latest run."""
        return self.runs(function_id)[-1]

    def waits(self) -> list[dict[str, Any]]:
        """The items that stand in the match index."""
        return [dict(item) for item in self.stack.table.items() if str(item["pk"]).startswith("W#")]

    def leftovers(self) -> list[str]:
        """What stands though it should be gone."""
        found = [f"wait {item['pk']!r} {item['sk']!r}" for item in self.waits()]
        found += [f"schedule {name}" for name in self.stack.timers.names()]
        found += [f"message {self.stack.queue.depth()}"] if self.stack.queue.depth() != (0, 0) else []
        return found + [f"dead {one}" for one in self.stack.queue.dead]
