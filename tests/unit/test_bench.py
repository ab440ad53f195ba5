"""The bench's own code runs; what it measures is for `make bench`."""

from __future__ import annotations

import pytest

from tests.bench import aws, counts, memory, served
from tests.bench.rows import Row, percentile


@pytest.mark.slow
@pytest.mark.parametrize("measure", [memory.rows, aws.rows, served.rows], ids=lambda measure: measure.__module__)
def test_each_section_has_its_figures(measure: object) -> None:
    """At a hundredth of its size: every figure is there and above zero."""
    rows = list(measure(100))  # type: ignore[operator]
    assert len(rows) > 4
    assert all(row.value is not None and row.value > -1 for row in rows)


def test_counts_hold() -> None:
    """The counted rows are the tested ones."""
    rows = list(counts.rows())
    assert all(row.is_met is not False for row in rows)
    assert {row.what for row in rows} >= {"ten steps: writes", "ten steps: reads"}


def test_a_target_is_a_ceiling_or_a_floor() -> None:
    """What is not measured is neither met nor missed."""
    row = Row(section="s", what="w", value=2.0, unit="ms", target=2.0)
    assert row.is_met
    assert not Row(section="s", what="w", value=2.1, unit="ms", target=2.0).is_met
    assert Row(section="s", what="w", value=2.1, unit="ms", target=2.0, at_least=True).is_met
    assert Row(section="s", what="w", value=None, unit="ms", target=2.0).is_met is None


def test_a_percentile_is_one_of_the_values() -> None:
    """So many percent are not above it."""
    assert percentile(range(100), 95) == 95
    assert percentile([3.0], 50) == 3.0
