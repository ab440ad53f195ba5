"""A deployed app, found by its stack's outputs."""

from __future__ import annotations

from xml.sax.saxutils import escape

import pytest
from botocore.exceptions import ClientError

from stepbridge import Client
from stepbridge.aws.clients import Clients
from stepbridge.aws.settings import Settings
from stepbridge.aws.stacks import Deployed, deployed, output_key, output_values
from stepbridge.errors import ConfigError
from tests.unit.aws_script import Answer, Script

SETTINGS = Settings(
    table="table",
    queue_url="https://sqs.eu-west-1.amazonaws.com/1/q",
    queue_arn="arn:aws:sqs:eu-west-1:123456789012:q",
    dlq_url="https://sqs.eu-west-1.amazonaws.com/1/d",
    dlq_arn="arn:aws:sqs:eu-west-1:123456789012:d",
    bus_arn="arn:aws:events:eu-west-1:123456789012:event-bus/b",
    schedule_group="group",
    scheduler_role_arn="arn:aws:iam::123456789012:role/r",
    blobs_bucket="bucket",
    blobs_prefix="shop/",
    region="eu-west-1",
)


def _outputs(app_id: str, *function_ids: str, without: str = "") -> dict[str, str]:
    settings = {name: text for name, text in SETTINGS.texts().items() if name not in {"region", without}}
    return {output_key(app_id, name): value for name, value in output_values(app_id, function_ids, settings).items()}


def _stack(outputs: dict[str, str]) -> Answer:
    rows = "".join(
        f"<member><OutputKey>{key}</OutputKey><OutputValue>{escape(value)}</OutputValue></member>"
        for key, value in outputs.items()
    )
    stack = f"<member><StackName>Shop</StackName><Outputs>{rows}</Outputs></member>"
    return (
        200,
        {},
        _answer("DescribeStacksResponse", f"<DescribeStacksResult><Stacks>{stack}</Stacks>", "</DescribeStacksResult>"),
    )


def _answer(kind: str, begin: str, end: str) -> bytes:
    return f'<{kind} xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">{begin}{end}</{kind}>'.encode()


def _refusal(code: str) -> Answer:
    return 400, {}, _answer("ErrorResponse", f"<Error><Code>{code}</Code><Message>says AWS</Message>", "</Error>")


def test_what_a_stack_puts_out_is_what_is_found() -> None:
    """Settings, the app's id and its functions, of any characters; other outputs do not matter."""
    script = Script(_stack({**_outputs("shop", "fulfil-order", "grüße <&> 🎉"), "Url": "https://example.com"}))
    found = deployed("Shop", clients=script.clients)
    assert found == Deployed(app_id="shop", function_ids=("fulfil-order", "grüße <&> 🎉"), settings=SETTINGS)
    assert script.operations == ["DescribeStacks"]
    assert all(value.isascii() for value in output_values("shop", ("grüße 🎉",), {}).values())  # CloudFormation's law


def test_of_several_apps_one_is_named() -> None:
    """Which there are is in the message."""
    script = Script(_stack({**_outputs("shop", "f"), **_outputs("my-stock", "g")}))
    assert deployed("Shop", "my-stock", script.clients).function_ids == ("g",)
    with pytest.raises(ConfigError, match=r"has the apps my-stock, shop. Mend: app_id="):
        deployed("Shop", clients=script.clients)
    with pytest.raises(ConfigError, match=r"has the apps my-stock, shop, not 'shops'"):
        deployed("Shop", "shops", script.clients)


def test_a_stack_that_is_not_there_is_told_of() -> None:
    """With the region that was looked in; what else AWS refuses comes as boto3 raises it."""
    with pytest.raises(ConfigError, match=r"no stack 'Shop' in eu-west-1: .*says AWS. Mend: its name as `cdk list`"):
        deployed("Shop", clients=Script(_refusal("ValidationError")).clients)
    with pytest.raises(ClientError, match="AccessDenied"):
        deployed("Shop", clients=Script(_refusal("AccessDenied")).clients)


def test_a_stacks_arn_says_its_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever region clients are of."""
    asked: list[str | None] = []
    far = Script(_stack(_outputs("shop", "f")))

    def clients(*, region: str | None) -> Clients:
        asked.append(region)
        return far.clients

    monkeypatch.setattr("stepbridge.aws.stacks.Clients", clients)
    arn = "arn:aws:cloudformation:eu-north-1:123456789012:stack/Shop/1"
    assert deployed(arn, clients=Script(_refusal("ValidationError")).clients).app_id == "shop"
    assert deployed("Shop").app_id == "shop"
    assert asked == ["eu-north-1", None]


def test_a_stack_of_something_else_is_told_of() -> None:
    """And one that another release has deployed."""
    with pytest.raises(ConfigError, match=r"'Shop' has no app of stepbridge. Mend"):
        deployed("Shop", clients=Script(_stack({"Url": "https://example.com"})).clients)
    older = Script(_stack(_outputs("shop", without="blobs_bucket")))
    with pytest.raises(ConfigError, match=r"another release's: .*'blobs_bucket'. Mend: deploy"):
        deployed("Shop", clients=older.clients)


def test_keys_are_those_that_cloudformation_takes() -> None:
    """Letters and digits."""
    assert output_key("my-shop2", "scheduler_role_arn") == "StepbridgeMyShop2SchedulerRoleArn"


def test_a_client_is_of_one_deployment() -> None:
    """By address, by stack or by settings."""
    with pytest.raises(ConfigError, match=r"give one of url= .*, stack= .* and settings="):
        Client(stack="Shop", settings=SETTINGS)
    with pytest.raises(ConfigError, match="give one of"):
        Client()
