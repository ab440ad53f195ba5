"""What to try next, as commands that can be copied into a shell."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from stepbridge.cli.remote import DEFAULT_URL

Json = dict[str, Any]


def next_commands(url: str, event: Json | None, function_id: str | None, waiting: Json | None) -> list[tuple[str, str]]:
    """Pairs of what it does and the command.

    Args:
        url: The server's.
        event: Name and data of an event that starts a function; None: no event does.
        function_id: Of a function, to be run where no event does; None: the app has none.
        waiting: What a run of the first event waits for, None where none does.
    """
    stepbridge = _shown("stepbridge")
    there = "" if url == DEFAULT_URL else f" --url {url}"
    commands = []
    if waiting is not None:
        wanted = shlex.quote(json.dumps(_nested(waiting["match"])))
        command = f"{stepbridge} send {shlex.quote(waiting['event'])} {wanted}{there}"
        commands.append(("Send what the run waits for", command))
    if event is not None:
        name, detail = event["name"], json.dumps(event["data"])
        commands += [
            ("Send an event", f"{stepbridge} send {shlex.quote(name)} {shlex.quote(detail)}{there}"),
            *_from_aws_clients(url, name, detail),
        ]
    elif function_id is not None:
        commands.append(("Run a function", f"{stepbridge} invoke {shlex.quote(function_id)} '{{}}'{there}"))
    return [*commands, ("List the runs", f"{stepbridge} runs list{there}")]


def _from_aws_clients(url: str, name: str, detail: str) -> list[tuple[str, str]]:
    aws = f"aws events put-events --no-sign-request --region us-east-1 --endpoint-url {url}"
    entries = json.dumps([{"Source": "shell", "DetailType": name, "Detail": detail}])
    entry = f'{{"Source": "python", "DetailType": {json.dumps(name)}, "Detail": {json.dumps(detail)}}}'
    keys = 'aws_access_key_id="x", aws_secret_access_key="x"'
    client = f'boto3.client("events", "us-east-1", endpoint_url="{url}", {keys})'
    program = f'import boto3; print({client}.put_events(Entries=[{entry}])["Entries"])'
    return [
        ("The same from the AWS CLI", f"{aws} --entries {shlex.quote(entries)}"),
        ("The same from boto3", f"{_shown('python')} -c {shlex.quote(program)}"),
    ]


def _nested(match: dict[str, Any] | None) -> dict[str, Any]:
    """The data of an event that matches: `data.a.b` as a dict of dicts."""
    data: dict[str, Any] = {}
    for path, held in (match or {}).items():
        keys = path.split(".")
        if keys[0] != "data" or len(keys) == 1:
            continue
        inner = data
        for key in keys[1:-1]:
            inner = inner.setdefault(key, {})
        inner[keys[-1]] = held
    return data


def _shown(program: str) -> str:
    """How the program of this environment is called from this folder."""
    mine = Path(sys.executable).parent / program
    found = shutil.which(program)
    if found is not None and Path(found).parent == mine.parent:
        return program
    if not mine.exists():
        return program
    relative = os.path.relpath(mine)
    return shlex.quote(relative if not relative.startswith("..") else str(mine))
