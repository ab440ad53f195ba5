"""What rules let through, by moto's reading of EventBridge patterns."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.shop import app as shop
from stepbridge import App, Context
from stepbridge import event as on
from stepbridge.cdk.patterns import aws_pattern, own_pattern
from stepbridge.engine.rule import wants
from stepbridge.errors import ConfigError
from tests.infra.project.wares import app as wares

NAMES = (
    *("order/created", "order/unheard.of", "ware/new", "ware/sold", "ware/recalled", "payment/completed"),
    *("stepbridge/function.failed", "stepbridge/function.finished", "stepbridge/function.cancelled"),
    *("stepbridge/invoke.shop", "stepbridge/reply.wares", "stepbridge/cancel.shop", "stepbridge/invoke.shop2"),
)


def _passes(pattern: object, name: str, source: str = "anywhere") -> bool:
    from moto.events.models import EventPattern

    event: Any = {"detail-type": name, "source": source}
    return bool(EventPattern.load(json.dumps(pattern)).matches_event(event))


def _watching(name: str) -> App:
    """An app with a function of these system events."""
    app = App("watching")

    @app.function("watch", trigger=on(name))
    async def watch(ctx: Context) -> None:
        pass

    return app


APPS = [shop, wares, _watching("stepbridge/function.failed"), _watching("stepbridge/function.*")]


@pytest.mark.parametrize("app", APPS, ids=["shop", "wares", "one", "wildcard"])
@pytest.mark.parametrize("name", NAMES)
def test_the_rule_lets_through_what_the_engine_wants(app: App, name: str) -> None:
    """The same answer from the pattern on AWS as from the engine's own rule, which the local bus asks."""
    assert _passes(own_pattern(app, narrow=False), name) == wants(app, name)


@pytest.mark.parametrize(
    ("name", "source", "passes"),
    [
        ("ware/new", "anywhere", True),
        ("payment/completed", "anywhere", True),
        ("ware/recalled", "anywhere", True),
        ("stepbridge/function.finished", "shop", True),
        ("stepbridge/reply.wares", "shop", True),
        ("charge.failed", "aws.partner/stripe.com/1", True),
        ("charge.failed", "anywhere", False),
        ("Object Created", "aws.s3", False),
        ("payment/started", "anywhere", False),
        ("stepbridge/function.failed", "shop", False),
        ("stepbridge/reply.shop", "shop", False),
    ],
)
def test_a_narrow_rule_lets_through_what_is_declared(name: str, source: str, passes: bool) -> None:  # noqa: FBT001
    """Triggers, waits, cancels, and what other apps ask of this one; AWS's own come over the default bus."""
    assert _passes(own_pattern(wares, narrow=True), name, source) == passes


@pytest.mark.parametrize(
    ("name", "source", "passes"),
    [
        ("Object Created", "aws.s3", True),
        ("EC2 Spot Interruption", "aws.ec2", True),
        ("EC2 Spot Interruption", "aws.s3", False),
        ("charge.failed", "aws.partner/stripe.com/1", False),
        ("ware/new", "aws.s3", False),
    ],
)
def test_of_the_default_bus_only_what_triggers_name(name: str, source: str, passes: bool) -> None:  # noqa: FBT001
    """An account's every AWS event passes there."""
    assert _passes(aws_pattern(wares), name, source) == passes


def test_an_app_without_aws_triggers_has_no_rule_on_the_default_bus() -> None:
    """None is made where none is needed."""
    assert aws_pattern(shop) is None


def test_a_pattern_that_eventbridge_refuses_is_told_of_at_synthesis() -> None:
    """2,048 characters are all it takes, on either bus."""
    app = App("large")
    names = [f"an/event.of.which.there.are.many.{number}" for number in range(60)]

    @app.function("f", trigger=[*map(on, names), *(on(name, source="aws.s3") for name in names)])
    async def handler(ctx: Context) -> None:
        pass

    with pytest.raises(ConfigError, match=r"pattern of \d+ characters.*Mend"):
        own_pattern(app, narrow=True)
    with pytest.raises(ConfigError, match=r"pattern of \d+ characters.*Mend"):
        aws_pattern(app)
