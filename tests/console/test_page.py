"""The console in Chromium, through its own controls."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from stepbridge.console import pages
from stepbridge.local.service import Service
from tests.console.conftest import Open, Runs
from tests.console.shop import effects
from tests.integration.waiting import eventually


def confirm(page: Page, button: str, yes: str) -> None:
    """Presses a button, and says yes to its question."""
    page.get_by_role("button", name=button, exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name=yes).click()


def test_an_event_is_sent_and_its_run_watched_to_its_end(open_page: Open, runs: Runs) -> None:
    """Nothing is reloaded by hand: the run appears, says what it waits for, and ends when the event comes."""
    page = open_page("/runs")
    page.get_by_role("button", name="Send event").click()
    assert "order/created" in page.locator("#ask-names option").evaluate_all("all => all.map(one => one.value)")
    page.get_by_role("dialog").get_by_label("Event name").fill("order/created")
    page.get_by_label("Data, a JSON object").fill('{"orderId": "live-1"}')
    page.get_by_role("dialog").get_by_role("button", name="Send").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("order/created")
    page.get_by_role("link", name="fulfil-order").click()
    expect(page.locator(".now")).to_contain_text('payment waiting for payment/completed with data.orderId = "live-1"')
    expect(page.locator(".now")).to_contain_text(re.compile(r"until .* \(in 23 h 59 m\)"))
    page.evaluate("window.here = true")
    runs.pay("live-1")
    expect(page.locator("h1 + .pill")).to_have_text("Completed")
    expect(page.get_by_role("status")).to_have_text("The run is completed.")
    expect(page.locator("pre").last).to_contain_text("parcel of live-1")
    assert page.evaluate("window.here") is True


def test_the_list_is_filtered_and_searched(open_page: Open, runs: Runs) -> None:
    """By function and status, by a value in the event's data; a search says how far it has looked."""
    failed, waiting = runs.done("bad-filter"), runs.waiting("filter-2")
    page = open_page("/runs")
    rows = page.get_by_role("table").locator("tbody tr")
    expect(rows.filter(has=page.locator(f"a[href='/runs/{waiting}']"))).to_have_count(1)
    page.get_by_label("Function").select_option("fulfil-order")
    page.get_by_label("Status").select_option("FAILED")
    page.get_by_role("button", name="Filter").click()
    expect(rows.first).to_contain_text("no truck goes there")
    assert {*rows.locator(".pill").all_inner_texts()} == {"Failed"}
    expect(rows.filter(has=page.locator(f"a[href='/runs/{failed}']"))).to_have_count(1)
    page.get_by_role("link", name="Clear").click()
    page.get_by_label("In the event's data").fill("orderId=filter-2")
    page.get_by_role("button", name="Filter").click()
    expect(rows).to_have_count(1)
    expect(page.get_by_role("note")).to_contain_text(
        re.compile(r"Looked at \d+ runs, back to .*:\s+1 matches\.", re.DOTALL)
    )
    page.get_by_text("More filters").click()
    page.get_by_label("In the event's data").fill("")
    page.get_by_label("Run id begins with").fill(waiting[:9])
    page.get_by_role("button", name="Filter").click()
    expect(rows.get_by_role("link").first).to_have_attribute("href", f"/runs/{waiting}")


def test_the_waterfall_is_true_to_scale(open_page: Open, runs: Runs) -> None:
    """Bars begin and end where the steps did; idle time can be shortened, and then work is wider."""
    run_id = runs.send("nap", {"length": "400ms"})
    run = runs.become(run_id, "COMPLETED")
    page = open_page(f"/runs/{run_id}")
    steps = page.locator("details.step")
    expect(steps).to_have_count(3)
    track = page.locator(".track").first.bounding_box()
    sleep = page.locator(".bar.idle .whole").bounding_box()
    assert track is not None
    assert sleep is not None
    lasted = _seconds(run["ended_at"]) - _seconds(run["created_at"])
    slept = _seconds(run["steps"][1]["ended_at"]) - _seconds(run["steps"][1]["started_at"])
    assert abs(sleep["width"] / track["width"] - slept / lasted) < 0.02
    begun = (_seconds(run["steps"][1]["started_at"]) - _seconds(run["created_at"])) / lasted
    assert abs((sleep["x"] - track["x"]) / track["width"] - begun) < 0.02
    page.get_by_role("link", name="Idle time shortened").click()
    shorter = page.locator(".bar.idle .whole").bounding_box()
    assert shorter is not None
    assert shorter["width"] < sleep["width"] / 2
    steps.first.locator("summary").click()
    expect(steps.first.locator("dl")).to_contain_text("Completed")
    expect(steps.first.locator("pre")).to_have_text('"1"')


