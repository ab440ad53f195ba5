"""What is written down is read back: records as items, work as messages, events as envelopes; and what names it."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepbridge.core.envelope import event_of
from stepbridge.core.history import history_of
from stepbridge.core.ids import digest, system_event_id
from stepbridge.core.instants import EPOCH, to_ms
from stepbridge.core.items import armed_of, armed_text, register_item, register_of, timers_text, wait_item, wait_of
from stepbridge.core.json_values import canonical
from stepbridge.core.keys import page_key, seen_key
from stepbridge.core.limits import DEPTH_MAX
from stepbridge.core.matching import lookback_signature, want_event
from stepbridge.core.messages import Cancel, Go, Item, Resume, Start, Tick, Work, message_text, work_of
from stepbridge.core.records import (
    Armed,
    ArmedChild,
    ArmedMap,
    ArmedWait,
    Blob,
    EventRecord,
    Failure,
    Kind,
    MapItem,
    Mark,
    Parent,
    Register,
    Role,
    Timer,
    Wait,
)

NOW = datetime(2025, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
REGISTER = Register(
    key="k" * 16,
    step_id="s",
    occurrence=2,
    kind=Kind.WAIT,
    mark=Mark.ERROR,
    value=b"\x78packed",
    failure=Failure(name="ValueError", message="no", stack="line 1"),
    attempts=3,
    due_at=LATER,
    order=(4, 5),
    seen=("a", "b"),
    started_at=NOW,
    ended_at=LATER,
    event_id="e",
    places=("p", "q"),
)
WAIT = Wait(
    place="p",
    run_id="r",
    step_key="k",
    step_id="s",
    occurrence=2,
    role=Role.ANY,
    index=3,
    kind=Kind.WAIT_ANY,
    event_name="paid",
    since_ms=7,
    expression="async.data.k == 1",
    event="{}",
    consumed=("e", "f"),
    armed_at=NOW,
    deadline=LATER,
)
PARENT = Parent(
    run_id="r",
    step_key="k",
    step_id="s",
    occurrence=1,
    item=MapItem(index=1, count=9, lanes=2, source="b", target="f"),
    app="other",
)
EVENT = EventRecord(name="go", id="e", ts=to_ms(NOW), source="test", data='{"n":1}')
WORKS: tuple[Work, ...] = (
    Start(run_id="r", function_id="f", event=EVENT, parent=PARENT, created_at=LATER, extra={"a": "b"}),
    Start(run_id="r", function_id="f", event=replace(EVENT, data=zlib.compress(b"{}")), created_at=LATER),
    Start(run_id="r", function_id="f", event=replace(EVENT, data=Blob("key")), created_at=LATER),
    Go(run_id="r", why="timer", due_at=LATER),
    Resume(run_id="r"),
    Cancel(run_id="r", reason="why"),
    Tick(function_id="f", at=NOW),
    Item(parent=PARENT, target="m:f", value="1", attempt=3, max_attempts=5, due_at=LATER, extra={"a": "b"}),
)


@pytest.mark.parametrize("value", ['"text"', b"\x78packed", Blob("key"), None])
def test_a_register_with_all_it_may_hold_is_read_back(value: Any) -> None:
    """Whatever its value is kept as."""
    register = REGISTER._replace(value=value)
    assert register_of(register_item("r", register)) == register


def test_a_failed_first_attempt_says_its_number() -> None:
    """The next attempt's condition names it."""
    assert register_item("r", REGISTER._replace(mark=Mark.RETRY, attempts=1))["at"] == 1


def test_a_wait_with_all_it_may_hold_is_read_back() -> None:
    """Also one of a signal, and one that cancels."""
    for wait in (WAIT, replace(WAIT, kind=Kind.SIGNAL, role=Role.STEP, index=0), replace(WAIT, role=Role.CANCEL)):
        assert wait_of(wait_item(wait, 1)) == wait


