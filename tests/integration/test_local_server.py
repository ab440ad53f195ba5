"""The local server as its clients see it: AWS's own SDK, the JSON API, and pages from elsewhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError

from stepbridge import App, Context, event, invoke_only
from stepbridge.local.server import LocalServer
from tests.integration.orders_app import app, price
from tests.integration.waiting import eventually

HOSTILE = "</script><script>alert(1)</script>\x1b[31m\ud800"
JSON_POST = {"Content-Type": "application/json"}
AMZ_POST = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "AWSEvents.PutEvents"}


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    """On a port of its own."""
    with LocalServer(app, port=0) as server:
        yield server


@pytest.fixture(scope="module")
def events(server: LocalServer) -> Iterator[BaseClient]:
    """AWS's SDK, pointed at the server as its users would."""
    client = boto3.client(
        "events",
        region_name="us-east-1",
        endpoint_url=server.url,
        aws_access_key_id="any",
        aws_secret_access_key="any",  # pragma: allowlist secret
        config=Config(retries={"max_attempts": 1}),
    )
    yield client
    client.close()


def ask(
    server: LocalServer, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, Any, dict[str, str]]:
    """Status, JSON body and headers of an answer; a body that is not bytes is sent as JSON."""
    connection = HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    has_body = method == "POST"
    default = JSON_POST if has_body else {}
    try:
        connection.request(method, path, payload if has_body else None, default if headers is None else headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read()), {k.lower(): v for k, v in response.getheaders()}
    finally:
        connection.close()


def ended(server: LocalServer, run_id: str) -> Any:
    """The run, once it has ended."""

    def look() -> Any:
        status, run, _ = ask(server, "GET", f"/api/runs/{run_id}")
        return run if status == 200 and run["ended_at"] else None

    return eventually(look)


def started(server: LocalServer, event_id: str) -> Any:
    """The first run that the event has started."""
    return eventually(lambda: ask(server, "GET", f"/api/events/{event_id}/runs")[1]["runs"])[0]


def send(server: LocalServer, name: str, data: dict[str, Any] | None = None) -> Any:
    """The run that such an event has started."""
    (event_id,) = ask(server, "POST", "/api/events", {"name": name, "data": data or {}})[1]["ids"]
    return started(server, event_id)


# -- EventBridge -----------------------------------------------------------------------------------
def test_an_event_put_by_boto3_starts_a_run(server: LocalServer, events: Any) -> None:
    """The answer names the event; the run has its data, its source and its id, and ends."""
    detail = json.dumps({"orderId": "o-1"})
    answer = events.put_events(Entries=[{"Source": "web", "DetailType": "order/created", "Detail": detail}])
    assert answer["FailedEntryCount"] == 0
    (entry,) = answer["Entries"]
    run = ended(server, started(server, entry["EventId"])["run_id"])
    assert (run["status"], run["output"]) == ("COMPLETED", {"order": {"id": "o-1"}, "cents": 42})
    assert (run["event"]["source"], run["event"]["data"]) == ("web", {"orderId": "o-1"})


