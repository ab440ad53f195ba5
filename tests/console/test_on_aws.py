"""The same page over a stack: by `Client`, on the AWS adapters against moto."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from starlette.types import ASGIApp
from typer.testing import CliRunner

from stepbridge import Client
from stepbridge.aws.failures import Misconfigured
from stepbridge.aws.settings import Settings
from stepbridge.aws.stacks import output_key, output_values
from stepbridge.aws.wiring import SystemClock, ports
from stepbridge.cli.commands import app as cli
from stepbridge.console.on_aws import OnAws
from stepbridge.console.web import console_app
from stepbridge.engine.store import Store
from stepbridge.local.moto import MotoWorld
from stepbridge.local.sites import records_of
from stepbridge.testing import Simulation
from tests.console.asgi import Answer, ask
from tests.console.shop import app as shop

KEY = "the-key"
COOKIE = f"stepbridge-console={KEY}"
pytestmark = pytest.mark.slow
PATHS = ("/runs", "/functions", "/functions/nap", "/events")


@dataclass
class Stack:
    """A stack with runs, and the console over it."""

    sim: Simulation
    done: str
    waiting: str
    failed: str
    reading: ASGIApp
    writing: ASGIApp
    settings: Settings

    def get(self, path: str) -> Answer:
        """A page of the console that only shows."""
        return ask(self.reading, path, cookie=COOKIE)

    def do(self, action: str, body: dict[str, Any]) -> Any:
        """What an action of the other one answers; the queue is worked off after it."""
        answer = ask(self.writing, f"/do/{action}", body, cookie=COOKIE)
        self.sim.advance("5s")
        return answer.json


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """One order done, one that waits, one that has failed."""
    with Simulation(shop, backend="moto") as sim, pytest.MonkeyPatch.context() as patch:
        patch.setattr(SystemClock, "now", lambda _: sim.now)  # the clients' clock is the stack's
        patch.setattr("stepbridge.console.actions._SOON_SECONDS", 0.0)  # nobody works the queue off meanwhile
        run_ids = {}
        for order_id in ("done", "waiting", "bad"):
            sim.send("order/created", {"orderId": order_id})
            run_ids[order_id] = sim.run("fulfil-order").run_id
            if order_id != "waiting":
                sim.send("payment/completed", {"orderId": order_id})
                sim.advance("2s")
        assert isinstance(sim._world, MotoWorld)
        settings = sim._world.stacks["shop"].settings
        sources = [
            OnAws(
                Client(settings=settings, app_id="shop", function_ids=tuple(shop.functions)),
                records_of("shop", ports(settings)),
                function_ids=tuple(shop.functions),
                app=shop,
                place="stack shop-prod in us-east-1",
                is_writable=is_writable,
            )
            for is_writable in (False, True)
        ]
        reading, writing = (console_app(source, KEY) for source in sources)
        yield Stack(sim, run_ids["done"], run_ids["waiting"], run_ids["bad"], reading, writing, settings)


def test_the_pages_show_the_stack(stack: Stack) -> None:
    """Runs by status, what a run waits for, its error, its children; functions with triggers and rates; events."""
    page = stack.get("/runs").text
    assert all(run_id in page for run_id in (stack.done, stack.waiting, stack.failed))
    failed = stack.get("/runs?status=FAILED").text
    assert stack.failed in failed
    assert stack.done not in failed
    waiting = stack.get(f"/runs/{stack.waiting}").text
    assert "<code>payment/completed</code>" in waiting
    assert "<code>data.orderId = &#34;waiting&#34;</code>" in waiting
    assert "NonRetriableError" in stack.get(f"/runs/{stack.failed}").text
    assert "Runs that this one has started" in stack.get(f"/runs/{stack.done}").text
    assert "order/created" in stack.get("/functions").text
    events = stack.get("/events").text
    assert events.count("order/created") >= 3
    assert "A bus keeps no list" in events


def test_a_value_in_the_data_is_searched_for(stack: Stack) -> None:
    """The page says how far it has looked; a time before all runs finds none."""
    page = stack.get("/runs?data=orderId%3Dwaiting").text
    assert stack.waiting in page
    assert stack.done not in page
    assert "Looked at" in page
    assert stack.done not in stack.get("/runs?until=2025-01-01T00:00Z&since=2024-12-31T00:00Z").text
    assert stack.done in stack.get("/runs?until=2025-01-01T00:00:01Z&since=2024-12-31T00:00Z").text


def test_it_only_shows_unless_it_is_told_otherwise(stack: Stack) -> None:
    """No button acts, and the server refuses what none has asked for."""
    for path in (*PATHS, f"/runs/{stack.waiting}"):
        page = stack.get(path).text
        assert "read-only" in page
        assert not any(mark in page for mark in ("data-do=", "data-form=", "data-bulk="))
    answer = ask(stack.writing, "/do/cancel", [stack.waiting], cookie=COOKIE)
    assert (answer.status, answer.json["error"]["code"]) == (400, "BadRequest")
    for action in ("send", "invoke", "cancel", "resume", "wake", "rerun", "rerun-failed"):
        answer = ask(stack.reading, f"/do/{action}", {"run_id": stack.waiting}, cookie=COOKIE)
        assert (answer.status, answer.json["error"]["code"]) == (403, "ReadOnly")
    stack.sim.advance("1s")
    assert stack.sim.run(run_id=stack.waiting).status == "SLEEPING"


def test_with_write_it_acts_through_the_queue(stack: Stack) -> None:
    """Send, invoke, rerun, rerun from a step, cancel; time is AWS's, and is not skipped."""
    assert stack.do("send", {"name": "order/created", "data": {"orderId": "sent"}}) == {"goto": "/events"}
    assert stack.sim.run("fulfil-order").event.data == {"orderId": "sent"}
    sent = stack.sim.run("fulfil-order").run_id
    started = stack.do("invoke", {"function_id": "book", "data": {"orderId": "invoked"}})["goto"]
    assert stack.sim.run(run_id=started.rpartition("/")[2]).output == "booked invoked"
    again = stack.do("rerun", {"run_id": stack.done, "from_step": "ship"})["goto"].rpartition("/")[2]
    assert stack.sim.run(run_id=again).output == stack.sim.run(run_id=stack.done).output
    assert sent in stack.do("cancel", {"run_id": sent})["said"]
    assert stack.sim.run(run_id=sent).status == "CANCELLED"
    assert stack.do("cancel", {"run_id": sent})["error"]["code"] == "Conflict"
    assert "cannot be skipped" in stack.do("wake", {"run_id": stack.waiting})["error"]["message"]
    assert stack.do("resume", {"run_id": stack.waiting})["error"]["code"] == "Conflict"


