"""What the function's asset needs of an index: from the project's lock file, or resolved anew where it has none.

boto3 and botocore are left out: the runtime has them, they would be four fifths of the asset, and all that is
asked of them is older than any supported runtime. stepbridge itself is left out too: the package that
synthesises the stack is what is deployed, so construct and engine are always of one version.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from stepbridge.cdk.uv import uv
from stepbridge.errors import ConfigError

PACKAGE: Final = "stepbridge"
OF_THE_RUNTIME: Final = ("boto3", "botocore", "s3transfer")
"""Source: Lambda developer guide, "Python runtimes", 2026; measured 2026-11: 44 MB of 56."""

_OURS: Final = re.compile(rf"\s*{PACKAGE}\s*(?:\[([^\]]*)\])?\s*(?=$|[<>=!~;@,(#\s])", re.IGNORECASE)
_EXTRA: Final = re.compile(r";\s*extra\s*==\s*['\"]([^'\"]+)['\"]\s*$")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MARKS: Final = ("pyproject.toml", "requirements.txt", "uv.lock")


def project_of(source: Path) -> Path:
    """The next folder upwards that says what it requires; `source` where none does."""
    return next((one for one in (source, *source.parents) if any((one / mark).is_file() for mark in _MARKS)), source)


def requirements_of(project: Path, extras: Sequence[str], target: Sequence[str]) -> str:
    """Pinned requirements, as requirements.txt holds them.

    Without a lock file, packages are pinned to what is installed where the stack is synthesised, so that what
    was tested is what is deployed.

    Args:
        project: Its folder.
        extras: Of the project, wanted besides its dependencies.
        target: uv's options for platform and Python.

    Raises:
        ConfigError: uv cannot tell, and what it said; or a lock file lacks what stepbridge needs.
    """
    wanted = [option for extra in extras for option in ("--extra", extra)]
    quiet = ("--quiet", "--no-header", "--no-annotate")
    if (project / "uv.lock").is_file():
        pruned = [option for name in OF_THE_RUNTIME for option in ("--prune", name)]
        own = ("--no-default-groups", "--no-emit-project", "--no-emit-package", PACKAGE)
        return _checked(uv("export", "--frozen", *quiet, *own, *pruned, *wanted, cwd=project), project)
    left_out = [option for name in OF_THE_RUNTIME for option in ("--no-emit-package", name)]
    with TemporaryDirectory() as folder:
        given, pins = Path(folder, "requirements.in"), Path(folder, "pins.txt")
        given.write_text("\n".join(_declared(project, extras)), encoding="utf-8")
        pins.write_text("\n".join(_installed()), encoding="utf-8")
        files = (str(given), "--constraints", str(pins))
        return uv("pip", "compile", *files, *quiet, "--only-binary", ":all:", *left_out, *target, cwd=project)


def _declared(project: Path, extras: Sequence[str]) -> Iterable[str]:
    """The project's requirements, with stepbridge's own in the place of stepbridge."""
    yield from _own(())
    for line in _lines(project, extras):
        if ours := _OURS.match(line):
            yield from _own([one.strip() for one in (ours[1] or "").split(",")])
        else:
            yield line


def _lines(project: Path, extras: Sequence[str]) -> list[str]:
    listed = project / "requirements.txt"
    if listed.is_file():
        return listed.read_text(encoding="utf-8").splitlines()
    described = project / "pyproject.toml"
    if not described.is_file():
        return []
    content = tomllib.loads(described.read_text(encoding="utf-8")).get("project", {})
    optional = content.get("optional-dependencies", {})
    return [*content.get("dependencies", ()), *(line for extra in extras for line in optional.get(extra, ()))]


def _own(extras: Sequence[str]) -> Iterable[str]:
    for line in metadata.requires(PACKAGE) or ():
        extra = _EXTRA.search(line)
        if extra is None or extra[1] in extras:
            yield _EXTRA.sub("", line)


def _checked(pinned: str, project: Path) -> str:
    """A lock file may be of a project that does not require stepbridge, beside which it is only installed."""
    there = {found[0].lower() for line in pinned.splitlines() if (found := _NAME.match(line))}
    needed = {found[0].lower() for line in _own(()) if (found := _NAME.match(line))} - set(OF_THE_RUNTIME)
    if missing := sorted(needed - there):
        raise ConfigError(
            f"StepbridgeApp: {project / 'uv.lock'} lacks {', '.join(missing)}, which stepbridge needs."
            f" Mend: uv add {PACKAGE}."
        )
    return pinned


def _installed() -> Iterable[str]:
    pins = {str(one.metadata["Name"]).lower(): one.version for one in metadata.distributions() if one.metadata["Name"]}
    return (f"{name}=={version}" for name, version in sorted(pins.items()))
