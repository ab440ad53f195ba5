"""`Client` and `AsyncClient` against a local server; `Client` over a stack's ports where the two could differ."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel, RootModel

import stepbridge
from stepbridge import App, AsyncClient, Client, ConfigError, Context, Event, NonRetriableError, event
from stepbridge.aws.settings import Settings
from stepbridge.aws.stacks import output_key, output_values
from stepbridge.client import _Stack
from stepbridge.local.server import LocalServer
from stepbridge.memory.clock import VirtualClock
from stepbridge.memory.world import World
from stepbridge.ports import Entry
from stepbridge.testing import RunView, Simulation
from tests.integration.waiting import eventually

app = App("client-tests")
effects: list[str] = []
"""Which steps of which orders were carried out, in order."""
broken: set[str] = set()
"""Orders whose last step fails."""


class Order(BaseModel):
    """An event's data as a model."""

    id: str
    cents: int = 0


def reserve(order_id: str) -> str:
    effects.append(f"reserve {order_id}")
    return f"reserved {order_id}"


def ship(order_id: str) -> str:
    effects.append(f"ship {order_id}")
    if order_id in broken:
        raise NonRetriableError("no truck")
    return f"shipped {order_id}"


@app.function("order", trigger=event("order/created", model=Order))
async def order(ctx: Context[Order]) -> list[Any]:
    """A record of each sort: of a step, a sleep, a wait, and a step that may fail."""
    order_id = ctx.event.data.id
    reserved = await ctx.step.run("reserve", reserve, order_id)
    await ctx.step.sleep("breathe", "20ms")
    paid = await ctx.step.wait_for_event("paid", event="order/paid", match="data.id", timeout="1h")
    shipped = await ctx.step.run("ship", ship, order_id)
    return [reserved, None if paid is None else paid.data["by"], shipped]


@app.function("note", trigger=event("note"))
async def note(ctx: Context) -> Any:
    """Its event, as it came."""
    return [ctx.event.data, ctx.event.source]


passes: list[str] = []


@app.function("deploy", trigger=event("deploy"))
async def deploy(ctx: Context) -> str:
    """Its code changes between the first pass and the second, and back again: the run is parked."""
    passes.append(ctx.run_id)
    if passes.count(ctx.run_id) == 2:
        await ctx.step.run("first", reserve, "nobody's")
    await ctx.step.sleep("first", "20ms")
    return "mended"


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    """On a port of its own."""
    with LocalServer(app, port=0) as server:
        yield server


@pytest.fixture
def client(server: LocalServer) -> Client:
    """Of that server."""
    return Client(url=server.url)


def started(client: Client, function_id: str, event_id: str) -> RunView:
    """The run that the event has started."""

    def look() -> RunView | None:
        runs = client.list_runs(function_id).runs
        return next((run for run in runs if run.event.id == event_id), None)

    return eventually(look)


def become(client: Client, run_id: str, *statuses: str) -> RunView:
    """The run, once it has one of these."""

    def look() -> RunView | None:
        run = client.get_run(run_id)
        return run if run.status in statuses else None

    return eventually(look)


def ordered(client: Client, order_id: str, *, paid: bool = True) -> RunView:
    """The run of an order, which waits for the payment or has ended."""
    run = started(client, "order", client.send({"name": "order/created", "data": {"id": order_id}})[0])
    eventually(lambda: client.get_run(run.run_id).steps.get("paid"))
    waiting = become(client, run.run_id, "SLEEPING")
    if not paid:
        return waiting
    client.send({"name": "order/paid", "data": {"id": order_id, "by": "card"}})
    return become(client, run.run_id, "COMPLETED", "FAILED")


# -- send ------------------------------------------------------------------------------------------
def test_one_event_is_sent(client: Client) -> None:
    """As a dict; it gets an id, a time and a source."""
    (event_id,) = client.send({"name": "note", "data": {"n": 1, "text": "\x1b é 😀"}})
    run = become(client, started(client, "note", event_id).run_id, "COMPLETED")
    assert run.output == [{"n": 1, "text": "\x1b é 😀"}, "local"]
    assert (run.event.name, run.event.id, run.event.data) == ("note", event_id, {"n": 1, "text": "\x1b é 😀"})
    assert abs(run.event.ts / 1000 - run.created_at.timestamp()) < 5


