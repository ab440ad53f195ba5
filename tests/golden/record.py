"""Records the histories of a new record format: `python -m tests.golden.record v2`, with `v2/app.py` written first.

A recorded history is never recorded anew: it is what old versions have left in people's tables.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any, Final

from stepbridge.testing import Simulation
from tests.golden.stories import FOLDER, snapshot, story_of

_ROOT: Final = Path(__file__).parents[2]
"""Stands in tracebacks."""


def main(version: str) -> None:
    """Writes one file a moment of the story."""
    folder = FOLDER / version
    if found := sorted(folder.glob("*.json")):
        raise SystemExit(f"{found[0]} is there: a history is recorded once.")
    app = importlib.import_module(f"tests.golden.{version}.app").app
    with Simulation(app, backend="memory") as sim:
        story = story_of(version)
        for number, act in enumerate(story):
            _write(folder / f"{number:02}.json", snapshot(sim))
            act(sim)
        _write(folder / f"{len(story):02}.json", snapshot(sim))


def _write(path: Path, held: dict[str, Any]) -> None:
    text = json.dumps(held, ensure_ascii=False, indent=None, separators=(",", ":"))
    path.write_text(text.replace(str(_ROOT), "/app") + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
