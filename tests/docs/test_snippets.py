"""What the documentation shows is run: every snippet, in the order of its page."""

from __future__ import annotations

import inspect
import linecache
import sys
import types
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from functions.shop import app as shop
from functions.shop import services
from stepbridge.local.server import LocalServer
from stepbridge.testing import Simulation
from tests.docs.pages import ARCHITECTURE, GUIDE, Block, Page

RUN = [*GUIDE, ARCHITECTURE]
LOCAL = "http://127.0.0.1:8787"
"""Where the pages have the local server."""


@pytest.fixture
def module(page: Page, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Where the blocks of one page run: a module that can be imported by its name, and a shop of its own."""
    module = types.ModuleType("snippets_" + page.path.stem.replace("-", "_").lower())
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(services, "world", services.World())
    return module


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    """The shop on a port that is free."""
    with LocalServer(shop, port=0) as server:
        yield server


def run(block: Block, page: Page, module: types.ModuleType, server: LocalServer) -> None:
    """Runs a block; its lines have the numbers that they have in the page."""
    source = "\n" * (block.line - 1) + block.code.replace(LOCAL, server.url)
    linecache.cache[str(page.path)] = (len(page.text), None, page.text.splitlines(keepends=True), str(page.path))
    exec(compile(source, str(page.path), "exec"), module.__dict__)  # noqa: S102 - this is what the test is for


@pytest.mark.parametrize("page", [page for page in RUN if page.blocks("python")], ids=str)
def test_every_snippet_runs(
    page: Page, module: types.ModuleType, server: LocalServer, subtests: pytest.Subtests
) -> None:
    """The blocks of a page share one namespace; the tests in them are run as pytest would run them."""
    for block in page.blocks("python"):
        if not block.note:
            run(block, page, module, server)
    for name, test in list(vars(module).items()):
        if name.startswith("test_"):
            for arguments in _arguments(test):
                with subtests.test(msg=name, **arguments), ExitStack() as opened:
                    test(**arguments, **_fixtures(test, opened))


def _fixtures(test: Any, opened: ExitStack) -> dict[str, object]:
    """That of the pytest plugin, where the test asks for it."""
    wanted = "simulation" in inspect.signature(test).parameters
    return {"simulation": lambda *apps: opened.enter_context(Simulation(*apps))} if wanted else {}


def _arguments(test: object) -> list[dict[str, object]]:
    """The cases of a test with one parametrization by one name, else the one case."""
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    return [{mark.args[0]: value} for mark in marks for value in mark.args[1]] or [{}]


@pytest.mark.parametrize("page", RUN, ids=str)
def test_a_snippet_that_is_not_run_says_why(page: Page) -> None:
    """Only what needs AWS."""
    notes = [block.note for block in page.blocks("python") if block.note]
    assert all(note.startswith("no-run: needs ") and "AWS" in note for note in notes)
