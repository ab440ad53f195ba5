"""Where values live: in the item, compressed, or as a blob when large.

The one door for step data at rest; `engine/sealing.py` stands behind it, around table and blobs.
"""

from __future__ import annotations

from stepbridge.core import codec
from stepbridge.core.ids import digest
from stepbridge.core.limits import INLINE_BYTES
from stepbridge.core.records import Blob, Stored
from stepbridge.core.sealed import in_clear
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
        """The text that was kept."""
        if isinstance(stored, Blob):
            data = self._blobs.get(stored.key)
            in_clear(data)
            stored = data if data[:1] == b"\x78" else data.decode()  # zlib's first byte; JSON never has it
        return codec.unsqueeze(stored)

    def renew(self, stored: Stored | None) -> None:
        """A blob's age begins anew; other values have none."""
        if isinstance(stored, Blob):
            self._blobs.renew(stored.key)
