"""What the function's asset needs of an index: from the project's lock file, or resolved anew where it has none.

boto3 and botocore are left out: the runtime has them, they would be four fifths of the asset, and all that is
asked of them is older than any supported runtime. stepbridge itself is left out too: the package that
synthesises the stack is what is deployed, so construct and engine are always of one version.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from shutil import which
from typing import Final

from stepbridge.errors import ConfigError

PACKAGE: Final = "stepbridge"
OF_THE_RUNTIME: Final = ("boto3", "botocore", "s3transfer")
"""Source: Lambda developer guide, "Python runtimes", 2026; measured 2026-11: 44 MB of 56."""

_OURS: Final = re.compile(rf"{PACKAGE}\s*(?:\[([^\]]*)\])?\s*(?![\w.-])", re.IGNORECASE)
_EXTRA: Final = re.compile(r";\s*extra\s*==\s*['\"]([^'\"]+)['\"]\s*$")


def project_of(source: Path) -> Path:
    """The folder of the next pyproject.toml, requirements.txt or uv.lock upwards; else `source`."""
    marks = ("pyproject.toml", "requirements.txt", "uv.lock")
    return next((one for one in (source, *source.parents) if any((one / mark).is_file() for mark in marks)), source)


def requirements_of(project: Path, extras: Sequence[str], target: Sequence[str]) -> str:
    """Pinned requirements, as requirements.txt holds them.

    Args:
        project: Its folder.
        extras: Of the project, wanted besides its dependencies.
        target: uv's options for platform and Python.

    Raises:
        ConfigError: uv cannot tell; holds what it said.
    """
    wanted = [option for extra in extras for option in ("--extra", extra)]
    if (project / "uv.lock").is_file():
        left_out = [option for name in OF_THE_RUNTIME for option in ("--prune", name)]
        options = ("--frozen", "--no-default-groups", "--no-emit-project", "--no-emit-package", PACKAGE)
        return uv("export", "--quiet", "--no-header", "--no-annotate", *options, *left_out, *wanted, cwd=project)
    options = [option for name in OF_THE_RUNTIME for option in ("--no-emit-package", name)]
    pins = "\n".join(_installed())
    return uv(
        *("pip", "compile", "-", "--quiet", "--no-header", "--no-annotate", "--only-binary", ":all:"),
        *("--constraints", "/dev/stdin") if False else (),  # noqa: RUF100
        *options,
        *target,
        cwd=project,
        text="\n".join(_declared(project, extras)) + "\n" + pins,
    )