def test_entries_are_refused_one_by_one(events: Any) -> None:
    """What is wrong with one of them stops no other, and is told in its place."""
    good = {"Source": "web", "DetailType": "n", "Detail": "{}"}
    bad = [{**good, "Detail": "{"}, {**good, "Detail": "[]"}, {"DetailType": "n", "Detail": "{}"}]
    answer = events.put_events(Entries=[good, *bad, good])
    assert answer["FailedEntryCount"] == 3
    assert ["EventId" in entry for entry in answer["Entries"]] == [True, False, False, False, True]
    assert [entry.get("ErrorCode") for entry in answer["Entries"][1:4]] == [
        "MalformedDetail",
        "MalformedDetail",
        "InvalidArgument",
    ]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"Detail": "[" * 100_000}, "MalformedDetail"),
        ({"Detail": '{"n":' + "9" * 5_000 + "}"}, "MalformedDetail"),
        ({"Time": "9999-12-31T23:59:59-14:00"}, "InvalidArgument"),
        ({"Time": 1e30}, "InvalidArgument"),
    ],
    ids=["levels without end", "an integer beyond Python's", "a time beyond the calendar", "a time beyond all"],
)
def test_an_entry_that_no_parser_takes_is_refused_alone(server: LocalServer, wrong: Any, code: str) -> None:
    """Not by an error of the server's."""
    entry = {"Source": "s", "DetailType": "n", "Detail": "{}"}
    status, answer, _ = ask(server, "POST", "/", {"Entries": [{**entry, **wrong}, entry]}, AMZ_POST)
    assert (status, answer["FailedEntryCount"]) == (200, 1)
    assert [one.get("ErrorCode") for one in answer["Entries"]] == [code, None]


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([{"Source": "s", "DetailType": "n", "Detail": "{}"}] * 11, "less than or equal to 10"),
        ([{"Source": "s", "DetailType": "n", "Detail": json.dumps({"t": "x" * 600_000})}] * 2, "1048576 bytes"),
        ([{"Source": "s", "DetailType": "n", "Detail": json.dumps({"t": "x" * 9_000_000})}], "Mend"),
    ],
    ids=["eleven", "above 1 MB", "far above 1 MB"],
)
def test_a_call_that_is_too_large_is_refused_as_aws_does(events: Any, entries: Any, reason: str) -> None:
    """A `ValidationException`, and nothing of it is put."""
    with pytest.raises(ClientError, match=reason) as refused:
        events.put_events(Entries=entries)
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_other_operations_are_unknown(events: Any) -> None:
    """The SDK's user reads which, and what there is."""
    with pytest.raises(ClientError, match=r"AWSEvents\.ListRules") as refused:
        events.list_rules()
    assert refused.value.response["Error"]["Code"] == "UnknownOperationException"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "SerializationException"),
        (b"\xff", "SerializationException"),
        (b"[" * 100_000, "SerializationException"),
        (b'{"Entries": [NaN]}', "SerializationException"),
        (b"[]", "SerializationException"),
        (b'{"Entries": [1]}', "SerializationException"),
        (b'{"Entries": [{"Detail": {}}]}', "SerializationException"),
        (b'{"Entries": [{"Resources": "all"}]}', "SerializationException"),
        (b'{"Entries": [{"Time": []}]}', "SerializationException"),
        (b"{}", "ValidationException"),
        (b'{"Entries": []}', "ValidationException"),
    ],
)
def test_a_malformed_call_is_told_in_aws_words(server: LocalServer, body: bytes, code: str) -> None:
    """`__type` and `message`, status 400, and a request id."""
    status, answer, headers = ask(server, "POST", "/", body, AMZ_POST)
    assert (status, answer["__type"], headers["content-type"]) == (400, code, "application/x-amz-json-1.1")
    assert answer["message"]
    assert headers["x-amzn-requestid"]


# -- the API ---------------------------------------------------------------------------------------
def test_events_are_sent_by_one_and_by_many(server: LocalServer) -> None:
    """Ids in order; one that is given is kept, and starts no second run."""
    status, answer, _ = ask(server, "POST", "/api/events", [{"name": "order/unpaid", "id": "mine"}, {"name": "n"}])
    assert (status, answer["ids"][0], len(answer["ids"])) == (200, "mine", 2)
    run = started(server, "mine")
    ask(server, "POST", "/api/events", {"name": "order/unpaid", "id": "mine"})
    run_ids = {row["run_id"] for row in ask(server, "GET", "/api/events/mine/runs")[1]["runs"]}
    assert run_ids == {run["run_id"]}


def test_a_run_says_what_it_waits_for(server: LocalServer) -> None:
    """The event, what must be equal in it, and until when; the event then ends it."""
    run_id = send(server, "order/unpaid", {"orderId": "o-7"})["run_id"]
    (step,) = eventually(lambda: ask(server, "GET", f"/api/runs/{run_id}")[1]["steps"])
    assert (step["status"], step["due_at"] is not None) == ("WAITING", True)
    assert step["waits_for"] == [{"event": "payment/completed", "match": {"data.orderId": "o-7"}, "if_exp": None}]
    assert step["armed_at"] < step["due_at"]
    ask(server, "POST", "/api/events", {"name": "payment/completed", "data": {"orderId": "o-7", "by": "card"}})
    assert ended(server, run_id)["output"] == {"orderId": "o-7", "by": "card"}


