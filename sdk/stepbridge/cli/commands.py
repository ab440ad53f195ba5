"""The commands, and how they end."""

from __future__ import annotations

import os
import sys
import time
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Final

import typer

from stepbridge.cli import runs, words
from stepbridge.cli.init import init
from stepbridge.cli.options import AsJson, Data, RunId, data_of
from stepbridge.cli.output import Output
from stepbridge.cli.problems import FAILED, OK, CommandError
from stepbridge.cli.project import CONFIG
from stepbridge.cli.remote import Json, Remote
from stepbridge.cli.target import Target, targeted

_LOOKS_SECONDS: Final = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Pauses of `send` until it sees which runs its event has started."""

_LOOKS_ON_AWS_SECONDS: Final = (0.5, 1.0, 1.0, 1.0)
"""The same where a Lambda may have to start first."""

app = typer.Typer(
    name="stepbridge",
    help="Durable functions for Python on AWS: run them here, send events, look at runs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(runs.app, name="runs")
app.command()(init)


def run() -> int:
    """Runs the command of `sys.argv`; its exit code."""
    _make_ready()
    try:
        app(prog_name="stepbridge")
    except CommandError as error:
        print(f"stepbridge: {words.clean_lines(str(error))}", file=sys.stderr)
        return error.code
    except OSError as error:  # a full disk, a folder that is not ours
        what = words.clean(str(error.filename or "the output"))
        print(f"stepbridge: {what} cannot be used: {error.strerror}. Mend: free it, or name another.", file=sys.stderr)
        return FAILED
    return OK


def _make_ready() -> None:
    """Whatever the locale, arguments are UTF-8 and any text can be said; what is closed swallows it."""
    if sys.getfilesystemencoding() != "utf-8":
        sys.argv = [os.fsencode(one).decode("utf-8", "surrogateescape") for one in sys.argv]
    for name, mode in {"stdin": "r", "stdout": "w", "stderr": "w"}.items():
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - until the process ends
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="strict")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@app.command()
def dev(  # noqa: PLR0913 - its options
    app: Annotated[
        str | None, typer.Argument(metavar="APP", help=f"module:attribute; default: {CONFIG} in pyproject.toml.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of 127.0.0.1; 0: any that is free.")] = 8787,
    *,
    first_event: Annotated[bool, typer.Option(help="Send one event at the start and show what it does.")] = True,
    reload: Annotated[bool, typer.Option(help="Load the handlers anew when a file of the project changes.")] = True,
    state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep the runs in this file, for the next `dev`.")
    ] = None,
    backend: Annotated[
        str, typer.Option(metavar="memory|moto", help="moto: by the AWS adapters and the Lambda handler; slower.")
    ] = "memory",
    as_json: AsJson = False,
) -> None:
    """Run an app on this machine, on the engine that AWS will run, until Ctrl-C."""
    from stepbridge.cli.dev import serve

    output = Output(as_json=as_json)
    serve(app, port=port, first_event=first_event, reload=reload, state=state, backend=backend, output=output)


@app.command()
def console(  # noqa: PLR0913 - the options of a command
    app: Annotated[
        str | None,
        typer.Argument(metavar="[APP]", help="module:attribute of the deployed code, to show triggers and settings."),
    ] = None,
    *,
    stack: Annotated[str, typer.Option("--stack", help="The stack's name or ARN.")],
    app_id: Annotated[str | None, typer.Option("--app", help="Which app, of a stack with several.")] = None,
    profile: Annotated[str | None, typer.Option("--profile", help="Of the AWS credentials; as the AWS CLI.")] = None,
    region: Annotated[str | None, typer.Option("--region", help="The AWS region; as the AWS CLI.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Let the page act: send, invoke, cancel, rerun, ...")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of 127.0.0.1; 0: any that is free.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Show a stack's runs in the browser, on this machine only, with your AWS credentials; read-only, until Ctrl-C."""
    from stepbridge.cli.console import found, serve, source_of
    from stepbridge.cli.project import find_project

    there = found(stack, app_id, profile=profile, region=region)
    code = None if app is None else find_project(Path.cwd()).load(app)
    serve(source_of(there, stack, app=code, is_writable=write), port=port, output=Output(as_json=as_json))