def test_many_events_are_sent(client: Client) -> None:
    """Dicts, events and models, their ids in order: those that were given, and new ones."""
    made = client.send(
        [
            {"name": "note", "id": "given-1", "data": {"n": 1}},
            Event(name="note", data={"n": 2}, id="given-2", ts=1_700_000_000_000, source="shop"),
            Event[Order](name="order/created", data=Order(id="model", cents=3)),
            {"name": "note"},
        ]
    )
    assert made[:2] == ["given-1", "given-2"]
    assert len(set(made)) == 4
    second = become(client, started(client, "note", "given-2").run_id, "COMPLETED")
    assert (second.output, second.event.ts) == ([{"n": 2}, "shop"], 1_700_000_000_000)
    assert client.get_run(started(client, "order", made[2]).run_id).event.data == {"id": "model", "cents": 3}
    assert become(client, started(client, "note", made[3]).run_id, "COMPLETED").output == [{}, "local"]
    assert client.send([]) == []


class Items(RootModel[list[int]]):
    """JSON, and no object."""


class Anything(BaseModel):
    """Whatever it is given."""

    thing: Any = None


class Open(BaseModel, extra="allow"):
    """Has what it is given, the engine's own key too."""


ODD: list[tuple[Any, str]] = [
    (Event[Any](name="note", data=Items([1])), "no JSON object"),
    (Event[Any](name="note", data=Open.model_validate({"_stepbridge": 1})), "reserved key"),
    (Event[Any](name="note", data=Anything(thing=object())), "JSON cannot carry"),
    (Event[Any](name="note", data=Anything(thing="\ud800")), "JSON cannot carry"),
    ({"name": "note", "data": {"n": 10**5_000}}, "4,300 digits"),
    ({"name": "note", "data": {"n": "é" * 700_000}}, "EventBridge takes"),
    ({"name": "note", "source": "\ud800"}, "surrogates"),
    ({"name": "note", "source": "s" * 300}, "at most 256"),
    ({"name": 5}, "not an event"),
]
"""What cannot be an event."""


def test_an_id_starts_one_run(client: Client) -> None:
    """Sent again, it starts nothing."""
    client.send({"name": "note", "id": "once"})
    run = started(client, "note", "once")
    client.send([{"name": "note", "id": "once"}, {"name": "note", "id": "after"}])
    started(client, "note", "after")
    assert [one.run_id for one in client.list_runs("note").runs if one.event.id == "once"] == [run.run_id]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"data": {}}, "event 1 is not an event"),
        ({"name": "stepbridge/x"}, "reserved"),
        (1, "event 1 is not an event"),
        *ODD,
    ],
)
def test_a_malformed_event_is_refused_before_any_is_sent(client: Client, bad: Any, words: str) -> None:
    """By its index."""
    with pytest.raises(ConfigError, match=words):
        client.send([{"name": "note", "id": f"beside {words}"}, bad])
    assert all(not run.event.id.startswith("beside") for run in client.list_runs("note").runs)


# -- look ------------------------------------------------------------------------------------------
def test_a_run_is_seen_whole(client: Client) -> None:
    """Status, output, event, steps in order, instants."""
    run = ordered(client, "whole")
    assert (run.function_id, run.status, run.attempt, run.error, run.parent_id) == ("order", "COMPLETED", 0, None, None)
    assert run.output == ["reserved whole", "card", "shipped whole"]
    assert [(step.step_id, step.kind, step.status) for step in run.steps.values()] == [
        ("reserve", "run", "COMPLETED"),
        ("breathe", "sleep", "COMPLETED"),
        ("paid", "wait_for_event", "COMPLETED"),
        ("ship", "run", "COMPLETED"),
    ]
    assert run.steps["reserve"].output == "reserved whole"
    assert run.steps["paid"].output["data"] == {"id": "whole", "by": "card"}
    assert run.started_at is not None
    assert run.ended_at is not None
    assert run.created_at <= run.started_at <= run.ended_at
    assert run.created_at.utcoffset() == timedelta(0)


