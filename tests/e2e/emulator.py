"""An AWS emulator in a process of its own, and the programs that a user drives it with: cdk, aws, stepbridge."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Self, TypeVar

Found = TypeVar("Found")

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".venvs" / "e2e"
"""`make e2e` fills it."""
ACCOUNT = "000000000000"
REGION = "us-east-1"


class Emulator:
    """ministack on a free port of the loopback, with TLS, enforcing IAM; all that it writes is in `folder`."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._folder = folder
        self._log = folder / "emulator.log"
        self._certificate = folder / "ministack-tls" / "server.crt"  # which it makes when it starts
        self.url = f"https://127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """All that a user sets, so that cdk, aws, boto3 and stepbridge talk to the emulator, as its root."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_", "PYTHON"))}
        return {
            **own,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",  # pragma: allowlist secret
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_CA_BUNDLE": str(self._certificate),
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_PAGER": "",
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "JSII_NODE": str(Path(sys.prefix, "bin", "node")),
            "NODE_EXTRA_CA_CERTS": str(self._certificate),
            "NO_PROXY": "127.0.0.1",
            "PATH": f"{Path(sys.prefix, 'bin')}:{own['PATH']}",
            "PYTHONPATH": str(ROOT / "sdk"),
        }

    def __enter__(self) -> Self:
        switches = {
            "AUTH": "true",
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self._port),
            "TMPDIR": str(self._folder),
            "USE_SSL": "1",
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the environment's
                [str(TOOLS / "bin" / "ministack")],
                env={**self.environment, **switches},
                cwd=self._folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            until(self._is_up, "the emulator answers", seconds=60)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it and the functions' processes, which would outlive it."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _is_up(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"the emulator ended: {self.log[-2000:]}")
        if not self._certificate.exists():
            return False
        trust = ssl.create_default_context(cafile=self._certificate)
        connection = HTTPSConnection("127.0.0.1", self._port, timeout=5, context=trust)
        try:
            connection.request("GET", "/_ministack/health")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    @property
    def log(self) -> str:
        """All that it has said."""
        return self._log.read_text(errors="replace")

    # -- what a user types -------------------------------------------------------------------------
    def cdk(self, *arguments: str, project: Path) -> str:
        """`cdk ...` in a project, by the CLI that `package.json` pins."""
        cli = TOOLS / "node_modules" / "aws-cdk" / "bin" / "cdk"
        quiet = ("--no-notices", "--no-color", "--ci")
        return run("node", str(cli), *arguments, *quiet, cwd=project, environment=self.environment)

    def aws(self, *arguments: str, **parameters: Any) -> Any:
        """`aws ...`, as root; structures are given as JSON, and what is printed is read as such."""
        given = [
            text for name, value in parameters.items() for text in (f"--{name.replace('_', '-')}", _argument(value))
        ]
        always = ("--endpoint-url", self.url, "--output", "json")
        printed = run(str(TOOLS / "bin" / "aws"), *arguments, *given, *always, environment=self.environment)
        return json.loads(printed or "null")


def _argument(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def run(*command: str, environment: Mapping[str, str], cwd: Path = ROOT) -> str:
    """What the command prints; it ends well, within four minutes."""
    done = subprocess.run(  # noqa: S603 - our own arguments, no shell
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
    return done.stdout


def until(look: Callable[[], Found], what: str, *, seconds: float = 60) -> Found:
    """What `look` finds, once it is true."""
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.2)
    return found
