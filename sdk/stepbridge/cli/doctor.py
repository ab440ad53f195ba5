"""`stepbridge doctor`: what is amiss, here or on AWS, and the mend."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from stepbridge.cli import words
from stepbridge.cli.output import Output
from stepbridge.cli.problems import FAILED, CommandError
from stepbridge.cli.project import find_project
from stepbridge.cli.target import OnAws, Target

if TYPE_CHECKING:
    from stepbridge.aws.doctor import Finding

_SIGNS: Final = {
    "ok": ("ok", "green"),
    "warn": ("warn", "yellow"),
    "fail": ("FAIL", "bold red"),
    "unknown": ("?", "cyan"),
}
_PYTHONS: Final = ((3, 11), (3, 14))


def examine(target: Target, output: Output) -> None:
    """Prints each finding as it is made; ends the command with 1 where a check has failed."""
    findings = []
    for finding in _findings(target):
        findings.append(finding)
        sign, style = _SIGNS[finding.state]
        output.text(f"{sign:<5} {finding.check:<13} {finding.text}", style if finding.state != "ok" else "")
        if finding.mend:
            output.text(f"{'':<20}Mend: {finding.mend}.", "dim")
    failed = [finding for finding in findings if finding.state == "fail"]
    if output.as_json:
        output.document({"healthy": not failed, "findings": [asdict(finding) for finding in findings]})
    else:
        output.text()
        output.text(f"{words.count(len(findings), 'finding')}, {words.count(len(failed), 'failure')}", "bold")
    if failed:
        raise typer.Exit(FAILED)


def _findings(target: Target) -> Iterator[Finding]:
    yield from _here()
    if isinstance(target, OnAws):
        from stepbridge.aws import doctor

        yield from doctor.examine(target.account)
    else:
        yield from _project()
        yield from _server(target)


def _here() -> Iterator[Finding]:
    from stepbridge.aws.doctor import Finding

    python = platform.python_version()
    fits = _PYTHONS[0] <= sys.version_info[:2] <= _PYTHONS[1]
    mend = "" if fits else "use CPython 3.11 to 3.14"
    try:
        release = version("stepbridge")
    except PackageNotFoundError:
        release = "from its sources"
    state = "ok" if fits else "fail"
    yield Finding(check="versions", state=state, text=f"stepbridge {release} on Python {python}", mend=mend)  # type: ignore[arg-type]
    for module, what in (("cel_expr_python", "if_exp"), ("moto", "Simulation(backend='moto')")):
        if find_spec(module) is None:
            mend = "pip install 'stepbridge[dev]'"
            yield Finding(check="versions", state="warn", text=f"{module} is not there: no {what}", mend=mend)


def _project() -> Iterator[Finding]:
    from stepbridge.aws.doctor import Finding

    try:
        app = find_project(Path.cwd()).load(None)
    except CommandError as error:
        yield Finding(check="project", state="fail", text=str(error).partition(" Mend: ")[0], mend=_mend(error))
        return
    yield Finding(check="project", state="ok", text=f"app {app.id!r}, {words.count(len(app.functions), 'function')}")


def _server(target: Target) -> Iterator[Finding]:
    from stepbridge.aws.doctor import Finding

    try:
        count = len(target.get("functions")["functions"])
    except CommandError as error:
        yield Finding(check="server", state="warn", text=str(error).partition(" Mend: ")[0], mend=_mend(error))
        return
    yield Finding(check="server", state="ok", text=f"the local server answers, with {words.count(count, 'function')}")


def _mend(error: CommandError) -> str:
    return str(error).partition(" Mend: ")[2].rstrip(".")
