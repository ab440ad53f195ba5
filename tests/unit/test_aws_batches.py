"""Many entries in few calls: limits kept, refused ones sent again, taken ones never."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepbridge.aws.batches import PAUSES_SECONDS, Refused, batches, deliver
from stepbridge.aws.failures import Misconfigured, Resource, Unavailable

RESOURCE = Resource("The bus", "STEPBRIDGE_BUS")


@given(sizes=st.lists(st.integers(0, 10)), entries_max=st.integers(1, 4))
def test_batches_keep_order_and_limits(sizes: list[int], entries_max: int) -> None:
    """Nothing lost, nothing above either limit, and no two neighbours that would fit into one."""
    calls = batches(sizes, lambda size: size, entries_max=entries_max, bytes_max=10)
    assert [size for call in calls for size in call] == sizes
    assert all(call and len(call) <= entries_max and sum(call) <= 10 for call in calls)
    for one, other in pairwise(calls):
        assert len(one) == entries_max or sum(one) + other[0] > 10


class Receiver:
    """Refuses entries as told, one dict a call: entry to code."""

    def __init__(self, *refusals: dict[str, str]) -> None:
        self.calls: list[list[str]] = []
        self._refusals = list(refusals)

    def send(self, entries: Sequence[str]) -> list[Refused[str]]:
        """One call."""
        self.calls.append(list(entries))
        refusals = self._refusals.pop(0) if self._refusals else {}
        return [
            Refused(entry, refusals[entry], "says AWS", by_fault=refusals[entry] == "Malformed")
            for entry in entries
            if entry in refusals
        ]


def run(receiver: Receiver, entries: list[str]) -> list[float]:
    """Delivers; the pauses made."""
    pauses: list[float] = []
    deliver(entries, receiver.send, resource=RESOURCE, permission="e:Put", sleep=pauses.append)
    return pauses


def test_what_was_taken_is_never_sent_again() -> None:
    """Only the refused ones are, after a pause that grows."""
    receiver = Receiver({"a": "ThrottlingException", "c": "InternalFailure"}, {"c": "NobodyKnowsThisCode"})
    assert run(receiver, ["a", "b", "c"]) == list(PAUSES_SECONDS[:2])
    assert receiver.calls == [["a", "b", "c"], ["a", "c"], ["c"]]


def test_what_is_refused_to_the_last_is_unavailable() -> None:
    """The first one's reason is named."""
    receiver = Receiver(*[{"b": "InternalFailure", "c": "ThrottlingException"}] * 9)
    with pytest.raises(Unavailable, match=r"refused 2 of 3 .*e:Put: InternalFailure: says AWS"):
        run(receiver, ["a", "b", "c"])
    assert len(receiver.calls) == len(PAUSES_SECONDS) + 1


def test_a_missing_permission_is_not_tried_again() -> None:
    """Even where another entry could be."""
    receiver = Receiver({"a": "ThrottlingException", "b": "NotAuthorizedForSourceException"})
    with pytest.raises(Misconfigured, match="Mend: allow the role e:Put"):
        run(receiver, ["a", "b"])
    assert len(receiver.calls) == 1


def test_an_entry_that_is_wrong_is_named() -> None:
    """It is the caller's to mend."""
    with pytest.raises(ValueError, match=r"The bus can never take this .*Malformed: says AWS.*'b'"):
        run(Receiver({"b": "Malformed"}), ["a", "b"])
