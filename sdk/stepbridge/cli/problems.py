"""Exit codes, and the error that ends a command with one of them."""

from __future__ import annotations

from typing import Final

OK: Final = 0
FAILED: Final = 1
"""The run failed, or what was asked for does not exist or is in no state for it."""
USAGE: Final = 2
"""The command, its data or the project's settings are wrong."""
UNREACHABLE: Final = 3
"""No server answers."""
REFUSED: Final = 4
"""AWS does not do as asked: credentials, permissions, the network."""


class CommandError(Exception):
    """Ends the command: the message goes to stderr, naming the thing, the cause and the mend.

    Args:
        code: The exit code.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
