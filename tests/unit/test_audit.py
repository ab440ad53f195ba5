"""What guards the repository itself: known vulnerabilities of what is locked, and secrets that leaked."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ASKED: list[str] = []
KNOWN: list[dict[str, Any]] = []


class Registry(BaseHTTPRequestHandler):
    """PyPI, which knows something of jinja2."""

    def do_GET(self) -> None:
        """`/pypi/{name}/{version}/json`."""
        ASKED.append(self.path)
        known = KNOWN if "/jinja2/" in self.path else []
        body = json.dumps({"info": {}, "vulnerabilities": known}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Nothing."""


def vulnerability(withdrawn: str | None = None) -> dict[str, Any]:
    """As PyPI tells of one."""
    return {"id": "GHSA-1234", "link": "https://osv.dev/vulnerability/GHSA-1234", "withdrawn": withdrawn}


@pytest.fixture
def registry() -> Iterator[str]:
    """Its address."""
    ASKED.clear()
    KNOWN.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def audit(url: str) -> subprocess.CompletedProcess[str]:
    """`make audit`, with another registry."""
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, str(ROOT / ".ci" / "audit"), url], capture_output=True, text=True, check=False
    )


def test_every_locked_package_is_asked_for(registry: str) -> None:
    """By name and version of the lock file; our own package is none of them."""
    done = audit(registry)
    names = {path.split("/")[2] for path in ASKED}
    assert done.returncode == 0
    assert {"boto3", "pydantic", "cryptography", "ruff"} < names
    assert "stepbridge" not in names
    assert all(path.split("/")[3] for path in ASKED)
    assert f"Audited {len(set(ASKED))} packages of uv.lock: 0 vulnerabilities" in done.stdout


def test_a_known_vulnerability_fails(registry: str) -> None:
    """With package, version and where to read about it."""
    KNOWN.append(vulnerability())
    done = audit(registry)
    assert done.returncode == 1
    assert "jinja2" in done.stdout
    assert "https://osv.dev/vulnerability/GHSA-1234" in done.stdout


def test_a_withdrawn_one_does_not(registry: str) -> None:
    """It was none."""
    KNOWN.append(vulnerability(withdrawn="2026-01-01T00:00:00Z"))
    assert audit(registry).returncode == 0


def test_without_a_network_it_says_so_and_fails_nothing() -> None:
    """Nobody listens there."""
    done = audit("http://127.0.0.1:1")
    assert done.returncode == 0
    assert done.stdout.startswith("NOT AUDITED: http://127.0.0.1:1 cannot be asked")


@pytest.mark.slow
def test_a_leaked_key_is_noticed(tmp_path: Path) -> None:
    """`make lint` fails for a key of AWS, wherever it stands."""
    leak = tmp_path / "settings.py"
    leak.write_text(f'KEY = "AKIA{"IOSFODNN7EXAMPLF"}"\n')
    hook = [str(Path(sys.executable).parent / "detect-secrets-hook"), "--no-verify", "--baseline", ".secrets.baseline"]
    done = subprocess.run([*hook, str(leak)], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - as above
    assert done.returncode == 1
    assert "AWS Access Key" in done.stdout
