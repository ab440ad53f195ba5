"""Rows of the AWS adapters over HTTP, against a server of flat cost: the dispatcher itself, as Lambda calls it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from stepbridge.aws.clients import Clients
from stepbridge.aws.entry import Dispatcher
from stepbridge.aws.settings import Settings
from stepbridge.aws.wiring import ports
from tests.bench.flat import flat_server
from tests.bench.programs import app
from tests.bench.rows import Row, best, median
from tests.contract.aws_backend import settings

SECTION = "AWS adapters, HTTP"
BATCH = 10
"""Messages of an invocation."""
Write = Callable[[], object]


@dataclass
class Bench:
    """A dispatcher in front of a server, and what calls it."""

    dispatcher: Dispatcher
    clients: Clients
    table: str
    numbers: int = 0

    def invoke(self, name: str, *data: dict[str, Any]) -> None:
        """One invocation with an event for each of `data`."""
        answer = self.dispatcher({"Records": [self._record(name, one) for one in data]}, _Context())
        assert answer == {"batchItemFailures": []}

    def _record(self, name: str, data: dict[str, Any]) -> dict[str, Any]:
        self.numbers += 1
        envelope = {
            "version": "0",
            "id": f"e-{self.numbers}",
            "detail-type": name,
            "source": "bench",
            "time": "2026-11-22T12:00:00Z",
            "detail": data,
        }
        return {
            "messageId": f"m-{self.numbers}",
            "receiptHandle": "r",
            "body": json.dumps(envelope),
            "attributes": {"ApproximateReceiveCount": "1"},
            "messageAttributes": {},
            "eventSource": "aws:sqs",
        }


class _Context:
    aws_request_id = "request"

    def get_remaining_time_in_millis(self) -> int:
        """Two minutes."""
        return 120_000


def clients_at(url: str) -> Clients:
    """Clients of the server, with credentials of the usual length."""
    clients = Clients(region="eu-west-1", endpoint_url=url)
    clients._session.set_credentials("A" * 20, "s" * 40, "t" * 900)
    return clients


@contextmanager
def bench(delay_ms: float = 0) -> Iterator[Bench]:
    """A dispatcher, its clients and connections warm."""
    with flat_server(delay_ms=delay_ms) as url:
        held: Settings = settings(endpoint_url=url)
        clients = clients_at(url)
        dispatcher = Dispatcher(app(), ports(held, clients))
        made = Bench(dispatcher, clients, held.table)
        made.invoke("bench/fan", {"n": 64})
        try:
            yield made
        finally:
            dispatcher.close()
            clients.dynamodb().close()
            clients.scheduler().close()


def rows(scale: int = 1) -> Iterator[Row]:
    """A call, a step, many runs, latency, replay."""
    with bench() as made, closing(_plain(made)) as client:
        plain, prepared = _write(client, made.table), _write(made.clients.dynamodb(), made.table)
        yield from _calls(plain, prepared, 500 // scale)
        yield from _steps(made, plain, prepared, 300 // scale)
        yield from _many(made, plain, prepared, 200 // scale)
        yield from _replay(made, 1_000 // scale)
    for delay_ms, calls in ((10, 8.0), (30, 5.0)):
        yield from _latency(delay_ms, calls, 100 // scale)


def _write(client: Any, table: str) -> Write:
    """A step's write, as the engine sends it."""
    item = {name: {"S": value} for name, value in {"pk": "R#" + "x" * 26, "sk": "S#" + "x" * 16, "n": "step 1"}.items()}
    item |= {name: {"S": value} for name, value in {"k": "run", "st": "ok", "v": '{"index":1}'}.items()}
    item |= {name: {"N": "1795345678901"} for name in ("t0", "t1", "ttl", "ep", "c")}
    request = {
        "TableName": table,
        "Item": item,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        "ConditionExpression": "attribute_not_exists(#0)",
        "ExpressionAttributeNames": {"#0": "sk"},
    }
    return lambda: client.put_item(**request)


def _plain(made: Bench) -> Any:
    """The client as botocore makes it, which is boto3's own."""
    client: Any = clients_at(made.clients.dynamodb().meta.endpoint_url).dynamodb()
    del client._make_api_call
    return client


