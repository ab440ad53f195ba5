"""Counting what is asked of the backend, as AWS would bill it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from threading import Lock
from typing import Self


class Requests(Counter[str]):
    """How often each AWS operation was asked for, and DynamoDB's units beside it.

    Keys are AWS's own names: `PutItem`, `Query`, `SendMessage`, `CreateSchedule`, `Invoke`, ...
    """

    write_units: float
    """DynamoDB write request units."""
    read_units: float
    """DynamoDB read request units; a strongly consistent 4 KB are one."""

    def __init__(
        self,
        counts: Mapping[str, int] | None = None,
        *,
        write_units: float = 0.0,
        read_units: float = 0.0,
    ) -> None:
        super().__init__(counts or {})
        self.write_units = write_units
        self.read_units = read_units
        self._lock = Lock()

    def count(self, operation: str, times: int = 1, *, write_units: float = 0.0, read_units: float = 0.0) -> None:
        """Counts `times` requests and the units of all of them together."""
        with self._lock:
            if times:
                self[operation] += times
            self.write_units += write_units
            self.read_units += read_units

    def snapshot(self) -> Self:
        """The counts as they are now; they change no more."""
        with self._lock:
            return type(self)(self, write_units=self.write_units, read_units=self.read_units)

    def merge(self, other: Requests) -> None:
        """Adds what `other` counted."""
        with self._lock:
            self.update(other)
            self.write_units += other.write_units
            self.read_units += other.read_units

    def since(self, snapshot: Requests) -> Self:
        """What was counted after `snapshot` was taken; operations not asked for are left out."""
        with self._lock:
            return type(self)(
                self - snapshot,
                write_units=self.write_units - snapshot.write_units,
                read_units=self.read_units - snapshot.read_units,
            )
