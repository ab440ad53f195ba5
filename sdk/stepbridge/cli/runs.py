"""`stepbridge runs ...`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from stepbridge.cli import words
from stepbridge.cli.bulk import each, filter_of
from stepbridge.cli.live import Live
from stepbridge.cli.options import RunId
from stepbridge.cli.output import Output
from stepbridge.cli.problems import FAILED, CommandError
from stepbridge.cli.remote import Json
from stepbridge.cli.target import Target, targeted
from stepbridge.cli.timeline import ENDED, Timeline, run_note, step_note

_POLL_SECONDS: Final = 0.15
_ID_LENGTH: Final = 26
_RECENT: Final = 1000
"""Runs among which the beginning of an id is looked up."""

Function = Annotated[str | None, typer.Option("--function", "-f", help="Only runs of this function.")]
Status = Annotated[str | None, typer.Option("--status", "-s", help="Only runs of this status: FAILED, ...")]
Since = Annotated[str | None, typer.Option("--since", help="Only runs made within: 90s, 2h, 7d, or since an instant.")]
SomeRun = Annotated[
    str | None, typer.Argument(metavar="RUN_ID", help="As for `show`; or none, and --function, --status or --since.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Of several runs: do not ask first.")]

app = typer.Typer(help="List, show, watch, cancel, resume and rerun runs.", no_args_is_help=True)


@app.command("list")
@targeted
def list_runs(  # noqa: PLR0913, PLR0917 - its options
    target: Target,
    output: Output,
    function: Function = None,
    status: Status = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
) -> None:
    """List runs, newest first."""
    wanted = filter_of(function, status, since)
    found = wanted.page(target, limit=limit, cursor=cursor)
    if not found["runs"]:
        wanted.check_function(target)
    if output.as_json:
        output.document(found)
        return
    if not found["runs"]:
        output.text("There are no such runs." if function or status or since else "There are no runs yet.")
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
@targeted
def show(
    target: Target,
    output: Output,
    run_id: RunId,
    *,
    logs: Annotated[bool, typer.Option("--logs", help="And what it has logged.")] = False,
) -> None:
    """Show one run: its event, steps, output, error, and what it waits for."""
    run = target.get("runs", whole_id(target, run_id))
    kept = target.get("runs", run["run_id"], "logs") if logs else None
    if output.as_json:
        output.document(run if kept is None else {**run, "logs": kept})
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
    if kept is not None:
        _show_logs(kept, output)


def _show_logs(kept: Json, output: Output) -> None:
    output.text()
    if kept["dropped"]:
        output.text(f"... {kept['dropped']} older lines are gone", "dim")
    for line in kept["lines"]:
        at = words.moment(line["at"])
        step = f"  {line['step_id']}" if line["step_id"] else ""
        output.text(f"{'' if at is None else words.clock(at)}  {line['level']:<7}{step}  {line['message']}")
        output.block(line["stack"], "dim")


def _step_row(step: Json, now: datetime) -> list[str]:
    took = words.between(step["started_at"], step["ended_at"])
    name = step["step_id"] + (f" #{step['occurrence'] + 1}" if step["occurrence"] else "")
    note = step_note(step, now) or ("" if step["output"] is None else words.value(step["output"], 60))
    cells = [name, step["kind"], step["status"], str(step["attempts"]), "" if took is None else words.length(took)]
    return [*cells, note]


@app.command()
@targeted
def watch(target: Target, output: Output, run_id: RunId) -> None:
    """Follow a run to its end, live in a terminal, else line by line; exit code 1 where it does not end well."""
    follow(target, whole_id(target, run_id), output)


@app.command()
@targeted
def cancel(  # noqa: PLR0913 - its options
    target: Target,
    output: Output,
    run_id: SomeRun = None,
    function: Function = None,
    status: Status = None,
    since: Since = None,
    *,
    yes: Yes = False,
) -> None:
    """Cancel a run, or all that a filter finds, and the runs that they are waiting for."""
    wanted = filter_of(function, status, since, run_id)
    if run_id is not None:
        tell(target.post("runs", whole_id(target, run_id), "cancel"), output)
        return
    wanted = wanted.only(("QUEUED", "RUNNING", "SLEEPING", "PARKED"))
    each(target, output, wanted, "cancel", lambda row: target.post("runs", row["run_id"], "cancel"), sure=yes)


@app.command()
@targeted
def resume(  # noqa: PLR0913 - its options
    target: Target,
    output: Output,
    run_id: SomeRun = None,
    function: Function = None,
    status: Status = None,
    since: Since = None,
    *,
    yes: Yes = False,
) -> None:
    """Let a parked run go on, or all that a filter finds, their code mended."""
    wanted = filter_of(function, status, since, run_id)
    if run_id is not None:
        tell(target.post("runs", whole_id(target, run_id), "resume"), output)
        return
    wanted = wanted.only(("PARKED",))
    each(target, output, wanted, "resume", lambda row: target.post("runs", row["run_id"], "resume"), sure=yes)


@app.command()
@targeted
def rerun(  # noqa: PLR0913 - its options
    target: Target,
    output: Output,
    run_id: SomeRun = None,
    function: Function = None,
    status: Status = None,
    since: Since = None,
    *,
    from_step: Annotated[
        str | None,
        typer.Option(metavar="STEP", help="What was recorded before this step stands, and is not repeated."),
    ] = None,
    yes: Yes = False,
) -> None:
    """Start a new run with a run's event, or with each that a filter finds; the old ones stay as they are."""
    wanted = filter_of(function, status, since, run_id)
    body = {"from_step": from_step}
    if run_id is None:
        again = lambda row: target.post("runs", row["run_id"], "rerun", body=body)  # noqa: E731 - for one call
        each(target, output, wanted.only(tuple(ENDED)), "rerun", again, sure=yes)
        return
    started = target.post("runs", whole_id(target, run_id), "rerun", body=body)
    if output.as_json:
        output.document(started)
        return
    output.text(f"run {started['run_id']} of {started['function_id']}")
    output.text(f"Follow it: stepbridge runs watch {started['run_id']}")


