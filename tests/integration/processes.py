"""Running our programs as processes of their own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


def environment(*folders: Path, **settings: str) -> dict[str, str]:
    """This process's environment, with these folders and the package on the path of modules."""
    path = os.pathsep.join(str(folder) for folder in (*folders, ROOT / "sdk", ROOT))
    return {**os.environ, "PYTHONPATH": path, **settings}  # noqa: TID251 - what a child process starts from
