"""Prepared calls ask and answer as botocore's own do; only their cost differs, which `make bench` shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Thread
from typing import Any

import pytest
from botocore import UNSIGNED
from botocore import exceptions as raised
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.client import BaseClient
from botocore.credentials import Credentials, RefreshableCredentials
from hypothesis import given
from hypothesis import strategies as st
from urllib3.util import connection

from stepbridge.aws.clients import ATTEMPTS, Clients
from stepbridge.aws.prepared import _Calls, _Signature
from stepbridge.aws.table import DynamoTable
from stepbridge.aws.transport import pool_of
from stepbridge.core.conditions import Absent, Change, Key
from tests.unit.aws_script import Answer, Script, error, ok

KEY = Key("R#1", "#")
Echoed = tuple[str, list[tuple[str, dict[str, str]]]]
ClientAt = Callable[[str], Clients]
ITEM: dict[str, str | int | bytes] = {"pk": "R#1", "sk": "#", "n": -12, "v": "Größe 😀", "z": b"\0\1"}


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between tries, without making them."""
    made: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time.sleep", made.append)
    monkeypatch.setattr("stepbridge.aws.prepared.sleep", made.append)
    return made


def calls_of(script: Script) -> _Calls:
    """What stands in the client's door."""
    calls = script.clients.dynamodb()._make_api_call  # type: ignore[attr-defined]
    assert isinstance(calls, _Calls)
    return calls


def learned(*answers: Answer) -> Script:
    """A script whose clients have made their first call; `answers` are the later ones'."""
    script = Script(ok(), *answers)
    DynamoTable(script.clients.dynamodb, "shop").delete(KEY)
    assert calls_of(script)._way is not None
    script.sent.clear()
    return script


def plain(*answers: Answer) -> Script:
    """The same on botocore's own way."""
    script = Script(ok(), *answers)
    client: Any = script.clients.dynamodb()
    del client._make_api_call
    DynamoTable(script.clients.dynamodb, "shop").delete(KEY)
    script.sent.clear()
    return script


def use(script: Script) -> list[object]:
    """Each operation once, and what it came to, errors included."""
    table = DynamoTable(script.clients.dynamodb, "shop")
    came: list[object] = []
    for call in (
        lambda: table.get(KEY),
        lambda: table.put(ITEM, Absent("sk")),
        lambda: table.update(KEY, Change(set={"st": "done", "z": b"\xff"}, add={"ep": 1})),
        lambda: table.delete(KEY),
        lambda: list(table.query("R#1", after="#")),
    ):
        try:
            came.append(call())
        except Exception as failure:  # noqa: BLE001 - compared
            came.append((type(failure).__name__, str(failure), repr(failure.__cause__)))
    return came


ANSWERS: list[Answer] = [
    ok(
        Item={"pk": {"S": "R#1"}, "B": {"S": "B"}, "z": {"B": "AAE="}},
        Attributes={"n": {"N": "7"}, "z": {"B": "/w=="}},
        Items=[{"pk": {"S": "é"}}, {"z": {"B": ""}}],
    ),
    (400, {}, b'{"__type": "com.amazonaws#ConditionalCheckFailedException", "Item": {"z": {"B": "AAE="}}}'),
    error("ResourceNotFoundException"),
    error("ValidationException"),
    error("ThrottlingException"),
    error("InternalServerError", 500),
    (502, {}, b"<html>no JSON</html>"),
    raised.ReadTimeoutError(endpoint_url="https://aws"),
    ValueError("nobody's"),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: repr(answer)[:60])
def test_answers_and_errors_are_botocores(answer: Answer) -> None:
    """Five operations, each with the same requests, tries, values, causes and texts."""
    mine, theirs = learned(answer), plain(answer)
    assert use(mine) == use(theirs)
    assert mine.sent == theirs.sent


def test_a_broken_answer_is_asked_for_again(pauses: list[float]) -> None:
    """DynamoDB's checksum tells."""
    script = learned((200, {"x-amz-crc32": "1"}, b"{}"), ok(Item={"n": {"N": "1"}}))
    assert DynamoTable(script.clients.dynamodb, "shop").get(KEY) == {"n": 1}
    assert script.operations == ["GetItem"] * 2
    assert len(pauses) == 1


