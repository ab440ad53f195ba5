"""Where this machine has a Chromium: `.ci/chromium` installs one where it has none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

_NAMES: Final = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_MAC: Final = (
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
)
MISSING: Final = "no Chromium on this machine. Mend: sh .ci/chromium, or name one by the variable CHROMIUM"


def chromium(own: str) -> str | None:
    """The program: the one that is named, one on PATH, or playwright's `own`; None: there is none."""
    named = os.environ.get("CHROMIUM")  # noqa: TID251 - which program is to be tested with
    found = [named] if named else [path for name in _NAMES if (path := shutil.which(name))]
    return next((path for path in (*found, *map(str, _MAC), own) if Path(path).is_file()), None)
