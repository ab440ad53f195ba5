"""The backend's bad luck, from a seed: what AWS may do and seldom does."""

from __future__ import annotations

from random import Random
from typing import Any, Final

ECHOES_MAX: Final = 2
"""Extra deliveries of one message at most, so that everything ends."""
_DUPLICATE: Final = 1 / 8


class Dice:
    """Deterministic chance. The same seed and the same calls give the same luck."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def duplicate(self) -> bool:
        """Whether something that happens at least once happens once more."""
        return self._random.random() < _DUPLICATE

    def late_seconds(self) -> int:
        """How late a schedule fires, 0 to 59."""
        return self._random.randrange(60)

    def echo_seconds(self) -> int:
        """How long after the first the second delivery comes: at once, or up to a minute later."""
        return self._random.choice((0, self._random.randrange(60)))

    def shuffle(self, things: list[Any]) -> None:
        """Puts `things` into any order, in place."""
        self._random.shuffle(things)
