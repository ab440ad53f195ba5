"""What a test puts in the place of steps: a value or an error from now on, or errors a few times."""

from __future__ import annotations

from stepbridge.engine.calls import Stub


class Stubs:
    """By step id, of one function or of all."""

    def __init__(self) -> None:
        self._standing: dict[tuple[str | None, str], Stub] = {}
        self._failures: dict[tuple[str | None, str], list[Stub]] = {}

    def put(self, function_id: str | None, step_id: str, value_or_exception: object) -> None:
        """From now on the step comes to this."""
        self._standing[function_id, step_id] = Stub(value_or_exception)

    def fail(self, function_id: str | None, step_id: str, error: BaseException, times: int) -> None:
        """The next attempts raise this; asked twice, both stand."""
        self._failures.setdefault((function_id, step_id), []).extend([Stub(error)] * times)

    def of(self, function_id: str, step_id: str) -> Stub | None:
        """What the attempt that begins now comes to; None: what its function does. A failure is used up by it."""
        for key in ((function_id, step_id), (None, step_id)):
            if failures := self._failures.get(key):
                return failures.pop()
        return self._standing.get((function_id, step_id)) or self._standing.get((None, step_id))
