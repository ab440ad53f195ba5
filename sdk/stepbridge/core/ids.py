"""Ids are hashes of names: whoever knows the names derives the same id, so every effect is idempotent."""

from __future__ import annotations

import re
from base64 import b32encode
from functools import lru_cache
from hashlib import sha256
from typing import Final


def digest(*parts: str, length: int = 26) -> str:
    """`length` lower-case base32 characters (5 bits each) of a hash of `parts`, order and borders kept."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    hashed = sha256(text.encode("utf-8", "surrogatepass")).digest()
    enough = -(-length // 8) * 5  # bytes of whole groups of 8 characters; more would be encoded to be cut off
    return b32encode(hashed[:enough])[:length].decode().lower()


_ID: Final = re.compile("[A-Za-z0-9_-]{1,48}", re.ASCII)
"""Ours have 26; longer ones, with a time behind them, would outgrow the names of schedules."""


def is_id(given: object) -> bool:
    """Whether it may be an id of ours: it becomes part of keys, so it holds nothing that parts them."""
    return isinstance(given, str) and _ID.fullmatch(given) is not None


def mark(event_id: str) -> str:
    """An event's id as waits bear it, many beside each other: one that is long or odd by its hash."""
    return event_id if is_id(event_id) else digest("event", event_id)


def run_id(app_id: str, function_id: str, event_name: str, event_id: str) -> str:
    """The run that this event starts of this function."""
    return digest("run", app_id, function_id, event_name, event_id)


def child_run_id(parent_run_id: str, step_key: str) -> str:
    """The run that this invoke step starts."""
    return digest("child", parent_run_id, step_key)


@lru_cache(maxsize=8192)  # replay asks for the same keys again and again
def step_key(step_id: str, occurrence: int) -> str:
    """The key of a step's register: 16 characters, whatever the user's id holds."""
    return digest("step", step_id, str(occurrence), length=16)


def sent_event_id(run_id: str, step_key: str, index: int) -> str:
    """The id of the event that a step sends at this index of its list."""
    return digest("sent", run_id, step_key, str(index))


def system_event_id(run_id: str, name: str) -> str:
    """The id of the one system event of this name about this run."""
    return digest("system", run_id, name)


def effect_key(run_id: str, step_key: str) -> str:
    """What a receiver of the step's effect may use as its idempotency key."""
    return f"{run_id}-{step_key}"


def schedule_name(run_id: str, due_ms: int) -> str:
    """The schedule that wakes this run for this due time: at most 64 characters."""
    return f"{run_id}-{due_ms}"


def fraction(*parts: str) -> float:
    """A number in [0, 1) that is a hash of `parts`: jitter without chance."""
    return int.from_bytes(sha256("\0".join(parts).encode()).digest()[:6], "big") / 2**48
