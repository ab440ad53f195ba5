"""Events as EventBridge wraps them, and worse."""

from __future__ import annotations

import json
from typing import Any

TIME = "2025-01-01T00:00:00Z"


def envelope(name: str = "go", detail: str = "{}", **fields: str) -> str:
    """An envelope with this JSON text as its detail; `fields` are JSON texts of their own."""
    parts = {
        "version": '"0"',
        "id": '"00000000-0000-0000-0000-000000000000"',
        "detail-type": json.dumps(name),
        "source": '"test"',
        "time": json.dumps(TIME),
        "detail": detail,
        **{key.replace("_", "-"): text for key, text in fields.items()},
    }
    return "{" + ",".join(f"{json.dumps(key)}:{text}" for key, text in parts.items() if text) + "}"


def meta(**fields: Any) -> str:
    """A detail with this `_stepbridge`."""
    return json.dumps({"_stepbridge": fields, "n": 1})


def nested(levels: int, inner: str = "1") -> str:
    """Lists in objects in lists."""
    half = levels // 2
    return '{"a":[' * half + inner + "]}" * half


MANY_KEYS = "{" + ",".join(f'"{number:x}":1' for number in range(100_000)) + "}"
ONE_MB = json.dumps({"text": "".join(chr(48 + number * 7919 % 40) for number in range(1024 * 1024 - 2_000))})
