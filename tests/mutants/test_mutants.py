"""The list of mutants follows the code; `make mutants` says which of them the suite notices."""

from __future__ import annotations

import ast

import pytest

from tests.mutants.laws import MUTANTS, Mutant
from tests.mutants.run import ROOT, broken_text


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_mutant_still_breaks_something(mutant: Mutant) -> None:
    """Its text stands exactly once, and what takes its place is Python too."""
    before = (ROOT / "sdk" / "stepbridge" / mutant.file).read_text()
    after = broken_text(mutant, before)
    assert ast.dump(ast.parse(after)) != ast.dump(ast.parse(before))


def test_there_are_enough_of_them() -> None:
    """Each breaks a law of its own."""
    assert len({mutant.law for mutant in MUTANTS}) == len(MUTANTS) >= 40


def test_a_text_that_is_gone_is_an_error() -> None:
    """The list cannot rot."""
    gone = Mutant("a law", "engine/store.py", "no such text", "")
    with pytest.raises(ValueError, match="the text stands 0 times in engine"):
        broken_text(gone, "something else")
