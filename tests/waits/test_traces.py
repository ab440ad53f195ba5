"""Trace context: carried through all that a run begins, and told as spans where the process has OpenTelemetry."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from stepbridge import App, AsyncClient, Client, Context, ContextSync, RetryAfterError, event, invoke_only
from stepbridge.core.envelope import META
from stepbridge.local.server import LocalServer
from stepbridge.ports import Entry, Outgoing
from stepbridge.testing import Simulation
from tests.integration.waiting import eventually
from tests.waits.bench import Bench

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
SECRET = "4111-1111"


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[ReadableSpan]]]:
    """The spans that have ended, by an exporter as a user has one."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield lambda: list(exporter.get_finished_spans())
    provider.shutdown()


@pytest.fixture
def unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody in the process has imported OpenTelemetry."""
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")


def put(bench: Bench, name: str, data: dict[str, Any], traceparent: str = "") -> None:
    """An event that carries the context as our clients do."""
    meta = {"id": "e1", "ts": int(bench.clock.now().timestamp() * 1000), **({"tp": traceparent} if traceparent else {})}
    bench.world.bus.put([Entry(name=name, source="test", detail=json.dumps({META: meta, **data}))])


def square(item: int) -> int:
    return item * item


def family() -> App:
    """A run that begins all that a run can begin."""
    app = App("shop")

    @app.function("child", trigger=invoke_only())
    def child(ctx: ContextSync) -> None: ...

    @app.function("listener", trigger=event("told"))
    def listener(ctx: ContextSync) -> None: ...

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> None:
        await ctx.step.invoke("c", function=child)
        await ctx.step.map("items", square, range(3))
        await ctx.step.map("lanes", square, range(3), max_concurrency=1)
        await ctx.step.map("children", child, range(2))
        await ctx.step.map("child lanes", child, range(3), max_concurrency=1)
        await ctx.step.send_event("send", {"name": "told"})
        await ctx.step.invoke("far", function="work", app="other", timeout="1m")

    return app


@pytest.mark.usefixtures("unavailable")
def test_all_that_a_run_begins_carries_its_context(
    bench_of: Callable[[App], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Children, items and children of maps, lanes too, sent events, requests to other apps, system events."""
    bench = bench_of(family())
    put(bench, "go", {}, PARENT)
    bodies: list[str] = []
    send = bench.stack.ports.queue.send

    def sending(outgoing: Sequence[Outgoing]) -> None:
        bodies.extend(one.body for one in outgoing)
        send(outgoing)

    monkeypatch.setattr(bench.stack.ports.queue, "send", sending)
    bench.drain()
    carried: Counter[str] = Counter()
    for row in map(json.loads, bodies):
        if row["k"] in {"start", "item"}:
            carried[row["k"]] += 1
            assert row["x"] == {"traceparent": PARENT}, row
    assert carried == {"start": 1 + 2 + 3, "item": 3 + 3}
    metas = {entry.name: json.loads(entry.detail)[META] for _, entry in bench.world.bus.log}
    assert set(metas) == {
        "go",
        "told",
        "stepbridge/invoke.other",
        "stepbridge/cancel.other",
        "stepbridge/function.failed",
    }
    for name in ("told", "stepbridge/invoke.other", "stepbridge/function.failed"):
        assert metas[name]["tp"] == PARENT
    heads = [item for item in bench.stack.table.items() if item["sk"] == "#"]
    assert len(heads) == 1 + 1 + 1 + 2 + 3
    assert {str(head["x"]) for head in heads} == {json.dumps({"traceparent": PARENT}, separators=(",", ":"))}


def test_a_run_in_another_app_is_in_the_same_trace(exported: Callable[[], list[ReadableSpan]]) -> None:
    """The request bears the context over the bus."""
    here, there = App("here"), App("there")

    @there.function("work", trigger=invoke_only())
    async def work(ctx: Context) -> str:
        return await ctx.step.run("s", str)

    @here.function("ask", trigger=event("ask"))
    def ask(ctx: ContextSync) -> Any:
        return ctx.step.invoke("far", function="work", app="there", timeout="1h")

    with Simulation(here, there, backend="memory") as sim:
        sim.send("ask")
        assert sim.run("ask").status == "COMPLETED"
    spans = exported()
    assert [span.name for span in spans] == ["event ask", "run ask", "step s", "run work", "run ask"]
    assert len({span.context.trace_id for span in spans if span.context}) == 1


def retried(colour: str) -> App:
    """Two steps, one of which fails once, with a suspension between them."""
    app = App("shop")

    def fail(card: str, attempt: int) -> None:
        if attempt == 0:
            raise RetryAfterError(f"no {card}", "1s")

    async def handle(ctx: Context) -> None:
        await ctx.step.run("first", square, 1)
        await ctx.step.sleep("z", "1m")
        await ctx.step.run("second", lambda: fail(SECRET, ctx.attempt))

    def handle_sync(ctx: ContextSync) -> None:
        ctx.step.run("first", square, 1)
        ctx.step.sleep("z", "1m")
        ctx.step.run("second", lambda: fail(SECRET, ctx.attempt))

    handlers: dict[str, Any] = {"async": handle, "sync": handle_sync}
    app.function("f", trigger=event("go"))(handlers[colour])
    return app


