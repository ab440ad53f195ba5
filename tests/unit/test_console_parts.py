"""What the console computes: places on the scale of time, matches of a search, marked JSON."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from stepbridge.console.search import Query, find, holds
from stepbridge.console.text import SHOWN_MAX, pretty, rate, setting
from stepbridge.console.waterfall import Scale, Waterfall, waterfall
from stepbridge.core.records import Status
from stepbridge.errors import ConfigError

if TYPE_CHECKING:
    from stepbridge.console.source import Source

START = datetime(2025, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """So long after the beginning."""
    return START + timedelta(seconds=seconds)


def step(step_id: str, kind: str, begin: float | None, end: float | None, **more: Any) -> dict[str, Any]:
    """A step of the API."""
    row = {
        "step_id": step_id,
        "kind": kind,
        "status": "COMPLETED" if end is not None else "WAITING",
        "attempts": 1,
        "output": "done",
        "started_at": None if begin is None else at(begin).isoformat(),
        "ended_at": None if end is None else at(end).isoformat(),
        "armed_at": None,
    }
    return {**row, **more}


def fall(*steps: dict[str, Any], ended: float | None = 100, now: float = 100, shorten: bool = False) -> Waterfall:
    """Of a run that began at the beginning."""
    run = {
        "created_at": START.isoformat(),
        "started_at": START.isoformat(),
        "ended_at": None if ended is None else at(ended).isoformat(),
        "steps": list(steps),
    }
    return waterfall(run, at(now), shorten=shorten)


def places(found: Waterfall) -> dict[str, tuple[float, float]]:
    """Where each bar begins and ends, rounded."""
    return {bar.step["step_id"]: (round(bar.left), round(bar.left + bar.width)) for bar in found.bars}


def test_bars_are_true_to_scale_and_in_the_order_in_which_they_began() -> None:
    """Whatever the order of the records."""
    found = fall(step("b", "sleep", 25, 75), step("a", "run", 0, 25), step("c", "run", 75, 100))
    assert list(places(found).items()) == [("a", (0, 25)), ("b", (25, 75)), ("c", (75, 100))]
    assert [label for _, label in found.ticks] == ["0 ms", "30 s", "1 m", "1 m 30 s"]


def test_what_goes_on_reaches_to_now() -> None:
    """A wait from when it was armed; where that is not known, from the end of the step before it."""
    armed = at(40).isoformat()
    found = fall(step("a", "run", 0, 10), step("w", "wait_for_event", None, None, armed_at=armed), ended=None, now=80)
    assert places(found)["w"] == (50, 100)
    found = fall(step("a", "run", 0, 20), step("w", "invoke", None, None), ended=None, now=80)
    assert places(found)["w"] == (25, 100)


def test_a_wait_that_timed_out_begins_where_the_step_before_it_ended() -> None:
    """Its record says only when it was over."""
    found = fall(step("a", "run", 0, 10), step("w", "wait_for_event", 90, 90, output=None))
    assert places(found)["w"] == (10, 90)


def test_earlier_attempts_are_drawn_before_the_last_one() -> None:
    """From the end of the step before."""
    found = fall(step("a", "run", 0, 10), step("b", "run", 90, 100, attempts=3))
    (bar,) = (bar for bar in found.bars if bar.step["step_id"] == "b")
    assert (round(bar.left), round(bar.lead), round(bar.width)) == (90, 80, 10)


def test_idle_time_can_be_drawn_shorter() -> None:
    """Work gets most of the width, each second of it the same; a step that works meanwhile is not idle time."""
    steps = [step("a", "run", 0, 1), step("nap", "sleep", 1, 98), step("b", "run", 98, 100)]
    assert fall(*steps).is_mostly_idle
    assert places(fall(*steps, shorten=True)) == {"a": (0, 22), "nap": (22, 57), "b": (57, 100)}
    assert not fall(*steps, step("beside", "run", 0, 100)).is_mostly_idle
    assert places(fall(*steps, step("beside", "run", 0, 100), shorten=True))["a"] == (0, 1)


def test_steps_side_by_side_are_idle_together_only() -> None:
    """What works in one branch is not idle time, though another sleeps meanwhile."""
    found = fall(
        step("a", "run", 0, 30), step("nap", "sleep", 20, 100), step("w", "wait_for_event", 40, 90), shorten=True
    )
    assert places(found) == {"a": (0, 65), "nap": (43, 100), "w": (70, 95)}


def test_a_scale_goes_both_ways() -> None:
    """Also where it is in pieces, at their borders, and outside of the span."""
    scale = Scale((at(0), at(100)), [(at(10), at(90))])
    for seconds in (0, 5, 10, 50, 90, 100):
        assert abs((scale.instant(scale.place(at(seconds))) - at(seconds)).total_seconds()) < 0.001
    assert scale.place(at(-1)) == 0
    assert round(scale.place(at(101)), 9) == 1


def test_a_run_of_no_time_and_no_steps_has_a_page() -> None:
    """Nothing is divided by nothing."""
    assert fall(ended=0, now=0).bars == []
    assert places(fall(step("a", "run", 0, 0), ended=0)) == {"a": (0, 0)}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("o-1", True),
        ("O-1", True),
        ("orderId=o-1", True),
        ("data.orderId=o-1", True),
        ("orderId = o-10", False),
        ("orderId=o", False),
        ("customer.cents=900", True),
        ("customer.cents=90", False),
        ("express=true", True),
        ("grüße", True),
        ('say "no"', True),
        ("a=b", True),
        ("nowhere=o-1", False),
        ("a=b" + " " * 1_000_000 + "c", False),
    ],
)
def test_a_search_finds_text_anywhere_and_values_at_a_path(wanted: str, found: bool) -> None:  # noqa: FBT001 - expected
    """At a path the whole value counts; `a=b` may be text as well."""
    text = '{"orderId":"o-1","customer":{"cents":900},"express":true,"say":"Grüße, say \\"no\\" if a=b"}'
    assert holds(text, wanted) is found


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00+14:00", "yesterday"])
@pytest.mark.parametrize("name", ["since", "until"])
def test_a_time_beyond_the_calendar_is_named(name: str, text: str) -> None:
    """As one that is none."""
    nowhere: Any = None
    with pytest.raises(ConfigError, match=f"{name} .* is no time. Mend"):
        find(nowhere, Query(**{name: text}), datetime(2025, 1, 1, tzinfo=UTC))


def test_a_link_keeps_the_filters_and_begins_at_the_top() -> None:
    """But for what is changed in it."""
    query = Query.of({"function": "f", "data": "a&b", "cursor": "9.x"}, "24h")
    assert query.link() == "?function=f&data=a%26b&within=24h"
    assert query.link(cursor="8.y") == "?function=f&data=a%26b&within=24h&cursor=8.y"


def test_json_is_marked_and_escaped() -> None:
    """Names, texts, numbers, words; nothing in them is an element or turns the line around."""
    shown = str(pretty({"<b>": ["</script>", -1.5, None, "a\u202eb"]}))
    assert '<span class="j-key">&#34;&lt;b&gt;&#34;</span>' in shown
    assert '<span class="j-str">&#34;&lt;/script&gt;&#34;</span>' in shown
    assert '<span class="j-num">-1.5</span>' in shown
    assert '<span class="j-word">null</span>' in shown
    assert "\u202e" not in shown


def test_a_huge_value_is_cut_and_says_so() -> None:
    """By how much."""
    shown = str(pretty("<" * SHOWN_MAX))
    assert "… 2 more characters" in shown
    assert shown.count("&lt;") == SHOWN_MAX - 1
    assert "<<" not in shown  # a text whose end is cut off is escaped like any other


class _Asked:
    """A source of no runs, which notes what it is asked for."""

    looks_max = 10

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def runs(self, **asked: Any) -> dict[str, Any]:
        """A page of none."""
        self.asked = asked
        return {"runs": [], "cursor": None}


def test_a_time_that_is_named_comes_before_the_span() -> None:
    """A span reaches back from now; an instant without a zone is the reader's."""
    source = _Asked()
    find(cast("Source", source), Query(within="1h", status="failed"), at(0))
    assert (source.asked["since"], source.asked["until"]) == (at(0) - timedelta(hours=1), None)
    assert source.asked["status"] is Status.FAILED
    named = Query(within="24h", since="2024-12-31T00:00Z", until="2025-01-01T00:00:05Z")
    find(cast("Source", source), named, at(0))
    assert (source.asked["since"], source.asked["until"]) == (datetime(2024, 12, 31, tzinfo=UTC), at(5))
    with pytest.raises(ConfigError, match="since 'yesterday' is no time"):
        find(cast("Source", source), Query(since="yesterday"), at(0))


def test_rates_and_settings_are_told_in_words() -> None:
    """Cancelled runs are neither good nor bad."""
    assert rate({"COMPLETED": 3, "FAILED": 1, "CANCELLED": 9}) == 75
    assert rate({"CANCELLED": 9}) is None
    assert setting({"finish_seconds": 604_800.0}) == "finish 7 d"
    assert setting([{"event": "a/b", "match": "data.x"}, {"event": "c"}]) == "a/b, match data.x; c"