def whole_id(target: Target, text: str) -> str:
    """The id of the run that is meant: `text`, or the one of late whose id begins with it.

    Raises:
        CommandError: Several do, or none.
    """
    if len(text) >= _ID_LENGTH:
        return text
    rows = target.get("runs", limit=_RECENT)["runs"]
    meant: list[str] = [row["run_id"] for row in rows if row["run_id"].startswith(text)]
    if len(meant) > 1:
        raise CommandError(f"{len(meant)} runs have ids that begin with {text!r}. Mend: give more of it.", FAILED)
    if not meant:
        raise CommandError(
            f"no run's id begins with {text!r:.80}, of the last {_RECENT}. Mend: `stepbridge runs list` shows the ids.",
            FAILED,
        )
    return meant[0]


def tell(run: Json, output: Output) -> None:
    """Says how a run stands."""
    if output.as_json:
        output.document(run)
    else:
        output.text(f"run {run['run_id']} of {run['function_id']} is {run['status']}  {run_note(run)}".rstrip())


def follow(target: Target, run_id: str, output: Output) -> None:
    """Shows a run until it has ended or is parked; ends the command with 1 unless it ended well.

    A run that has only just been asked for may not be there yet.
    """
    timeline = Timeline()
    with Live(output) as live:
        while True:
            run = _found(target, run_id)
            if live.is_shown:
                live.show(run, _now())
            else:
                for line in timeline.feed(run, _now()):
                    output.line(line)
            if run["status"] in ENDED or run["status"] == "PARKED":
                break
            time.sleep(_POLL_SECONDS)
    if run["status"] != "COMPLETED":
        raise typer.Exit(FAILED)


def _found(target: Target, run_id: str) -> Json:
    for pause in (0.02, 0.1, 0.5):
        try:
            return target.get("runs", run_id)
        except CommandError as error:
            if error.code != FAILED:
                raise
        time.sleep(pause)
    return target.get("runs", run_id)


def _now() -> datetime:
    return datetime.now(UTC).astimezone()


def _day(text: str | None) -> str:
    at: Any = words.moment(text)
    return "" if at is None else words.day(at)
