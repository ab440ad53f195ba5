"""AWS clients, each made when it is first used: a cold start that writes a step makes one of them.

botocore without boto3, which saves 0.1 to 0.2 s of a cold start (measured 2026-11).
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import botocore.session
from botocore.config import Config
from botocore.loaders import Loader

from stepbridge.aws.prepared import prepare
from stepbridge.aws.settings import Settings, region_of
from stepbridge.core.limits import PORT_THREADS

if TYPE_CHECKING:  # the stubs are not there at run time
    from mypy_boto3_cloudformation.client import CloudFormationClient
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_events.client import EventBridgeClient
    from mypy_boto3_kms.client import KMSClient
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_scheduler.client import EventBridgeSchedulerClient
    from mypy_boto3_sqs.client import SQSClient

ATTEMPTS: Final = 4
"""Of one call, the first included. Throttled calls pause 0.5 s, 1 s and 2 s on average in between,
others a twentieth of that. Source: botocore 1.44.5, 2026-11."""
CONNECT_SECONDS: Final = 2
"""For a connection within a region, which takes milliseconds; the rest waits for a better host."""
READ_SECONDS: Final = 5
"""For an answer to begin; the slowest calls here take a second."""


class Clients:
    """One session's clients. Safe to share between threads, as the clients are themselves.

    Args:
        region: Of all clients; None: what `AWS_REGION`, `AWS_DEFAULT_REGION` or the profile says.
        endpoint_url: Of an emulator; None: AWS, or what `AWS_ENDPOINT_URL` says.
        session: Makes them; None: a new one, which has to read its models first.
    """

    def __init__(
        self,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        session: botocore.session.Session | None = None,
    ) -> None:
        self._session = session or _session()
        self._arguments: dict[str, Any] = {
            "region_name": region or region_of(),
            "endpoint_url": endpoint_url,
            "config": Config(
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                max_pool_connections=PORT_THREADS,
                tcp_keepalive=True,
            ),
        }
        self._made: dict[str, Any] = {}
        self._lock = Lock()

    @classmethod
    def of(cls, settings: Settings) -> Clients:
        """The clients for these settings."""
        return cls(region=settings.region, endpoint_url=settings.endpoint_url)

    def cloudformation(self) -> CloudFormationClient:
        """The CloudFormation client."""
        client: CloudFormationClient = self._client("cloudformation")
        return client

    def dynamodb(self) -> DynamoDBClient:
        """The DynamoDB client, its calls prepared."""
        client: DynamoDBClient = self._client("dynamodb")
        return client

    def sqs(self) -> SQSClient:
        """The SQS client."""
        client: SQSClient = self._client("sqs")
        return client

    def events(self) -> EventBridgeClient:
        """The EventBridge client."""
        client: EventBridgeClient = self._client("events")
        return client

    def scheduler(self) -> EventBridgeSchedulerClient:
        """The EventBridge Scheduler client."""
        client: EventBridgeSchedulerClient = self._client("scheduler")
        return client

    def s3(self) -> S3Client:
        """The S3 client."""
        client: S3Client = self._client("s3")
        return client

    def kms(self) -> KMSClient:
        """The KMS client."""
        client: KMSClient = self._client("kms")
        return client

    def other(self, service: str) -> Any:
        """The client of a service that only `doctor` asks."""
        return self._client(service)

    def _client(self, service: str) -> Any:
        if service not in self._made:
            with self._lock:  # a session makes clients for one thread at a time
                if service not in self._made:
                    client = self._session.create_client(service, **self._arguments)
                    if service == "dynamodb":
                        prepare(client, ATTEMPTS)
                    self._made[service] = client
        return self._made[service]


class _Loader(Loader):
    """Finds the services by the names of their folders.

    botocore's looks into each of four hundred, twice, for who has a model: 15 ms of a start (measured 2026-11).
    """

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - botocore's signature
        """All that may have models; one that lacks this type is told of when that is loaded."""
        return sorted(one.name for path in map(Path, self.search_paths) if path.is_dir() for one in path.iterdir())


def _session() -> botocore.session.Session:
    """A new one; models are looked for where the environment and the profile say."""
    session = botocore.session.get_session()
    paths = session.get_component("data_loader").search_paths
    session.register_component("data_loader", _Loader(paths, include_default_search_paths=False))
    return session
