"""Recorded results in the one order in which replay delivers them.

A run's own records bear (epoch, counter). Results from outside (an event, a timer, a child's end) bear
none: the run lists those it was given in its next record, and there they rank, just before that record.
What no record lists yet is ranked after all others, oldest first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from stepbridge.core.records import Kind, Mark, Register

_UNFINISHED = (Mark.RETRY, Mark.STARTED)


class Result(NamedTuple):
    """A step's register, and the place in the order in which it is given to the handler."""

    rank: int
    register: Register


@dataclass(slots=True)
class History:
    """What one invocation knows of the run's past. `ranked` maps step keys to results."""

    ranked: dict[str, Result] = field(default_factory=dict)
    unfinished: dict[str, Register] = field(default_factory=dict)
    """Sleeps not over yet, steps to be tried again, and steps that have begun, by step key."""
    unlisted: list[str] = field(default_factory=list)
    """Outside results that none of the run's records lists yet, in their order."""
    listed_in: dict[str, int] = field(default_factory=dict)
    """The epoch of the record that lists an outside result, by step key."""

    @property
    def next_rank(self) -> int:
        """The rank after the last one."""
        return len(self.ranked)


def is_outside(register: Register) -> bool:
    """Whether the result came from outside the run, so that the write itself gives it no rank."""
    return register.order is None or register.kind is Kind.SLEEP


def history_of(registers: Iterable[Register], seen: Iterable[str], now: datetime) -> History:
    """The history that these registers tell, `seen` being the list kept in the head."""
    results: dict[str, Register] = {}
    lists: list[Register] = []
    history = History()
    for register in registers:
        late = register.mark is Mark.DUE and register.due_at is not None and register.due_at > now
        if late or register.mark in _UNFINISHED:
            history.unfinished[register.key] = register
        elif register.kind is Kind.SEEN:
            lists.append(register)
        else:
            results[register.key] = register
    listed: dict[str, None] = {}
    writers = [*results.values(), *history.unfinished.values(), *lists]
    for register in sorted((r for r in writers if r.order is not None), key=lambda r: r.order or (0, 0)):
        for key in register.seen:
            listed[key] = None
            history.listed_in.setdefault(key, 0 if register.order is None else register.order[0])
        if not is_outside(register):
            listed[register.key] = None
    order = [key for key in listed if key in results]
    carried = [key for key in dict.fromkeys(seen) if key in results and key not in listed]
    fresh = sorted(
        (key for key in results if key not in listed and key not in carried),
        key=lambda key: (results[key].due_at or results[key].ended_at, key),
    )
    history.unlisted = carried + fresh
    history.ranked = {key: Result(rank, results[key]) for rank, key in enumerate(order + history.unlisted)}
    return history