def _seconds(text: str) -> float:
    hours, minutes, seconds = text.removesuffix("Z").split("T")[1].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def test_family_log_and_error_are_on_the_page(open_page: Open, runs: Runs) -> None:
    """Children and parent lead to each other; an error has its stack, and the log its lines."""
    failed = runs.done("bad-family")
    page = open_page(f"/runs/{failed}")
    expect(page.get_by_label("Error")).to_contain_text("no truck goes there")
    expect(page.get_by_label("Error").locator("pre")).to_contain_text("in ship")
    expect(page.locator(".log")).to_contain_text("warning order bad-family waits")
    page.get_by_role("region", name="Children").get_by_role("link", name="book").click()
    expect(page.locator("h1")).to_have_text("book")
    page.locator(".facts dd a.id").click()
    expect(page).to_have_url(re.compile(failed))


def test_a_run_is_run_again_from_its_beginning_and_from_a_step(open_page: Open, runs: Runs) -> None:
    """Each time a new run, which names the old one; from a step, what was before it is not repeated."""
    run_id = runs.done("again")
    page = open_page(f"/runs/{run_id}")
    confirm(page, "Rerun", "Start a new run")
    expect(page.get_by_role("link", name=run_id[:10])).to_be_visible()
    expect(page.locator(".now")).to_contain_text("payment")
    assert effects["again"] == 2
    page.goto(f"/runs/{run_id}")
    page.locator("details.step", has_text="ship").locator("summary").click()
    page.get_by_role("button", name="Rerun from this step").locator("visible=true").click()
    page.get_by_role("dialog").get_by_role("button", name="Start a new run").click()
    expect(page).not_to_have_url(re.compile(run_id))
    expect(page.locator("h1 + .pill")).to_have_text("Completed")
    assert effects["again"] == 2
    page.goto(f"/runs/{run_id}")
    expect(page.get_by_role("region", name="Reruns").locator("tbody tr")).to_have_count(2)


def test_a_run_is_run_again_with_other_data(open_page: Open, runs: Runs) -> None:
    """The form holds the data of the old run; long numbers pass through it as they are."""
    run_id = runs.send("nap", {"length": "1h", "serial": 12345678901234567890})
    runs.become(run_id, "SLEEPING")
    page = open_page(f"/runs/{run_id}")
    page.get_by_role("button", name="Rerun with changes").click()
    data = page.get_by_label("Data, a JSON object")
    expect(data).to_have_value('{\n  "length": "1h",\n  "serial": 12345678901234567890\n}')
    data.fill(data.input_value().replace("1h", "1ms"))
    page.get_by_role("dialog").get_by_role("button", name="Invoke").click()
    expect(page.locator("h1 + .pill")).to_have_text("Completed")
    expect(page.get_by_role("region", name="Input")).to_contain_text('"1ms",\n  "serial": 12345678901234567890')
    assert runs.service.run(run_id)["status"] == "SLEEPING"


def test_what_is_shown_can_be_copied(open_page: Open, runs: Runs) -> None:
    """A run's id, its data: as text, with a word that it is done."""
    run_id = runs.waiting("copied")
    page = open_page(f"/runs/{run_id}", permissions=["clipboard-read", "clipboard-write"])
    for button, text in (("Copy the run's id", run_id), ("Copy the input", '{\n  "orderId": "copied"\n}')):
        page.get_by_role("button", name=button).click()
        expect(page.get_by_role("status")).to_have_text("Copied.")
        assert page.evaluate("navigator.clipboard.readText()") == text


