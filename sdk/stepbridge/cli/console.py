"""`stepbridge console`: the page over a stack, on loopback, with the user's own credentials."""

from __future__ import annotations

import os
import secrets
import socket
from typing import TYPE_CHECKING, Final

from stepbridge.cli.output import Output
from stepbridge.cli.problems import USAGE, CommandError
from stepbridge.cli.target import explained

if TYPE_CHECKING:
    from stepbridge.app import App
    from stepbridge.aws.stacks import Deployed
    from stepbridge.console.on_aws import OnAws

_HOST: Final = "127.0.0.1"
_KEY_BYTES: Final = 24


def serve(source: OnAws, *, port: int, output: Output) -> None:
    """Serves the page until Ctrl-C.

    Raises:
        CommandError: The port cannot be used.
    """
    import uvicorn

    from stepbridge.console.web import console_app

    key = secrets.token_urlsafe(_KEY_BYTES)
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((_HOST, port))
        listening.listen()  # whoever is told the address may come before the server has begun
    except OSError as error:
        listening.close()
        message = f"the console cannot listen on port {port}: {error}. Mend: choose another one with --port."
        raise CommandError(message, USAGE) from error
    url = f"http://{_HOST}:{listening.getsockname()[1]}/?key={key}"
    if output.as_json:
        output.record({"ready": url, "app_id": source.title, "write": source.is_writable})
    else:
        does = "" if source.is_writable else ", read-only: --write lets it act"
        output.text(f"stepbridge console  app {source.title}, {source.place}{does}", "bold")
        output.text(f"Open {url}")
        output.text("Its key lets in whoever has it, until Ctrl-C.", "dim")
    uvicorn.Server(
        uvicorn.Config(console_app(source, key), log_level="warning", lifespan="off", proxy_headers=False)
    ).run([listening])


def found(stack: str, app_id: str | None, *, profile: str | None, region: str | None) -> Deployed:
    """The app that the stack holds.

    Raises:
        CommandError: There is none, or the account cannot be asked; says why.
    """
    from stepbridge.aws.stacks import deployed

    given = {"AWS_PROFILE": profile, "AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    os.environ.update({name: value for name, value in given.items() if value is not None})
    with explained():
        return deployed(stack, app_id)


def source_of(found: Deployed, stack: str, *, app: App | None, is_writable: bool) -> OnAws:
    """The runs of an app of a stack; `app` is its code, where that is at hand."""
    from stepbridge.aws.wiring import ports
    from stepbridge.client import Client
    from stepbridge.console.on_aws import OnAws
    from stepbridge.local.sites import records_of

    if app is not None and app.id != found.app_id:
        raise CommandError(f"the code is of app {app.id!r}, and the stack {stack!r} holds {found.app_id!r}.", USAGE)
    return OnAws(
        Client(settings=found.settings, app_id=found.app_id, function_ids=found.function_ids),
        records_of(found.app_id, ports(found.settings)),
        function_ids=found.function_ids,
        app=app,
        place=f"stack {stack}" + (f" in {found.settings.region}" if found.settings.region else ""),
        is_writable=is_writable,
    )
