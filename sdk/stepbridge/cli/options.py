"""What several commands take, said once."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from stepbridge.cli.problems import USAGE, CommandError

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
RunId = Annotated[str, typer.Argument(metavar="RUN_ID", help="The run's id, or the beginning of a recent one's.")]
Data = Annotated[str, typer.Argument(metavar="DATA_JSON", help="A JSON object; '-' reads it from stdin.")]


def data_of(text: str) -> dict[str, Any]:
    """The JSON object that a user has typed.

    Raises:
        CommandError: It is none.
    """
    source = "stdin" if text == "-" else f"{text!r:.60}"
    if text == "-":
        text = sys.stdin.read()
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise CommandError(
            f"""the data {source} is not JSON: {error}. Mend: quote it for the shell, like '{{"id": "1"}}'.""", USAGE
        ) from error
    if not isinstance(data, dict):
        raise CommandError(f"""the data {source} is not a JSON object. Mend: one like '{{"id": "1"}}'.""", USAGE)
    return data


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
