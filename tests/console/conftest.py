"""A real browser before a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from stepbridge.console.here import Here
from stepbridge.console.web import console_routes
from stepbridge.local.server import LocalServer
from stepbridge.local.service import Service
from tests.console.browsers import MISSING, chromium
from tests.console.shop import app
from tests.integration.waiting import eventually

PATIENCE_MS = 5_000
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, as it comes. While it is there, this thread has a running loop: so not for the whole session."""
    with sync_playwright() as playwright:
        program = chromium(playwright.chromium.executable_path)
        if program is None:
            pytest.skip(MISSING)
        expect.set_options(timeout=PATIENCE_MS)
        browser = playwright.chromium.launch(executable_path=program)
        yield browser
        browser.close()


class Quick(Here):
    """Whose pages ask for news more often: tests wait for them."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.poll_ms = 200


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    """With the console, on a port of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stepbridge.console.web.Here", Quick)
        with LocalServer(app, port=0, routes=console_routes) as server:
            yield server


@pytest.fixture
def service(server: LocalServer) -> Service:
    """The server's."""
    return server.service


@pytest.fixture
def open_page(browser: Browser, server: LocalServer) -> Iterator[Open]:
    """Opens a page of the console. Whatever it complained of, or asked of others, fails the test."""
    complaints: list[str] = []
    contexts = []

    def open_page(path: str, *, width: int = 1280, height: int = 800, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, base_url=server.url, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"a script ran: {dialog.message}"))
        page.on("console", lambda said: complaints.append(said.text) if _is_complaint(said) else None)
        page.on("request", lambda asked: None if asked.url.startswith(server.url) else complaints.append(asked.url))
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def _is_complaint(said: ConsoleMessage) -> bool:
    """An answer of 400 is none: tests ask for what there is not."""
    return said.type in {"error", "warning"} and not said.text.startswith("Failed to load resource")


class Runs:
    """Runs made ready for a test."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def send(self, name: str, data: dict[str, Any]) -> str:
        """The id of the run that such an event starts."""
        (event_id,) = self.service.send({"name": name, "data": data})["ids"]
        return str(eventually(lambda: self.service.started_by(event_id))[0]["run_id"])

    def become(self, run_id: str, status: str) -> dict[str, Any]:
        """The run, once it has this status and has been told of what it waits for."""

        def look() -> dict[str, Any] | None:
            run = self.service.run(run_id)
            return run if run["status"] == status else None

        return eventually(look)

    def waiting(self, order_id: str) -> str:
        """An order that waits to be paid."""
        run_id = self.send("order/created", {"orderId": order_id})
        eventually(lambda: any(step["waits_for"] for step in self.service.run(run_id)["steps"]))
        self.become(run_id, "SLEEPING")
        return run_id

    def pay(self, order_id: str) -> str:
        """The id of the event."""
        return str(self.service.send({"name": "payment/completed", "data": {"orderId": order_id}})["ids"][0])

    def done(self, order_id: str) -> str:
        """An order that was paid, and is over."""
        run_id = self.waiting(order_id)
        self.pay(order_id)
        self.become(run_id, "FAILED" if order_id.startswith("bad") else "COMPLETED")
        return run_id


@pytest.fixture
def runs(service: Service) -> Runs:
    """Of that server."""
    return Runs(service)
