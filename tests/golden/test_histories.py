"""Histories of every released record format go on under today's code, from any moment, to the end that they had."""

from __future__ import annotations

import importlib
import json
import re
from typing import Any

import pytest

from stepbridge.core.limits import FORMAT_VERSION
from stepbridge.core.records import Kind
from tests.golden.stories import FOLDER, STORY, restored, story_of, summary

VERSIONS = sorted(folder.name for folder in FOLDER.glob("v*"))
MOMENTS = [(version, number) for version in VERSIONS for number in range(len(story_of(version)) + 1)]


def held(version: str, number: int) -> dict[str, Any]:
    """A snapshot."""
    found: dict[str, Any] = json.loads((FOLDER / version / f"{number:02}.json").read_text(encoding="utf-8"))
    return found


def test_the_format_of_today_has_its_histories() -> None:
    """A new format brings its own; the old ones stay."""
    assert f"v{FORMAT_VERSION}" in VERSIONS


def test_every_kind_of_step_is_among_them() -> None:
    """What today's code can record."""
    kinds = {step[2] for run in held("v1", len(STORY))["runs"] for step in run["run"][6]}
    assert kinds == {kind.value for kind in Kind if kind is not Kind.SEEN}


def test_every_status_is_among_them() -> None:
    """Of those that a run passes on its way."""
    statuses = {run["run"][2] for version, number in MOMENTS for run in held(version, number)["runs"]}
    assert statuses == {"QUEUED", "SLEEPING", "PARKED", "COMPLETED", "FAILED", "CANCELLED"}


def test_runs_that_were_parked_or_run_again_are_among_them() -> None:
    """For either reason, in both colours; from the top, and from a step."""
    last = len(story_of("v1_stopped"))
    runs = [run["run"] for number in range(last + 1) for run in held("v1_stopped", number)["runs"]]
    parked = {(run[1], run[4][0]) for run in runs if run[2] == "PARKED"}
    assert parked == {
        ("parked", "NondeterminismError"),
        ("parked-sync", "NondeterminismError"),
        ("crashes", "CrashLoopError"),
    }
    ended = [run["run"] for run in held("v1_stopped", last)["runs"]]
    assert sorted(run[2] for run in ended if run[1] == "again") == ["COMPLETED", "FAILED", "FAILED", "FAILED"]
    assert {run[2] for run in ended if run[1] != "again"} == {"COMPLETED"}


def test_no_history_names_a_folder_of_the_machine_it_was_recorded_on() -> None:
    """Tracebacks name the app's files as they are where it runs."""
    texts = [path.read_text(encoding="utf-8") for path in FOLDER.glob("v*/*.json")]
    found = {path for text in texts for path in re.findall(r'File [\\"]+(/[^"\\]*)', text)}
    assert found
    assert {path for path in found if not path.startswith("/app/tests/golden/")} == set()


@pytest.mark.parametrize(("version", "number"), MOMENTS)
def test_what_was_recorded_is_read_as_it_was(version: str, number: int) -> None:
    """Every run and every step of every moment."""
    app = importlib.import_module(f"tests.golden.{version}.app").app
    snapshot = held(version, number)
    with restored(app, snapshot) as sim:
        assert json.loads(json.dumps([summary(run) for run in sim.runs()])) == snapshot["runs"]


@pytest.mark.parametrize(("version", "number"), MOMENTS)
def test_what_was_begun_ends_as_it_did(version: str, number: int) -> None:
    """Whatever had happened by then: messages, timers, waits and records are taken up as they are."""
    app = importlib.import_module(f"tests.golden.{version}.app").app
    with restored(app, held(version, number)) as sim:
        for act in story_of(version)[number:]:
            act(sim)
        ended = json.loads(json.dumps([summary(run) for run in sim.runs()]))
    order = held(version, len(story_of(version)))["runs"]
    assert sorted(ended, key=lambda run: str(run["run"][0])) == sorted(order, key=lambda run: str(run["run"][0]))