def test_a_run_names_its_parent_and_its_children(server: LocalServer) -> None:
    """Each leads to the other."""
    parent = ended(server, send(server, "order/created")["run_id"])
    child_id = {step["step_id"]: step["child_run_id"] for step in parent["steps"]}["price"]
    assert ended(server, child_id)["parent_id"] == parent["run_id"]


def test_a_run_names_its_children_in_other_apps() -> None:
    """While it waits and afterwards; of an app that is not here it names the one it waits for."""
    here, there = App("here"), App("there")

    @there.function("work", trigger=invoke_only())
    async def work(ctx: Context) -> str:
        await ctx.step.wait_for_event("any", event="on", timeout="1h")
        return "done"

    @here.function("ask", trigger=event("ask"))
    async def ask_both(ctx: Context) -> Any:
        return await asyncio.gather(
            ctx.step.invoke("there", function="work", app="there", timeout="1h"),
            ctx.step.invoke("nowhere", function="work", app="nowhere", timeout="1h"),
        )

    with LocalServer(here, there, port=0) as server:
        run_id = send(server, "ask")["run_id"]

        def waiting() -> Any:
            steps = {step["step_id"]: step for step in ask(server, "GET", f"/api/runs/{run_id}")[1]["steps"]}
            return steps if {step["status"] for step in steps.values()} == {"WAITING"} and len(steps) == 2 else None

        steps = eventually(waiting)
        child_id = steps["there"]["child_run_id"]
        assert steps["nowhere"]["child_run_id"] not in {None, child_id}
        child = eventually(lambda: (found := ask(server, "GET", f"/api/runs/{child_id}")[1]).get("steps") and found)
        assert (child["app_id"], child["parent_id"]) == ("there", run_id)
        (want,) = child["steps"][0]["waits_for"]
        assert (want["event"], want["match"], want["if_exp"]) == ("on", {}, None)
        ask(server, "POST", "/api/events", {"name": "on", "data": {}})
        ended(server, child_id)

        def told() -> Any:
            steps = {step["step_id"]: step for step in ask(server, "GET", f"/api/runs/{run_id}")[1]["steps"]}
            return steps if steps["there"]["status"] == "COMPLETED" else None

        assert eventually(told)["there"]["child_run_id"] == child_id


def test_runs_are_listed_newest_first_by_pages(server: LocalServer) -> None:
    """By function and status; a cursor goes on where the page ended, and the last page has none."""
    sent = [send(server, "order/charged")["run_id"] for _ in range(3)]
    failed = [ended(server, run_id) for run_id in sent]
    assert {run["status"] for run in failed} == {"FAILED"}
    query = "/api/runs?function_id=charge&status=FAILED&limit=2"
    first = ask(server, "GET", query)[1]
    second = ask(server, "GET", f"{query}&cursor={first['cursor']}")[1]
    listed = [row["run_id"] for row in (*first["runs"], *second["runs"])]
    assert listed[:3] == sent[::-1]
    assert second["cursor"] is None
    assert ask(server, "GET", "/api/runs?function_id=charge&status=COMPLETED")[1]["runs"] == []


def test_functions_tell_what_became_of_their_runs(server: LocalServer) -> None:
    """Triggers, and counts by status."""
    before = _counts(server).get("FAILED", 0)
    ended(server, send(server, "order/charged")["run_id"])
    assert _counts(server)["FAILED"] == before + 1


def _counts(server: LocalServer) -> dict[str, int]:
    rows = {row["function_id"]: row for row in ask(server, "GET", "/api/functions")[1]["functions"]}
    assert rows["charge"]["triggers"] == [{"event": "order/charged", "if_exp": None, "source": None}]
    counts: dict[str, int] = rows["charge"]["runs"]
    return counts


def test_the_last_events_are_listed_with_their_runs(server: LocalServer) -> None:
    """Newest first, whoever put them, system events included; by pages."""
    run = send(server, "order/charged", {"n": 1})
    ended(server, run["run_id"])
    eventually(
        lambda: ask(server, "GET", "/api/events?limit=1")[1]["events"][0]["name"] == "stepbridge/function.failed"
    )
    newest = ask(server, "GET", "/api/events?limit=1")[1]
    (before,) = ask(server, "GET", f"/api/events?limit=1&cursor={newest['cursor']}")[1]["events"]
    assert (before["name"], before["data"], before["id"]) == ("order/charged", {"n": 1}, run["event"]["id"])
    assert [row["run_id"] for row in before["runs"]] == [run["run_id"]]