def _calls(plain: Write, prepared: Write, n: int) -> Iterator[Row]:
    # Turn by turn, so that a machine that slows down slows both.
    pairs = [(_cpu_of(plain, n), _cpu_of(prepared, n)) for _ in range(5)]
    yield _row("PutItem, plain botocore", min(a for a, _ in pairs) / n * 1e3, "ms CPU")
    yield _row("PutItem, prepared", min(b for _, b in pairs) / n * 1e3, "ms CPU")
    yield _row("… prepared over plain", median(b / a for a, b in pairs), "times", 1 / 3)


def _cpu_of(write: Write, n: int) -> float:
    """Seconds of CPU of so many writes, after as many more."""
    return best(lambda: [write() for _ in range(n)], times=1, cpu=True)


def _steps(made: Bench, plain: Write, prepared: Write, n: int) -> Iterator[Row]:
    rounds = [
        (
            _cpu_of(plain, n),
            _cpu_of(prepared, n),
            best(lambda: made.invoke("bench/steps", {"n": n}), times=1, cpu=True),
        )
        for _ in range(5)
    ]
    yield _row("a step in all", min(step for *_, step in rounds) / n * 1e3, "ms CPU")
    beyond = median((step - call) / bare for bare, call, step in rounds)
    over_prepared = median((step - call) / call for _, call, step in rounds)
    yield _row("… beyond its prepared call, over a bare botocore call", beyond, "times", 0.2)
    yield _row("… beyond its prepared call, over a prepared call", over_prepared, "times")
    yield _row("… in all, over a bare botocore call", median(step / bare for bare, _, step in rounds), "times", 1.2)


def _many(made: Bench, plain: Write, prepared: Write, runs: int) -> Iterator[Row]:
    """As many writes bare, from as many threads as an invocation has runs, as the runs make."""
    batches = max(runs // BATCH, 1)

    def dispatch() -> None:
        for _ in range(batches):
            made.invoke("bench/steps", *({"n": 10} for _ in range(BATCH)))

    def bare(write: Write) -> Write:
        def writes() -> None:
            with ThreadPoolExecutor(BATCH) as pool:
                for one in [pool.submit(lambda: [write() for _ in range(12 * batches)]) for _ in range(BATCH)]:
                    one.result()

        return writes

    calls = (bare(plain), bare(prepared), dispatch)
    rounds = [[best(call, times=1) for call in calls] for _ in range(2)]
    yield _row("200 runs x 10 steps", batches * BATCH * 10 / min(took for *_, took in rounds), "steps/s")
    note = "writes of the runs, over the rate of the same writes by botocore itself"
    yield _row(
        "… over bare botocore writes", median(p / d for p, _, d in rounds), "times", 0.8, at_least=True, note=note
    )
    yield _row("… over bare prepared writes", median(q / d for _, q, d in rounds), "times")


def _replay(made: Bench, n: int) -> Iterator[Row]:
    costs = {}
    for number in (n // 2, n):
        spent = []
        for turn in range(4):
            key = f"{number}-{turn}"
            made.invoke("bench/recorded", {"n": number, "key": key})
            began = time.process_time()
            made.invoke("bench/wake", {"key": key})
            spent.append(time.process_time() - began)
        costs[number] = min(spent[1:])
    yield _row(f"replay of {n:,} recorded steps", costs[n] * 1e3, "ms CPU", 40.0)
    yield _row("… cost of all over twice that of half", costs[n] / costs[n // 2] / 2, "times", 1.15)


def _latency(delay_ms: int, target: float, n: int) -> Iterator[Row]:
    with bench(delay_ms) as made:
        call = best(_write(made.clients.dynamodb(), made.table), times=9)
        steps = best(lambda: made.invoke("bench/steps", {"n": n}), times=2)
        fan = best(lambda: made.invoke("bench/fan", {"n": n}), times=3)
    what = f"with {delay_ms} ms added to each call"
    yield _row(f"100 steps, {what}", steps / call, "calls' time", (n + 3) * 1.1)
    yield _row(f"100 parallel steps, {what}", fan / call, "calls' time", target)


def _row(
    what: str, value: float, unit: str, target: float | None = None, *, at_least: bool = False, note: str = ""
) -> Row:
    return Row(
        section=SECTION,
        what=what,
        value=value,
        unit=unit,
        kind="emulator in memory",
        target=target,
        at_least=at_least,
        note=note,
    )