def test_what_is_armed_is_read_back() -> None:
    """Each kind; the keys follow from the ids."""
    armed: tuple[Armed, ...] = (
        *(
            ArmedWait(step_key="", step_id="w", occurrence=1, places=("p", "q"), deadline=LATER, kind=kind)
            for kind in (Kind.WAIT, Kind.WAIT_ANY, Kind.SIGNAL)
        ),
        ArmedChild(step_key="", step_id="c", run_id="r", deadline=None),
        ArmedChild(step_key="", step_id="c", run_id="r", deadline=LATER, app="other"),
        ArmedMap(step_key="", step_id="m", count=9, children=2),
    )
    assert tuple(replace(one, step_key="") for one in armed_of(armed_text(armed))) == armed


def test_a_timer_says_whether_it_is_a_schedule() -> None:
    """A delayed message cannot be deleted."""
    assert timers_text((Timer(due_ms=1, scheduled=True), Timer(due_ms=2, scheduled=False))) == "s1,q2"


def test_keys_hold_nothing_that_parts_them_and_keep_their_order() -> None:
    """Pages by number; of a kept event, time and id."""
    assert page_key("r", 2).sk < page_key("r", 10).sk
    assert seen_key("p", 7, "a#b").sk.count("#") == 1
    assert seen_key("p", 7, "plain-id").sk == "000000000000007#plain-id"


@pytest.mark.parametrize("work", WORKS, ids=[f"{n} {type(work).__name__}" for n, work in enumerate(WORKS)])
def test_a_message_is_read_back(work: Work) -> None:
    """With all that it may carry."""
    assert work_of(message_text(work)) == work


@pytest.mark.parametrize("change", [{"stepbridge": 2}, {"r": ""}, {"r": None}, {"k": "other"}])
def test_a_message_of_another_version_or_about_nothing_is_refused(change: dict[str, Any]) -> None:
    """As a `ValueError`, so that it is buried."""
    row = {**json.loads(message_text(Resume(run_id="r"))), **change}
    with pytest.raises(ValueError, match=r"engine|unknown kind"):
        work_of(json.dumps(row))


def test_names_are_told_apart_by_the_borders_of_their_parts() -> None:
    """And by every character, also those that UTF-8 cannot carry."""
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("\ud800") != digest("\ud801")
    assert system_event_id("r", "failed") != system_event_id("r", "finished")


def test_an_instant_is_rounded_up() -> None:
    """So that a due time that is read back is never early."""
    assert to_ms(EPOCH + timedelta(microseconds=1)) == 1


def test_equal_values_alone_have_the_same_text() -> None:
    """Borders of lists and the order of keys included."""
    different = [[[1], 2], [[1, 2]], [[[1, 2]]], {"a": 1, "b": 2}, {"a": 2, "b": 1}]
    assert len({canonical(value) for value in different}) == len(different)
    assert canonical({"a": 1, "b": 2}) == canonical({"b": 2.0, "a": 1})


def test_a_match_by_several_values_is_the_same_in_any_order() -> None:
    """For the wait as for looking back."""
    one, other = {"data.a": 1, "data.b": 2}, {"data.b": 2, "data.a": 1}
    wants = [
        want_event("paid", match=match, if_exp=None, trigger={}, run_id="r", step_id="w") for match in (one, other)
    ]
    assert wants[0] == wants[1]
    assert lookback_signature(one, None) == lookback_signature(other, None)


def test_a_wait_keeps_of_the_trigger_what_its_expression_reads() -> None:
    """Every wait's item would else hold all of the trigger."""
    trigger = {"name": "go", "data": {"k": 1, "bulk": "x"}, "id": "e", "ts": 1, "source": "s"}
    expression = "async.data.k == event.data.k && async.data.sure"
    want = want_event("paid", match=None, if_exp=expression, trigger=trigger, run_id="r", step_id="w")
    assert json.loads(want.event) == {"data": {"k": 1}}


# -- envelopes -------------------------------------------------------------------------------------
def envelope(detail: Any, **fields: Any) -> str:
    """As EventBridge sends it."""
    whole = {"detail-type": "go", "source": "test", "id": "bus-id", "time": "2025-01-01T00:00:07Z", "detail": detail}
    return json.dumps({**whole, **fields})


