"""A project's modules are loaded anew, or stay what they were; whatever they do when they are imported."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import Any

import pytest

from stepbridge.local.reload import Reloader, Sources

NAME = "reloaded_project"


class Project:
    """A folder with one module, which is imported."""

    def __init__(self, root: Path) -> None:
        self.file = root / f"{NAME}.py"
        self.write("value = 1")
        self.sources = Sources(root)
        self.load()
        self.adopted: list[Any] = []
        self.told: list[tuple[list[str], BaseException | None]] = []
        self._reloader = Reloader(
            self.sources,
            load=self.load,
            place=lambda work: work(),
            adopt=self.adopted.append,
            tell=lambda files, error: self.told.append((files, error)),
        )

    def write(self, text: str) -> None:
        """The module's text; its time stays what it was, as within one second of a coarse clock."""
        self.file.write_text(text)
        os.utime(self.file, (1_700_000_000, 1_700_000_000))

    def load(self) -> Any:
        """Imports it."""
        return importlib.import_module(NAME)

    def change(self, text: str) -> BaseException | None:
        """Writes and reloads; the error that was told."""
        self.write(text)
        done = Event()
        self._reloader._reload([str(self.file)], done)
        assert done.is_set()
        files, error = self.told[-1]
        assert files == [str(self.file)]
        return error


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """On the path; bytecode is written, whatever the environment says."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    yield Project(tmp_path)
    sys.modules.pop(NAME, None)


def test_bytecode_of_the_same_time_is_not_taken_for_the_new_code(project: Project) -> None:
    """Which Python tells by whole seconds and the size."""
    assert project.change("value = 2") is None
    assert [module.value for module in project.adopted] == [2]


@pytest.mark.parametrize("text", ["raise SystemExit(3)", "import nothing_like_this", "value = (", "1 / 0"])
def test_a_module_that_fails_leaves_the_one_before_it(project: Project, text: str) -> None:
    """Its file is watched on; mended, it is loaded."""
    before = sys.modules[NAME]
    assert project.change(text) is not None
    assert sys.modules[NAME] is before
    assert project.adopted == []
    assert project.sources.failed == {str(project.file)}
    assert project.change("value = 3") is None
    assert [module.value for module in project.adopted] == [3]
    assert project.sources.failed == set()


def test_what_is_installed_below_the_project_is_not_its_own(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an environment, whatever it is called."""
    root = project.file.parent
    (root / "env").mkdir()
    (root / "env" / "pyvenv.cfg").write_text("")
    for name, place in (("of_env", root / "env" / "lib"), ("of_site", root / "lib" / "site-packages")):
        module = ModuleType(name)
        module.__file__ = str(place / f"{name}.py")
        monkeypatch.setitem(sys.modules, name, module)
    assert list(project.sources.modules()) == [NAME]
