"""What an async function of a step comes to: a value, an error, or nothing, where it was cut off."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from stepbridge.engine.failures import LEAVING


async def outcome_of(
    body: Callable[[], Any], limit: timedelta | None, is_cut_off: Callable[[], bool]
) -> tuple[Any, BaseException | None]:
    """What an async step function returned or raised; being cut off by us is neither, and passes."""
    try:
        if limit is None:
            return await _called(body), None
        async with asyncio.timeout(limit.total_seconds()):
            return await _called(body), None
    except LEAVING:
        raise
    except asyncio.CancelledError as error:
        if is_cut_off():
            raise
        if (task := asyncio.current_task()) is not None:
            task.uncancel()
        return None, error
    except BaseException as error:  # noqa: BLE001 - whatever user code raises is recorded
        return None, error


async def _called(body: Callable[[], Any]) -> Any:
    """What the function comes to; its call may fail before there is anything to await, and a stub is no coroutine."""
    value = body()
    return await value if inspect.isawaitable(value) else value