def test_a_run_that_waits_and_one_that_failed(client: Client) -> None:
    """Until when; and of what."""
    waiting = ordered(client, "waits", paid=False)
    assert (waiting.steps["paid"].status, waiting.ended_at) == ("WAITING", None)
    assert waiting.steps["paid"].due_at is not None
    broken.add("fails")
    failed = ordered(client, "fails")
    assert (failed.status, failed.steps["ship"].status) == ("FAILED", "FAILED")
    for error in (failed.error, failed.steps["ship"].error):
        assert error is not None
        assert (error["name"] in {"NonRetriableError", "StepError"}, "no truck" in error["message"]) == (True, True)
        assert "ship" in error["stack"]


@pytest.mark.parametrize("call", ["get_run", "cancel", "resume", "rerun"])
@pytest.mark.parametrize("run_id", [None, 5, [], b"x", "\ud800", "x" * 100_000], ids=lambda value: f"{value!r:.10}")
def test_what_is_no_id_is_a_mistake(client: Client, call: str, run_id: Any) -> None:
    """Of whoever calls; nothing is asked of anybody."""
    with pytest.raises(ConfigError, match="run_id"):
        getattr(client, call)(run_id)
    with pytest.raises(ConfigError, match="run_id"):
        getattr(over_memory(World(clock=VirtualClock(datetime(2025, 1, 1, tzinfo=UTC)))), call)(run_id)


@pytest.mark.parametrize("call", ["get_run", "cancel", "resume", "rerun"])
@pytest.mark.parametrize("run_id", ["", "x#y", "../x", "x" * 2_000])
def test_no_message_is_sent_for_what_no_run_can_be_called(call: str, run_id: str) -> None:
    """It would become a key."""
    world = World(clock=VirtualClock(datetime(2025, 1, 1, tzinfo=UTC)))
    with pytest.raises(LookupError):
        getattr(over_memory(world), call)(run_id)
    assert [stack.queue.depth() for stack in world.stacks.values()] == [(0, 0)]


def test_a_cursor_of_another_century_reads_no_day_of_it() -> None:
    """Else a forged one would ask for each of 95,000 days."""
    world = World(clock=VirtualClock(datetime(2025, 1, 1, tzinfo=UTC)))
    assert over_memory(world).list_runs("note", cursor="9999999999999#x").runs == []
    (stack,) = world.stacks.values()
    assert stack.requests["Query"] < 50


@pytest.mark.parametrize("call", ["get_run", "cancel", "resume", "rerun"])
@pytest.mark.parametrize("run_id", ["nope", "", "a/b?c#d", "é", "%2e%2e", "x/cancel"])
def test_an_unknown_run_is_named(client: Client, call: str, run_id: str) -> None:
    """A `LookupError`, whatever is in the id."""
    with pytest.raises(LookupError, match="no run '"):
        getattr(client, call)(run_id)


def test_runs_are_listed_by_pages(client: Client) -> None:
    """Newest first, without steps and data; by function, status and time."""
    began = datetime.now(UTC)  # noqa: TID251 - the server's clock is the machine's
    sent = [client.send({"name": "note", "data": {"n": n}})[0] for n in range(5)]
    for event_id in sent:
        become(client, started(client, "note", event_id).run_id, "COMPLETED")
    pages = [client.list_runs("note", "completed", began, 2)]
    while pages[-1].cursor is not None:
        pages.append(client.list_runs(function_id="note", status="COMPLETED", limit=2, cursor=pages[-1].cursor))
    listed = [run for page in pages for run in page.runs]
    assert [len(page.runs) for page in pages[:2]] == [2, 2]
    assert [run.created_at for run in listed] == sorted((run.created_at for run in listed), reverse=True)
    assert {run.event.id for run in listed[:5]} == set(sent)
    assert {(run.function_id, run.status, run.output, len(run.steps)) for run in listed} == {
        ("note", "COMPLETED", None, 0)
    }
    assert listed[0].event.data == {}
    assert client.list_runs("note", "FAILED").runs == []
    assert client.list_runs("nope").runs == []
    assert client.list_runs(since=datetime(1, 1, 2, tzinfo=UTC), limit=1).runs != []
    assert client.list_runs(since=datetime(9000, 1, 1, tzinfo=UTC)).runs == []


