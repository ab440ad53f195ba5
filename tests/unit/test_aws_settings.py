"""Settings come from the environment, and say at once what is missing or wrong."""

from __future__ import annotations

import pytest

from stepbridge.aws.settings import Settings
from stepbridge.errors import ConfigError

KEYS = [f"arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/{name}" for name in ("8c2d", "mrk-1")]
ENVIRONMENT = {
    "STEPBRIDGE_TABLE": "shop",
    "STEPBRIDGE_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/shop",
    "STEPBRIDGE_QUEUE_ARN": "arn:aws:sqs:eu-west-1:123456789012:shop",
    "STEPBRIDGE_DLQ_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/dead",
    "STEPBRIDGE_DLQ_ARN": "arn:aws:sqs:eu-west-1:123456789012:dead",
    "STEPBRIDGE_BUS_ARN": "arn:aws-cn:events:cn-north-1:123456789012:event-bus/shop",
    "STEPBRIDGE_SCHEDULE_GROUP": "shop",
    "STEPBRIDGE_SCHEDULER_ROLE_ARN": "arn:aws:iam::123456789012:role/path/shop+1",
    "STEPBRIDGE_BLOBS_BUCKET": "shop-blobs",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "us-east-1",
}
OPTIONAL = {
    "STEPBRIDGE_BLOBS_PREFIX": "shop/",
    "STEPBRIDGE_REGION": "eu-north-1",
    "STEPBRIDGE_ENDPOINT_URL": "http://127.0.0.1:4566",
    "STEPBRIDGE_NARROW_RULE": "True",
    "STEPBRIDGE_RETENTION_DAYS": "90",
    "STEPBRIDGE_KMS_KEY_ARN": KEYS[0],
    "STEPBRIDGE_ENCRYPTION_KEYS": ",".join(KEYS),
}


def test_the_stacks_variables_are_the_settings() -> None:
    """What is optional may be left out; the region is Lambda's own."""
    assert Settings.from_environment(ENVIRONMENT) == Settings(
        table="shop",
        queue_url="https://sqs.eu-west-1.amazonaws.com/123456789012/shop",
        queue_arn="arn:aws:sqs:eu-west-1:123456789012:shop",
        dlq_url="https://sqs.eu-west-1.amazonaws.com/123456789012/dead",
        dlq_arn="arn:aws:sqs:eu-west-1:123456789012:dead",
        bus_arn="arn:aws-cn:events:cn-north-1:123456789012:event-bus/shop",
        schedule_group="shop",
        scheduler_role_arn="arn:aws:iam::123456789012:role/path/shop+1",
        blobs_bucket="shop-blobs",
        blobs_prefix="",
        region="eu-west-1",
        endpoint_url=None,
    )


def test_what_is_optional_can_be_set() -> None:
    """And comes before what Lambda says."""
    settings = Settings.from_environment(ENVIRONMENT | OPTIONAL)
    assert settings.blobs_prefix == "shop/"
    assert settings.region == "eu-north-1"
    assert settings.endpoint_url == "http://127.0.0.1:4566"
    assert settings.narrow_rule
    assert settings.retention_days == 90
    assert (settings.kms_key_arn, settings.encryption_keys.split(",")) == (KEYS[0], KEYS)
    assert Settings.of(settings.texts()) == settings


def test_without_any_region_the_profile_decides() -> None:
    """None is passed on to botocore."""
    environ = {name: value for name, value in ENVIRONMENT.items() if "REGION" not in name}
    assert Settings.from_environment(environ).region is None
    assert Settings.from_environment(environ | {"AWS_DEFAULT_REGION": "eu-west-3"}).region == "eu-west-3"


@pytest.mark.parametrize("name", [name for name in ENVIRONMENT if name.startswith("STEPBRIDGE")])
def test_a_missing_variable_is_named(name: str) -> None:
    """Not set, or set to nothing."""
    with pytest.raises(ConfigError, match=f"{name} is not set.*Mend: deploy"):
        Settings.from_environment({**ENVIRONMENT, name: ""})


@pytest.mark.parametrize("name", [name for name in ENVIRONMENT if name.startswith("STEPBRIDGE")])
@pytest.mark.parametrize("value", ["a b", "arn:aws:sqs:eu-west-1:1234:shop", "https://", "\u00e9\u00e9\u00e9"])
def test_a_wrong_variable_is_named_with_what_it_should_be(name: str, value: str) -> None:
    """The message shows what was found."""
    with pytest.raises(ConfigError, match=f"{name} is .*, which is not (the|a|an) "):
        Settings.from_environment({**ENVIRONMENT, name: value})


@pytest.mark.parametrize("name", OPTIONAL)
def test_what_is_optional_is_checked_too(name: str) -> None:
    """Where it is set."""
    with pytest.raises(ConfigError, match=f"{name} is 'a b', which is not "):
        Settings.from_environment({**ENVIRONMENT, name: "a b"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STEPBRIDGE_RETENTION_DAYS", "0"),
        ("STEPBRIDGE_QUEUE_ARN", "arn:aws:sqs:eu-west-1:123456789012:shop.fifo"),
        ("STEPBRIDGE_NARROW_RULE", "False"),
    ],
)
def test_what_would_work_otherwise_than_it_looks_is_wrong(name: str, value: str) -> None:
    """Records that go at once, a queue without delays, a no that would count as a yes."""
    with pytest.raises(ConfigError, match=f"{name} is '{value}', which is not "):
        Settings.from_environment({**ENVIRONMENT, name: value})


def test_a_bus_is_never_a_mere_name() -> None:
    """EventBridge would take events for a name it does not know, and drop them."""
    with pytest.raises(ConfigError, match="which is not the ARN of an EventBridge bus"):
        Settings.from_environment({**ENVIRONMENT, "STEPBRIDGE_BUS_ARN": "shop"})


def test_all_that_is_wrong_is_named_at_once() -> None:
    """One deployment mends it."""
    with pytest.raises(ConfigError, match=r"STEPBRIDGE_TABLE is not set; .*STEPBRIDGE_BLOBS_BUCKET is"):
        Settings.from_environment({})


def test_the_log_level_is_the_stacks_or_lambdas() -> None:
    """In Python's words, whichever names it; INFO where neither does."""
    told = {"AWS_LAMBDA_LOG_LEVEL": "WARN"}
    assert Settings.from_environment(ENVIRONMENT).log_level == "INFO"
    assert Settings.from_environment(ENVIRONMENT | told).log_level == "WARNING"
    assert Settings.from_environment(ENVIRONMENT | told | {"STEPBRIDGE_LOG_LEVEL": "DEBUG"}).log_level == "DEBUG"
    with pytest.raises(ConfigError, match="STEPBRIDGE_LOG_LEVEL is 'LOUD'"):
        Settings.from_environment(ENVIRONMENT | {"STEPBRIDGE_LOG_LEVEL": "LOUD"})
