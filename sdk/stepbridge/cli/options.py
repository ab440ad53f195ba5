"""What several commands take, said once."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from stepbridge.cli.problems import USAGE, CommandError
from stepbridge.core.envelope import read

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
RunId = Annotated[str, typer.Argument(metavar="RUN_ID", help="The run's id, or the beginning of a recent one's.")]
Data = Annotated[str, typer.Argument(metavar="DATA_JSON", help="A JSON object; '-' reads it from stdin.")]


def data_of(text: str) -> dict[str, Any]:
    """The JSON object that a user has typed.

    Raises:
        CommandError: It is none.
    """
    source = "stdin" if text == "-" else f"{text!r:.60}"
    try:
        text = sys.stdin.read() if text == "-" else text
        text.encode()  # bytes that are no UTF-8 come as halves of characters
        data = read(text)
    except ValueError as error:
        raise CommandError(
            f"""the data {source} is not JSON: {error}. Mend: quote it for the shell, like '{{"id": "1"}}'.""", USAGE
        ) from error
    if not isinstance(data, dict):
        raise CommandError(f"""the data {source} is not a JSON object. Mend: one like '{{"id": "1"}}'.""", USAGE)
    return data
