"""`stepbridge runs ...`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from stepbridge.cli import words
from stepbridge.cli.options import URL, AsJson, RunId, Url
from stepbridge.cli.output import Output
from stepbridge.cli.problems import FAILED, CommandError
from stepbridge.cli.remote import Json, Remote
from stepbridge.cli.timeline import ENDED, Timeline, run_note, step_note

_POLL_SECONDS: Final = 0.15
_ID_LENGTH: Final = 26
_RECENT: Final = 1000
"""Runs among which the beginning of an id is looked up."""

app = typer.Typer(help="List, show, watch, cancel, resume and rerun runs.", no_args_is_help=True)


@app.command("list")
def list_runs(
    function: Annotated[str | None, typer.Option("--function", "-f", help="Only runs of this function.")] = None,
    status: Annotated[str | None, typer.Option("--status", "-s", help="Only runs of this status: FAILED, ...")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    url: Url = URL,
    *,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    found = Remote(url).get("runs", function_id=function, status=status, limit=limit, cursor=cursor)
    output = Output(as_json=as_json)
    if as_json:
        output.document(found)
        return
    rows = []
    for run in found["runs"]:
        at = words.moment(run["created_at"])
        took = words.between(run["created_at"], run["ended_at"])
        rows.append(
            [
                run["run_id"],
                run["function_id"],
                run["status"],
                run["event"]["name"],
                "" if at is None else words.day(at),
                "" if took is None else words.length(took),
            ]
        )
    output.table(["RUN", "FUNCTION", "STATUS", "EVENT", "CREATED", "TOOK"], rows)
    if found["cursor"]:
        output.text(f"More: stepbridge runs list --cursor {found['cursor']}")


@app.command()
def show(run_id: RunId, url: Url = URL, *, as_json: AsJson = False) -> None:
    """Show one run: its event, steps, output, error, and what it waits for."""
    remote, output = Remote(url), Output(as_json=as_json)
    run = remote.get("runs", whole_id(remote, run_id))
    if as_json:
        output.document(run)
        return
    now = _now()
    facts = {
        "run": run["run_id"],
        "function": run["function_id"],
        "status": run["status"],
        "event": f"{run['event']['name']}  {run['event']['id']}",
        "data": words.value(run["event"]["data"], 500),
        "created": _day(run["created_at"]),
        "ended": _day(run["ended_at"]),
        "parent": run["parent_id"] or "",
        "rerun of": run["rerun_of"] or "",
        "output": "" if run["output"] is None else words.value(run["output"], 500),
    }
    for name, fact in facts.items():
        if fact:
            output.text(f"{name:<10}{fact}")
    if run["steps"]:
        output.text()
        output.table(
            ["STEP", "KIND", "STATUS", "ATTEMPTS", "TOOK", ""], [_step_row(step, now) for step in run["steps"]]
        )
    if run["error"] is not None:
        output.text()
        output.block(run["error"]["stack"] or f"{run['error']['name']}: {run['error']['message']}", "red")


def _step_row(step: Json, now: datetime) -> list[str]:
    took = words.between(step["started_at"], step["ended_at"])
    name = step["step_id"] + (f" #{step['occurrence'] + 1}" if step["occurrence"] else "")
    note = step_note(step, now) or ("" if step["output"] is None else words.value(step["output"], 60))
    cells = [name, step["kind"], step["status"], str(step["attempts"]), "" if took is None else words.length(took)]
    return [*cells, note]


@app.command()
def watch(run_id: RunId, url: Url = URL, *, as_json: AsJson = False) -> None:
    """Follow a run, line by line, to its end; exit code 1 where it does not end well."""
    remote = Remote(url)
    follow(remote, whole_id(remote, run_id), Output(as_json=as_json))


@app.command()
def cancel(run_id: RunId, url: Url = URL, *, as_json: AsJson = False) -> None:
    """Cancel a run, and the runs that it is waiting for."""
    remote = Remote(url)
    tell(remote.post("runs", whole_id(remote, run_id), "cancel"), Output(as_json=as_json))


@app.command()
def resume(run_id: RunId, url: Url = URL, *, as_json: AsJson = False) -> None:
    """Let a parked run go on, its code mended."""
    remote = Remote(url)
    tell(remote.post("runs", whole_id(remote, run_id), "resume"), Output(as_json=as_json))


@app.command()
def rerun(
    run_id: RunId,
    from_step: Annotated[
        str | None,
        typer.Option(metavar="STEP", help="What was recorded before this step stands, and is not repeated."),
    ] = None,
    url: Url = URL,
    *,
    as_json: AsJson = False,
) -> None:
    """Start a new run with a run's event; the run itself stays as it is."""
    remote, output = Remote(url), Output(as_json=as_json)
    started = remote.post("runs", whole_id(remote, run_id), "rerun", body={"from_step": from_step})
    if as_json:
        output.document(started)
        return
    output.text(f"run {started['run_id']} of {started['function_id']}")
    output.text(f"Follow it: stepbridge runs watch {started['run_id']}")


def whole_id(remote: Remote, text: str) -> str:
    """The id of the run that is meant: `text`, or the one of late whose id begins with it.

    Raises:
        CommandError: Several do.
    """
    if len(text) >= _ID_LENGTH:
        return text
    rows = remote.get("runs", limit=_RECENT)["runs"]
    meant = [row["run_id"] for row in rows if row["run_id"].startswith(text)]
    if len(meant) > 1:
        raise CommandError(f"{len(meant)} runs have ids that begin with {text!r}. Mend: give more of it.", FAILED)
    return meant[0] if meant else text


def tell(run: Json, output: Output) -> None:
    """Says how a run stands."""
    if output.as_json:
        output.document(run)
    else:
        output.text(f"run {run['run_id']} of {run['function_id']} is {run['status']}  {run_note(run)}".rstrip())


def follow(remote: Remote, run_id: str, output: Output) -> None:
    """Prints a run's lines until it has ended or is parked; ends the command with 1 unless it ended well.

    A run that has only just been asked for may not be there yet.
    """
    timeline = Timeline()
    while True:
        run = _found(remote, run_id)
        for line in timeline.feed(run, _now()):
            output.line(line)
        if run["status"] in ENDED or run["status"] == "PARKED":
            break
        time.sleep(_POLL_SECONDS)
    if run["status"] != "COMPLETED":
        raise typer.Exit(FAILED)


def _found(remote: Remote, run_id: str) -> Json:
    for pause in (0.02, 0.1, 0.5):
        try:
            return remote.get("runs", run_id)
        except CommandError as error:
            if error.code != FAILED:
                raise
        time.sleep(pause)
    return remote.get("runs", run_id)


def _now() -> datetime:
    return datetime.now(UTC).astimezone()


def _day(text: str | None) -> str:
    at: Any = words.moment(text)
    return "" if at is None else words.day(at)
