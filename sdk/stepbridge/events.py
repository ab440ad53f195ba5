"""`Event`: what is sent, what triggers a function, what resolves a wait."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Generic, cast

from pydantic import BaseModel, ConfigDict, Field, SkipValidation, ValidationError, field_validator
from typing_extensions import TypeVar

from stepbridge.core import codec
from stepbridge.core.envelope import META, SOURCE_MAX
from stepbridge.core.limits import EVENT_BYTES_MAX, EVENT_ID_MAX, EVENT_NAME_MAX, EVENT_TS_MAX_MS, ITEMS_MAX
from stepbridge.core.steps import Draft
from stepbridge.errors import ConfigError, UnserializableOutputError

DataT = TypeVar("DataT", default=dict[str, Any])

RESERVED_PREFIX = "stepbridge/"
"""Of system events; nobody else may send them."""


class Event(BaseModel, Generic[DataT]):
    """A named fact.

    Attributes:
        name: At most 128 characters; `shop/order.created` say.
        data: A JSON object, or an instance of the trigger's `model`.
        id: Makes the event one: the same id never starts a second run. Filled when it is sent.
        ts: Milliseconds since the epoch. Filled when it is sent; in the future: runs start then.
        source: EventBridge's `Source`. Filled when it is sent.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    data: SkipValidation[DataT] = Field(default_factory=lambda: cast("Any", {}))
    id: str = ""
    ts: int = 0
    source: str = ""

    @field_validator("data", mode="before")
    @classmethod
    def _is_an_object(cls, data: object) -> object:
        if data is None:
            return {}
        if not isinstance(data, Mapping | BaseModel):
            message = f"data is a JSON object (a dict or a model), not {type(data).__name__}"
            raise ValueError(message)  # noqa: TRY004 - pydantic reports ValueError
        return data


def drafts_of(events: object, *, what: str, system: bool = False) -> tuple[Draft, ...]:
    """One event or a list of them, dicts or `Event`s, checked and ready to be sent.

    Raises:
        ConfigError: One of them is malformed; names its index, the cause and the mend.
    """
    many = [events]
    if isinstance(events, Iterable) and not isinstance(events, Mapping | BaseModel):
        many = listed(events, what)
    return tuple(_draft(event, f"{what}, event {index}", system) for index, event in enumerate(many))


def listed(items: Iterable[Any], what: str) -> list[Any]:
    """The items.

    Raises:
        ConfigError: There are more than `ITEMS_MAX`, or no end of them.
    """
    found = list(islice(items, ITEMS_MAX + 1))
    if len(found) > ITEMS_MAX:
        raise ConfigError(f"{what} has more than {ITEMS_MAX:,} items. Mend: end it, or spread it over several steps.")
    return found


def _draft(event: object, what: str, system: bool) -> Draft:  # noqa: FBT001 - private
    try:
        checked: Event[Any] = event if isinstance(event, Event) else Event[Any].model_validate(event)
    except ValidationError as error:
        message = f"{what} is not an event: {error}. Mend: give a dict or Event with name and data."
        raise ConfigError(message) from error
    problem = name_problem(checked.name, system=system)
    if len(checked.id) > EVENT_ID_MAX:
        problem = f"the id has {len(checked.id)} characters. Mend: at most {EVENT_ID_MAX}; a hash of it will do."
    if source_problem := text_problem(checked.source, SOURCE_MAX):
        problem = f"the source {source_problem}"
    if checked.ts and not 0 <= checked.ts <= EVENT_TS_MAX_MS:
        problem = f"ts={checked.ts} is no time. Mend: milliseconds since 1970."
    if isinstance(checked.data, Mapping) and META in checked.data:
        problem = f"the data has the key {META!r}, which is reserved. Mend: name it otherwise."
    if problem:
        message = f"{what}: {problem}"
        raise ConfigError(message)
    data = checked.data
    try:
        text = _object_text(data, what) if isinstance(data, BaseModel) else codec.encode(data, codec.PLAIN, what=what)
    except UnserializableOutputError as error:
        found = str(error).partition(". Mend:")[0].removeprefix(what).replace(" returned ", " has ", 1)
        message = (
            f"{what} ({checked.name!r}){found}. Mend: give text, numbers, booleans, None, lists and dicts with keys of"
            " text (a datetime as its isoformat()), or a pydantic model."
        )
        raise ConfigError(message) from error
    if (size := len(text.encode())) > EVENT_BYTES_MAX - 1024:
        message = (
            f"{what} ({checked.name!r}) has {size} bytes of data; EventBridge takes {EVENT_BYTES_MAX} in all."
            " Mend: send a reference to the data."
        )
        raise ConfigError(message)
    return Draft(name=checked.name, data=text, id=checked.id, ts=checked.ts, source=checked.source)


def _object_text(data: BaseModel, what: str) -> str:
    """A model as JSON text."""
    try:
        text = data.model_dump_json()
    except Exception as error:  # whatever a serializer of the user's raises
        found = f"{what} returned a {type(data).__name__} that JSON cannot carry ({type(error).__name__})"
        raise UnserializableOutputError(found) from error
    if text[:1] != "{" or (f'"{META}"' in text and META in json.loads(text)):
        raise UnserializableOutputError(
            f"{what} returned a {type(data).__name__} that is no JSON object, or has the reserved key {META!r}"
        )
    return text


def text_problem(text: str, most: int) -> str | None:
    """What is wrong with a text that is to be kept or sent, None where it is fine."""
    if len(text) > most:
        return f"has {len(text)} characters. Mend: at most {most}."
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half a pair of surrogates, which UTF-8 cannot carry. Mend: whole characters."
    return None


def name_problem(name: str, *, system: bool = False) -> str | None:
    """What is wrong with an event's name, None where it is fine."""
    if not isinstance(name, str):
        return f"an event's name is text, not a {type(name).__name__}. Mend: name it like 'order/created'."
    if not name:
        return "an event needs a name. Mend: name it like 'order/created'."
    if len(name) > EVENT_NAME_MAX:
        shown = f"the event name {name[:40]!r}... has {len(name)} characters"
        return f"{shown}; EventBridge takes {EVENT_NAME_MAX}. Mend: a shorter one."
    if not name.isprintable():
        return f"the event name {name!r} holds unprintable characters. Mend: leave them out."
    if name.startswith(RESERVED_PREFIX) and not system:
        return f"{name!r}: the prefix {RESERVED_PREFIX!r} is reserved for system events. Mend: choose another name."
    return None