@app.command()
@targeted
def send(
    target: Target,
    output: Output,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The event's name, 'order/created' say.")],
    data: Data = "{}",
    event_id: Annotated[
        str | None, typer.Option("--id", help="The event's id: the same one never starts a second run.")
    ] = None,
) -> None:
    """Send an event, and say which runs it starts."""
    event: Json = {"name": name, "data": data_of(data)}
    if event_id is not None:
        event["id"] = event_id
    (sent,) = target.post("events", body=event)["ids"]
    started = _started(target, name, sent)
    if output.as_json:
        output.document({"id": sent, "runs": started})
        return
    output.text(f"event {sent}")
    for row in started:
        output.text(f"run {row['run_id']} of {row['function_id']}")
    if started:
        output.text(f"Follow it: stepbridge runs watch {started[0]['run_id']}")
    else:
        output.text(_why_nothing(target, name, sent))


def _why_nothing(target: Target, name: str, event_id: str) -> str:
    """What an event has done that started no run; the local server knows."""
    if not isinstance(target, Remote):
        return "It has started no run so far."
    events = target.get("events", limit=50)["events"]
    for resolved in (one for event in events if event["id"] == event_id for one in event["resolved"]):
        return f"It has ended {resolved['step_id']!r} of run {resolved['run']['run_id']}"
    may = "It has started no run so far: an if_exp refuses it, or its id has come before."
    return words.no_trigger(name, target.get("functions")["functions"]) or may


def _started(target: Target, name: str, event_id: str) -> list[Json]:
    """The runs that the event has started; those of several functions come within moments of each other."""
    found: list[Json] = []
    local = isinstance(target, Remote)
    path = (event_id,) if local else (name, event_id)
    for pause in _LOOKS_SECONDS if local else _LOOKS_ON_AWS_SECONDS:
        before, found = len(found), target.get("events", *path, "runs")["runs"]
        if found and len(found) == before:
            break
        time.sleep(pause)
    return found


@app.command()
@targeted
def invoke(
    target: Target,
    output: Output,
    function: Annotated[str, typer.Argument(metavar="FUNCTION", help="The function's id.")],
    data: Data = "{}",
    *,
    wait: Annotated[bool, typer.Option(help="Follow the run to its end; exit code 1 where it fails.")] = True,
) -> None:
    """Run one function with this data, whatever its triggers."""
    started = target.post("functions", function, "invoke", body={"data": data_of(data)})
    if wait:
        runs.follow(target, started["run_id"], output)
    elif output.as_json:
        output.document(started)
    else:
        output.text(f"run {started['run_id']} of {started['function_id']}")


@app.command()
@targeted
def wake(target: Target, output: Output, run_id: RunId) -> None:
    """Skip time for one run of the local server: what it waits for next is due now."""
    whole = runs.whole_id(target, run_id)
    target.post("runs", whole, "wake")
    runs.tell(target.get("runs", whole), output)


@app.command()
@targeted
def functions(target: Target, output: Output) -> None:
    """List the functions, what triggers them, and what became of their runs."""
    found = target.get("functions")
    if output.as_json:
        output.document(found)
        return
    rows = [
        [
            row["app_id"],
            row["function_id"],
            ", ".join(_trigger(trigger) for trigger in row["triggers"]),
            ", ".join(f"{count} {status}" for status, count in row["runs"].items()) or "-",
        ]
        for row in found["functions"]
    ]
    output.table(["APP", "FUNCTION", "TRIGGERS", "RUNS"], rows)


def _trigger(trigger: Json) -> str:
    if "event" in trigger:
        return str(trigger["event"]) + (f" if {trigger['if_exp']}" if trigger["if_exp"] else "")
    if "cron" in trigger:
        return f"cron {trigger['cron']} {trigger['timezone']}"
    return "invoke"


@app.command()
@targeted
def events(
    target: Target,
    output: Output,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
) -> None:
    """List the last events of the local server, newest first, and the runs they started."""
    found = target.get("events", limit=limit, cursor=cursor)
    if output.as_json:
        output.document(found)
        return
    rows = []
    for event in found["events"]:
        at = words.moment(event["received_at"])
        what = event["problem"] or words.value(event["data"], 60)
        started = ", ".join(row["function_id"] for row in event["runs"]) or "-"
        rows.append(["" if at is None else words.day(at), event["name"], event["id"], what, started])
    output.table(["RECEIVED", "NAME", "ID", "DATA", "STARTED"], rows)
    if found["cursor"]:
        output.text(f"More: stepbridge events --cursor {found['cursor']}")


@app.command()
@targeted
def doctor(target: Target, output: Output) -> None:
    """Check this machine and the project, or with --stack what is deployed; exit code 1 where something has failed."""
    from stepbridge.cli.doctor import examine

    examine(target, output)