def test_throttles_are_paused_for_on_botocores_quota(pauses: list[float]) -> None:
    """500 tokens, 5 a throttled try; what succeeds gives them back."""
    script = learned(error("ThrottlingException"))
    table = DynamoTable(script.clients.dynamodb, "shop")
    for _ in range(40):
        with pytest.raises(Exception, match="cannot answer now"):
            table.get(KEY)
    assert len(pauses) == 100
    assert len(script.sent) == 140
    assert max(pauses) < 2 ** (ATTEMPTS - 1)


TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)


@given(body=st.binary(min_size=1), token=st.none() | TEXT, secret=TEXT, target=TEXT)
def test_the_signature_is_botocores(body: bytes, token: str | None, secret: str, target: str) -> None:
    """Whatever is signed, with or without a session's token."""
    credentials = Credentials("key", secret, token).get_frozen_credentials()
    signed = []
    auth: Any
    for auth in (
        SigV4Auth(credentials, "dynamodb", "eu-west-1"),
        _Signature(credentials, "dynamodb", "eu-west-1", "dynamodb.eu-west-1.amazonaws.com"),
    ):
        request = AWSRequest(
            method="POST",
            url="https://dynamodb.eu-west-1.amazonaws.com/",
            headers={"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.0", "User-Agent": "me"},
            data=body,
        )
        request.context["timestamp"] = "20261122T210000Z"
        auth._modify_request_before_signing(request)
        text = auth.string_to_sign(request, auth.canonical_request(request))
        signed.append((text, auth.signature(text, request), auth.signed_headers(auth.headers_to_sign(request))))
    assert signed[0] == signed[1]


def test_credentials_are_renewed() -> None:
    """The session's, by botocore: each request is signed with those that hold then."""
    script = Script(ok())
    names = (f"key {number}" for number in count())

    def renewed() -> dict[str, str]:
        in_a_minute = datetime.now(UTC) + timedelta(seconds=60)  # noqa: TID251 - botocore asks the real clock
        return {"access_key": next(names), "secret_key": "s", "token": "t", "expiry_time": in_a_minute.isoformat()}

    session: Any = script.clients._session
    session._credentials = RefreshableCredentials.create_from_metadata(renewed(), renewed, "test")
    keys: list[str] = []

    def note(request: Any, **_: Any) -> None:
        header = request.headers["Authorization"]
        text = header.decode() if isinstance(header, bytes) else header
        keys.append(text.partition("Credential=")[2].partition("/")[0])

    script.clients.dynamodb().meta.events.register("before-send.dynamodb", note)
    table = DynamoTable(script.clients.dynamodb, "shop")
    for _ in range(3):
        table.delete(KEY)
    assert len(set(keys)) == len(keys) == 3
    assert calls_of(script)._way is not None


class _Wrapper:
    """As wrapt makes them: what it wraps lends it its name."""

    __module__ = BaseClient.__module__

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __get__(self, client: Any, _: object) -> Any:
        return partial(self._call, client)


