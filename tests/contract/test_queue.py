"""The queue: at least once, delayed, out of sight while received, with a place for the hopeless."""

from __future__ import annotations

from datetime import timedelta

from stepbridge.ports import Outgoing, Ports
from tests.contract.backend import Backend

SECOND = timedelta(seconds=1)


def test_what_the_engine_sends_arrives_as_its_own(backend: Backend, ports: Ports) -> None:
    """Body and mark of the engine come through; it is the first receive."""
    sent_at = ports.clock.now()
    ports.queue.send([Outgoing(body='{"k": "go \U0001f680"}')])
    (message,) = backend.receive()
    assert message.body == '{"k": "go \U0001f680"}'
    assert message.internal
    assert message.receives == 1
    assert message.sent_at is not None
    assert abs(message.sent_at - sent_at) < 5 * SECOND


def test_an_empty_queue_gives_nothing(backend: Backend) -> None:
    """No message is no error."""
    assert backend.receive() == []


def test_sending_nothing_is_nothing(backend: Backend, ports: Ports) -> None:
    """An empty list of messages is allowed."""
    ports.queue.send([])
    assert backend.receive() == []


def test_more_messages_than_one_call_takes_all_arrive(backend: Backend, ports: Ports) -> None:
    """Twenty-three are sent in three calls; each has an id of its own."""
    ports.queue.send([Outgoing(body=f"{number}") for number in range(23)])
    messages = [message for _ in range(3) for message in backend.receive(10)]
    assert sorted(int(message.body) for message in messages) == list(range(23))
    assert len({message.id for message in messages}) == 23


def test_a_delayed_message_shows_when_its_delay_has_passed(backend: Backend, ports: Ports) -> None:
    """Not before, while its undelayed neighbour is there at once."""
    ports.queue.send([Outgoing(body="late", delay=30 * SECOND), Outgoing(body="now")])
    assert [message.body for message in backend.receive()] == ["now"]
    backend.wait(29 * SECOND)
    assert backend.receive() == []
    backend.wait(1 * SECOND)
    assert [message.body for message in backend.receive()] == ["late"]


def test_a_message_can_wait_for_fifteen_minutes(backend: Backend, ports: Ports) -> None:
    """The longest delay that SQS has."""
    ports.queue.send([Outgoing(body="late", delay=timedelta(minutes=15))])
    backend.wait(timedelta(minutes=14))
    assert backend.receive() == []
    backend.wait(timedelta(minutes=1))
    assert [message.body for message in backend.receive()] == ["late"]


def test_a_received_message_is_out_of_sight_then_comes_back(backend: Backend, ports: Ports) -> None:
    """With the same id and a higher count, once its visibility has ended."""
    ports.queue.send([Outgoing(body="a")])
    (first,) = backend.receive()
    backend.wait(backend.visibility - SECOND)
    assert backend.receive() == []
    backend.wait(SECOND)
    (second,) = backend.receive()
    assert (second.id, second.body, second.receives) == (first.id, "a", 2)


def test_an_acknowledged_message_never_comes_back(backend: Backend, ports: Ports) -> None:
    """Only the one that was acknowledged is gone."""
    ports.queue.send([Outgoing(body="a"), Outgoing(body="b")])
    messages = {message.body: message for message in backend.receive()}
    backend.acknowledge([messages["a"]])
    backend.wait(backend.visibility)
    assert [message.body for message in backend.receive()] == ["b"]


def test_a_postponed_message_comes_back_after_the_pause(backend: Backend, ports: Ports) -> None:
    """Sooner than its visibility, not sooner than asked."""
    ports.queue.send([Outgoing(body="a")])
    (message,) = backend.receive()
    ports.queue.postpone(message, 10 * SECOND)
    backend.wait(9 * SECOND)
    assert backend.receive() == []
    backend.wait(SECOND)
    assert [again.receives for again in backend.receive()] == [2]


def test_a_message_can_be_postponed_beyond_its_visibility(backend: Backend, ports: Ports) -> None:
    """The pause counts, not what was left of the visibility."""
    ports.queue.send([Outgoing(body="a")])
    (message,) = backend.receive()
    ports.queue.postpone(message, 2 * backend.visibility)
    backend.wait(2 * backend.visibility - SECOND)
    assert backend.receive() == []
    backend.wait(SECOND)
    assert len(backend.receive()) == 1


def test_a_message_postponed_by_nothing_is_there_at_once(backend: Backend, ports: Ports) -> None:
    """A pause of 0 gives it back."""
    ports.queue.send([Outgoing(body="a")])
    (message,) = backend.receive()
    ports.queue.postpone(message, timedelta(0))
    assert [again.id for again in backend.receive()] == [message.id]


def test_postponing_a_message_that_is_gone_is_nothing(backend: Backend, ports: Ports) -> None:
    """Another receiver was done with it; there is no error, and it stays gone."""
    ports.queue.send([Outgoing(body="a")])
    (message,) = backend.receive()
    backend.acknowledge([message])
    ports.queue.postpone(message, SECOND)
    backend.wait(backend.visibility)
    assert backend.receive() == []


def test_a_buried_message_has_a_copy_in_the_dead_letter_queue(backend: Backend, ports: Ports) -> None:
    """The message itself is still the driver's to acknowledge."""
    ports.queue.send([Outgoing(body="hopeless")])
    (message,) = backend.receive()
    ports.queue.bury(message, "not JSON")
    assert backend.dead() == ["hopeless"]
    backend.acknowledge([message])
    backend.wait(backend.visibility)
    assert backend.receive() == []
