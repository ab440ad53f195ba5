"""Story 16: `on_failure` gives the money back, and a subscriber hears of every failure."""

from __future__ import annotations

from functions.shop.services import Mail, World
from stepbridge import App, Context, NonRetriableError, event
from stepbridge.testing import Simulation

GIFT = {"orderId": "o-1", "sku": "mug", "payment": "p-1", "email": "ada@example.com", "address": "1 Mill Lane"}
FAILED = "stepbridge/function.failed"


def test_a_gift_that_is_sent_refunds_nothing(sim: Simulation, world: World) -> None:
    """No failure, no handler, no system event."""
    sim.send("gift/paid", GIFT)
    assert sim.run("send-gift").output == "parcel-o-1"
    assert (sim.runs("send-gift-failure"), sim.runs("alert-support"), world.refunded) == ([], [], set())
    assert [sent.name for sent in sim.events] == ["gift/paid"]


def test_a_gift_that_fails_is_refunded_in_a_run_of_its_own(sim: Simulation, world: World) -> None:
    """The handler's event holds the failed run's id, its error and its event."""
    sim.send("gift/paid", {**GIFT, "address": ""})
    failed, handler = sim.run("send-gift"), sim.run("send-gift-failure")
    assert (failed.status, handler.status) == ("FAILED", "COMPLETED")
    assert world.refunded == {"p-1"}
    assert Mail("ada@example.com", "Refunded: order o-1 has no address") in world.outbox
    data = handler.event.data
    assert (data["function_id"], data["run_id"]) == ("send-gift", failed.run_id)
    assert data["error"] == failed.error
    assert data["event"]["data"] == {**GIFT, "address": ""}
    assert [row["id"] for row in data["events"]] == [failed.event.id]


def test_the_failure_handler_runs_after_the_last_retry_only(sim: Simulation, world: World) -> None:
    """A body error that recovers is no failure."""
    sim.send("gift/paid", {key: GIFT[key] for key in GIFT if key != "orderId"})
    assert (sim.run("send-gift").status, world.refunded) == ("SLEEPING", set())
    sim.run_until_idle()
    assert (sim.run("send-gift").status, world.refunded) == ("FAILED", {"p-1"})


def test_a_refund_that_fails_has_no_further_handler(sim: Simulation, world: World) -> None:
    """The failure run is not retried, and nobody handles its failure; support heard of the gift's."""
    sim.send("gift/paid", {**GIFT, "address": "", "email": "nowhere"})
    sim.run_until_idle()
    assert sim.run("send-gift-failure").status == "FAILED"
    assert (len(sim.runs("send-gift-failure")), len(sim.runs("alert-support"))) == (1, 1)


def test_support_hears_of_every_function_that_fails(sim: Simulation, world: World) -> None:
    """One subscriber, for all functions of the app."""
    sim.send("gift/paid", {**GIFT, "address": ""})
    sim.send("order/created", {"orderId": "o-2", "sku": "unicorn"})
    subjects = [mail.subject for mail in world.outbox if mail.to == "support@example.com"]
    assert subjects == ["send-gift: order o-1 has no address", "fulfil-order: unicorn is sold out"]


def test_a_system_event_names_the_app_the_function_the_run_and_the_error(sim: Simulation, world: World) -> None:
    """And the event that had started the run."""
    sim.send("order/created", {"orderId": "o-2", "sku": "unicorn"})
    (failed,) = [sent for sent in sim.events if sent.name == FAILED]
    run = sim.run("fulfil-order")
    assert (failed.data["app_id"], failed.data["function_id"], failed.data["run_id"]) == (
        "shop",
        "fulfil-order",
        run.run_id,
    )
    assert failed.data["error"] == run.error
    assert failed.data["event"]["data"] == {"orderId": "o-2", "sku": "unicorn"}


def test_an_alert_that_fails_alerts_nobody() -> None:
    """A run that a system event started emits none: there is no loop."""
    app = App("loop")

    @app.function("work", trigger=event("work"), retries=0)
    async def work(ctx: Context) -> None:
        raise NonRetriableError("broken")

    @app.function("alert", trigger=event(FAILED), retries=0)
    async def alert(ctx: Context) -> None:
        raise NonRetriableError("broken too")

    with Simulation(app) as sim:
        sim.send("work")
        sim.run_until_idle()
        assert [run.function_id for run in sim.runs()] == ["work", "alert"]
        assert [sent.name for sent in sim.events] == ["work", FAILED]