def test_a_list_tells_errors(client: Client) -> None:
    """Name and message; the traceback is the run's own."""
    broken.add("listed")
    failed = ordered(client, "listed")
    row = next(run for run in client.list_runs(status="FAILED").runs if run.run_id == failed.run_id)
    assert row.error is not None
    assert (set(row.error), "no truck" in row.error["message"]) == ({"name", "message", "stack"}, True)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"status": "DONE"}, "one of QUEUED"),
        ({"since": datetime(2025, 1, 1)}, "no zone"),  # noqa: DTZ001 - that is the mistake
        ({"limit": 0}, "1 to 1000"),
        ({"limit": 1001}, "1 to 1000"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": 5}, "cursor=5"),
        ({"limit": "10"}, "1 to 1000"),
        ({"limit": None}, "1 to 1000"),
        ({"status": 5}, "one of QUEUED"),
        ({"since": "today"}, "no zone"),
        ({"function_id": "\ud800"}, "surrogates"),
    ],
)
def test_a_malformed_query_is_named(client: Client, query: dict[str, Any], words: str) -> None:
    """As a `ConfigError`, by a stack's client too."""
    clients = [client, over_memory(World(clock=VirtualClock(datetime(2025, 1, 1, tzinfo=UTC))))]
    for one in clients:
        with pytest.raises(ConfigError, match=words):
            one.list_runs(**query)


# -- change ----------------------------------------------------------------------------------------
def test_a_run_is_cancelled(client: Client) -> None:
    """Once it has ended, cancelling and resuming it change nothing."""
    run_id = ordered(client, "cancelled", paid=False).run_id
    client.cancel(run_id)
    cancelled = become(client, run_id, "CANCELLED")
    client.cancel(run_id)
    client.resume(run_id)
    assert client.get_run(run_id) == cancelled


def test_a_parked_run_is_resumed(client: Client) -> None:
    """It goes on from where it was."""
    run = started(client, "deploy", client.send({"name": "deploy"})[0])
    parked = become(client, run.run_id, "PARKED")
    assert parked.error is not None
    assert parked.error["name"] == "NondeterminismError"
    client.resume(run.run_id)
    assert become(client, run.run_id, "COMPLETED").output == "mended"


def test_a_rerun_does_everything_again(client: Client) -> None:
    """Under a new id, which can be read at once; the old run stays, and its event has not started another."""
    run = ordered(client, "again")
    effects.clear()
    again = client.get_run(client.rerun(run.run_id))
    assert (again.function_id, again.event) == ("order", run.event)
    eventually(lambda: client.get_run(again.run_id).steps.get("paid"))
    client.send({"name": "order/paid", "data": {"id": "again", "by": "cash"}})
    assert become(client, again.run_id, "COMPLETED").output == ["reserved again", "cash", "shipped again"]
    assert effects == ["reserve again", "ship again"]
    assert client.get_run(run.run_id) == run


def test_a_rerun_from_a_step_repeats_nothing_before_it(client: Client) -> None:
    """The records, a sleep and a wait among them, stand as they were; the step and what follows are done again."""
    broken.add("mended")
    failed = ordered(client, "mended")
    effects.clear()
    broken.discard("mended")
    again = become(client, client.rerun(failed.run_id, from_step="ship"), "COMPLETED", "FAILED")
    assert again.output == ["reserved mended", "card", "shipped mended"]
    assert effects == ["ship mended"]
    assert list(again.steps) == list(failed.steps)
    kept = ("reserve", "breathe", "paid")
    assert [again.steps[step] for step in kept] == [failed.steps[step] for step in kept]
    assert client.rerun(failed.run_id) != client.rerun(failed.run_id)


def test_a_step_that_is_not_there_is_named_with_those_that_are(client: Client) -> None:
    """Nothing is started."""
    run = ordered(client, "unknown step")
    with pytest.raises(LookupError, match="no step 'nope'; it has: reserve, breathe, paid, ship"):
        client.rerun(run.run_id, "nope")
    assert [one.run_id for one in client.list_runs("order").runs if one.event.id == run.event.id] == [run.run_id]


