"""The drill: runs by the hundred while their processes are killed, and what the world outside saw of it.

`python -m tests.kills.drill --runs 1000 --workers 4` prints a table and fails if anything is amiss.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from stepbridge.aws.settings import variable
from stepbridge.aws.wiring import SystemClock
from stepbridge.core.ids import fraction
from stepbridge.core.items import head_of
from stepbridge.core.keys import HEAD_SK
from stepbridge.core.messages import Resume, message_text
from stepbridge.core.records import Status
from stepbridge.local.moto import MotoStack, MotoWorld
from stepbridge.local.moto_queue import messages_in
from stepbridge.ports import Outgoing
from tests.integration.lambda_runtime import moto_served
from tests.integration.processes import ROOT, environment
from tests.kills.oracle import KINDS, Report, judge, total
from tests.kills.orders import EFFECTS, app, data_of

OPEN_MAX: Final = 60
"""Runs under way at once."""
LEASE_SECONDS: Final = 7
"""Of a message in flight: a little longer than a lease of the drill's short invocations."""
_LONGEST_PEACE: Final = 10.0
"""Seconds without a kill, at most."""
_PAID: Final = 0.3
"""Of the orders that are not paid yet, at each look."""
LEG: Final = 50
"""Runs begun in one table."""
LEG_SECONDS: Final = 1_800
"""Then a leg is judged as it is."""
_LOOK_SECONDS: Final = 0.5


class Drill:
    """Begins runs, pays orders, and kills; all that it knows of the runs it reads from moto."""

    def __init__(self, stack: MotoStack, world: MotoWorld, parent: subprocess.Popen[str], seed: int) -> None:
        self._stack = stack
        self._world = world
        self._parent = parent
        self._seed = seed
        self._moves = self._looks = 0
        self._paid: set[str] = set()
        self._resumed: set[tuple[str, int]] = set()
        self._next_kill = 0.0
        self._next_through = 0

    def tell(self, *words: object) -> int:
        """Has the parent of the dispatchers do something."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        print(*words, file=self._parent.stdin, flush=True)
        return int(self._parent.stdout.readline())

    def play(self, runs: int, workers: int, deadline_seconds: float, effects: Path) -> Report:
        """Until every run is through, or for so long."""
        report = Report(begun=runs)
        began = time.monotonic()
        while time.monotonic() - began < deadline_seconds:
            report.overdue += self.tell("keep", workers)
            self._world.fire_due()
            ended = self._ended(report)
            self._begin(runs, ended)
            if sum(ended.values()) == total(runs) and self._is_still():
                break
            self._kill(report, workers, ended.total())
            time.sleep(_LOOK_SECONDS)
        report.seconds = time.monotonic() - began
        judge(report, self._stack, effects)
        return report

    def _ended(self, report: Report) -> Counter[str]:
        """Of each event name, how many runs are through; one that is parked as a crash loop is resumed."""
        heads = [head_of(item) for item in self._stack.table.items() if item["sk"] == HEAD_SK]
        for head in heads:
            if head.status is Status.PARKED and (head.run_id, head.epoch) not in self._resumed:
                self._resumed.add((head.run_id, head.epoch))
                self._stack.readable.queue.send([Outgoing(body=message_text(Resume(run_id=head.run_id)))])
                report.resumed += 1
        return Counter(head.event.name for head in heads if head.status.is_terminal)

    def _begin(self, runs: int, ended: Counter[str]) -> None:
        through = sum(ended[kind] for kind in EFFECTS)
        while self._moves < min(runs, through + OPEN_MAX):
            kind, key = KINDS[self._moves % len(KINDS)], f"k{self._moves}"
            self._put(kind, key)
            self._moves += 1
        self._looks += 1
        for number in range(0, self._moves, 2):  # orders; some are paid at once, some later
            key = f"k{number}"
            if key not in self._paid and fraction(str(self._seed), key, str(self._looks)) < _PAID:
                self._put("order/paid", key)
                self._paid.add(key)

    def _put(self, name: str, key: str) -> None:
        detail = {**data_of(key), "cents": 42, "_stepbridge": {"id": f"{name}-{key}"}}
        self._world.bus.put_raw([{"Source": "drill", "DetailType": name, "Detail": json.dumps(detail)}])

    def _is_still(self) -> bool:
        return not messages_in(self._stack.settings.queue_url)

    def _kill(self, report: Report, workers: int, through: int) -> None:
        """One process or several, whenever a few more runs are through, and anyway after a while."""
        if through < self._next_through and time.monotonic() < self._next_kill:
            return
        chance = fraction("kill", str(self._seed), str(report.volleys))
        report.kills += self.tell("kill", 1 + int(chance * workers), report.volleys)
        report.volleys += 1
        self._next_through = through + 1 + int(6 * fraction("pause", str(self._seed), str(report.volleys)))
        self._next_kill = time.monotonic() + _LONGEST_PEACE


@contextmanager
def drill(folder: Path, seed: int) -> Iterator[tuple[Drill, Path]]:
    """A drill that is ready, and the file of its effects."""
    effects = folder / "effects"
    effects.touch()
    (folder / "effects-tried").mkdir()
    with (
        MotoWorld(clock=SystemClock(), is_virtual=False) as world,
        moto_served() as (endpoint, _),
        (folder / "log").open("wb") as log,
    ):
        stack = world.stack(app)
        seconds = str(LEASE_SECONDS)
        world.clients.sqs().set_queue_attributes(
            QueueUrl=stack.settings.queue_url, Attributes={"VisibilityTimeout": seconds}
        )
        given = {variable(name): value for name, value in stack.settings.texts().items()}
        parent = subprocess.Popen(
            [sys.executable, "-m", "tests.kills.worker"],
            cwd=ROOT,
            env=environment(
                **given,
                AWS_ENDPOINT_URL=endpoint,
                AWS_REGION="us-east-1",
                AWS_ACCESS_KEY_ID="testing",
                AWS_SECRET_ACCESS_KEY="testing",  # pragma: allowlist secret
                AWS_EC2_METADATA_DISABLED="true",
                STEPBRIDGE_EFFECTS=str(effects),
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        with parent:
            try:
                yield Drill(stack, world, parent, seed), effects
            finally:
                assert parent.stdin is not None
                parent.stdin.close()


def main() -> None:
    """The long drill, in legs: moto sorts its whole table at each query, so a leg has a table of its own."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=1_000)
    options.add_argument("--workers", type=int, default=4)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    report = Report()
    for first in range(0, given.runs, LEG):
        with tempfile.TemporaryDirectory() as folder, drill(Path(folder), given.seed + first) as (ready, effects):
            report.add(ready.play(min(LEG, given.runs - first), given.workers, LEG_SECONDS, effects))
        print(f"{report.begun} runs, {report.kills} kills, {report.resumed} resumed, {report.faults}", flush=True)
    print(report.table())
    sys.exit("\n".join(report.faults[:50]) or None)


if __name__ == "__main__":
    main()
