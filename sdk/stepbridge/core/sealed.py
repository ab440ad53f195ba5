"""What of an item is users' data, and how it looks once it is sealed. `engine/sealing.py` seals and opens.

In clear stay keys, ids, names, statuses, times and counts: what conditions, the match index and the run list
work by.
"""

from __future__ import annotations

from typing import Final

from stepbridge.errors import EncryptionError

MARK: Final = b"\xe5\x01"
"""How sealed bytes begin, with the version of their form; neither JSON nor zlib begins so."""
_VALUES: Final = frozenset(prefix + form for prefix in "vdo" for form in ("", "z", "r")) | {"er"}
"""Results, a trigger's data, outputs (as text, compressed, or the key of a blob), and errors."""


def payload_names(pk: str) -> frozenset[str]:
    """The attributes with users' data of an item in this partition: of a wait, also what it knows of the trigger."""
    return _VALUES | {"ev", "evz", "evr"} if pk.startswith("W#") else _VALUES


def place(*parts: str) -> bytes:
    """What a sealed value is bound to: partition, sort key and attribute, or a blob's key; borders kept."""
    return "".join(f"{len(part)}:{part}" for part in parts).encode("utf-8", "surrogatepass")


def is_sealed(value: object) -> bool:
    """Whether it is users' data that is still sealed."""
    return isinstance(value, bytes) and value.startswith(MARK)


def in_clear(value: object) -> object:
    """The value.

    Raises:
        EncryptionError: It is sealed, and nobody has opened it.
    """
    if is_sealed(value):
        raise EncryptionError(
            "a record is encrypted, and this process has no key."
            " Mend: set STEPBRIDGE_ENCRYPTION_KEYS, as the stack does that wrote it."
        )
    return value
