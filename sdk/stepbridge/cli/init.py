"""`stepbridge init`: a small project that passes its own test and can be deployed as it is."""

from __future__ import annotations

import json
import keyword
from importlib import metadata
from pathlib import Path
from string import Template
from typing import Annotated, Final
from urllib.parse import unquote, urlsplit

import typer

from stepbridge.app import App
from stepbridge.cli.options import AsJson
from stepbridge.cli.output import Output
from stepbridge.cli.problems import USAGE, CommandError
from stepbridge.errors import ConfigError

_ITSELF: Final = "stepbridge"
"""The package that every project depends on."""
_TEMPLATES: Final = Path(__file__).parent / "templates"
_FILES: Final = {
    ".gitignore": "gitignore.txt",
    "README.md": "README.md.txt",
    "cdk.json": "cdk.json.txt",
    "functions/__init__.py": None,
    "functions/{module}/__init__.py": "functions/app.py.txt",
    "infra/__init__.py": None,
    "infra/app.py": "infra/app.py.txt",
    "pyproject.toml": "pyproject.toml.txt",
    "tests/test_{module}.py": "tests/test_app.py.txt",
}
"""What is written, and from which template; None: an empty file."""


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The app's id; its folder is made here.")],
    stepbridge_from: Annotated[
        Path | None,
        typer.Option(
            exists=True, help="A wheel or a folder of stepbridge, where it is not to come from an index of packages."
        ),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Start a project: an app, its test and its stack."""
    values = _values(name, stepbridge_from or _installed_from())
    folder = Path(name)
    if folder.exists():
        raise CommandError(f"{folder.resolve()} is there already. Mend: another name, or move it away.", USAGE)
    written = [_write(folder / file.format(**values), template, values) for file, template in _FILES.items()]
    output = Output(as_json=as_json)
    if as_json:
        output.document({"folder": str(folder.resolve()), "files": [str(file.relative_to(folder)) for file in written]})
        return
    for file in written:
        output.text(str(file))
    output.text(f"Next: cd {folder} && uv sync && uv run pytest   (README.md says the rest)")


def _values(name: str, source: Path | None) -> dict[str, str]:
    """What the templates leave open."""
    try:
        App(name)
    except ConfigError as error:
        raise CommandError(f"{name!r} cannot name an app: {error}", USAGE) from error
    module = name.replace("-", "_").strip("_")
    if not module.isidentifier() or keyword.iskeyword(module):
        raise CommandError(f"{name!r} cannot name a module of Python. Mend: begin with a letter, 'my-shop' say.", USAGE)
    if name == _ITSELF:
        raise CommandError(f"{name!r} would depend on itself. Mend: another name, 'my-shop' say.", USAGE)
    title = "".join(part.capitalize() for part in name.split("-"))
    return {"id": name, "module": module, "title": title, "sources": _sources(source)}


def _sources(source: Path | None) -> str:
    """Of uv's settings, where stepbridge comes from; a JSON text is one of TOML too."""
    if source is None:
        return ""
    return f"\n[tool.uv.sources]\nstepbridge = {{ path = {json.dumps(str(source.resolve()))} }}\n"


def _installed_from() -> Path | None:
    """The wheel or the folder that this stepbridge was installed from; None: an index. Source: PEP 610."""
    try:
        text = metadata.distribution(_ITSELF).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    address = urlsplit(json.loads(text)["url"] if text else "")
    path = Path(unquote(address.path))
    return path if address.scheme == "file" and path.exists() else None


def _write(file: Path, template: str | None, values: dict[str, str]) -> Path:
    text = "" if template is None else Template((_TEMPLATES / template).read_text("utf-8")).substitute(values)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text.rstrip("\n") + "\n" if text else "", encoding="utf-8")
    return file
