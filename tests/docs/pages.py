"""The documentation as data: pages, their code blocks, headings and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w+)(?: ([^\n]*))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    language: str
    note: str
    """What stands behind the language: `no-run: why`, or nothing."""
    code: str
    line: int
    """Of its first line of code, from 1."""


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """What is not code, on one line, so that a phrase is found wherever it is broken."""
        return " ".join(_FENCE.sub("", self.text).split())

    def blocks(self, language: str) -> list[Block]:
        """The blocks of a language, in order."""
        return [
            Block(found[1], found[2] or "", found[3], self.text.count("\n", 0, found.start()) + 2)
            for found in _FENCE.finditer(self.text)
            if found[1] == language
        ]

    def rows(self, heading: str) -> list[list[str]]:
        """The cells of the first table below a heading, its head left out."""
        below = self.text.split(f"# {heading}\n", 1)[1]
        lines = re.split(r"\n\n#+ ", below, maxsplit=1)[0].splitlines()
        table = [line for line in lines if line.startswith("|")]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]

    @property
    def anchors(self) -> set[str]:
        """What a link may name behind `#`."""
        headings = _HEADING.findall(_FENCE.sub("", self.text))
        return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}

    def links(self) -> Iterator[str]:
        """The targets of its links."""
        return (found[1] for found in _LINK.finditer(_FENCE.sub("", self.text)))

    def pictures(self) -> list[str]:
        """The files of its pictures."""
        return re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", self.text)


GUIDE = [Page(ROOT / "README.md"), *(Page(path) for path in sorted((ROOT / "docs").glob("*.md")))]
"""What a user reads."""
ARCHITECTURE = Page(ROOT / "ARCHITECTURE.md")
PAGES = [*GUIDE, *(Page(ROOT / f"{name}.md") for name in ("ARCHITECTURE", "DECISIONS", "CHANGELOG", "CONTRIBUTING"))]