def test_failed_runs_are_counted_first_and_then_run_again(stack: Stack) -> None:
    """Those of the filter, and no others."""
    body = {"query": {"function": "fulfil-order", "within": "24h"}}
    assert stack.do("rerun-failed", {**body, "count": True})["rerun"] == 1
    before = len(stack.sim.runs("fulfil-order"))
    assert stack.do("rerun-failed", body)["rerun"] == 1
    assert len(stack.sim.runs("fulfil-order")) == before + 1


def test_the_command_finds_all_by_the_stacks_name(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """`stepbridge console --stack Shop`: from the stack's outputs to its runs; it refuses what no button asks for."""
    apps: list[Any] = []

    def serve(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        apps.append(server.config.app)
        sockets[0].close()

    monkeypatch.setattr(uvicorn.Server, "run", serve)
    values = output_values("shop", tuple(shop.functions), stack.settings.texts())
    outputs = {"Shop": {output_key("shop", name): value for name, value in values.items() if name != "region"}}
    monkeypatch.setattr("stepbridge.aws.stacks._outputs", lambda _, name: outputs[name])  # what moto has no stacks for
    region = stack.settings.region or "us-east-1"
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, region)
    done = CliRunner().invoke(cli, ["console", "--stack", "Shop", "--region", region, "--json"])
    ready = json.loads(done.output)
    assert (ready["app_id"], ready["write"]) == ("shop", False)
    cookie = f"stepbridge-console={urlsplit(ready['ready']).query.removeprefix('key=')}"
    assert stack.failed in ask(apps[0], "/runs?status=FAILED", cookie=cookie).text
    assert "data-do" not in ask(apps[0], f"/runs/{stack.waiting}", cookie=cookie).text
    answer = ask(apps[0], "/do/cancel", {"run_id": stack.waiting}, cookie=cookie)
    assert (answer.status, answer.json["error"]["code"]) == (403, "ReadOnly")


def test_nobody_comes_in_without_the_key(stack: Stack) -> None:
    """Others on this machine have loopback too: the address that is printed carries a key, once."""
    assert ask(stack.reading, "/runs").json["error"]["code"] == "NoKey"
    assert ask(stack.reading, "/?key=wrong").status == 403
    assert ask(stack.reading, "/runs", cookie="stepbridge-console=wrong").status == 403
    assert ask(stack.writing, "/do/cancel?key=the-key", {"run_id": stack.waiting}).status == 403
    opened = ask(stack.reading, f"/?key={KEY}")
    assert (opened.status, opened.headers["location"]) == (303, "/")
    assert "HttpOnly" in opened.headers["set-cookie"]
    assert "SameSite=strict" in opened.headers["set-cookie"]
    assert stack.get("/runs").status == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"host": "evil.example"}, "ForbiddenHost"),
        ({"host": "evil.example:8000"}, "ForbiddenHost"),
        ({"origin": "http://evil.example"}, "ForbiddenOrigin"),
        ({"origin": "null"}, "ForbiddenOrigin"),
        ({"sec_fetch_site": "cross-site"}, "ForbiddenOrigin"),
        ({"content_type": "text/plain"}, "UnsupportedMediaType"),
        ({"content_type": "application/x-www-form-urlencoded"}, "UnsupportedMediaType"),
    ],
)
def test_no_other_page_acts_through_it(stack: Stack, headers: dict[str, str], code: str) -> None:
    """Neither by a name of its own, nor by posting across sites, though the browser brings the cookie."""
    given: Any = {"content_type": "application/json", **headers}
    answer = ask(stack.writing, "/do/cancel", {"run_id": stack.waiting}, cookie=COOKIE, **given)
    assert answer.json["error"]["code"] == code


