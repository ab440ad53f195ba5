"""uv, which builds the asset: it installs for another platform and another Python without either."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from shutil import which

from stepbridge.errors import ConfigError


def uv(*arguments: str, cwd: Path) -> str:
    """What uv answers; it is taken from beside this Python, else from the path.

    Raises:
        ConfigError: There is no uv, or it fails; holds what it said.
    """
    beside = Path(sys.executable).with_name("uv")
    command = str(beside) if beside.is_file() else which("uv")
    if command is None:
        raise ConfigError("StepbridgeApp builds the function's asset with uv, which is not here. Mend: pip install uv.")
    done = subprocess.run(  # noqa: S603 - our own arguments, no shell
        [command, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ConfigError(f"StepbridgeApp: uv {' '.join(arguments)} failed in {cwd}: {done.stderr.strip()[-2000:]}")
    return done.stdout
