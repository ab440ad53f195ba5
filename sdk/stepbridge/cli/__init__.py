"""The command line: `stepbridge`. Importing it loads nothing of the server's, nor typer."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command that the process was given, and ends it with the command's exit code."""
    try:
        from stepbridge.cli.commands import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("stepbridge"):
            raise
        sys.exit(f"stepbridge: the command line needs {error.name!r}. Mend: pip install 'stepbridge[dev]'.")
    sys.exit(run())
