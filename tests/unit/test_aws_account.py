"""An account as people at a terminal have it: which one, and what it answers where it does not do as asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, NoRegionError

from stepbridge.aws.account import AccountError, clients_of, settings_in, told
from stepbridge.aws.failures import Misconfigured, Unavailable
from stepbridge.errors import ConfigError
from tests.contract.aws_backend import settings


def refusal(code: str) -> ClientError:
    """Of AWS, as boto3 raises it."""
    return ClientError({"Error": {"Code": code, "Message": "says AWS"}}, "Query")


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (refusal("AccessDeniedException"), "says AWS.*Mend: allow these credentials the call"),
        (refusal("ValidationException"), "says AWS.*Mend: see it"),
        (NoCredentialsError(), "Mend: sign in"),
        (NoRegionError(), "Mend: name the region by --region"),
        (EndpointConnectionError(endpoint_url="https://aws"), "https://aws.*Mend: see to the network"),
        (Misconfigured("It is gone. Mend: deploy."), r"^It is gone\. Mend: deploy\.$"),
        (Unavailable("It sleeps."), "^It sleeps"),
    ],
    ids=["denied", "wrong", "nobody", "nowhere", "away", "amiss", "asleep"],
)
def test_whatever_the_sdk_raises_names_a_mend(raised: Exception, words: str) -> None:
    """A denied call another one than a wrong one."""
    with pytest.raises(AccountError, match=words), told():
        raise raised


def test_the_option_comes_before_the_environment_and_that_before_the_profile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As with the AWS CLI; a profile that is not there is told of with those that are."""
    config = tmp_path / "config"
    config.write_text("[profile shop]\nregion = eu-north-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    assert clients_of("shop", "eu-west-1").sqs().meta.region_name == "eu-west-1"
    assert clients_of("shop", None).sqs().meta.region_name == "eu-west-3"
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    assert clients_of("shop", None).sqs().meta.region_name == "eu-north-1"
    with pytest.raises(ConfigError, match=r"nobody.*there are: shop\. Mend: --profile"):
        clients_of("nobody", None)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "1",
        '{"app_id": "shop"}',
        '{"app_id": "shop", "function_ids": []}',
        '{"app_id": "shop", "function_ids": 1}',
        json.dumps({"app_id": "shop", "function_ids": [], **settings().texts(), "colour": "red"}),
    ],
)
def test_a_file_that_tells_of_no_app_is_named(tmp_path: Path, content: str) -> None:
    """With what it should hold."""
    file = tmp_path / "app.json"
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"app\.json does not tell of an app: .*Mend: a JSON object with app_id"):
        settings_in(file)
