"""What belongs to a run or an event and is not its own: children, reruns, lines of log, waits that were resolved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from stepbridge import App, Context, event, invoke_only
from stepbridge.engine.operations import UnknownError
from stepbridge.local.server import LocalServer
from stepbridge.local.service import Service
from tests.integration.waiting import eventually

app = App("around")


@app.function("parent", trigger=event("parent"))
async def parent(ctx: Context) -> Any:
    """Says a word, and has a child."""
    ctx.logger.warning("begun")
    return await ctx.step.invoke("child", function=child, data=ctx.event.data)


@app.function("child", trigger=invoke_only())
async def child(ctx: Context) -> Any:
    """Waits to be paid."""
    paid = await ctx.step.wait_for_event("paid", event="paid", match="data.id", timeout="24h")
    return paid and paid.data["id"]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """Of a server of its own."""
    with LocalServer(app, port=0) as server:
        yield server.service


def send(service: Service, number: int) -> tuple[str, str]:
    """The ids of the run that such an event has started, and of its child, once that waits."""
    (event_id,) = service.send({"name": "parent", "data": {"id": number}})["ids"]
    run_id = str(eventually(lambda: service.started_by(event_id))[0]["run_id"])
    child_id = str(eventually(lambda: service.around(run_id)["children"])[0]["run_id"])
    eventually(lambda: any(step["waits_for"] for step in service.run(child_id)["steps"]))
    return run_id, child_id


def test_an_event_names_the_wait_that_it_has_resolved(service: Service) -> None:
    """And no other: each wait was for a payment of its own."""
    run_id, child_id = send(service, 1)
    send(service, 2)
    (event_id,) = service.send({"name": "paid", "data": {"id": 1}})["ids"]
    eventually(lambda: service.run(run_id)["ended_at"])
    (hit,) = service.event(event_id)["resolved"]
    assert (hit["run"]["run_id"], hit["step_id"]) == (child_id, "paid")
    with pytest.raises(UnknownError, match="nobody's"):
        service.event("nobody's")


def test_children_reruns_and_lines_belong_to_their_run(service: Service) -> None:
    """Each is listed with the run that it came from."""
    run_id, child_id = send(service, 3)
    again = service.rerun(run_id)["run_id"]
    eventually(lambda: service.around(again)["children"])
    around = service.around(run_id)
    assert [row["run_id"] for row in around["children"]] == [child_id]
    assert [row["run_id"] for row in around["reruns"]] == [again]
    assert [line["message"] for line in around["logs"]] == ["begun"]
    assert service.around(child_id)["reruns"] == []


def test_a_waiting_step_tells_since_when(service: Service) -> None:
    """A wait by its item in the index."""
    _, child_id = send(service, 4)
    (waiting,) = service.run(child_id)["steps"]
    assert waiting["waits_for"][0]["event"] == "paid"
    assert service.run(child_id)["started_at"] <= waiting["armed_at"] < waiting["due_at"]
