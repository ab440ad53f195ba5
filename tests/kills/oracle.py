"""The oracle: what the world outside saw, held against what the system says of itself."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from stepbridge.core.items import head_of
from stepbridge.core.keys import HEAD_SK
from stepbridge.engine.reader import Reader
from stepbridge.local.moto import MotoStack
from stepbridge.local.moto_queue import messages_in
from tests.kills.orders import BATCH, CHILDREN, EFFECTS, MEANT_TWICE

KINDS: Final = ("order/made", "plain/made", "order/made", "many/made")
"""Of the runs that are begun, by turns."""
_BRANCHES: Final = 2
"""Side by side in one run."""


@dataclass(slots=True)
class Report:
    """What the oracle says."""

    begun: int = 0
    seconds: float = 0
    runs: Counter[str] = field(default_factory=Counter)
    """By status, children included."""
    kills: int = 0
    volleys: int = 0
    """Of kills, several at once among them."""
    overdue: int = 0
    """Processes that ended at their invocation's deadline, as Lambda ends them."""
    resumed: int = 0
    """Runs parked as a crash loop (five deaths in a row before a record), and resumed, as an operator would."""
    effects: int = 0
    repeated: int = 0
    """Effects beyond the first of a step (beyond the second, where the first attempt is meant to fail)."""
    most: int = 0
    """How often the most repeated effect took place."""
    records: int = 0
    schedules: int = 0
    """That outlive their runs: a process died after it had made one and before the run's head knew. Each fires once,
    meets an ended run, and is gone."""
    faults: list[str] = field(default_factory=list)
    """What must not be; empty: all is well."""

    def add(self, leg: Report) -> None:
        """Takes in what another says."""
        for one in fields(Report):
            mine, its = getattr(self, one.name), getattr(leg, one.name)
            setattr(self, one.name, max(mine, its) if one.name == "most" else mine + its)

    def table(self) -> str:
        """For people."""
        rows = [
            ("runs begun by an event", self.begun),
            ("runs in all, children and followers included", self.runs.total()),
            ("of these COMPLETED", self.runs["COMPLETED"]),
            ("processes killed with SIGKILL", self.kills),
            ("in so many volleys", self.volleys),
            ("processes ended at their deadline", self.overdue),
            ("runs parked as crash loops, and resumed", self.resumed),
            ("steps recorded", self.records),
            ("effects seen outside", self.effects),
            ("of these repeated after a crash", self.repeated),
            ("most often that one effect took place", self.most),
            ("schedules yet to fire into an ended run", self.schedules),
            ("lost effects, second results, leftovers", len(self.faults)),
            ("seconds", round(self.seconds)),
        ]
        wide = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{wide}}  {value:>7}" for name, value in rows)


def total(runs: int) -> int:
    """Of runs, children and followers included."""
    return sum(1 + CHILDREN[KINDS[number % len(KINDS)]] for number in range(runs))


def judge(report: Report, stack: MotoStack, effects: Path) -> None:
    """Holds what the world saw against what the system says."""
    seen: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    results: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for line in effects.read_text().splitlines():
        row = json.loads(line)
        seen[row["key"], row["step"]].append(row["token"])
        for token in row["saw"]:
            results[step_of(token)].add(token)
    runs = [Reader(stack.readable).view(head_of(item)) for item in stack.table.items() if item["sk"] == HEAD_SK]
    report.runs = Counter(run.status for run in runs)
    report.records = sum(len(run.steps) for run in runs)
    for run in runs:
        if run.status != "COMPLETED":
            report.faults.append(f"run {run.run_id} of {run.function_id} is {run.status}: {run.error}")
        for token in tokens_in(run.output):
            results[step_of(token)].add(token)
    wanted = {(f"k{number}", step) for number in range(report.begun) for step in EFFECTS[KINDS[number % len(KINDS)]]}
    report.faults += [f"effect {one} never took place" for one in sorted(wanted - seen.keys())]
    report.faults += [f"effect {one} is nobody's" for one in sorted(seen.keys() - wanted)]
    report.faults += [f"step {one} has the results {got}" for one, got in results.items() if len(got) > 1]
    report.faults += [
        f"step {one} has a result that no effect had" for one, got in results.items() if got - {*seen[one]}
    ]
    report.effects = sum(map(len, seen.values()))
    over = {one: len(tokens) - 1 - (one[1] in MEANT_TWICE) for one, tokens in seen.items()}
    report.repeated, report.most = sum(over.values()), max(map(len, seen.values()), default=0)
    deaths = report.kills + report.overdue
    if report.repeated > deaths * BATCH * _BRANCHES or max(over.values(), default=0) > deaths:
        report.faults.append(f"{report.repeated} effects were repeated, and only {deaths} processes died")
    report.schedules = len(stack.timers.names())
    if report.schedules > deaths:
        report.faults.append(f"{report.schedules} schedules live, and only {deaths} processes died")
    report.faults += leftovers(stack)
    expected = total(report.begun)
    if report.runs.total() != expected:
        report.faults.append(f"{report.runs.total()} runs, not {expected}: an event was lost, or sent twice")


def leftovers(stack: MotoStack) -> Iterator[str]:
    """What an ended run must not leave behind."""
    yield from (f"wait {item['sk']!r}" for item in stack.table.items() if str(item["pk"]).startswith("W#"))
    yield from (f"message {message.body!r}" for message in messages_in(stack.settings.queue_url))
    yield from (f"dead letter {body!r}" for body in stack.queue.dead)


def tokens_in(output: Any) -> Iterable[str]:
    """The results of steps in a run's output."""
    return [value for value in (output if isinstance(output, list) else [output]) if "/" in str(value)]


def step_of(token: str) -> tuple[str, str]:
    """Whose result it is."""
    key, step, _ = token.split("/")
    return key, step
