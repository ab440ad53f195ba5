"""Where values live: in the item, compressed, or as a blob when large.

The one door for step data at rest; `engine/sealing.py` stands behind it, around table and blobs.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from stepbridge.core import codec
from stepbridge.core.ids import digest
from stepbridge.core.limits import INLINE_BYTES
from stepbridge.core.records import Blob, Stored
from stepbridge.core.sealed import in_clear
from stepbridge.errors import LostValueError
from stepbridge.ports import Blobs


class Payloads:
    """Turns JSON text into what is stored, and back."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def keep(self, text: str, owner: str) -> Stored:
        """`text` as it is to be stored for `owner` (a run id); writes a blob where it is large."""
        stored = codec.squeeze(text)
        if codec.size_of(stored) <= INLINE_BYTES:
            return stored
        return Blob(self.keep_apart(text, owner))

    def keep_apart(self, text: str, owner: str) -> str:
        """Writes `text` as a blob, however small, and returns its key."""
        key = f"{owner}/{digest(text)}"  # by content: a repeated write is the same write
        stored = codec.squeeze(text)
        self._blobs.put(key, stored if isinstance(stored, bytes) else stored.encode())
        return key

    def text(self, stored: Stored) -> str:
        """The text that was kept.

        Raises:
            LostValueError: It is gone, or another one: the key of a blob is the hash of what it holds.
        """
        key = stored.key if isinstance(stored, Blob) else ""
        try:
            text = codec.unsqueeze(self._read(key) if isinstance(stored, Blob) else stored)
        except (UnicodeDecodeError, zlib.error) as error:
            raise LostValueError(_lost(key, "has been altered")) from error
        if key and key.rpartition("/")[2] != digest(text):
            raise LostValueError(_lost(key, "has been altered"))
        return text

    def _read(self, key: str) -> str | bytes:
        with _there(key):
            data = self._blobs.get(key)
        in_clear(data)
        return data if data[:1] == b"\x78" else data.decode()  # zlib's first byte; JSON never has it

    def renew(self, stored: Stored | None) -> None:
        """A blob's age begins anew; other values have none."""
        if isinstance(stored, Blob):
            with _there(stored.key):
                self._blobs.renew(stored.key)


@contextmanager
def _there(key: str) -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise LostValueError(_lost(key, "is not in the bucket")) from error


def _lost(key: str, how: str) -> str:
    what = f"the value {key!r}" if key else "a value in the table"
    return f"{what} {how}. Mend: restore it, from a backup or an earlier version of it; then resume the run."
