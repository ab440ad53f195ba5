"""A deployed app, found by its stack: `stepbridge.cdk` writes outputs, clients read them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from stepbridge.aws.clients import Clients
from stepbridge.aws.failures import code_of
from stepbridge.aws.settings import Settings
from stepbridge.errors import ConfigError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.client import CloudFormationClient

APP: Final = "app"
"""The output that holds the app's id."""
FUNCTIONS: Final = "functions"
"""The output that holds the ids of its functions, as a JSON array."""
PERMISSION: Final = "cloudformation:DescribeStacks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """One app of a stack."""

    app_id: str
    function_ids: tuple[str, ...]
    settings: Settings


def output_key(app_id: str, name: str) -> str:
    """The key of the stack's output that holds a setting: `StepbridgeShopQueueUrl`."""
    return "Stepbridge" + "".join(part.capitalize() for part in (*app_id.split("-"), *name.split("_")))


def output_values(app_id: str, function_ids: Sequence[str], settings: Mapping[str, str]) -> dict[str, str]:
    """What a stack puts out for an app, by the names that `output_key` takes."""
    return {APP: app_id, FUNCTIONS: json.dumps(list(function_ids), ensure_ascii=True), **settings}


def deployed(stack: str, app_id: str | None = None, clients: Clients | None = None) -> Deployed:
    """The app that a stack holds; one request.

    Args:
        stack: Its name or its ARN, whose region then counts.
        app_id: Of a stack with several apps, which.
        clients: Of a session to share; None: of a new one.

    Raises:
        ConfigError: There is no such stack or app in this account and region; names what there is, and the mend.
    """
    region = stack.split(":")[3] if stack.startswith("arn:") and stack.count(":") >= 5 else None  # noqa: PLR2004 - ARNs
    if clients is None or region is not None:
        clients = Clients(region=region)
    client = clients.cloudformation()
    return read(stack, _outputs(client, stack), app_id, client.meta.region_name)


def _outputs(client: CloudFormationClient, stack: str) -> dict[str, str]:
    try:
        (found,) = client.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if code_of(error) != "ValidationError":
            raise
        raise ConfigError(
            f"there is no stack {stack!r} in {client.meta.region_name}: {error}. Mend: its name as `cdk list` prints"
            " it, and the region and account that it was deployed to."
        ) from error
    return {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", [])}


def read(stack: str, outputs: Mapping[str, str], app_id: str | None, region: str | None) -> Deployed:
    """The app that a stack's outputs tell of; see `deployed`."""
    apps = [value for key, value in outputs.items() if key == output_key(value, APP)]
    if not apps:
        raise ConfigError(f"the stack {stack!r} has no app of stepbridge. Mend: name one made with StepbridgeApp.")
    wanted = app_id if app_id is not None else apps[0]
    if wanted not in apps or (app_id is None and len(apps) > 1):
        named = "" if app_id is None else f", not {app_id!r}"
        raise ConfigError(f"the stack {stack!r} has the apps {', '.join(sorted(apps))}{named}. Mend: app_id= of one.")
    names = {field.name for field in fields(Settings)}
    given = {name: outputs[key] for name in names if (key := output_key(wanted, name)) in outputs}
    try:
        settings = Settings.of({"region": region or "", **given})
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"the outputs of app {wanted!r} of the stack {stack!r} are another release's: {error}. Mend: deploy it with"
            " this release of stepbridge."
        ) from error
    ids: list[str] = json.loads(outputs.get(output_key(wanted, FUNCTIONS), "[]"))
    return Deployed(app_id=wanted, function_ids=tuple(ids), settings=settings)