# -- async -----------------------------------------------------------------------------------------
def test_the_async_client_does_the_same(server: LocalServer, client: Client) -> None:
    """Every call, several at once."""
    other = AsyncClient(url=server.url)
    parked = started(client, "deploy", client.send({"name": "deploy"})[0]).run_id
    become(client, parked, "PARKED")
    waiting = ordered(client, "async", paid=False).run_id

    async def all_calls() -> RunView:
        (first,), (second,) = await asyncio.gather(
            other.send({"name": "note", "id": "async-1"}), other.send([Event(name="note", id="async-2")])
        )
        assert (first, second) == ("async-1", "async-2")
        page = await other.list_runs("order", limit=1)
        assert (page.runs[0].run_id, page.cursor is None) == (waiting, False)
        assert (await other.list_runs("order", limit=1, cursor=page.cursor)).runs[0].run_id != waiting
        await asyncio.gather(other.cancel(waiting), other.resume(parked))
        with pytest.raises(LookupError, match="no run 'nope'"):
            await other.get_run("nope")
        with pytest.raises(LookupError, match="has no step"):
            await other.rerun(waiting, from_step="nope")
        return await other.get_run(await other.rerun(waiting, from_step="paid"))

    again = asyncio.run(all_calls())
    become(client, waiting, "CANCELLED")
    become(client, parked, "COMPLETED")
    assert again.steps["reserve"].output == "reserved async"


# -- no server -------------------------------------------------------------------------------------
def test_a_server_that_is_not_there_is_named_with_the_mend() -> None:
    """A `ConnectionError`."""
    with pytest.raises(ConnectionError, match=r"no local server answers at http://127\.0\.0\.1:1: .*stepbridge dev"):
        Client(url="http://127.0.0.1:1").list_runs()


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"error": "no"}', b'{"error": {}}', b"\xff", b""])
def test_another_server_is_told_from_ours(body: bytes) -> None:
    """Whatever it answers."""

    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            pass

    with HTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        thread = threading.Thread(target=stranger.handle_request)
        thread.start()
        with pytest.raises(ConnectionError, match=r"status 404\) is not a local server of stepbridge"):
            Client(url=f"http://127.0.0.1:{stranger.server_port}").get_run("r")
        thread.join()


def test_what_speaks_no_http_is_no_server_of_ours() -> None:
    """An SSH daemon, say: a `ConnectionError` too."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1_000)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(ConnectionError, match="no local server answers"):
            Client(url=f"http://127.0.0.1:{listening.getsockname()[1]}").list_runs()
        thread.join()


def test_a_failure_of_the_server_is_not_the_callers(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `RuntimeError`, which says where to look."""

    def fail(_run_id: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(server.service, "run", fail)
    with pytest.raises(RuntimeError, match="its terminal says how"):
        Client(url=server.url).get_run("r")


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8787", "ftp://h", "http://", "http://[::1", "http://h:x", "http://h:99999", ""]
)
def test_a_malformed_url_is_refused(url: str) -> None:
    """With one that would do."""
    with pytest.raises(ConfigError, match=r"http://127\.0\.0\.1:8787"):
        Client(url=url)


def test_a_client_is_of_one_place() -> None:
    """Of a server or of a stack."""
    with pytest.raises(ConfigError, match="give one of"):
        Client()
    with pytest.raises(ConfigError, match="give one of"):
        AsyncClient(url="http://127.0.0.1:8787", settings=SETTINGS)
    assert stepbridge.Client is Client


@pytest.fixture
def listing() -> Iterator[tuple[str, list[str]]]:
    """Another server that has no runs: its address, and what it was asked for."""
    asked: list[str] = []

    class Empty(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"runs": [], "cursor": null}')

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            pass

    with HTTPServer(("127.0.0.1", 0), Empty) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_an_address_counts_as_a_whole(listing: tuple[str, list[str]]) -> None:
    """Its path, behind a proxy; and its scheme: what is to be encrypted is never sent in clear."""
    address, asked = listing
    assert Client(url=f"http://{address}/dev/").list_runs("a/b", limit=1).runs == []
    assert asked == ["/dev/api/runs?function_id=a%2Fb&limit=1"]
    with pytest.raises(ConnectionError, match=f"no local server answers at https://{address}"):
        Client(url=f"https://{address}").list_runs()
    assert len(asked) == 1


