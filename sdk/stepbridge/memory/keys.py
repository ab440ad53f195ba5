"""A keeper of keys without KMS, for tests and local runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from stepbridge.errors import EncryptionError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE: Final = 12


class LocalKeys:
    """`engine.sealing.Keys` with keys at hand.

    Args:
        keys: By name, of 32 bytes each. The first wraps; all of them unwrap.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = dict(keys)

    def new(self) -> tuple[bytes, bytes]:
        """A new data key, and the same wrapped."""
        name = next(iter(self._keys))
        plain, nonce = os.urandom(32), os.urandom(_NONCE)
        return plain, name.encode() + b"\0" + nonce + self._cipher(name).encrypt(nonce, plain, name.encode())

    def unwrap(self, wrapped: bytes) -> bytes:
        """The data key.

        Raises:
            EncryptionError: It was wrapped by a key of another name, or by another key of this one.
        """
        from cryptography.exceptions import InvalidTag

        name, _, rest = wrapped.partition(b"\0")
        if name.decode() not in self._keys:
            raise EncryptionError(
                f"a data key was wrapped by the key {name.decode()!r}, which is not among {sorted(self._keys)}."
                " Mend: give it again, behind the first."
            )
        try:
            return self._cipher(name.decode()).decrypt(rest[:_NONCE], rest[_NONCE:], name)
        except InvalidTag as error:
            raise EncryptionError(
                f"the key {name.decode()!r} is not the one that wrapped the data key. Mend: give that one."
            ) from error

    def _cipher(self, name: str) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._keys[name])