def test_a_run_is_cancelled(server: LocalServer) -> None:
    """The answer has it cancelled already; a second time there is nothing to cancel."""
    run_id = send(server, "order/unpaid", {"orderId": "o-9"})["run_id"]
    status, run, _ = ask(server, "POST", f"/api/runs/{run_id}/cancel")
    assert (status, run["status"]) == (200, "CANCELLED")
    status, answer, _ = ask(server, "POST", f"/api/runs/{run_id}/cancel")
    assert (status, answer["error"]["code"]) == (409, "Conflict")


def test_a_parked_run_is_resumed(server: LocalServer) -> None:
    """It goes on from where it was; what is not parked is not to be resumed."""
    run_id = send(server, "deploy")["run_id"]
    eventually(lambda: ask(server, "GET", f"/api/runs/{run_id}")[1]["status"] == "PARKED")
    status, run, _ = ask(server, "POST", f"/api/runs/{run_id}/resume")
    assert (status, run["status"] == "PARKED") == (200, False)
    assert ended(server, run_id)["output"] == "mended"
    assert ask(server, "POST", f"/api/runs/{run_id}/resume")[0] == 409


def test_a_run_is_rerun(server: LocalServer) -> None:
    """As a new run that names the old one; from a step, what was recorded before it stands."""
    run = ended(server, send(server, "order/created", {"orderId": "o-3"})["run_id"])
    status, answer, _ = ask(server, "POST", f"/api/runs/{run['run_id']}/rerun", {"from_step": "price"})
    assert (status, answer["function_id"]) == (200, "fulfil-order")
    assert ask(server, "GET", f"/api/runs/{answer['run_id']}")[0] == 200
    again = ended(server, answer["run_id"])
    assert (again["output"], again["rerun_of"], run["rerun_of"]) == (run["output"], run["run_id"], None)
    assert again["steps"][:2] == run["steps"][:2]
    assert again["steps"][2]["child_run_id"] != run["steps"][2]["child_run_id"]
    assert [row["run_id"] for row in ask(server, "GET", f"/api/events/{run['event']['id']}/runs")[1]["runs"]] == [
        run["run_id"]
    ]
    status, answer, _ = ask(server, "POST", f"/api/runs/{run['run_id']}/rerun", {"from_step": "nope"})
    assert (status, "it has: create-order, breathe, price" in answer["error"]["message"]) == (404, True)


def test_a_function_is_invoked(server: LocalServer) -> None:
    """Whatever triggers it; its event is like one that would."""
    status, answer, _ = ask(server, "POST", f"/api/functions/{price.id}/invoke", {"data": {"pieces": 3}})
    assert status == 200
    assert eventually(lambda: ended(server, answer["run_id"]))["output"] == 63
    _, answer, _ = ask(server, "POST", "/api/functions/fulfil-order/invoke", {"data": {"orderId": "o-2"}})
    assert ended(server, answer["run_id"])["event"]["name"] == "order/created"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/api/events", b"{", 400, "not JSON"),
        ("POST", "/api/events", {"data": {}}, 400, "name"),
        ("POST", "/api/events", {"name": "n", "data": [1]}, 400, "JSON object"),
        ("POST", "/api/events", [1], 400, "not an event"),
        ("POST", "/api/events", {"name": "stepbridge/x"}, 400, "reserved"),
        ("POST", "/api/events", {"name": "n" * 129}, 400, "128"),
        ("POST", "/api/events", {"name": "n", "data": {"t": "x" * 1_100_000}}, 400, "EventBridge takes"),
        ("POST", "/api/events", b" " * 9_000_000, 413, "8388608"),
        ("POST", "/api/functions/nope/invoke", {}, 404, "there are: await-payment"),
        ("POST", "/api/functions/price/invoke", {"data": 1}, 400, "JSON object"),
        ("POST", "/api/functions/price/invoke", {"date": {}}, 400, "data"),
        ("GET", "/api/runs?status=DONE", None, 400, "one of QUEUED"),
        ("GET", "/api/runs?limit=0", None, 400, "1 to 1000"),
        ("GET", "/api/runs?limit=1001", None, 400, "1 to 1000"),
        ("GET", "/api/runs?limit=x", None, 400, "whole number"),
        ("GET", "/api/runs?cursor=x", None, 400, "cursor"),
        ("GET", "/api/runs/nope", None, 404, "no run 'nope'"),
        ("POST", "/api/runs/nope/cancel", None, 404, "no run 'nope'"),
        ("POST", "/api/runs/nope/rerun", {}, 404, "no run 'nope'"),
        ("POST", "/api/runs/nope/rerun", None, 400, "from_step"),
        ("POST", "/api/runs/nope/rerun", {"from_step": 1}, 400, "from_step"),
        ("POST", "/api/runs/nope/rerun", {"from": "s"}, 400, "from_step"),
        ("GET", "/api/nope", None, 404, "nothing at this address"),
        ("DELETE", "/api/runs", None, 415, "application/json"),
    ],
)
def test_mistakes_are_named(server: LocalServer, method: str, path: str, body: Any, status: int, words: str) -> None:
    """A status, a code for programs, and a message for people."""
    found, answer, _ = ask(server, method, path, body)
    assert found == status
    assert words in answer["error"]["message"]


