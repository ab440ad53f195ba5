"""The function's asset: what the app requires, stepbridge, the user's folders, and one line that is the handler.

Built by uv, without Docker. The same inputs make the same files, so a repeated synthesis changes nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import stepbridge
from stepbridge.cdk.numbers import ASSET_BYTES_MAX
from stepbridge.cdk.requirements import project_of, requirements_of
from stepbridge.cdk.uv import uv
from stepbridge.errors import ConfigError

HANDLER_MODULE: Final = "stepbridge_handler"
HANDLER: Final = f"{HANDLER_MODULE}.handler"

_NOT_SHIPPED: Final = ("__pycache__", "*.pyc", "tests", ".*", "cdk.out", "node_modules")
_NOT_ON_LAMBDA: Final = ("cdk", "cli", "console", "local", "memory", "testing.py")
"""Of stepbridge: what only machines of developers need."""
_CHANGING: Final = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")
"""Of an installed package's metadata: what tells how and when it was installed, not what it is."""
_NEW_GLIBC: Final = (3, 12)
"""Runtimes from this Python on have Amazon Linux 2023, with glibc 2.34. Source: Lambda runtimes page, 2026."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What an asset is made of."""

    app: str
    """As module:attribute."""
    source: Path
    """The folder that holds the app's top-level package."""
    include: tuple[str, ...] = ()
    """Further files and folders of `source`."""
    extras: tuple[str, ...] = ()
    """Of the project's optional dependencies."""
    machine: str | None = "aarch64"
    """As uv names it: or `x86_64`; None: the one that builds."""
    python: str = "3.14"
    """Of the runtime."""
    with_cel: bool = False
    """The app cannot be imported without `stepbridge[cel]`."""
    with_encryption: bool = False
    """Step data is sealed, by `stepbridge[encryption]`."""

    @property
    def target(self) -> tuple[str, ...]:
        """What tells uv platform and Python."""
        if self.machine is None:
            return "--python-version", self.python
        major, minor = self.python.split(".")
        glibc = "manylinux_2_28" if (int(major), int(minor)) >= _NEW_GLIBC else "manylinux2014"
        return "--python-platform", f"{self.machine}-{glibc}", "--python-version", self.python

    @property
    def handler_code(self) -> str:
        """The generated module."""
        module, _, attribute = self.app.partition(":")
        return (
            "import stepbridge.aws\n"
            f"from {module} import {attribute} as app\n\n"
            "handler = stepbridge.aws.dispatcher(app)\n"
        )


def build(package: Package, folder: Path) -> None:
    """Fills the empty `folder`.

    Raises:
        ConfigError: A part is missing, a package has no wheel for the platform, or all is too large for Lambda.
    """
    _install(package, folder)
    _clean(folder)
    ours = Path(stepbridge.__file__).parent
    _copy(ours, folder / ours.name, _NOT_ON_LAMBDA)
    top = package.app.partition(":")[0].partition(".")[0]
    for name in dict.fromkeys((top, *package.include)):
        found = [one for one in (package.source / name, package.source / f"{name}.py") if one.exists()]
        if not found:
            raise ConfigError(f"StepbridgeApp: there is no {name!r} in {package.source}. Mend: correct include=.")
        _copy(found[0], folder / found[0].relative_to(package.source))
    (folder / f"{HANDLER_MODULE}.py").write_text(package.handler_code, encoding="utf-8")
    _check(package, folder)


def _install(package: Package, folder: Path) -> None:
    project = project_of(package.source)
    with TemporaryDirectory() as temporary:
        pinned = Path(temporary, "requirements.txt")
        pinned.write_text(requirements_of(project, package.extras, package.target), encoding="utf-8")
        options = ("--quiet", "--no-deps", "--only-binary", ":all:", "--no-compile-bytecode", "--link-mode", "copy")
        install = ("pip", "install", "--target", str(folder), *package.target, *options, "--requirements", str(pinned))
        try:
            uv(*install, "--offline", cwd=project)  # all is pinned, so what uv has kept is as good as the index
        except ConfigError:
            uv(*install, cwd=project)


def _clean(folder: Path) -> None:
    """Takes away what differs between two installations, and scripts, whose first line names this machine's Python."""
    shutil.rmtree(folder / "bin", ignore_errors=True)
    for path in [*folder.glob(".*"), *(one for name in _CHANGING for one in folder.glob(f"*.dist-info/{name}"))]:
        path.unlink()


def _copy(source: Path, target: Path, left_out: Sequence[str] = ()) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_file():
        shutil.copyfile(source, target)
        return
    top, always = str(source), shutil.ignore_patterns(*_NOT_SHIPPED)
    shutil.copytree(
        source,
        target,
        ignore=lambda at, names: {*always(at, names), *(left_out if at == top else ())},
        dirs_exist_ok=True,
    )


def _check(package: Package, folder: Path) -> None:
    if package.with_cel and not (folder / "cel_expr_python").is_dir():
        raise ConfigError(
            f"StepbridgeApp: app {package.app!r} uses if_exp, and its function would lack CEL."
            " Mend: let the project require stepbridge[cel], or name the extra that does in extras=."
        )
    if package.with_encryption and not (folder / "cryptography").is_dir():
        raise ConfigError(
            f"StepbridgeApp: app {package.app!r} has step_data_keys, and its function would lack cryptography."
            " Mend: let the project require stepbridge[encryption], or name the extra that does in extras=."
        )
    if (size := bytes_of(folder)) > ASSET_BYTES_MAX:
        raise ConfigError(
            f"StepbridgeApp: the function's asset has {size} bytes; Lambda takes {ASSET_BYTES_MAX}."
            " Mend: require less, or move what is large into a layer."
        )


def bytes_of(folder: Path) -> int:
    """Of all files below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
