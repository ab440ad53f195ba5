"""Bounded waiting, for servers that run in real time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(look: Callable[[], T | None], seconds: float = 10.0) -> T:
    """The first thing that `look` finds, asked again and again."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = look()
        if found:
            return found
        time.sleep(0.01)
    message = f"nothing was found within {seconds} s"
    raise AssertionError(message)
