"""The mutants: each breaks one law by changing one text of one file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CRASHES: Final = "tests/faults/test_every_crash_point.py"
ACCEPTANCE: Final = "tests/acceptance"
WAITS: Final = "tests/waits"
STORMS: Final = "tests/simulator"
LAWS: Final = "tests/unit/test_store_laws.py"
FINDINGS: Final = "tests/simulator/test_findings.py"
ORDER: Final = "tests/faults/test_order.py"
ENGINE: Final = "tests/unit/test_engine.py"
RANDOM: Final = "tests/faults/test_random_programs.py"
TABLE: Final = "tests/contract/test_aws_table.py"
QUEUE: Final = "tests/unit/test_aws_queue.py"
TIMERS: Final = "tests/contract/test_aws_timers.py"
BUS: Final = "tests/unit/test_aws_bus.py"
CALLS: Final = "tests/unit/test_where_calls_are_made.py"
LEFT: Final = "tests/faults/test_left_behind.py"
SCHEDULES: Final = "tests/faults/test_left_schedules.py"
ENTRY: Final = "tests/integration/test_aws_entry.py"
ENDING: Final = "tests/waits/test_ending_early.py"
TIME: Final = "tests/waits/test_time.py"
RACES: Final = "tests/waits/test_races.py"


@dataclass(frozen=True)
class Mutant:
    """A law, and how it is broken."""

    law: str
    """What no longer holds."""
    file: str
    """Below `sdk/stepbridge/`."""
    old: str
    """Stands there exactly once."""
    new: str
    first: str = CRASHES
    """The tests that are asked first; then all of `run.ORDER`."""

    def __str__(self) -> str:
        return self.law


MUTANTS: Final = (
    # -- the messages that drive runs ----------------------------------------------------------------
    Mutant(
        "a message that met a held lease is acknowledged",
        "engine/engine.py",
        "            if isinstance(answer, Acknowledge):\n",
        "            if answer is not None:\n",
        ENGINE,
    ),
    Mutant(
        "a message whose handling failed is acknowledged",
        "engine/engine.py",
        "            await self._workers.io(partial(self._postpone, message, self._pause(message)))\n"
        "            return message\n",
        "            return None\n",
        "tests/waits/test_failing_ports.py",
    ),
    Mutant(
        "a batch answers as if every message had been dealt with",
        "aws/entry.py",
        '[{"itemIdentifier": message.id} for message in bounced]',
        "[]",
        ENTRY,
    ),
    Mutant(
        "a wake before its time claims the run",
        "engine/engine.py",
        "case Go(due_at=due) if due is not None and due > self._ports.clock.now():",
        "case Go(due_at=due) if due is not None and due < due:",
    ),
    Mutant(
        "a wake before its time is acknowledged and not sent again",
        "engine/engine.py",
        "        self._ports.queue.send([Outgoing(body=message.body, delay=max(delay, timedelta(0)))])\n",
        "",
    ),
    Mutant(
        "a message received too often is left to the dead-letter queue",
        "engine/engine.py",
        "if message.receives >= RESEND_AT_RECEIVE:",
        "if message.receives >= 1_000_000:",
        ENGINE,
    ),
    Mutant(
        "an unreadable message is dropped, not buried",
        "engine/engine.py",
        "        self._ports.queue.bury(message, reason)\n",
        "",
        ENGINE,
    ),
    # -- the order of an event's effects -------------------------------------------------------------
    Mutant(
        "the wait is deleted before its run has moved",
        "engine/ingest.py",
        "            answer = await self._advance.advance(move.work, invocation, found=move.waits)\n",
        "            await self._workers.io(partial(self._delete, move.waits))\n"
        "            answer = await self._advance.advance(move.work, invocation, found=move.waits)\n",
    ),
    Mutant(
        "the waits of other runs are deleted before their wakes are sent",
        "engine/ingest.py",
        "            self._ports.queue.send([Outgoing(body=message_text(move.work)) for move in others])\n"
        "            for move in others:\n                self._delete(move.waits)\n",
        "            for move in others:\n                self._delete(move.waits)\n"
        "            self._ports.queue.send([Outgoing(body=message_text(move.work)) for move in others])\n",
        ORDER,
    ),
    Mutant(
        "an event whose run is held is acknowledged without a message of its own",
        "engine/ingest.py",
        "        self._ports.queue.send([Outgoing(body=message_text(move.work), delay=delay)])\n",
        "",
        FINDINGS,
    ),
    Mutant(
        "an event that a run has consumed resolves its next wait too",
        "engine/ingest.py",
        'if not names.isdisjoint(wait.consumed) or row["ts"]',
        'if row["ts"]',
    ),
    Mutant(
        "a wait forgets the event that started its run",
        "engine/arming.py",
        "self._consumed = [session.head.event.id, *(r.event_id",
        "self._consumed = [*(r.event_id",
        "tests/waits/test_lookback.py",
    ),
    Mutant(
        "looking back finds an event a second time",
        "engine/arming.py",
        'if row["id"] in self._consumed or not is_wanted(',
        "if not is_wanted(",
        "tests/waits/test_lookback.py",
    ),
    Mutant(
        "looking back does not hold the expression against what it finds",
        "engine/arming.py",
        'if row["id"] in self._consumed or not is_wanted(row, expression=want.expression, trigger=want.event):',
        'if row["id"] in self._consumed:',
        FINDINGS,
    ),
    Mutant(
        "an event is kept for looking back after the waits were read",
        "engine/ingest.py",
        "        self._keep_for_lookback(incoming)\n        moves = self._resolve_waits(incoming)\n",
        "        moves = self._resolve_waits(incoming)\n        self._keep_for_lookback(incoming)\n",
        "tests/waits/test_lookback.py",
    ),
    Mutant(
        "a run begins before all that its event moves has been told",
        "engine/advance.py",
        "        if isinstance(done, BaseException):\n",
        "        if done is None:\n",
        CALLS,
    ),
    Mutant(
        "a run whose event could not be taken in keeps its lease",
        "engine/advance.py",
        "            if isinstance(claim, Claimed):\n                await self._workers.io",
        "            if claim is None:\n                await self._workers.io",
        CALLS,
    ),
    Mutant(
        "one run's call stops the other runs of its invocation",
        "engine/async_replay.py",
        " or len(self._workers.handling) > 1\n",
        "\n",
        CALLS,
    ),
    Mutant(
        "a call stops the timeout around it",
        "engine/async_replay.py",
        "others = self.strays or self.timeouts or",
        "others = self.strays or",
        CALLS,
    ),
    Mutant(
        "a call that hangs stops the hand-over",
        "engine/async_replay.py",
        " and now + CALL_LONGEST.total_seconds() < self.deadline\n",
        "\n",
        CALLS,
    ),
    Mutant(
        "a run that was queued takes the data of whoever claims it first",
        "engine/store.py",
        "self.head.epoch == 1 and not self.head.timers",
        "self.head.epoch == 1",
        FINDINGS,
    ),
    Mutant(
        "what an event of the same id had armed for other data stays",
        "engine/advance.py",
        "        await self._drop_strays(work, head)\n        if head.status.is_terminal:\n",
        "        if head.status.is_terminal:\n",
        FINDINGS,
    ),
    Mutant(
        "a branch's thread leaves the run's list once it has ended",
        "engine/sync_replay.py",
        "        for thread in threads:\n            thread.join()\n",
        "        for thread in threads:\n            thread.join()\n"
        "            self._threads.discard(thread.ident or 0)\n",
        RANDOM,
    ),
    Mutant(
        "what the index finds is not held against the expression",
        "core/matching.py",
        "    if not expression:\n        return True\n    from",
        "    if expression is not None:\n        return True\n    from",
        "tests/acceptance/test_wait_if_exp.py",
    ),
    Mutant(
        "a cancel event older than the run cancels it",
        "engine/waits.py",
        "since_ms=_cancellable_since(head)",
        "since_ms=0",
        "tests/waits/test_ending_early.py",
    ),
    Mutant(
        "an event of the future starts its run now",
        "engine/ingest.py",
        'is_due = incoming.row["ts"] <= to_ms(self._ports.clock.now())',
        'is_due = incoming.row["ts"] <= 10**15',
        "tests/acceptance/test_events.py",
    ),
    Mutant(
        "the signatures of an event name are cached",
        "engine/store.py",
        "        item = self._table.get(signatures_key(event_name))\n",
        '        cache = self.__dict__.setdefault("_cached", {})\n'
        "        if event_name not in cache:\n"
        "            cache[event_name] = self._table.get(signatures_key(event_name))\n"
        "        item = cache[event_name]\n",
        LAWS,
    ),
    # -- the claim -----------------------------------------------------------------------------------
    Mutant(
        "a wake takes a lease that is held",
        "engine/store.py",
        "both(_EXISTS, _CLAIMABLE, free)",
        "both(_EXISTS, _CLAIMABLE)",
        LAWS,
    ),
    Mutant(
        "a wake creates a run",
        "engine/store.py",
        "both(_EXISTS, _CLAIMABLE, free)",
        "either(_NO_RUN, both(_CLAIMABLE, free))",
        LAWS,
    ),
    Mutant(
        "a wake begins an ended run again",
        "engine/store.py",
        "both(_EXISTS, _CLAIMABLE, free)",
        "both(_EXISTS, free)",
        LAWS,
    ),
    Mutant(
        "a repeated start takes a lease that is held",
        "engine/store.py",
        "both(_STARTABLE, free)",
        "_STARTABLE",
        LAWS,
    ),
    Mutant(
        "a repeated start begins an ended run again",
        "engine/store.py",
        "both(_STARTABLE, free)",
        "free",
        LAWS,
    ),
    Mutant(
        "the claim does not clear the wake flag",
        "engine/store.py",
        'remove=("wk",),',
        "remove=(),",
        LAWS,
    ),
    Mutant(
        "the claim does not raise the epoch",
        "engine/store.py",
        'add={"ep": 1},',
        'add={"ep": 0},',
        LAWS,
    ),
    Mutant(
        "a lease outlives its invocation's deadline by minutes",
        "engine/store.py",
        '"lx": to_ms(deadline + LEASE_MARGIN)',
        '"lx": to_ms(deadline + 100 * LEASE_MARGIN)',
        LAWS,
    ),
    Mutant(
        "a lease ends before its holder does",
        "engine/store.py",
        '"lx": to_ms(deadline + LEASE_MARGIN)',
        '"lx": to_ms(deadline - 10 * LEASE_MARGIN)',
        LAWS,
    ),
    Mutant(
        "a claim whose answer was lost bounces off itself",
        "engine/store.py",
        "if head is not None and head.holder == holder and head.status is Status.RUNNING:",
        "if head is not None and head.holder == holder and head.status is None:",
        LAWS,
    ),
    Mutant(
        "a parked run is woken by any message",
        "core/transitions.py",
        "    (_S.PARKED, Cause.RESUME): _S.SLEEPING,\n",
        "    (_S.PARKED, Cause.RESUME): _S.SLEEPING,\n    (_S.PARKED, Cause.CLAIM): _S.RUNNING,\n",
        LAWS,
    ),
    # -- suspend, end, cancel ------------------------------------------------------------------------
    Mutant(
        "suspend and end do not ask whose epoch it is",
        "engine/store.py",
        'return both(_HELD, equals("ep", epoch))',
        "return _HELD",
        LAWS,
    ),
    Mutant(
        "suspend and end write over a cancelled run",
        "engine/store.py",
        'return both(_HELD, equals("ep", epoch))',
        'return equals("ep", epoch)',
        LAWS,
    ),
    Mutant(
        "a suspend whose answer was lost takes itself for somebody else's",
        "engine/store.py",
        "mine = standing.released_epoch == head.epoch and standing.status is head.status",
        "mine = False",
        LAWS,
    ),
    Mutant(
        "the head sleeps before its timer is made",
        "engine/settling.py",
        "                head = self._arm_next(head, session.dues(), session.left_dues()) if session else head\n"
        "                return self.suspend(head, session, outcome)\n",
        "                answer = self.suspend(head, session, outcome)\n"
        "                head = self._arm_next(head, session.dues(), session.left_dues()) if session else head\n"
        "                return answer\n",
    ),
    Mutant(
        "a hand-over writes the head before the next message",
        "engine/settling.py",
        '        self._ports.queue.send([Outgoing(body=message_text(Go(run_id=head.run_id, why="continue")))])\n'
        "        head = replace(head, status=Status.SLEEPING, failure=None, retry_at=None, idle_hand_overs=idle)\n"
        "        return self.suspend(self._arm_next(head, session.dues() if session else []), session)\n",
        "        head = replace(head, status=Status.SLEEPING, failure=None, retry_at=None, idle_hand_overs=idle)\n"
        "        answer = self.suspend(self._arm_next(head, session.dues() if session else []), session)\n"
        '        self._ports.queue.send([Outgoing(body=message_text(Go(run_id=head.run_id, why="continue")))])\n'
        "        return answer\n",
        ENGINE,
    ),
    Mutant(
        "a cancel before the start is lost",
        "engine/store.py",
        "when = either(_NO_RUN, _CANCELLABLE)",
        "when = _CANCELLABLE",
        LAWS,
    ),
    Mutant(
        "a cancel writes over an ended run",
        "engine/store.py",
        "when = either(_NO_RUN, _CANCELLABLE)",
        "when = either(_NO_RUN, _EXISTS)",
        LAWS,
    ),
    Mutant(
        "a message that meets an ended run does not repeat what follows its end",
        "engine/advance.py",
        "            await self._workers.io(partial(self._finish.finish, head, parent, tells=tells, but=found))\n"
        "            return Acknowledge()\n",
        "            return Acknowledge()\n",
    ),
    Mutant(
        "the losers of a wait for several events stay armed",
        "engine/session.py",
        "(register.event_id is None or len(armed.places) > 1)",
        "register.event_id is None",
        "tests/waits/test_any_and_signals.py",
    ),
    Mutant(
        "the end of a run takes away the wait by which its event found it",
        "engine/session.py",
        " if (place, armed.step_key) not in self.spared",
        "",
        LEFT,
    ),
    Mutant(
        "what a dead invocation armed is forgotten once the next step is recorded",
        "engine/session.py",
        "if epoch > head.released_epoch}",
        "if epoch > head.epoch}",
        LEFT,
    ),
    Mutant(
        "alternatives that compare the same value share an item",
        "engine/waits.py",
        'f"{place}/{taken[place]}" if taken[place] else place for',
        "place for",
        "tests/waits/test_any_and_signals.py",
    ),
    Mutant(
        "both copies of a message take the lease",
        "engine/engine.py",
        "{message.id: message for message in messages}.values()",
        "messages",
        ENGINE,
    ),
    Mutant(
        "a wait that timed out stays armed",
        "engine/session.py",
        "(register.event_id is None or len(armed.places) > 1)",
        "len(armed.places) > 1",
    ),
    Mutant(
        "the schedule of a resolved wait is not deleted",
        "engine/settling.py",
        "                self._ports.timers.delete(schedule_name(head.run_id, timer.due_ms))\n"
        "        return Acknowledge()\n",
        "                pass\n        return Acknowledge()\n",
        ORDER,
    ),
    Mutant(
        "the schedule of a timeout outlives an invocation that died before its head",
        "engine/session.py",
        "        if self._is_in_doubt or self.is_after_crash:\n",
        "        if self._is_in_doubt:\n",
        SCHEDULES,
    ),
    Mutant(
        "the schedule of a timeout outlives an invocation that died after its head",
        "engine/session.py",
        "        self._is_in_doubt = True\n",
        "",
        SCHEDULES,
    ),
    Mutant(
        "the schedule of a sleep that nobody waits for outlives a crash",
        "engine/session.py",
        "self._orphans.update(self._due(due) for due in (*sleeps, self.finish_by) if due is not None)",
        "self._orphans.update(self._due(due) for due in (self.finish_by,) if due is not None)",
        SCHEDULES,
    ),
    Mutant(
        "the schedule of a finish timeout outlives a crash",
        "engine/session.py",
        "self._orphans.update(self._due(due) for due in (*sleeps, self.finish_by) if due is not None)",
        "self._orphans.update(self._due(due) for due in sleeps if due is not None)",
        SCHEDULES,
    ),
    Mutant(
        "what may be left of a cancelled run's schedules is not looked for",
        "engine/advance.py",
        "        session.doubt()\n",
        "",
        SCHEDULES,
    ),
    Mutant(
        "the schedule of a run that ended between two crashes is not looked for",
        "engine/advance.py",
        "            head = replace(head, timers=(*head.timers, *orphans))\n",
        "",
        SCHEDULES,
    ),
    Mutant(
        "a crash begins the timeout of an invoke anew",
        "engine/arming.py",
        "return now if head is None else head.created_at",
        "return now",
        SCHEDULES,
    ),
    Mutant(
        "a run is settled while its calls are under way",
        "engine/disposing.py",
        "    if run.calls:",
        "    if False:",
        CALLS,
    ),
    Mutant(
        "an invocation waits for a call that hangs until it is killed",
        "engine/disposing.py",
        "timeout=max(patience, 0))",
        "timeout=None)",
        CALLS,
    ),
    Mutant(
        "an ended run leaves its waits armed",
        "engine/finish.py",
        "                    if (place, wait.step_key) not in spared:\n"
        "                        self._store.delete_wait(place, head.run_id, wait.step_key)\n",
        "                    pass\n",
    ),
    Mutant(
        "the wait by which a cancelling event found its run goes first",
        "engine/finish.py",
        "if (place, wait.step_key) not in spared:",
        "if spared is not None:",
        WAITS,
    ),
    Mutant(
        "a child that a dead invocation began outlives its cancelled parent",
        "engine/advance.py",
        "head.status is Status.CANCELLED and head.epoch > head.released_epoch:",
        "head.status is None:",
        WAITS,
    ),
    Mutant(
        "children of a cancelled run run on",
        "engine/finish.py",
        "if isinstance(child, ArmedChild) and self._is_stopped(head):",
        "if isinstance(child, ArmedChild) and not self._is_stopped(head):",
        "tests/waits/test_ending_early.py",
    ),
    # -- joins ---------------------------------------------------------------------------------------
    Mutant(
        "the parent is woken before it is told",
        "engine/finish.py",
        "        self._store.put_register(parent.run_id, register)\n"
        "        if self._store.set_wake(parent.run_id, parent.step_key):\n"
        '            self._send(Go(run_id=parent.run_id, why="child"))\n',
        "        if self._store.set_wake(parent.run_id, parent.step_key):\n"
        '            self._send(Go(run_id=parent.run_id, why="child"))\n'
        "        self._store.put_register(parent.run_id, register)\n",
        ORDER,
    ),
    Mutant(
        "the wake of a finisher is lost with the answer to its flag",
        "engine/store.py",
        'return answer.ok or (answer.item is not None and answer.item.get("wk") == finisher)',
        "return answer.ok",
    ),
    Mutant(
        "every finisher sends a wake",
        "engine/store.py",
        'when = both(_CLAIMABLE, Absent("wk"))',
        "when = both(_CLAIMABLE)",
        ORDER,
    ),
    Mutant(
        "a finished run is marked as told before it is",
        "engine/finish.py",
        "            self._tell_world(head, text)\n            self._store.mark_told(head.run_id)\n",
        "            self._store.mark_told(head.run_id)\n            self._tell_world(head, text)\n",
    ),
    Mutant(
        "an item of a map joins before it is recorded",
        "engine/mapping.py",
        "        self._store.joins.record(parent.run_id, parent.step_key, item.index, register)\n"
        "        follower = item.index + item.lanes\n",
        "        self._store.joins.join(parent.run_id, parent.step_key, item.index, item.count, register.ended_at)\n"
        "        self._store.joins.record(parent.run_id, parent.step_key, item.index, register)\n"
        "        follower = item.index + item.lanes\n",
        "tests/waits/test_map.py",
    ),
    Mutant(
        "a map is collected before all its items are there",
        "engine/mapping.py",
        "        if not self._store.joins.is_joined(run_id, step_key, count):\n            return None\n",
        "",
        "tests/waits/test_map.py",
    ),
    Mutant(
        "a repeated item of a map does not join again",
        "engine/items.py",
        "            self._maps.finished(work.parent, register, target=work.target, extra=work.extra)\n"
        "            return None\n",
        "            return None\n",
    ),
    Mutant(
        "a signal takes the wait away before it wakes the run",
        "engine/signals.py",
        '        ports.queue.send([Outgoing(body=message_text(Go(run_id=wait.run_id, why="signal")))])\n'
        "        store.delete_wait(wait.place, wait.run_id, wait.step_key)\n",
        "        store.delete_wait(wait.place, wait.run_id, wait.step_key)\n"
        '        ports.queue.send([Outgoing(body=message_text(Go(run_id=wait.run_id, why="signal")))])\n',
        ORDER,
    ),
    # -- registers -----------------------------------------------------------------------------------
    Mutant(
        "a register is written twice",
        "engine/store.py",
        'when: Condition = Absent("sk")',
        'when: Condition = either(Absent("sk"), Present("sk"))',
        LAWS,
    ),
    Mutant(
        "a retry is written over by any attempt",
        "engine/store.py",
        'when = both(equals("st", Mark.RETRY.value), equals("at", after_attempts))',
        'when = equals("st", Mark.RETRY.value)',
        LAWS,
    ),
    Mutant(
        "a retry is written over whatever stands there",
        "engine/store.py",
        'when = both(equals("st", Mark.RETRY.value), equals("at", after_attempts))',
        'when = equals("at", after_attempts)',
        LAWS,
    ),
    Mutant(
        "a step that must not be repeated is ended by another invocation than began it",
        "engine/store.py",
        'when = both(equals("st", Mark.STARTED.value), equals("ep", started_in))',
        'when = equals("st", Mark.STARTED.value)',
        LAWS,
    ),
    Mutant(
        "the loser of a register keeps its own result",
        "engine/store.py",
        "return register if standing is None else register_of(standing)",
        "return register",
        LAWS,
    ),
    Mutant(
        "a replay prolongs a wait's timeout",
        "engine/store.py",
        "return wait if standing is None else wait_of(standing)",
        "return wait",
        LAWS,
    ),
    Mutant(
        "a wait is put over the one that stands",
        "engine/store.py",
        'standing = self._table.put(wait_item(wait, ttl), Absent("sk"))',
        "standing = self._table.put(wait_item(wait, ttl))",
        LAWS,
    ),
    Mutant(
        "a run of the future is written over one that has begun",
        "engine/store.py",
        "self._table.put(item, _NO_RUN)",
        "self._table.put(item)",
        LAWS,
    ),
    # -- what expires --------------------------------------------------------------------------------
    Mutant(
        "an ended run is kept for ever",
        "engine/store.py",
        '            "ttl": ended_ms // 1000 + self._retention,\n',
        "",
        LAWS,
    ),
    Mutant(
        "what a run recorded expires while it runs",
        "engine/store.py",
        "return to_ms(at + RUN_MAX) // 1000 + self._retention",
        "return to_ms(at) // 1000 + self._retention",
        LAWS,
    ),
    Mutant(
        "a wait expires before its deadline",
        "engine/store.py",
        "ttl = to_ms(wait.deadline) // 1000 + self._retention",
        "ttl = to_ms(wait.armed_at) // 1000",
        LAWS,
    ),
    # -- names ---------------------------------------------------------------------------------------
    Mutant(
        "run ids are random",
        "core/ids.py",
        'return digest("run", app_id,',
        'return digest("run", __import__("os").urandom(8).hex(), app_id,',
    ),
    Mutant(
        "child run ids are random",
        "core/ids.py",
        'return digest("child", parent_run_id,',
        'return digest("child", __import__("os").urandom(8).hex(), parent_run_id,',
    ),
    Mutant(
        "ids of sent events are random",
        "core/ids.py",
        'return digest("sent", run_id,',
        'return digest("sent", __import__("os").urandom(8).hex(), run_id,',
    ),
    Mutant(
        "ids of system events are random",
        "core/ids.py",
        'return digest("system", run_id,',
        'return digest("system", __import__("os").urandom(8).hex(), run_id,',
    ),
    Mutant(
        "schedules have random names",
        "core/ids.py",
        'return f"{run_id}-{due_ms}"',
        'return f"{run_id}-{due_ms}"[:50] + __import__("os").urandom(4).hex()',
        ORDER,
    ),
    Mutant(
        "step keys ignore the occurrence",
        "core/ids.py",
        'return digest("step", step_id, str(occurrence), length=16)',
        'return digest("step", step_id, length=16)',
        "tests/acceptance/test_steps.py",
    ),
    Mutant(
        "jitter is drawn, not hashed",
        "core/retry.py",
        "jitter = fraction(run_id, name, str(retry))",
        'jitter = __import__("random").random()',
        "tests/acceptance/test_retries.py",
    ),
    # -- the order of replay -------------------------------------------------------------------------
    Mutant(
        "results are given out in the order of their names",
        "core/history.py",
        "order = [key for key in listed if key in results]",
        "order = sorted(key for key in listed if key in results)",
        RANDOM,
    ),
    Mutant(
        "a record does not list the outside results given before it",
        "engine/recording.py",
        "mine = register._replace(order=(session.head.epoch, rank), seen=listed)",
        "mine = register._replace(order=(session.head.epoch, rank), seen=())",
        RANDOM,
    ),
    Mutant(
        "the head forgets the outside results that were given out",
        "engine/settling.py",
        "            head = replace(head, seen=tuple(session.unlisted))\n",
        "",
        RANDOM,
    ),
    Mutant(
        "a result is given out while an earlier record is still being written",
        "engine/async_replay.py",
        "return not (self.session.inflight and min(self.session.inflight) < rank)",
        "return True",
        ORDER,
    ),
    # -- retries and poison --------------------------------------------------------------------------
    Mutant(
        "a step's failure that the handler let pass retries the body",
        "core/retry.py",
        "return isinstance(error, NonRetriableError | StepError | ConfigError)",
        "return isinstance(error, NonRetriableError | ConfigError)",
        "tests/acceptance/test_errors.py",
    ),
    Mutant(
        "attempts are counted from one too few",
        "core/retry.py",
        "if attempts >= max_attempts or _is_final(error):",
        "if attempts > max_attempts or _is_final(error):",
        "tests/acceptance/test_retries.py",
    ),
    Mutant(
        "a crash loop goes on for ever",
        "engine/advance.py",
        "if crashes >= CRASH_LIMIT:",
        "if crashes >= 1_000_000:",
        ENGINE,
    ),
    Mutant(
        "failures that were seen count as crashes",
        "engine/store.py",
        'change = Change(set={"lx": 0, "fe": head.epoch})',
        'change = Change(set={"lx": 0})',
        LAWS,
    ),
    Mutant(
        "a failed invocation keeps its lease",
        "engine/advance.py",
        "            await self._workers.io(partial(self._release, head))\n",
        "",
        "tests/waits/test_failing_ports.py",
    ),
    # -- found by a second look: limits, ends and arguments -------------------------------------------
    Mutant(
        "a wake of a run that waits for a person comes back for ever",
        "engine/advance.py",
        "if head.status is Status.PARKED or (isinstance",
        "if (isinstance",
        ENGINE,
    ),
    Mutant(
        "records do not count against a crash loop",
        "engine/advance.py",
        "newest = max((r.order[0] for r in past.registers if r.order is not None), default=0)",
        "newest = 0",
        ENGINE,
    ),
    Mutant(
        "hand-overs without a record add up over suspensions",
        "engine/settling.py",
        "failure=None, retry_at=None, idle_hand_overs=0)",
        "failure=None, retry_at=None)",
        ENGINE,
    ),
    Mutant(
        "a resume brings a cancelled run back",
        "engine/store.py",
        'when = both(_PARKED, equals("ep", head.epoch))',
        'when = both(equals("ep", head.epoch))',
        LAWS,
    ),
    Mutant(
        "a suspended run keeps its lease",
        "engine/store.py",
        '            "st": head.status.value,\n            "lx": 0,\n            "se"',
        '            "st": head.status.value,\n            "se"',
        LAWS,
    ),
    Mutant(
        "an output beside its head is kept for ever",
        "engine/store.py",
        ', "ttl": self._far(head.counts_from)})\n            else:',
        "})\n            else:",
        LAWS,
    ),
    Mutant(
        "a limit of the start counts from before the event's own time",
        "engine/advance.py",
        "now > head.counts_from + late:",
        "now > head.created_at + late:",
        TIME,
    ),
    Mutant(
        "the longest that a run may last counts from before its event's own time",
        "engine/advance.py",
        "if now > head.counts_from + RUN_MAX:",
        "if now > head.created_at + RUN_MAX:",
        TIME,
    ),
    Mutant(
        "the large data of a run of the future expires",
        "engine/advance.py",
        "                await self._workers.io(partial(self._payloads.renew, data))\n",
        "                del data\n",
        TIME,
    ),
    Mutant(
        "the message of a run of the future is sent before its head",
        "engine/ingest.py",
        "        standing = self._store.enqueue(head)\n        if standing",
        "        if not scheduled:\n"
        "            self._ports.queue.send([Outgoing(body=body, delay=due - now)])\n"
        "            scheduled = True\n"
        "        standing = self._store.enqueue(head)\n"
        "        if standing",
        TIME,
    ),
    Mutant(
        "idempotency coerces its values",
        "engine/ingest.py",
        'return "idempotency", canonical(value)',
        'return "idempotency", str(value)',
        TIME,
    ),
    Mutant(
        "timeouts that are over together come in any order",
        "engine/async_replay.py",
        "key=lambda call: (call.due_at or now, call.key)",
        "key=lambda call: call.key",
        TIME,
    ),
    Mutant(
        "a timer is armed again at every resume",
        "engine/settling.py",
        "        if any(timer.due_ms == due_ms and due > now for timer in head.timers):\n            return head\n",
        "",
        TIME,
    ),
    Mutant(
        "a run that waits for its next attempt outlasts its time",
        "engine/advance.py",
        "now < min(head.retry_at, self._finish_by(head) or head.retry_at):",
        "now < head.retry_at:",
        ENDING,
    ),
    Mutant(
        "a wait for the body's next attempt arms no end of the run's time",
        "engine/settling.py",
        "dues = [(at, False)] if limit is None else [(at, False), (limit, True)]",
        "dues = [(at, False)]",
        ENDING,
    ),
    Mutant(
        "a cancel event of the future does nothing",
        "engine/ingest.py",
        'if wait.role is Role.CANCEL and min(row["ts"], now_ms) >= to_ms(wait.deadline):',
        'if wait.role is Role.CANCEL and row["ts"] >= to_ms(wait.deadline):',
        ENDING,
    ),
    Mutant(
        "a run is cancelled by its own trigger",
        "engine/waits.py",
        "                consumed=(head.event.id,),\n",
        "                consumed=(),\n",
        ENDING,
    ),
    Mutant(
        "a rerun is cancelled by an event older than it",
        "engine/waits.py",
        "return created_ms if RERUN in head.extra else min(head.event.ts, created_ms)",
        "return min(head.event.ts, created_ms)",
        ENDING,
    ),
    Mutant(
        "an ended run leaves the waits on its pages armed",
        "engine/finish.py",
        "armed = head.armed if not head.pages else (*self._store.past(head.run_id).armed, *head.armed)",
        "armed = head.armed",
        ENDING,
    ),
    Mutant(
        "events are kept for looking back under their own time",
        "engine/ingest.py",
        'place, row["id"], to_ms(now), self._payloads',
        'place, row["id"], row["ts"], self._payloads',
        "tests/waits/test_lookback.py",
    ),
    Mutant(
        "looking back misses what overtook the trigger",
        "engine/arming.py",
        "since = max(began - LEASE_MARGIN, session.now() - span)",
        "since = max(began, session.now() - span)",
        "tests/waits/test_lookback.py",
    ),
    Mutant(
        "two steps of one run wait for the same signal",
        "engine/arming.py",
        "if (w.run_id, w.step_key) != (session.run_id, call.key)]",
        "if w.run_id != session.run_id]",
        "tests/waits/test_any_and_signals.py",
    ),
    Mutant(
        "an item of a map is tried again too early",
        "engine/engine.py",
        "case Item(due_at=due) if due is not None and due > self._ports.clock.now():",
        "case Item(due_at=due) if due is not None and due < due:",
        "tests/waits/test_map.py",
    ),
    Mutant(
        "followers of a lane have one attempt",
        "engine/mapping.py",
        "codec.dump([step.max_attempts, *step.items])",
        "codec.dump([1, *step.items])",
        "tests/waits/test_map.py",
    ),
    Mutant(
        "a step that waits for its next attempt may become another",
        "engine/session.py",
        "recorded = self.register_of(call.key) or self.history.unfinished.get(call.key)",
        "recorded = self.register_of(call.key)",
        "tests/acceptance/test_nondeterminism.py",
    ),
    Mutant(
        "a step's error says that one attempt was made",
        "engine/session.py",
        "raise step_error(register.failure, step_id=call.step.step_id, attempts=register.attempts)",
        "raise step_error(register.failure, step_id=call.step.step_id, attempts=1)",
        "tests/acceptance/test_errors.py",
    ),
    Mutant(
        "a group's first error decides, final or not",
        "engine/failures.py",
        "return next((leaf for leaf in leaves if isinstance(leaf, StepError | NonRetriableError)), leaves[0])",
        "return leaves[0]",
        "tests/acceptance/test_errors.py",
    ),
    Mutant(
        "the second attempt of a step that must not be repeated is not recorded as begun",
        "engine/recording.py",
        "self._store.put_register(session.run_id, register, after_attempts=call.failed)\n        call.started_in",
        "self._store.put_register(session.run_id, register)\n        call.started_in",
        "tests/acceptance/test_retries.py",
    ),
    Mutant(
        "what came before a record comes after it in a rerun",
        "engine/operations.py",
        "copy = copy._replace(seen=tuple(unlisted))",
        "copy = copy._replace(seen=())",
        "tests/unit/test_operations.py",
    ),
    Mutant(
        "options of a step forget that it must not be repeated",
        "step.py",
        'once=self._options.once if on_interrupt is None else on_interrupt == "raise",',
        'once=on_interrupt == "raise",',
        "tests/unit/test_arguments.py",
    ),
    # -- the adapters --------------------------------------------------------------------------------
    # -- what only a second invocation, or a second event, brings to light -----------------------------
    Mutant(
        "two invocations of one message take each other's lease",
        "engine/engine.py",
        'mine = Invocation(id=f"{invocation.id}:{message.id}", deadline=invocation.deadline)',
        "mine = Invocation(id=message.id, deadline=invocation.deadline)",
        ENGINE,
    ),
    Mutant(
        "a message waits on when the lease that it met is over",
        "engine/engine.py",
        "pause = max(min(pause, lease), timedelta(seconds=1))",
        "pause = max(pause, timedelta(seconds=1))",
        ENGINE,
    ),
    Mutant(
        "another app's reply that came too often is sent anew as the engine's own",
        "engine/engine.py",
        "                if message.internal:\n",
        "                if message.body:\n",
        ENGINE,
    ),
    Mutant(
        "a trigger that fails keeps its event from every function",
        "engine/ingest.py",
        '                _LOG.error("the trigger %r of function %s failed: %r", trigger, function.id, type(error))\n',
        "                raise RuntimeError from error\n",
        ENGINE,
    ),
    Mutant(
        "a wake brings the body's next attempt forward",
        "engine/advance.py",
        "if head.retry_at is not None and now < min(",
        "if head.retry_at is not None and now is None and now < min(",
        ENGINE,
    ),
    Mutant(
        "a scheduled time has a run for each time that it is told",
        "engine/ingest.py",
        "run_id = ids.run_id(self._app.id, tick.function_id, TIMER, event.id)",
        "run_id = ids.run_id(self._app.id, tick.function_id, TIMER, event.id + str(self._ports.clock.now()))",
        ENGINE,
    ),
    Mutant(
        "the wait of an event goes though its run could not move",
        "engine/ingest.py",
        "        if isinstance(answer, Acknowledge):\n"
        "            await self._workers.io(partial(self._delete, move.waits))\n",
        "        await self._workers.io(partial(self._delete, move.waits))\n",
        "tests/waits/test_failing_ports.py",
    ),
    Mutant(
        "the wait of an event whose run is held goes before the message",
        "engine/ingest.py",
        "        self._ports.queue.send([Outgoing(body=message_text(move.work), delay=delay)])\n"
        "        self._delete(move.waits)\n",
        "        self._delete(move.waits)\n"
        "        self._ports.queue.send([Outgoing(body=message_text(move.work), delay=delay)])\n",
        "tests/waits/test_failing_ports.py",
    ),
    Mutant(
        "an ended run forgets the pages of what it had armed",
        "engine/store.py",
        '        if head.pages:\n            change["ap"] = head.pages\n',
        "",
        "tests/waits/test_failing_ports.py",
    ),
    Mutant(
        "the bus's own times count to the millisecond",
        "core/envelope.py",
        "grain_ms=1 if is_exact else 1000",
        "grain_ms=1",
        ENDING,
    ),
    Mutant(
        "what a repeated event armed for other data stays where it starts the run",
        "engine/advance.py",
        "            await self._drop_strays(work, head)\n            past",
        "            past",
        ENDING,
    ),
    Mutant(
        "a wait that is armed a second time ends later",
        "engine/arming.py",
        "        call.due_at = armed.deadline\n        if (told",
        "        call.due_at = template.deadline\n        if (told",
        TIME,
    ),
    Mutant(
        "a signal's wait that is armed a second time ends later",
        "engine/arming.py",
        "        call.due_at = deadline\n        session.add_armed(armed_wait",
        "        call.due_at = template.deadline\n        session.add_armed(armed_wait",
        TIME,
    ),
    Mutant(
        "a timer that was deleted hides a new one of the same time",
        "engine/store.py",
        "gone = tuple(name for name, value in optional.items() if value is None)",
        'gone = tuple(name for name, value in optional.items() if value is None and name != "tm")',
        TIME,
    ),
    Mutant(
        "a signal that came while its wait was armed anew leaves it behind",
        "engine/arming.py",
        "        if (told := self._told_meanwhile(call, want.places)) is not None:\n            return told\n",
        "",
        RACES + "::TestTwoEvents",
    ),
    Mutant(
        "an event that came while its wait was armed anew resolves the next one too",
        "engine/arming.py",
        "        if register.event_id is not None:\n            self._consumed.append(register.event_id)\n"
        "        return session.from_outside(register)",
        "        return session.from_outside(register)",
        RACES + "::TestTwoEvents",
    ),
    Mutant(
        "an event that beat the timeout resolves the next wait too",
        "engine/arming.py",
        "        if standing.event_id is not None:  # it resolves no later wait of this run\n"
        "            self._consumed.append(standing.event_id)\n",
        "",
        RACES + "::TestEventAgainstTimeout",
    ),
    Mutant(
        "an event that was found is found again by the next invocation",
        "engine/arming.py",
        "*(r.event_id for r in registers if r.event_id is not None)]",
        "*(r.event_id for r in registers if r.event_id is not None and r.order is None)]",
        "tests/waits/test_lookback.py",
    ),
    Mutant(
        "an item of a map is written twice",
        "engine/joins.py",
        '        self._table.put(item, Absent("sk"))\n',
        "        self._table.put(item)\n",
        LAWS,
    ),
    Mutant(
        "a sent event has another id at each attempt",
        "engine/recording.py",
        "ids.sent_event_id(run_id, call.key, n)",
        'ids.sent_event_id(run_id, f"{call.key}{call.failed}", n)',
        "tests/waits/test_failing_ports.py",
    ),
    Mutant(
        "who has lost the lease forgets its message",
        "engine/settling.py",
        "        if standing is not None and not standing.status.is_terminal:\n"
        "            return Bounce(standing.lease_until)\n",
        "        if standing is not None and not standing.status.is_terminal:\n            return Acknowledge()\n",
        ENGINE,
    ),
    Mutant(
        "what a run had armed stays where another ended it meanwhile",
        "engine/settling.py",
        "        self._finish_all(head if standing is None else standing, head)\n",
        "        if standing is None:\n            self._finish_all(head, head)\n",
        ENDING,
    ),
    Mutant(
        "what goes wrong later decides a run's end anew",
        "engine/session.py",
        "        if self.fatal is None:\n            self.fatal = outcome",
        "        self.fatal = outcome",
        "tests/acceptance/test_nested.py",
    ),
    Mutant(
        "an empty page ends a query",
        "aws/table.py",
        'return [item_of(item) for item in answer["Items"]], "LastEvaluatedKey" in answer',
        'return [item_of(item) for item in answer["Items"]], "LastEvaluatedKey" in answer and bool(answer["Items"])',
        "tests/unit/test_aws_prepared.py",
    ),
    Mutant(
        "items that fail together are tried again together",
        "engine/items.py",
        'name = f"{work.parent.step_key}#{item.index}"',
        "name = work.parent.step_key",
        "tests/waits/test_map.py",
    ),
    Mutant(
        "each retry of a step has the same jitter",
        "core/retry.py",
        "jitter = fraction(run_id, name, str(retry))",
        "jitter = fraction(run_id, name)",
        "tests/unit/test_arguments.py",
    ),
    Mutant(
        "a queue gives up wakes before they are sent anew",
        "core/limits.py",
        "MAX_RECEIVES: Final = 100",
        "MAX_RECEIVES: Final = 49",
        ENGINE,
    ),
    Mutant(
        "a schedule that is there already is an error",
        "aws/timers.py",
        '            case "ConflictException":\n                return\n',
        "",
        TIMERS,
    ),
    Mutant(
        "schedules stay after they have fired",
        "aws/timers.py",
        'ActionAfterCompletion="DELETE"',
        'ActionAfterCompletion="NONE"',
        TIMERS,
    ),
    Mutant(
        "a schedule is rounded to an earlier second",
        "aws/timers.py",
        "return utc + timedelta(microseconds=-utc.microsecond % 1_000_000)",
        "return utc.replace(microsecond=0)",
        TIMERS,
    ),
    Mutant(
        "a delay is rounded to an earlier second",
        "aws/queue.py",
        "return max(0, -(-delay // timedelta(seconds=1)))",
        "return max(0, delay // timedelta(seconds=1))",
        QUEUE,
    ),
    Mutant(
        "an event can pass for one of the engine's messages",
        "aws/queue.py",
        ' and "detail-type" not in envelope',
        "",
        QUEUE,
    ),
    Mutant(
        "the head and the registers are read eventually",
        "aws/table.py",
        "Key=_key(key), ConsistentRead=True)",
        "Key=_key(key), ConsistentRead=False)",
        TABLE,
    ),
    Mutant(
        "queries are read eventually",
        "aws/table.py",
        '"KeyConditionExpression": where, "ConsistentRead": True,',
        '"KeyConditionExpression": where, "ConsistentRead": False,',
        TABLE,
    ),
    Mutant(
        "a query ends with its first page",
        "aws/table.py",
        '[item_of(item) for item in answer["Items"]], "LastEvaluatedKey" in answer',
        '[item_of(item) for item in answer["Items"]], False',
        TABLE,
    ),
    Mutant(
        "a refused put gives no standing item",
        "aws/table.py",
        "return _standing(error) or {}",
        "return {}",
        TABLE,
    ),
    Mutant(
        "entries that EventBridge refused are dropped",
        "aws/bus.py",
        'if not answer["FailedEntryCount"]:',
        "if answer:",
        BUS,
    ),
    Mutant(
        "messages that SQS refused are dropped",
        "aws/queue.py",
        'for failed in answer.get("Failed", [])',
        "for failed in []",
        QUEUE,
    ),
    # -- the outer half: calls, errors, stack, console, client ---------------------------------------------------------
    Mutant(
        "a call is signed by the credentials of the first one",
        "aws/prepared.py",
        '        auth = way.signer.get_auth_instance(way.signing_name, way.region, "v4")\n',
        '        auth = way.signer.get_auth_instance(way.signing_name, way.region, "v4")\n'
        '        auth = self.__dict__.setdefault("_auth", auth)\n',
        "tests/unit/test_aws_prepared.py",
    ),
    Mutant(
        "calls that a tracer has wrapped go past it",
        "aws/prepared.py",
        "    return type(door) is not FunctionType or door.__module__ != BaseClient.__module__\n",
        "    return door.__module__ != BaseClient.__module__\n",
        "tests/unit/test_aws_prepared.py",
    ),
    Mutant(
        "an operation that is not prepared is answered as if it were",
        "aws/prepared.py",
        "way is None or operation not in _OPERATIONS or _is_wrapped()",
        "way is None or _is_wrapped()",
        "tests/unit/test_aws_prepared.py",
    ),
    Mutant(
        "a prepared call asks for no certificate",
        "aws/transport.py",
        "        session._setup_ssl_cert(pool, url, session._verify)\n",
        "",
        "tests/unit/test_aws_prepared.py",
    ),
    Mutant(
        "an expired token is a fault of the package",
        "aws/failures.py",
        '            "ExpiredToken",\n',
        "",
        "tests/unit/test_aws_failures.py",
    ),
    Mutant(
        "a clock that is not set yet is a fault of the package",
        "aws/failures.py",
        '        "RequestTimeTooSkewed",\n',
        "",
        "tests/unit/test_aws_failures.py",
    ),
    Mutant(
        "a message's size is counted in characters",
        "aws/queue.py",
        'len(entry["MessageBody"].encode()) + _MARK_BYTES',
        'len(entry["MessageBody"]) + _MARK_BYTES',
        QUEUE,
    ),
    Mutant(
        "a postponement that SQS refuses for whatever reason is success",
        "aws/queue.py",
        'return "not available for visibility timeout change" in str(error)',
        "return True",
        QUEUE,
    ),
    Mutant(
        "the stack's retention does not reach the records",
        "aws/entry.py",
        "store = Store(ports.table, timedelta(days=settings.retention_days) // timedelta(seconds=1))",
        "store = Store(ports.table)",
        ENTRY,
    ),
    Mutant(
        "the dispatcher's clock is ahead by up to a millisecond",
        "aws/wiring.py",
        "return from_ms(time_ns() // 1_000_000)",
        "return from_ms(time_ns() // 1_000_000 + 1)",
        "tests/unit/test_aws_clients.py",
    ),
    Mutant(
        "a data key is opened whichever key made it",
        "aws/kms.py",
        "decrypt(CiphertextBlob=blob, KeyId=arn, EncryptionContext=CONTEXT)",
        "decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)",
        "tests/encryption/test_kms.py",
    ),
    Mutant(
        "a claim whose answer was lost counts as another's",
        "aws/observability.py",
        'if status == Status.RUNNING.value and answer.item.get("ho") == change.set["ho"]:',
        "if status == Status.RUNNING.value and answer.ok:",
        "tests/unit/test_aws_observer.py",
    ),
    Mutant(
        "an event's own words pass for a timer's",
        "aws/observability.py",
        "if message.internal and '\"due\"' in message.body:",
        "if '\"due\"' in message.body:",
        "tests/unit/test_aws_observer.py",
    ),
    Mutant(
        "system events that trigger a function do not pass the rule",
        "aws/schema.py",
        "sorted({trigger.name for trigger in system_triggers(app)} | set(names_for(app.id)))",
        "sorted(set(names_for(app.id)))",
        "tests/infra/test_patterns.py",
    ),
    Mutant(
        "the alarm of dead letters looks at the queue",
        "cdk/metrics.py",
        "return self.queues.dead.metric_approximate",
        "return self.queues.queue.metric_approximate",
        "tests/infra/test_laws.py",
    ),
    Mutant(
        "no customer key lets EventBridge and the log in",
        "cdk/construct.py",
        "            let_services_in(kms_key, cdk.Stack.of(self))\n",
        "            pass\n",
        "tests/infra/test_permissions.py",
    ),
    Mutant(
        "a page of an address that begins like the server's is let in",
        "local/guard.py",
        '        if origin.lower() != f"http://{hosts[0]}".lower():\n',
        '        if not origin.lower().startswith(f"http://{hosts[0]}".lower()):\n',
        "tests/unit/test_local_guard.py",
    ),
    Mutant(
        "any cookie opens the console",
        "console/web.py",
        "if cookie is not None and self._is_key(cookie.value):",
        "if cookie is not None:",
        "tests/console/test_on_aws.py",
    ),
    Mutant(
        "a message that bounced off the local engine is acknowledged",
        "local/driver.py",
        "if message.id not in bounced]",
        "if message.id]",
        "tests/integration/test_local_driver.py",
    ),
    Mutant(
        "what is to be encrypted is sent in clear",
        "client.py",
        "kind = HTTPSConnection if self._secure else HTTPConnection",
        "kind = HTTPConnection",
        "tests/integration/test_client.py",
    ),
)