@pytest.mark.parametrize("wrapped", [_Wrapper, lambda call: call], ids=["object", "function"])
def test_a_traced_botocore_keeps_its_calls(monkeypatch: pytest.MonkeyPatch, wrapped: Callable[[Any], Any]) -> None:
    """Tracers wrap the class's method, and find every call there."""
    script = learned(ok())
    seen: list[str] = []
    original = BaseClient._make_api_call  # type: ignore[attr-defined]

    def call(client: Any, operation: str, parameters: Any) -> Any:
        seen.append(operation)
        return original(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", wrapped(call))
    DynamoTable(script.clients.dynamodb, "shop").delete(KEY)
    assert seen == ["DeleteItem"]


def test_what_is_not_prepared_goes_botocores_way() -> None:
    """Its types too, of which DynamoDB's JSON has no dates."""
    script = learned(ok(Table={"CreationDateTime": 1_700_000_000}))
    answer = script.clients.dynamodb().describe_table(TableName="shop")
    assert answer["Table"]["CreationDateTime"] == datetime.fromtimestamp(1_700_000_000, UTC)
    assert "ResponseMetadata" in answer


def test_calls_that_botocore_does_not_sign_stay_its_own() -> None:
    """There are no credentials to sign them with."""
    script = Script(ok())
    script.clients.dynamodb().meta.events.register("choose-signer.dynamodb", lambda **_: UNSIGNED)
    script.clients._session.set_credentials("", "")
    table = DynamoTable(script.clients.dynamodb, "shop")
    table.delete(KEY)
    table.delete(KEY)
    assert script.operations == ["DeleteItem"] * 2
    assert calls_of(script)._way is None


def test_the_tries_of_a_call_are_told_apart_by_number_and_are_one_call_to_aws() -> None:
    """As botocore tells them: one id a call, and which try of how many."""
    told: list[tuple[str, str]] = []
    script = learned(error("ThrottlingException"), error("ThrottlingException"), ok())

    def note(request: Any, **_: Any) -> None:
        told.append((request.headers["amz-sdk-invocation-id"], request.headers["amz-sdk-request"]))

    script.clients.dynamodb().meta.events.register_first("before-send.dynamodb", note)
    table = DynamoTable(script.clients.dynamodb, "shop")
    table.delete(KEY)
    table.delete(KEY)
    assert [number for _, number in told] == [f"attempt={n}; max={ATTEMPTS}" for n in (1, 2, 3, 1)]
    assert [len({one for one, _ in told[:3]}), len({one for one, _ in told})] == [1, 2]


def test_a_try_without_a_pause_is_still_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """Botocore's pauses are random from zero on."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    script = learned(error("ThrottlingException"), ok(Item={"n": {"N": "1"}}))
    assert DynamoTable(script.clients.dynamodb, "shop").get(KEY) == {"n": 1}


def test_who_listens_to_botocores_answers_hears_of_each() -> None:
    """Parsed, as of any other call."""
    heard: list[Any] = []
    script = learned(ok(Item={"n": {"N": "1"}}))
    script.clients.dynamodb().meta.events.register(
        "after-call.dynamodb.GetItem", lambda parsed, **_: heard.append(parsed)
    )
    DynamoTable(script.clients.dynamodb, "shop").get(KEY)
    assert [one["Item"] for one in heard] == [{"n": {"N": "1"}}]


def test_the_hosts_certificate_is_checked() -> None:
    """Also where prepared calls come before botocore's first has been sent."""
    pool = calls_of(learned(ok()))._way.pool  # type: ignore[union-attr]
    assert (pool.scheme, pool.cert_reqs) == ("https", "CERT_REQUIRED")
    assert pool.ca_certs


def test_a_session_that_is_not_botocores_has_no_pool() -> None:
    """Its calls are left to it."""
    assert pool_of(object(), "https://dynamodb.eu-west-1.amazonaws.com/") is None


# -- over HTTP ---------------------------------------------------------------------------------------


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, dict[str, str]]]

    def do_POST(self) -> None:
        """Answers with what came."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, dict(self.headers)))
        answer = json.dumps({"Item": {"v": {"S": body.decode()}}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def echo() -> Iterator[Echoed]:
    """A server that answers with what it was asked: its URL, and what it has seen."""
    seen: list[tuple[str, dict[str, str]]] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Echo", (_Echo,), {"seen": seen})) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()


@pytest.fixture
def client_at() -> Iterator[Callable[[str], Clients]]:
    """Makes clients of such a server, and closes them."""
    made: list[Clients] = []

    def make(url: str) -> Clients:
        made.append(clients := Clients(region="eu-west-1", endpoint_url=url))
        clients._session.set_credentials("key", "secret", "token")
        return clients

    yield make
    for clients in made:
        clients.dynamodb().close()


def test_the_second_request_says_what_the_first_did(
    echo: Echoed, client_at: ClientAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same headers but for those of the moment, over the same connection; Lambda's own among them."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "shop")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-2")
    url, seen = echo
    clients = client_at(url)
    table = DynamoTable(clients.dynamodb, "shop")
    first, second = table.get(KEY), table.get(KEY)
    assert first == second
    (_, theirs), (_, mine) = seen
    assert mine.keys() == theirs.keys()
    assert theirs["User-Agent"].startswith(mine["User-Agent"])  # Powertools adds to it where it has been loaded
    momentary = {"Authorization", "User-Agent", "X-Amz-Date", "amz-sdk-invocation-id"}
    assert {n: v for n, v in mine.items() if n not in momentary} == {
        n: v for n, v in theirs.items() if n not in momentary
    }
    calls: Any = clients.dynamodb()._make_api_call  # type: ignore[attr-defined]
    assert calls._way.pool.num_connections == 1
    assert mine["X-Amzn-Trace-Id"] == "Root=1-2"


def test_head_and_body_leave_together(echo: Echoed, client_at: ClientAt, monkeypatch: pytest.MonkeyPatch) -> None:
    """One write a request, which on a small Lambda is a third of a call."""
    table = DynamoTable(client_at(echo[0]).dynamodb, "shop")
    table.get(KEY)
    writes: list[bytes] = []
    send = HTTPConnection.send

    def noted(connection: HTTPConnection, data: bytes) -> None:
        writes.append(data)
        send(connection, data)

    monkeypatch.setattr(HTTPConnection, "send", noted)
    table.get(KEY)
    (write,) = writes
    assert write.startswith(b"POST / HTTP/1.1\r\n")
    assert b"\r\n\r\n{" in write


def test_a_header_never_becomes_two(echo: Echoed, client_at: ClientAt) -> None:
    """A line's end within one is refused, as http.client does."""
    url, seen = echo
    clients = client_at(url)
    table = DynamoTable(clients.dynamodb, "shop")
    table.get(KEY)
    credentials: Any = clients._session.get_credentials()
    credentials.token = "a\r\nX-Other: b"
    with pytest.raises(Exception, match="Invalid header"):
        table.get(KEY)
    assert len(seen) == 1