# -- who may ask -----------------------------------------------------------------------------------
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8787", "127.0.0.1.evil.example", "10.0.0.1", ""])
@pytest.mark.parametrize("path", ["/", "/api/events"])
def test_a_foreign_host_is_refused(server: LocalServer, host: str, path: str) -> None:
    """A name that was pointed at this machine (DNS rebinding) reads nothing and sends nothing."""
    status, answer, _ = ask(server, "POST", path, {"name": "n"}, {**JSON_POST, **AMZ_POST, "Host": host})
    assert (status, answer["error"]["code"]) == (403, "ForbiddenHost")
    assert ask(server, "GET", "/api/runs", headers={"Host": host})[0] == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1"])
def test_a_foreign_origin_is_refused(server: LocalServer, origin: str) -> None:
    """Pages from elsewhere send nothing, and read nothing."""
    status, answer, _ = ask(server, "POST", "/api/events", {"name": "n"}, {**JSON_POST, "Origin": origin})
    assert (status, answer["error"]["code"]) == (403, "ForbiddenOrigin")
    assert ask(server, "GET", "/api/runs", headers={"Origin": origin})[0] == 403
    assert ask(server, "POST", "/", {"Entries": []}, {**AMZ_POST, "Origin": origin})[0] == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_form_can_send_is_refused(server: LocalServer, kind: str) -> None:
    """A cross-site form has no way to say `application/json`."""
    status, answer, _ = ask(server, "POST", "/api/events", {"name": "n"}, {"Content-Type": kind})
    assert (status, answer["error"]["code"]) == (415, "UnsupportedMediaType")


def test_the_servers_own_pages_may_ask(server: LocalServer) -> None:
    """By any name of loopback, whatever its case."""
    port = server.url.rpartition(":")[2]
    for name in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        headers = {**JSON_POST, "Host": f"{name}:{port}", "Origin": f"http://{name}:{port}"}
        assert ask(server, "POST", "/api/events", {"name": "n"}, headers)[0] == 200


def test_a_hostile_payload_comes_back_as_json_only(server: LocalServer) -> None:
    """No type that a browser would run, and no byte that a terminal would obey."""
    run_id = send(server, "order/unpaid", {"orderId": HOSTILE})["run_id"]
    for path in (f"/api/runs/{run_id}", "/api/events", "/api/runs?cursor=<script>", "/api/functions/<script>/invoke"):
        method = "POST" if path.endswith("invoke") else "GET"
        _, answer, headers = ask(server, method, path.replace("<", "%3C").replace(">", "%3E"), {})
        assert answer
        assert (headers["content-type"], headers["x-content-type-options"]) == ("application/json", "nosniff")
    assert ask(server, "GET", f"/api/runs/{run_id}")[1]["event"]["data"] == {"orderId": HOSTILE}
