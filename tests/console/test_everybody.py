"""The console for everybody: hostile data, narrow screens, keyboards, screen readers, dark rooms."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.console.conftest import Open, Runs
from tests.console.shop import HOSTILE

PAGES = ("/runs", "/functions", "/functions/fulfil-order", "/events", "/runs?data=none&status=FAILED", "/nowhere")


def test_hostile_data_is_text(open_page: Open, runs: Runs) -> None:
    """As name of an event and of a step, in data, in errors, in filters: nothing of it becomes an element."""
    run_id = runs.send("echo", {"text": HOSTILE})
    runs.become(run_id, "FAILED")
    (event_id,) = runs.service.send({"name": HOSTILE.replace("\u202e", ""), "data": {HOSTILE: HOSTILE}})["ids"]
    shown = HOSTILE.replace("\u202e", "\\u202e")
    page = open_page(f"/runs/{run_id}")
    expect(page.locator("details.step .label")).to_have_text(shown)
    expect(page.get_by_label("Error").locator("p")).to_have_text(shown)
    page.locator("details.step summary").click()
    page.get_by_role("button", name="Rerun from this step").click()
    expect(page.locator("#ask-title")).to_contain_text(shown)
    page.get_by_role("button", name="Start a new run").click()
    expect(page.get_by_role("link", name=run_id[:10])).to_be_visible()
    for path in ("/runs", "/events", f"/events/{event_id}", "/runs?data=%3Cimg%20src%3Dx%3E&function=%22%3E%3Cimg%3E"):
        page.goto(path)
        assert page.locator("main img, main script, main b b").count() == 0
    page.goto(f"/events/{event_id}")
    page.get_by_role("button", name="Send again").click()
    expect(page.get_by_label("Data, a JSON object")).to_have_value(re.compile(re.escape("onerror=alert(1)")))


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (768, "dark")])
def test_nothing_is_wider_than_a_phone_or_tablet(open_page: Open, runs: Runs, width: int, scheme: str) -> None:
    """Names in lists keep room to be read, the filters and a run's actions are all there."""
    run_id = runs.waiting(f"narrow-{scheme}")
    page = open_page("/runs", width=width, height=740, color_scheme=scheme)
    for path in (*PAGES, f"/runs/{run_id}"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        scrolled = "[...document.querySelectorAll('.scroll')].filter(one => one.scrollWidth > one.clientWidth).length"
        assert page.evaluate(scrolled) == 0, path
        names = "[...document.querySelectorAll('tbody th')].map(one => one.clientWidth)"
        assert all(name >= 130 for name in page.evaluate(names)), path


def test_a_thumb_reaches_what_there_is_to_press(open_page: Open, runs: Runs) -> None:
    """On a phone: a run's actions are large enough, and so is the way from a list to a run."""
    run_id = runs.waiting("thumb")
    page = open_page("/runs", width=360, height=740)
    page.get_by_role("row", name="fulfil-order").first.locator("td").last.click()
    expect(page).to_have_url(re.compile(r"/runs/\w{26}$"))
    page.goto(f"/runs/{run_id}")
    of = "one => [one.textContent, one.offsetHeight, one.getBoundingClientRect().right]"
    boxes = page.evaluate(f"[...document.querySelectorAll('.actions button')].map({of})")
    assert [name for name, _, _ in boxes] == ["Wake now", "Rerun", "Rerun with changes", "Cancel"]
    assert all(height >= 40 and right <= 360 for _, height, right in boxes)
    page.get_by_role("button", name="Cancel", exact=True).click()
    box = page.get_by_role("dialog").bounding_box()
    assert box is not None
    assert box["width"] <= 360


def test_everything_is_done_by_keyboard(open_page: Open, runs: Runs) -> None:
    """Past the header at a leap, to the run, into a step, and to a question that Escape takes back."""
    run_id = runs.waiting("keys")
    page = open_page(f"/runs/{run_id}")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    summary = page.locator("details.step summary").first
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('details.step summary')"):
            break
    expect(summary).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("details.step").first).to_have_attribute("open", "")
    for _ in range(2):
        page.wait_for_event("requestfinished")  # the page has asked for news meanwhile
    expect(summary).to_be_focused()
    page.get_by_role("button", name="Wake now").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Not now")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Wake now")).to_be_focused()
    assert runs.service.run(run_id)["status"] == "SLEEPING"


def test_a_screen_reader_hears_the_page_in_order(open_page: Open, runs: Runs) -> None:
    """Landmarks, one heading of the first level, tables with heads, each step as one sentence."""
    run_id = runs.done("heard")
    page = open_page("/runs")
    heard = page.locator("body").aria_snapshot()
    for part in ("- banner:", '- navigation "Pages":', "- main:", '- heading "Runs" [level=1]', "- search:"):
        assert part in heard
    assert '- table "Runs, newest first":' in heard
    assert '- columnheader "Status"' in heard
    assert '- combobox "Function":' in heard
    page.goto(f"/runs/{run_id}")
    heard = page.locator("body").aria_snapshot()
    assert heard.count("[level=1]") == 1
    assert re.search(r"reserve\s*, run, completed, 1 attempt, \d+ ms after the beginning, \d+ ms", heard)
    assert re.search(r"payment\s*, wait for event, completed, 1 attempt", heard)
    for name in ("Steps 4", "Input the event's data", "Output", "Children 1", "Log"):
        assert f'- heading "{name}" [level=2]' in heard
    page.goto("/nowhere")
    assert "there is nothing at '/nowhere'" in page.locator("body").aria_snapshot()
    page.goto(f"/runs/{run_id}")
    unnamed = "[...document.querySelectorAll('button, a, input, select, textarea')].filter(one => one.offsetParent"
    assert page.evaluate(f"{unnamed} && !(one.textContent.trim() || one.ariaLabel || one.labels?.length)).length") == 0


def test_it_is_dark_where_the_system_is_and_as_one_chooses(open_page: Open) -> None:
    """The choice outlasts the page, and the page never flashes in the other colours: the server knows it."""
    page = open_page("/runs", color_scheme="dark")
    colour = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(colour)
    page.get_by_role("button", name="Theme: automatic").click()
    light = page.evaluate(colour)
    assert dark != light
    page.reload()
    assert page.evaluate(colour) == light
    assert page.locator("html").get_attribute("data-theme") == "light"
