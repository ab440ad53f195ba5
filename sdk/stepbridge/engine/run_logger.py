"""The logger of one run: its records bear the run's ids, and what is repeated is not said again."""

from __future__ import annotations

import logging
from typing import Any, Final


class RunLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds the run's ids to each record, beside the user's own `extra`."""

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        """The message, with both."""
        return msg, {**kwargs, "extra": {**(self.extra or {}), **(kwargs.get("extra") or {})}}


class _Silent(logging.LoggerAdapter[logging.Logger]):
    def isEnabledFor(self, level: int) -> bool:  # noqa: N802, ARG002 - the standard library's name
        return False

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Nothing."""


SILENT: Final = _Silent(logging.getLogger("stepbridge"), {})
"""While an earlier invocation is repeated."""
