"""Writes docs/reference.md: what the docstrings say of every public name. `make reference` calls it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import stepbridge
import stepbridge.testing
from stepbridge import context, step_async

TARGET = Path(__file__).with_name("reference.md")
_HEAD = """\
# Reference

Every public name, from its docstrings; written by `make reference`. The guide's other pages say how they play together.
"""
_MODULES = {"stepbridge": stepbridge, "stepbridge.testing": stepbridge.testing}
_SECTION = re.compile(r"(Args|Attributes|Returns|Raises):")
_INDENT = re.compile(r" {4}\S")
_ITEM = re.compile(r"(\w[\w.*]*): (.*)")
_SAME = {"AsyncClient"}
"""Classes whose members mean what another's mean, and are not told twice."""
_BEHIND = {"Context": {"step": step_async.Step, "group": context.Group}, "ContextSync": {"group": context.GroupSync}}
"""What a public class holds, and users call."""


def text() -> str:
    """The whole page."""
    parts = [_HEAD]
    for module_name, module in _MODULES.items():
        parts.append(f"## {module_name}\n")
        for name in sorted(module.__all__, key=str.lower):
            thing = getattr(module, name)
            if inspect.getmodule(thing) is not None:
                parts += _entry(name, thing)
    return "\n".join(parts)


def _entry(name: str, thing: Any) -> Iterator[str]:
    yield f"### {name}\n"
    yield _signature(name, thing)
    yield _documentation(thing)
    yield from _members(name, thing)
    for attribute, behind in _BEHIND.get(name, {}).items():
        yield from _members(behind.__name__, behind, f"{name}.{attribute}")


def _members(name: str, thing: Any, shown: str = "") -> Iterator[str]:
    if not inspect.isclass(thing) or name in _SAME:
        return
    own = (one for one in reversed(thing.__mro__) if one.__module__.startswith("stepbridge"))
    for member, value in {member: value for one in own for member, value in vars(one).items()}.items():
        if member.startswith("_") or member == "model_config":
            continue
        if inspect.isfunction(value):
            yield f"#### {shown or name}.{member}\n"
            yield _signature(member, value)
            yield _documentation(value)
        elif isinstance(value, property):
            yield f"#### {shown or name}.{member}\n"
            yield _documentation(value)


def _signature(name: str, thing: Any) -> str:
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return ""
    kept = [
        one.replace(annotation=_bare(one.annotation)) for one in signature.parameters.values() if one.name != "self"
    ]
    returned = inspect.Signature.empty if inspect.isclass(thing) else _bare(signature.return_annotation)
    text = str(signature.replace(parameters=kept, return_annotation=returned)).replace("'", "").replace('"', "'")
    text = text.replace("<factory>", "...")
    one_line = name + text
    if len(one_line) > 100:  # noqa: PLR2004 - a page's width
        inner, _, rest = text[1:].rpartition(")")
        parts = re.split(r", (?![^\[(]*[\])])", inner)
        one_line = f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){rest}"
    return f"```py\n{one_line}\n```\n"


def _bare(annotation: Any) -> Any:
    """An annotation as its author wrote it."""
    if annotation is inspect.Parameter.empty or isinstance(annotation, str):
        return annotation
    return inspect.formatannotation(annotation).replace("typing.", "")


def _documentation(thing: Any) -> str:
    """A docstring as Markdown: its sections are lists."""
    lines: list[str] = []
    in_section = False
    for line in inspect.cleandoc(inspect.getdoc(thing) or "").splitlines():
        stripped = line.strip()
        if found := _SECTION.fullmatch(stripped):
            lines.append(f"**{found[1]}**\n")
            in_section = True
        elif (
            in_section and line.startswith("    ") and not line.startswith("     ") and (item := _ITEM.match(stripped))
        ):
            lines.append(f"- `{item[1]}`: {item[2]}")
        elif in_section and line.startswith("    "):
            lines.append("  " + stripped if lines and lines[-1].startswith(("- ", "  ")) else stripped)
        else:
            in_section = in_section and not stripped
            lines.append(stripped if in_section or not line.startswith("    ") else line)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