@pytest.mark.parametrize("colour", ["async", "sync"])
def test_a_run_tells_a_span_each_time_it_goes_on_and_for_each_step_carried_out(
    colour: str, bench_of: Callable[[App], Bench], exported: Callable[[], list[ReadableSpan]]
) -> None:
    """Not for what is replayed. All below the context that the event carried, with ids and nothing of payloads."""
    bench = bench_of(retried(colour))
    put(bench, "go", {"card": SECRET}, PARENT)
    bench.drain()
    assert bench.run().status == "COMPLETED"
    spans = exported()
    assert [(one.name, (one.attributes or {})["stepbridge.attempt"], one.status.description) for one in spans] == [
        ("step first", 0, None),
        ("run f", 0, None),
        ("step second", 0, "RetryAfterError"),
        ("run f", 0, None),
        ("step second", 1, None),
        ("run f", 0, None),
    ]
    runs = [one for one in spans if one.name == "run f"]
    assert {f"{one.parent.trace_id:032x}-{one.parent.span_id:016x}" for one in runs if one.parent} == {PARENT[3:-3]}
    below = [one.parent.span_id for one in spans if one.name != "run f" and one.parent]
    assert below == [one.context.span_id for one in runs if one.context]
    assert {(one.attributes or {})["stepbridge.run_id"] for one in spans} == {bench.run().run_id}
    assert SECRET not in "".join(one.to_json() for one in spans)


def test_a_users_own_spans_stand_between(
    bench_of: Callable[[App], Bench], exported: Callable[[], list[ReadableSpan]]
) -> None:
    """One in the handler is above the steps in it; one in a step, in a thread or not, is below it."""
    app = App("shop")
    tracer = trace.get_tracer("user")

    def inner() -> None:
        with tracer.start_as_current_span("inner"):
            pass

    async def inner_async() -> None:
        inner()

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> None:
        with tracer.start_as_current_span("outer"):
            await ctx.step.run("a", inner)
        await ctx.step.run("b", inner_async)

    @app.function("g", trigger=event("go"))
    def handle_sync(ctx: ContextSync) -> None:
        with tracer.start_as_current_span("outer"):
            ctx.step.run("a", inner)
        ctx.step.run("b", inner)

    bench = bench_of(app)
    put(bench, "go", {}, PARENT)
    bench.drain()
    spans = exported()
    names = {one.context.span_id: one.name for one in spans if one.context}
    above = [(one.name, names.get(one.parent.span_id if one.parent else 0)) for one in spans]
    assert Counter(above) == Counter(
        {
            ("inner", "step a"): 2,
            ("step a", "outer"): 2,
            ("outer", "run f"): 1,
            ("outer", "run g"): 1,
            ("inner", "step b"): 2,
            ("step b", "run f"): 1,
            ("step b", "run g"): 1,
            ("run f", None): 1,
            ("run g", None): 1,
        }
    )


def test_a_run_whose_event_has_no_context_has_a_trace_of_its_own(
    bench_of: Callable[[App], Bench], exported: Callable[[], list[ReadableSpan]]
) -> None:
    """One, over all its invocations, its items and its children; another run has another."""
    bench = bench_of(family())
    for n in range(2):
        bench.put("go", {"n": n})
    bench.drain()
    spans = exported()
    traces = Counter(one.context.trace_id for one in spans if one.context)
    assert len(traces) == 2
    assert len(set(traces.values())) == 1
    assert sum(one.name == "item of items" for one in spans) == 6


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_clients_own_context_goes_along(kind: Any, exported: Callable[[], list[ReadableSpan]]) -> None:
    """The span that is current when it sends is above the run."""
    import asyncio

    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> None: ...

    with LocalServer(app, port=0) as server:
        client = kind(url=server.url)
        with trace.get_tracer("user").start_as_current_span("mine") as mine:
            sent = client.send({"name": "go"})
            asyncio.run(sent) if kind is AsyncClient else None
        run = eventually(lambda: next((one for one in exported() if one.name == "run f"), None))
    assert run.parent is not None
    assert run.parent.span_id == mine.get_span_context().span_id


def test_opentelemetry_is_not_imported_for_it() -> None:
    """Who has none pays nothing, though it is installed: a run imports nothing of it."""
    program = (
        "import sys, tests.waits.test_long_runs as t; from stepbridge.testing import Simulation\n"
        "from collections import Counter\n"
        "with Simulation(t.parallel_app(Counter()), backend='memory') as sim:\n"
        "    sim.send('go', {'n': 2}); assert sim.run('f').status == 'COMPLETED'\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"
