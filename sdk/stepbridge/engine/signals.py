"""Signals: one exact waiter by name, found by a key of its own."""

from __future__ import annotations

from stepbridge.core.ids import digest
from stepbridge.core.messages import Go, message_text
from stepbridge.core.records import Mark, Register
from stepbridge.engine.payloads import Payloads
from stepbridge.engine.store import Store
from stepbridge.ports import Outgoing, Ports


def signal_place(signal: str) -> str:
    """Where the waiter of a signal stands in the match index."""
    return digest("signal", signal)


def send_signal(signal: str, data: str, effect_key: str, store: Store, payloads: Payloads, ports: Ports) -> None:
    """Resolves the waiter, wakes its run, and takes the wait away; nothing happens where nobody waits."""
    for wait in store.waits_at(signal_place(signal)):
        register = Register(
            key=wait.step_key,
            step_id=wait.step_id,
            occurrence=wait.occurrence,
            kind=wait.kind,
            mark=Mark.OK,
            value=payloads.keep(data, wait.run_id),
            event_id=effect_key,
            started_at=wait.armed_at,
            ended_at=ports.clock.now(),
        )
        store.put_register(wait.run_id, register)
        ports.queue.send([Outgoing(body=message_text(Go(run_id=wait.run_id, why="signal")))])
        store.delete_wait(wait.place, wait.run_id, wait.step_key)