def test_steps_come_in_pages(open_page: Open, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a run with very many, each step is on one of them, in order; a place that there is not is told of."""
    monkeypatch.setattr(pages, "_BARS_MAX", 3)
    run_id = runs.done("paged")
    page = open_page(f"/runs/{run_id}?scale=short")
    assert page.locator(".step .label").all_inner_texts() == ["reserve", "payment", "book"]
    page.get_by_role("link", name="Next steps").first.click()
    expect(page.locator(".step .label")).to_have_text(["ship"])
    expect(page.get_by_role("navigation", name="Pages of the steps").first).to_contain_text("4 to 4 of 4")
    page.get_by_role("link", name="Steps before").first.click()
    expect(page.locator(".step .label")).to_have_text(["reserve", "payment", "book"])
    page.goto(f"/runs/{runs.done('bad-paged')}")
    page.get_by_role("link", name="ship", exact=True).click()
    expect(page.locator(".step[open]")).to_contain_text("no truck goes there")
    page.goto(f"/runs/{run_id}?from=x")
    expect(page.get_by_role("main")).to_contain_text("no place among a run's steps")


def test_a_run_is_cancelled_only_when_the_question_is_answered(open_page: Open, runs: Runs) -> None:
    """No, by button and by key, leaves it; the focus is then back where it was."""
    run_id = runs.waiting("to-cancel")
    page = open_page(f"/runs/{run_id}")
    cancel = page.get_by_role("button", name="Cancel", exact=True)
    cancel.click()
    expect(page.get_by_label("Data, a JSON object")).to_be_hidden()
    page.get_by_role("button", name="Not now").click()
    cancel.click()
    page.keyboard.press("Escape")
    expect(cancel).to_be_focused()
    assert runs.service.run(run_id)["status"] == "SLEEPING"
    confirm(page, "Cancel", "Cancel the run")
    expect(page.locator("h1 + .pill")).to_have_text("Cancelled")
    expect(cancel).to_have_count(0)


def test_news_do_not_take_a_button_from_under_a_finger(open_page: Open, runs: Runs) -> None:
    """However slowly it is pressed: the page that came meanwhile waits."""
    page = open_page(f"/runs/{runs.waiting('slow-finger')}")
    page.get_by_role("button", name="Cancel", exact=True).hover()
    page.mouse.down()
    for _ in range(4):
        page.wait_for_event("requestfinished")
    page.mouse.up()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.get_by_role("button", name="Not now").click()


def test_time_is_skipped(open_page: Open, runs: Runs) -> None:
    """An hour's sleep is over at once; who came by keyboard is not sent back to the top."""
    run_id = runs.send("nap", {})
    runs.become(run_id, "SLEEPING")
    page = open_page(f"/runs/{run_id}")
    expect(page.locator(".now")).to_contain_text("sleep sleeping until")
    confirm(page, "Wake now", "Wake it now")
    expect(page.locator("h1 + .pill")).to_have_text("Completed")
    expect(page.get_by_role("main")).to_be_focused()  # its button is gone


def test_a_parked_run_is_resumed(open_page: Open, runs: Runs) -> None:
    """It then goes on with the code as it is now."""
    run_id = runs.send("deploy", {})
    runs.become(run_id, "PARKED")
    page = open_page(f"/runs/{run_id}")
    expect(page.get_by_label("Error")).to_contain_text("NondeterminismError")
    confirm(page, "Resume", "Resume the run")
    expect(page.locator("h1 + .pill")).to_have_text("Completed")


def test_a_function_is_invoked_and_bad_data_is_told_of_in_place(open_page: Open) -> None:
    """What was typed stays; the page of the function shows what starts it, and how its runs ended."""
    page = open_page("/functions")
    expect(page.get_by_role("row", name=re.compile("book"))).to_contain_text("invoked only")
    page.get_by_role("link", name="book", exact=True).click()
    page.get_by_role("button", name="Invoke").click()
    data = page.get_by_label("Data, a JSON object")
    data.fill("{orderId: 1}")
    page.get_by_role("dialog").get_by_role("button", name="Invoke").click()
    expect(page.get_by_role("alert")).to_contain_text("not JSON")
    data.fill("[1]")
    page.get_by_role("dialog").get_by_role("button", name="Invoke").click()
    expect(page.get_by_role("alert")).to_contain_text("dict")
    data.fill('{"orderId": "i-1"}')
    page.get_by_role("dialog").get_by_role("button", name="Invoke").click()
    expect(page.locator("pre").last).to_have_text('"booked i-1"')
    page.goto("/functions/book")
    expect(page.locator(".rate")).to_contain_text("100 %")


def test_all_failed_runs_of_a_list_are_run_again(open_page: Open, runs: Runs) -> None:
    """The question says how many; more than a page of them, and none that was only just started."""
    for number in range(60):
        runs.service.send({"name": "echo", "data": {"text": "bulk", "n": number}})
    eventually(lambda: runs.service.functions()["functions"][3]["runs"] == {"FAILED": 60})
    page = open_page("/runs?function=echo&status=FAILED&data=text%3Dbulk")
    expect(page.get_by_role("note")).to_contain_text("50 match")
    page.get_by_role("link", name="Search on").click()
    expect(page.get_by_role("note")).to_contain_text("10 match")
    page.get_by_role("link", name="Newest").click()
    page.get_by_role("button", name="Rerun all of these").click()
    expect(page.locator("#ask-text")).to_contain_text("60 failed runs match.")
    page.get_by_role("button", name="Rerun 60").click()
    expect(page.get_by_role("status")).to_have_text("60 runs are started anew.")


def test_an_event_leads_to_what_it_did(open_page: Open, runs: Runs, service: Service) -> None:
    """Its data, the runs that it started, the waits that it resolved."""
    run_id = runs.waiting("ev-1")
    event_id = runs.pay("ev-1")
    runs.become(run_id, "COMPLETED")
    page = open_page("/events")
    row = page.get_by_role("row", name=re.compile("ev-1")).filter(has_text="woke payment")
    row.get_by_role("link", name="payment/completed").click()
    expect(page.locator(".facts")).to_contain_text(event_id)
    expect(page.get_by_label("The event's data")).to_contain_text('"ev-1"')
    page.get_by_role("link", name="payment", exact=True).click()
    expect(page).to_have_url(re.compile(run_id))
    page.get_by_role("link", name="order/created").click()
    expect(page.get_by_role("table", name="Runs that the event started")).to_contain_text("fulfil-order")
    assert service.run(run_id)["status"] == "COMPLETED"