@pytest.mark.parametrize("place", ["/aws", "/?stage=1"])
def test_an_endpoint_with_a_path_is_left_to_botocore(echo: Echoed, client_at: ClientAt, place: str) -> None:
    """An emulator behind a proxy, say; a query is more than is signed here, too."""
    url, seen = echo
    clients = client_at(f"{url}{place}")
    table = DynamoTable(clients.dynamodb, "shop")
    assert table.get(KEY) == table.get(KEY)
    assert [path for path, _ in seen] == [place, place]


def test_behind_a_proxy_calls_are_left_to_botocore(
    echo: Echoed, client_at: ClientAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy gets the whole URL each time."""
    url, seen = echo
    monkeypatch.setenv("HTTP_PROXY", url)
    table = DynamoTable(client_at("http://dynamodb.example").dynamodb, "shop")
    assert table.get(KEY) == table.get(KEY)
    assert [path for path, _ in seen] == ["http://dynamodb.example/"] * 2


def test_nobody_there_is_unavailable(pauses: list[float], client_at: ClientAt, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the tries that time allows, as with botocore's own sending; urllib3 adds none of its own."""
    tries: list[object] = []
    connect = connection.create_connection

    def noted(*address: Any, **options: Any) -> Any:
        tries.append(address)
        return connect(*address, **options)

    monkeypatch.setattr(connection, "create_connection", noted)
    clients = client_at("http://127.0.0.1:1")
    table = DynamoTable(clients.dynamodb, "shop")
    for _ in range(2):
        with pytest.raises(Exception, match="cannot be reached"):
            table.get(KEY)
    assert len(pauses) == 2 * (ATTEMPTS - 1)
    assert len(tries) == 2 * ATTEMPTS


def test_an_empty_page_is_not_the_last_one() -> None:
    """DynamoDB says by a key alone whether there are more; the next page is asked for from there."""
    last = {"pk": {"S": "a"}, "sk": {"S": "b"}}
    script = Script(ok(Items=[], LastEvaluatedKey=last), ok(Items=[{"pk": {"S": "a"}, "sk": {"S": "c"}}]))
    assert list(DynamoTable(script.clients.dynamodb, "shop").query("a")) == [{"pk": "a", "sk": "c"}]
    assert [asked.get("ExclusiveStartKey") for _, asked in script.sent] == [None, last]
