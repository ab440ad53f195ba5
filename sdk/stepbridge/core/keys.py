"""Where everything stands in the table.

pk            sk               item
R#<run>       #                head; stays under 1 KB, because every update is billed on all of it
R#<run>       #armed#<n>       a page of armed waits and children, when the head cannot hold them
R#<run>       #in, #out        the trigger's data, the output, when the head cannot hold them
R#<run>       S#<step key>     register
W#<place>     <run>#<step>     wait; `place` hashes event name, signature and values
REG           SIG#<event>      the signatures of an event name
B#<place>     <ts>#<event id>  an event that a wait may look back for
M#<run>#<step key>             a map step: `#join` joins its shards, each of which stands in a partition
M#<run>#<step key>#<shard>     of its own: `#join` joins its items, `S#<index>` is an item's register
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from stepbridge.core.conditions import Key
from stepbridge.core.ids import digest

HEAD_SK: Final = "#"
JOIN_SK: Final = "#join"
REGISTER_PREFIX: Final = "S#"
_PLAIN: Final = re.compile("[A-Za-z0-9._:-]{0,256}", re.ASCII)


def run_pk(run_id: str) -> str:
    """The partition of a run."""
    return f"R#{run_id}"


def head_key(run_id: str) -> Key:
    """Where a run's head stands."""
    return Key(run_pk(run_id), HEAD_SK)


def index_partition(function_id: str, day: datetime) -> str:
    """Where the run list keeps a function's runs of a day (UTC)."""
    return f"L#{function_id}#{day:%Y-%m-%d}"


def register_key(run_id: str, step_key: str) -> Key:
    """Where a step's register stands."""
    return Key(run_pk(run_id), REGISTER_PREFIX + step_key)


def page_key(run_id: str, number: int) -> Key:
    """Where a page of armed waits and children stands."""
    return Key(run_pk(run_id), f"#armed#{number:06}")


def side_key(run_id: str, name: str) -> Key:
    """Where a value stands that the head cannot hold; `name` is `in` or `out`."""
    return Key(run_pk(run_id), f"#{name}")


def wait_key(place: str, run_id: str, step_key: str) -> Key:
    """Where a wait stands in the match index; the `/n` of a place that alternatives share is in the sort key."""
    partition, turn, number = place.partition("/")
    return Key(f"W#{partition}", f"{run_id}#{step_key}{turn}{number}")


def seen_key(place: str, ts_ms: int, event_id: str) -> Key:
    """Where an event stands that a wait may look back for; an id that is no plain word stands as its hash."""
    name = event_id if _PLAIN.fullmatch(event_id) else digest("event", event_id)
    return Key(f"B#{place}", f"{ts_ms:015}#{name}")


def map_pk(run_id: str, step_key: str, shard: int | None = None) -> str:
    """The partition of a map step, or of one of its shards."""
    return f"M#{run_id}#{step_key}" + ("" if shard is None else f"#{shard}")


def signatures_key(event_name: str) -> Key:
    """Where the signatures of an event name stand."""
    return Key("REG", f"SIG#{event_name}")
