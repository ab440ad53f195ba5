"""Bad luck from a seed: what befalls each request of each invocation, and when the driver looks away."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from stepbridge.core.ids import fraction


class Fate(StrEnum):
    """What befalls one request."""

    GOES = "goes"
    THROTTLED = "throttled"
    """Refused, without effect."""
    ANSWER_LOST = "answer lost"
    """A 5xx after it took effect; of a batch, after a part of it did."""
    REPEATED = "repeated"
    """The answer is lost on the way and the SDK asks again: a conditional write may meet its own traces."""
    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    STALL = "stall"
    """It takes long; meanwhile others go on."""


_FAULTS: Final = tuple(fate for fate in Fate if fate is not Fate.GOES)


@dataclass(slots=True)
class Luck:
    """Decisions, each a hash of the seed and its number: the same seed and the same calls give the same luck."""

    seed: int
    faults_left: int = 8
    """Then all goes well, so that everything must end."""
    planned: list[Fate] = field(default_factory=list)
    """What befalls the next requests, before chance has its say."""
    draws: int = 0

    def draw(self) -> float:
        """The next number in [0, 1)."""
        self.draws += 1
        return fraction("luck", str(self.seed), str(self.draws))

    def below(self, number: int) -> int:
        """The next number in 0 to `number` - 1."""
        return int(self.draw() * number)

    def fate(self) -> Fate:
        """Of the next request."""
        if self.planned:
            return self.planned.pop(0)
        if not self.faults_left or self.draw() > self._rate:
            return Fate.GOES
        self.faults_left -= 1
        return _FAULTS[self.below(len(_FAULTS))]

    @property
    def _rate(self) -> float:
        """Some seeds are stormy from the start, some spread their faults."""
        return (0.02, 0.08, 0.25)[self.seed % 3]

    def stall_seconds(self) -> float:
        """Mostly short; now and then longer than a lease lasts."""
        return (1.0, 20.0, 300.0)[self.below(3)] * self.draw()

    def skew_seconds(self) -> float:
        """Of a host's clock; two hosts differ by less than the lease's margin."""
        return 1.8 * (self.draw() - 0.5)

    def idles(self) -> float:
        """For how many seconds nothing is received though something is there; mostly none."""
        if not self.faults_left or self.draw() > 0.1:
            return 0
        return 30 * self.draw()
