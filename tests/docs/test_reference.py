"""The reference is what the docstrings say."""

from __future__ import annotations

import importlib.util

from tests.docs.pages import ROOT


def test_the_reference_is_current() -> None:
    """`make reference` would change nothing."""
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TARGET.read_text(encoding="utf-8") == module.text()
