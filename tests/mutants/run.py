"""Breaks the laws one at a time in a copy of the tree, and sees whether the suite notices.

`python -m tests.mutants.run` prints a table: the law, the test that noticed and after how many seconds. It fails if a
mutant survives. What noticed is run again on the unbroken tree: a test that fails there has noticed nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.mutants.laws import ACCEPTANCE, CRASHES, ENGINE, ENTRY, LAWS, MUTANTS, ORDER, RANDOM, STORMS, WAITS, Mutant

ROOT: Final = Path(__file__).parents[2]
STAGES: Final = (
    (LAWS, CRASHES, ORDER, STORMS, ENGINE),
    (RANDOM, ACCEPTANCE, WAITS, ENTRY, "tests/contract", "tests/unit"),
)
"""Which tests are asked after those that a mutant names itself, until one fails. Apart, because pytest runs what is
named by itself and by its folder with the folder."""
LIMIT_SECONDS: Final = 120
"""For all of them together: what is not noticed by then has survived."""
_QUICK: Final = ("-m", "not slow")
"""Of the stages; a mutant's own tests may be slow ones."""
_LIAR_SECONDS: Final = 600
_LEFT_OUT: Final = ("__pycache__", ".git", ".venv*", ".*_cache", ".hypothesis", "build", "cdk.out", "dist")


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant."""

    mutant: Mutant
    noticed: str
    """The first test that failed; empty: none."""
    seconds: float


def broken_text(mutant: Mutant, text: str) -> str:
    """The file's text with the law broken.

    Raises:
        ValueError: The text is not there, or not once: the list has to follow the code.
    """
    if (times := text.count(mutant.old)) != 1:
        raise ValueError(f"{mutant.law!r}: the text stands {times} times in {mutant.file}. Mend: tests/mutants/laws.py")
    return text.replace(mutant.old, mutant.new)


def tried(mutant: Mutant) -> Verdict:
    """Whether the suite notices."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "copy"
        shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        path = root / "sdk" / "stepbridge" / mutant.file
        path.write_text(broken_text(mutant, path.read_text()))
        until = began + LIMIT_SECONDS
        noticed = _failure(root, (mutant.first,), until) or next(
            filter(None, (_failure(root, stage, until, _QUICK) for stage in STAGES)), ""
        )
    return Verdict(mutant, noticed, time.monotonic() - began)


def _failure(root: Path, tests: Iterable[str], until: float, more: Iterable[str] = ()) -> str:
    """The first test of these that fails; empty: none does in time, or there is none."""
    path = os.pathsep.join((str(root / "sdk"), str(root)))
    options = ["-q", "-x", "-p", "no:cacheprovider", "--timeout", "60", "--tb", "line"]
    options += ["--schedules", "300", *more]
    try:
        done = subprocess.run(  # noqa: S603 - our own tests
            [sys.executable, "-m", "pytest", *tests, *options],
            cwd=root,
            env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=max(until - time.monotonic(), 0.1),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ""
    if done.returncode in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        return ""
    named = [line for line in done.stdout.splitlines() if line.startswith(("FAILED tests", "ERROR tests"))]
    return named[0].partition(" ")[2].partition(" - ")[0] if named else f"pytest: {done.stdout[-200:]!r}"


def table(verdicts: Sequence[Verdict]) -> str:
    """For people."""
    wide = max(len(verdict.mutant.law) for verdict in verdicts)
    rows = [f"{one.mutant.law:<{wide}}  {one.seconds:>4.0f} s  {one.noticed or 'SURVIVED'}" for one in verdicts]
    alive = [one.mutant.law for one in verdicts if not one.noticed]
    slowest = max(verdict.seconds for verdict in verdicts if verdict.noticed or len(alive) == len(verdicts))
    found = len(verdicts) - len(alive)
    rows.append(f"\n{found} of {len(verdicts)} mutants noticed, the slowest after {slowest:.0f} s.")
    return "\n".join([*rows, *(f"survived: {law}" for law in alive)])


def main() -> None:
    """All mutants, or those whose law matches a pattern."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("-k", dest="pattern", default="", help="only laws that match this pattern")
    options.add_argument("--side-by-side", type=int, default=2)
    given = options.parse_args()
    chosen = [mutant for mutant in MUTANTS if re.search(given.pattern, mutant.law)]
    if not chosen:
        options.error(f"no law matches {given.pattern!r}")
    with ThreadPoolExecutor(given.side_by_side) as pool:
        verdicts = []
        for verdict in pool.map(tried, chosen):
            verdicts.append(verdict)
            print(f"{verdict.seconds:4.0f} s  {verdict.mutant.law}: {verdict.noticed or 'SURVIVED'}", flush=True)
    print("\n" + table(verdicts))
    witnesses = dict.fromkeys(verdict.noticed for verdict in verdicts if verdict.noticed)
    liar = _failure(ROOT, witnesses, time.monotonic() + _LIAR_SECONDS) if witnesses else ""
    print(f"fails without a mutant: {liar}" if liar else f"{len(witnesses)} tests noticed; all pass without a mutant.")
    sys.exit(bool(liar) or any(not verdict.noticed for verdict in verdicts))


if __name__ == "__main__":
    main()
