"""Users' data sealed at rest: AES-256-GCM under data keys, which a keeper of keys wraps.

It stands between the engine and the ports of table and blobs, where every record has its address: a sealed value
is bound to partition, sort key and attribute, which name run and step, so one that was moved does not open.

A data key is made once an hour by each process that writes. It is kept wrapped in the table, under a hash of
itself, before anything is sealed by it; a sealed value names it:

    mark 2 | data key 12 | nonce 12 | ciphertext and tag

Values that were written before encryption was turned on are read as they are.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from threading import RLock
from typing import TYPE_CHECKING, Final, Protocol

from stepbridge.core.conditions import ALWAYS, Change, Condition, Item, Key, Updated, Value
from stepbridge.core.sealed import MARK, is_sealed, payload_names, place
from stepbridge.errors import AlteredError, ConfigError, EncryptionError, UnreadableError
from stepbridge.ports import Blobs, Clock, Ports, Table

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_AGE: Final = timedelta(hours=1)
"""A data key is used so long, to seal and to open: so long a withdrawn permission takes to be felt."""
KEY_USES: Final = 1_000_000
"""Values sealed by one data key; random nonces of 96 bits are safe up to 2^32. Source: NIST SP 800-38D, 8.3, 2007."""
KEYS_KEPT: Final = 1_000
"""Data keys of other processes that are kept at hand, the latest used."""
_ID: Final = 12
_NONCE: Final = 12
_KEY_SK: Final = "#key"


class Keys(Protocol):
    """Keeps the key that wraps data keys."""

    def new(self) -> tuple[bytes, bytes]:
        """A new data key of 32 bytes, and the same wrapped."""

    def unwrap(self, wrapped: bytes) -> bytes:
        """The data key; `EncryptionError` where it was wrapped by a key that is not at hand."""


def sealed(ports: Ports, keys: Keys) -> Ports:
    """The same ports; what they keep of users' data is sealed.

    Raises:
        ConfigError: The library is not installed; names the mend.
    """
    sealer = Sealer(keys, ports.table, ports.clock)
    return replace(ports, table=SealedTable(ports.table, sealer), blobs=SealedBlobs(ports.blobs, sealer))


@dataclass(slots=True)
class _DataKey:
    id: bytes
    cipher: AESGCM
    since: datetime
    uses: int = 0


class Sealer:
    """Seals and opens. Safe for threads.

    Args:
        keys: Wrap data keys.
        table: Keeps them, wrapped.
        clock: Tells their age.
    """

    def __init__(self, keys: Keys, table: Table, clock: Clock) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as error:
            raise ConfigError(
                'Encryption needs the library cryptography. Mend: pip install "stepbridge[encryption]".'
            ) from error
        self._cipher = AESGCM
        self._invalid = InvalidTag
        self._keys = keys
        self._table = table
        self._clock = clock
        self._current: _DataKey | None = None
        self._known: OrderedDict[bytes, _DataKey] = OrderedDict()
        self._lock = RLock()

    def ready(self) -> None:
        """Makes sure that there is a data key: without one nothing is written, a claim neither."""
        self._key()

    def seal(self, plain: bytes, where: bytes) -> bytes:
        """`plain`, to be opened at `where` only."""
        key = self._key()
        nonce = os.urandom(_NONCE)
        return MARK + key.id + nonce + key.cipher.encrypt(nonce, plain, where)

    def open(self, value: bytes, where: bytes) -> bytes:
        """What was sealed.

        Raises:
            AlteredError: It was sealed elsewhere, or altered.
            EncryptionError: Its data key is not to be had.
        """
        at = len(MARK)
        key_id, nonce, rest = value[at : at + _ID], value[at + _ID : at + _ID + _NONCE], value[at + _ID + _NONCE :]
        try:
            return self._key_of(key_id).cipher.decrypt(nonce, rest, where)
        except (self._invalid, ValueError) as error:
            raise AlteredError(
                f"the sealed value at {where.decode('utf-8', 'replace')!r} was not sealed there, or has been altered."
                " Mend: restore the record from a backup of its table or bucket; then resume the run."
            ) from error

    def _key(self) -> _DataKey:
        with self._lock:
            key, now = self._current, self._clock.now()
            if key is None or key.uses >= KEY_USES or now - key.since >= KEY_AGE:
                key = self._current = self._new(now)
            key.uses += 1
            return key

    def _new(self, now: datetime) -> _DataKey:
        """Wrapped, unwrapped for a test, and kept, in this order: nothing is sealed that this process cannot open."""
        plain, wrapped = self._keys.new()
        if self._keys.unwrap(wrapped) != plain:
            raise EncryptionError("a new data key does not come back from its keeper. Mend: use another key.")
        key = _DataKey(_id_of(wrapped), self._cipher(plain), now)
        self._table.put({**_address(key.id), "w": wrapped})
        self._remember(key)
        return key

    def _key_of(self, key_id: bytes) -> _DataKey:
        with self._lock:
            key, now = self._known.get(key_id), self._clock.now()
            if key is not None and now - key.since < KEY_AGE:
                self._known.move_to_end(key_id)
                return key
            address = _address(key_id)
            item = self._table.get(Key(str(address["pk"]), _KEY_SK))
            wrapped = b"" if item is None else item["w"]
            if not isinstance(wrapped, bytes) or _id_of(wrapped) != key_id:
                raise EncryptionError(
                    f"the data key {key_id.hex()} is not in the table, or has been altered."
                    " Mend: restore the item from a backup; what it sealed cannot be read without it."
                )
            key = _DataKey(key_id, self._cipher(self._keys.unwrap(wrapped)), now)
            self._remember(key)
            return key

    def _remember(self, key: _DataKey) -> None:
        self._known[key.id] = key
        self._known.move_to_end(key.id)
        while len(self._known) > KEYS_KEPT:
            self._known.popitem(last=False)


def _id_of(wrapped: bytes) -> bytes:
    return sha256(wrapped).digest()[:_ID]


def _address(key_id: bytes) -> dict[str, Value]:
    return {"pk": f"K#{key_id.hex()}", "sk": _KEY_SK}


class SealedTable:
    """`ports.Table` around another one. Keys, ids, names, statuses and times stay in clear."""

    def __init__(self, table: Table, sealer: Sealer) -> None:
        self._table = table
        self._sealer = sealer

    def get(self, key: Key) -> Item | None:
        """As the table's."""
        item = self._table.get(key)
        return None if item is None else self.opened(item)

    def put(self, item: Item, when: Condition = ALWAYS) -> Item | None:
        """As the table's."""
        self._sealer.ready()
        standing = self._table.put(self._sealed(str(item["pk"]), str(item["sk"]), item), when)
        return None if standing is None else self.opened(standing)

    def update(self, key: Key, change: Change, when: Condition = ALWAYS) -> Updated:
        """As the table's.

        Raises:
            UnreadableError: The request has been answered, with an item that cannot be opened.
        """
        self._sealer.ready()
        change = replace(
            change,
            set=self._sealed(key.pk, key.sk, change.set),
            default=self._sealed(key.pk, key.sk, change.default),
        )
        answer = self._table.update(key, change, when)
        if answer.item is None:
            return answer
        try:
            return replace(answer, item=self.opened(answer.item))
        except Exception as error:
            raise UnreadableError(str(error), answer.item) from error

    def delete(self, key: Key) -> None:
        """As the table's."""
        self._table.delete(key)

    def query(self, pk: str, *, after: str = "") -> Iterator[Item]:
        """As the table's."""
        return map(self.opened, self._table.query(pk, after=after))

    def query_index(
        self, partition: str, *, newest_first: bool = True, after: str | None = None, limit: int = 100
    ) -> list[Item]:
        """As the table's; the index has nothing that is sealed."""
        return self._table.query_index(partition, newest_first=newest_first, after=after, limit=limit)

    def opened(self, item: Item) -> Item:
        """An item as it stands in the table, opened."""
        names = [name for name, value in item.items() if is_sealed(value)]
        if not names:
            return item
        pk, sk = str(item["pk"]), str(item["sk"])
        return {**item, **{name: self._open(pk, sk, name, item[name]) for name in names}}

    def _open(self, pk: str, sk: str, name: str, value: Value) -> Value:
        assert isinstance(value, bytes)  # noqa: S101 - what is sealed is
        plain = self._sealer.open(value, place(pk, sk, name))
        return plain if name.endswith("z") else plain.decode()

    def _sealed(self, pk: str, sk: str, values: Mapping[str, Value]) -> dict[str, Value]:
        names = payload_names(pk)
        return {
            name: self._sealer.seal(_bytes(value), place(pk, sk, name)) if name in names else value
            for name, value in values.items()
        }


class SealedBlobs:
    """`ports.Blobs` around others. A blob's key names its run, and is the hash of what it holds."""

    def __init__(self, blobs: Blobs, sealer: Sealer) -> None:
        self._blobs = blobs
        self._sealer = sealer

    def put(self, key: str, data: bytes) -> None:
        """As the blobs'."""
        self._blobs.put(key, self._sealer.seal(data, place("blob", key)))

    def get(self, key: str) -> bytes:
        """As the blobs'."""
        data = self._blobs.get(key)
        return self._sealer.open(data, place("blob", key)) if is_sealed(data) else data

    def renew(self, key: str) -> None:
        """As the blobs': sealed as it was."""
        self._blobs.renew(key)


def _bytes(value: Value) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
