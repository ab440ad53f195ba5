"""Story 11: a real HTTP API that is busy, refuses, or is down."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from functions.shop import app
from functions.shop.services import World
from stepbridge.testing import Simulation
from tests.scenarios.http_api import Answer, HttpApi

PARCEL = {"grams": 300}
DOWN = Answer(503, "down")


@pytest.fixture
def sim(world: World, api: HttpApi) -> Iterator[Simulation]:
    """The shop, with a carrier."""
    world.api = api.address
    with Simulation(app) as sim:
        yield sim


def test_the_carriers_rate_is_quoted(sim: Simulation, api: HttpApi) -> None:
    """One request, with the event's data."""
    sim.send("shipping/requested", PARCEL)
    assert sim.run("quote-shipping").output == {"cents": 490}
    assert [(request.path, request.body) for request in api.requests] == [("/rates", PARCEL)]


# Fails until the register of a first failed attempt holds "at" (core/items.py): no later attempt is recorded.
def test_too_many_requests_are_retried_when_the_api_says(sim: Simulation, api: HttpApi) -> None:
    """429 with Retry-After: exactly so long, without jitter."""
    api.answers.append(Answer(429, "slow down", {"Retry-After": "90"}))
    sim.send("shipping/requested", PARCEL)
    assert sim.run("quote-shipping").steps["ask-carrier"].due_at == sim.now + timedelta(seconds=90)
    sim.advance("89s")
    assert len(api.requests) == 1
    sim.advance("1s")
    assert len(api.requests) == 2
    assert sim.run("quote-shipping").output == {"cents": 490}


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "Wed, 01 Jan 2025 00:05:00 GMT"}])
def test_too_many_requests_without_a_number_of_seconds_wait_a_minute(
    sim: Simulation, api: HttpApi, headers: dict[str, str]
) -> None:
    """The shop's own choice."""
    api.answers.append(Answer(429, "slow down", headers))
    sim.send("shipping/requested", PARCEL)
    assert sim.run("quote-shipping").steps["ask-carrier"].due_at == sim.now + timedelta(minutes=1)


def test_a_bad_request_is_not_tried_again(sim: Simulation, api: HttpApi) -> None:
    """400: the step fails for good at once, and the handler says why there is no rate."""
    api.answers.append(Answer(400, "too heavy"))
    sim.send("shipping/requested", PARCEL)
    run = sim.run("quote-shipping")
    assert (run.status, run.output) == ("COMPLETED", {"problem": '/rates: 400 "too heavy"'})
    assert (len(api.requests), run.steps["ask-carrier"].attempts) == (1, 1)


# Fails until the register of a first failed attempt holds "at" (core/items.py): no later attempt is recorded.
def test_an_api_that_is_down_is_asked_again_later(sim: Simulation, api: HttpApi) -> None:
    """503: plain retries, 15 s and then 30 s later, up to 30 s of jitter on each."""
    api.answers.extend([DOWN, DOWN])
    sim.send("shipping/requested", PARCEL)
    sim.advance("14s")
    assert len(api.requests) == 1
    sim.advance("31s")
    assert len(api.requests) == 2
    sim.advance("60s")
    assert len(api.requests) == 3
    run = sim.run("quote-shipping")
    assert (run.output, run.steps["ask-carrier"].attempts) == ({"cents": 490}, 3)


# Fails until the register of a first failed attempt holds "at" (core/items.py): no later attempt is recorded.
def test_an_api_that_stays_down_is_given_up_after_five_attempts(sim: Simulation, api: HttpApi) -> None:
    """What was tried in vain is the step's error."""
    api.usual = DOWN
    sim.send("shipping/requested", PARCEL)
    sim.run_until_idle()
    assert len(api.requests) == 5
    assert sim.run("quote-shipping").output == {"problem": '/rates: 503 "down"'}
    assert (sim.run("quote-shipping").steps["ask-carrier"].error or {})["name"] == "ConnectionError"


def test_every_attempt_has_the_same_idempotency_key(sim: Simulation, api: HttpApi) -> None:
    """And another run another one."""
    api.answers.append(DOWN)
    sim.send("shipping/requested", PARCEL)
    sim.advance("1m")
    sim.send("shipping/requested", PARCEL)
    first, again, other = [request.key for request in api.requests]
    assert first == again
    assert first != other
