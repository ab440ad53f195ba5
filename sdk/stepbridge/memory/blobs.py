"""Large values in memory, with S3's `If-None-Match: *` on every write."""

from __future__ import annotations

from copy import copy
from threading import Lock

from stepbridge.memory.requests import Requests


class MemoryBlobs:
    """`ports.Blobs` in memory."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._values: dict[str, bytes] = {}
        self._lock = Lock()

    def counted_by(self, requests: Requests) -> MemoryBlobs:
        """The same values, for a reader whose requests are counted apart."""
        twin = copy(self)
        twin._requests = requests  # noqa: SLF001 - its own kind
        return twin

    def put(self, key: str, data: bytes) -> None:
        """Writes the value; one that stands already under the key is kept."""
        self._requests.count("PutObject")
        with self._lock:
            self._values.setdefault(key, bytes(data))

    def get(self, key: str) -> bytes:
        """The value.

        Raises:
            KeyError: there is none.
        """
        self._requests.count("GetObject")
        with self._lock:
            return self._values[key]

    def renew(self, key: str) -> None:
        """Nothing expires here; the requests are those of S3.

        Raises:
            KeyError: there is none.
        """
        self.get(key)
        self._requests.count("PutObject")

    def dump(self) -> dict[str, bytes]:
        """All values by key."""
        with self._lock:
            return dict(self._values)

    def load(self, values: dict[str, bytes]) -> None:
        """Takes in what `dump` gave."""
        with self._lock:
            self._values.update(values)