# -- a stack ---------------------------------------------------------------------------------------
SETTINGS = Settings(
    table="t",
    queue_url="https://sqs/q",
    queue_arn="arn:aws:sqs:eu-west-1:123456789012:q",
    dlq_url="https://sqs/d",
    dlq_arn="arn:aws:sqs:eu-west-1:123456789012:d",
    bus_arn="arn:aws:events:eu-west-1:123456789012:event-bus/b",
    schedule_group="g",
    scheduler_role_arn="arn:aws:iam::123456789012:role/r",
    blobs_bucket="bucket",
    region="eu-west-1",
)


def over_memory(world: World) -> Client:
    """A stack's client, over the ports of memory."""
    client = Client(settings=SETTINGS, app_id=app.id, function_ids=list(app.functions))
    client._backend = _Stack(app.id, world.stack(app.id, lambda _: True).ports, list(app.functions))
    return client


def test_a_stacks_client_does_the_same() -> None:
    """Send, look, cancel, resume, rerun; the source is the client's app."""
    with Simulation(app) as sim:
        world = sim._world
        assert isinstance(world, World)
        client = over_memory(world)
        given, made = client.send([{"name": "note", "id": "stack-1"}, {"name": "order/created", "data": {"id": "s"}}])
        assert given == "stack-1"
        sim.advance("1s")
        rows = client.list_runs().runs
        assert {(run.event.id, run.status) for run in rows} == {(given, "COMPLETED"), (made, "SLEEPING")}
        noted, waiting = sorted(rows, key=lambda run: run.function_id)
        assert client.get_run(noted.run_id).output == [{}, app.id]
        client.resume(waiting.run_id)
        client.cancel(waiting.run_id)
        sim.advance("1s")
        assert client.get_run(waiting.run_id).status == "CANCELLED"
        client.cancel(waiting.run_id)
        effects.clear()
        assert client.rerun(waiting.run_id) != client.rerun(waiting.run_id)
        assert len(set(client.send([{"name": "note"}, {"name": "note"}]))) == 2
        sim.run_until_idle()
        effects.clear()
        again = client.rerun(waiting.run_id, from_step="paid")
        assert client.get_run(again).status == "QUEUED"
        sim.advance(0)
        assert client.get_run(again).status == "SLEEPING"
        client.send({"name": "order/paid", "data": {"id": "s", "by": "card"}})
        sim.run_until_idle()
        assert client.get_run(again).output == ["reserved s", "card", "shipped s"]
        assert effects == ["ship s"]


def test_a_stacks_client_carries_its_callers_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """In each event, whoever starts the trace."""
    trace = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    monkeypatch.setattr("stepbridge.client.tracing.current", lambda: trace)
    with Simulation(app) as sim:
        world = sim._world
        assert isinstance(world, World)
        put: list[Entry] = []
        client = over_memory(world)
        assert isinstance(client._backend, _Stack)
        bus: Any = SimpleNamespace(put=put.extend)
        client._backend._ports = replace(client._backend._ports, bus=bus)
        client.send([{"name": "note"}, {"name": "note"}])
    assert [trace["traceparent"] in entry.detail for entry in put] == [True, True]


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_client_by_the_stacks_name_knows_its_app(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of several is named; its functions are those that are listed."""
    outputs = {
        output_key(app_id, name): value
        for app_id in ("shop", "stock")
        for name, value in output_values(app_id, [f"{app_id}-{n}" for n in "ab"], SETTINGS.texts()).items()
    }
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setattr("stepbridge.aws.stacks._outputs", lambda _client, _stack: outputs)
    functions = ("stock-a", "stock-b")
    for given in ({"stack": "Shop"}, {"settings": SETTINGS, "function_ids": functions}):
        client = kind(**given, app_id="stock")
        backend = getattr(client, "_client", client)._backend
        assert isinstance(backend, _Stack)
        assert (backend._app_id, backend._operations._function_ids) == ("stock", functions)
