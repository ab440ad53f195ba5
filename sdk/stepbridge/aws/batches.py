"""Calls that carry many entries and may take some and refuse others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from stepbridge.aws.failures import Resource, Unavailable

T = TypeVar("T")

PAUSES_SECONDS: Final = (0.1, 0.4, 1.6)
"""Before each further try of what was refused: time for a throttle, little within an invocation."""


@dataclass(frozen=True, slots=True)
class Refused(Generic[T]):
    """An entry that AWS did not take."""

    entry: T
    code: str
    text: str
    by_fault: bool
    """The entry itself is wrong: no further try can help."""


def batches(entries: Sequence[T], bytes_of: Callable[[T], int], *, entries_max: int, bytes_max: int) -> list[list[T]]:
    """The entries in order, in as few calls as hold both limits.

    An entry above `bytes_max` gets a call of its own; refuse it before.
    """
    calls: list[list[T]] = []
    room = 0
    for entry in entries:
        size = bytes_of(entry)
        if not calls or len(calls[-1]) == entries_max or size > room:
            calls.append([])
            room = bytes_max
        calls[-1].append(entry)
        room -= size
    return calls


def deliver(
    entries: Sequence[T],
    send: Callable[[Sequence[T]], list[Refused[T]]],
    *,
    resource: Resource,
    permission: str,
    sleep: Callable[[float], None],
) -> None:
    """Sends the entries, and those that were refused again after a pause; never one that was taken.

    Raises:
        ValueError: An entry is wrong in itself.
        Misconfigured: An entry is refused for want of a permission or the like.
        Unavailable: Some are still refused after the last pause; names the first one's reason.
    """
    left = entries
    for pause_seconds in (*PAUSES_SECONDS, None):
        refused = send(left)
        if not refused:
            return
        for one in refused:
            _raise_if_final(one, resource, permission)
        if pause_seconds is None:
            raise Unavailable(
                f"{resource.name} refused {len(refused)} of {len(entries)} entries to the last"
                f" ({permission}: {refused[0].code}: {refused[0].text})."
            )
        sleep(pause_seconds)
        left = [one.entry for one in refused]


def _raise_if_final(one: Refused[T], resource: Resource, permission: str) -> None:
    failure = resource.failure(permission, one.code, one.text)
    if failure is not None and not isinstance(failure, Unavailable):
        raise failure
    if one.by_fault:
        raise ValueError(
            f"{resource.name} can never take this ({permission}: {one.code}: {one.text}): {one.entry!r:.200}"
        )