def test_a_link_from_elsewhere_shows_a_page_and_nothing_else_of_it_can_be_had(stack: Stack) -> None:
    """It may be followed; it may be neither framed nor read, nor loaded as a picture or script."""
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    page = ask(stack.reading, "/runs", cookie=COOKIE, **link)
    assert page.status == 200
    policy = {one.strip() for one in page.headers["content-security-policy"].split(";")}
    assert policy >= {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"}
    assert page.headers["cross-origin-resource-policy"] == "same-origin"
    assert (page.headers["x-content-type-options"], page.headers["cache-control"]) == ("nosniff", "no-store")
    for dest in ("iframe", "image", "script"):
        refused = ask(stack.reading, "/runs", cookie=COOKIE, **{**link, "sec_fetch_dest": dest})
        assert refused.json["error"]["code"] == "ForbiddenOrigin"


def test_what_aws_answers_with_is_told_on_the_page(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """And by buttons: the cause, and what to do about it."""

    def refuse(*_: object, **__: object) -> None:
        raise Misconfigured("The table cannot be read. Mend: allow it.")

    monkeypatch.setattr(Store, "head", refuse)
    page = stack.get(f"/runs/{stack.done}")
    assert (page.status, "The table cannot be read. Mend: allow it." in page.text) == (502, True)
    answer = ask(stack.writing, "/do/cancel", {"run_id": stack.done}, cookie=COOKIE)
    assert (answer.status, answer.json["error"]["code"]) == (502, "NoAnswer")