@pytest.mark.parametrize(
    ("ts", "read", "grain_ms"), [(7123, 7123, 1), (True, None, 1000), (-1, None, 1000), (10**15, None, 1000)]
)
def test_an_events_own_time_counts_where_it_is_one(ts: Any, read: int | None, grain_ms: int) -> None:
    """Else the bus's, which is in whole seconds."""
    incoming = event_of(envelope({"_stepbridge": {"id": "mine", "ts": ts}}))
    assert incoming.row["ts"] == (to_ms(NOW) + 7000 if read is None else read)
    assert (incoming.grain_ms, incoming.row["id"], incoming.row["data"]) == (grain_ms, "mine", {})


def test_a_trace_is_carried_on_where_it_is_one() -> None:
    """Anybody may write there."""
    for trace, extra in (("00-" + "a" * 32 + "-" + "b" * 16 + "-01", True), ("nonsense", False), (7, False)):
        assert bool(event_of(envelope({"_stepbridge": {"tp": trace}})).extra) is extra


def test_what_an_event_says_of_itself_fits_into_records() -> None:
    """A long source is cut, a long id is hashed, and no text holds what UTF-8 cannot carry."""
    row = event_of(envelope({}, **{"source": "s" * 1000, "id": "i" * 1000, "detail-type": "go\ud800"})).row
    assert (len(row["source"]), len(row["id"]), row["name"]) == (256, 26, "go?")


@pytest.mark.parametrize("detail", ['{"n": 1e999}', '{"n": NaN}', '{"n": -Infinity}'])
def test_an_event_with_a_number_that_is_none_is_refused(detail: str) -> None:
    """It could not be written again."""
    with pytest.raises(ValueError, match=r"JSON|too large"):
        event_of(envelope({}).replace("{}", detail))


@pytest.mark.parametrize(("levels", "taken"), [(DEPTH_MAX, True), (DEPTH_MAX + 1, False)])
def test_an_event_is_nested_as_deeply_as_is_allowed(levels: int, *, taken: bool) -> None:
    """The envelope is not its own."""
    detail: Any = {}
    for _ in range(levels - 1):
        detail = {"a": detail}
    body = envelope(detail)
    if taken:
        assert event_of(body).row["data"] == detail
    else:
        with pytest.raises(ValueError, match="nested too deeply"):
            event_of(body)


# -- the order of the past ---------------------------------------------------------------------------
def came(key: str, at: int, *, due: int | None = None, order: tuple[int, int] | None = None, **more: Any) -> Register:
    """A result at this minute; with `due` a sleep."""
    return Register(
        key=key,
        step_id=key,
        kind=more.pop("kind", Kind.WAIT if due is None else Kind.SLEEP),
        mark=more.pop("mark", Mark.OK if due is None else Mark.DUE),
        due_at=None if due is None else NOW + timedelta(minutes=due),
        order=order,
        started_at=NOW,
        ended_at=NOW + timedelta(minutes=at),
        **more,
    )


def test_what_no_record_lists_comes_in_the_order_of_its_time() -> None:
    """A sleep's is its end; what the head lists comes first."""
    past = [came("long", 0, due=9, order=(1, 0)), came("paid", 5), came("short", 1, due=3, order=(1, 1)), came("x", 7)]
    assert list(history_of(past, ("x",), LATER).ranked) == ["x", "short", "paid", "long"]


@pytest.mark.parametrize("lister", ["retry", "list"])
def test_what_any_record_lists_comes_before_it(lister: str) -> None:
    """A step's that is to be tried again, or a mere list."""
    listing = {
        "retry": came("r", 6, order=(1, 0), kind=Kind.RUN, mark=Mark.RETRY, seen=("late", "early")),
        "list": came("~", 6, order=(1, 0), kind=Kind.SEEN, seen=("late", "early")),
    }[lister]
    past = [came("early", 1), came("late", 5), came("new", 0), listing]
    history = history_of(past, (), LATER)
    assert list(history.ranked) == ["late", "early", "new"]
    assert history.unlisted == ["new"]
