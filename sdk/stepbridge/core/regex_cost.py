"""What a regular expression may cost: RE2 takes at most the text's length times the size of the pattern's program.

RE2 does not backtrack, yet counted repetitions multiply: `(a?){1000}a{1000}b` held against 1 MB took 52 s
(measured 2026-11). Patterns may come from events, so their size is known before they are used.
"""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(
    r"""\\Q(?:(?!\\E).)*(?:\\E)?      # quoted text: what looks like a class in it is none
      | \\[pP](?:\{[^}]*\}?|.)       # a class of Unicode: hundreds of ranges
      | \\.                          # any other escape
      | \[\^?\]?(?:\\.|[^\]\\])*\]?  # a class; one without an end is refused, and costs no second look
      | \{(\d{1,6})(?:(,)(\d{0,6}))?\}  # a counted repetition
      | .""",
    re.VERBOSE | re.DOTALL,
)
UNICODE_CLASS: Final = 400
CLASS: Final = 10
"""Instructions that a class becomes, about."""
_PER_MEMBER: Final = 4
"""Instructions for a character that is named in a class: its bytes."""


def size_of(pattern: str) -> int:
    """About how many instructions the pattern's program has, nested repetitions multiplied out; never too few."""
    groups = [0]
    last = 0
    for token in _TOKEN.finditer(pattern):
        text = token[0]
        if text == "(":
            groups.append(0)
            last = 0
        elif text == ")" and len(groups) > 1:
            last = groups.pop() + 2
            groups[-1] += last
        elif token[1] is not None:
            most = int(token[3] or token[1]) if token[2] else int(token[1])
            groups[-1] += last * max(most - 1, 0)
            last *= max(most, 1)
        else:
            last = _size(text)
            groups[-1] += last
    return sum(groups)


def _size(text: str) -> int:
    unicode = UNICODE_CLASS * (text.count("\\p") + text.count("\\P"))
    if text[0] == "[":
        return CLASS + unicode + _PER_MEMBER * len(text)
    if text in {".", "\\w", "\\W", "\\d", "\\D", "\\s", "\\S"}:
        return CLASS
    return unicode or len(text.encode("utf-8", "replace"))
