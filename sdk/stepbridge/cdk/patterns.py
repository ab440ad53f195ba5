"""What an app's rules let through, as EventBridge patterns. Data, from the app's declarations."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from stepbridge.app import App
from stepbridge.aws import schema
from stepbridge.cdk.numbers import PATTERN_MAX
from stepbridge.engine.across import names_for
from stepbridge.engine.rule import declared
from stepbridge.errors import ConfigError

Wanted = tuple[str | None, str]
"""A source (None: any) and an event name, which may end in `*`."""

_AWS: Final = "aws."
_PARTNER: Final = "aws.partner/"
"""Partners' events come over a bus of their own. Source: EventBridge user guide, 2026."""


def own_pattern(app: App, *, narrow: bool) -> dict[str, Any]:
    """Of the rule on the app's bus.

    Args:
        app: Whose.
        narrow: Only what the app declares as trigger, `waits=` or `cancel=`, and what other apps ask of it;
            else all but system events that nobody triggers on, so that waits that are not declared see theirs.

    Raises:
        ConfigError: It is longer than EventBridge takes.
    """
    if not narrow:
        return _checked(app, schema.event_pattern(app))
    wanted: set[Wanted] = {(None, name) for name in names_for(app.id)}
    wanted |= {(one.source, one.name) for one in declared(app)}
    return _checked(app, _pattern(one for one in wanted if not _is_from_aws(one[0])))


def aws_pattern(app: App) -> dict[str, Any] | None:
    """Of the rule on the account's default bus, where AWS services put events; None: no trigger wants any.

    Raises:
        ConfigError: It is longer than EventBridge takes.
    """
    wanted = {(one.source, one.name) for one in declared(app) if _is_from_aws(one.source)}
    return _checked(app, _pattern(wanted)) if wanted else None


def _is_from_aws(source: str | None) -> bool:
    return source is not None and source.startswith(_AWS) and not source.startswith(_PARTNER)


def _pattern(wanted: Iterable[Wanted]) -> dict[str, Any]:
    by_source: dict[str | None, list[str]] = {}
    for source, name in sorted(wanted, key=lambda one: (one[0] or "", one[1])):
        by_source.setdefault(source, []).append(name)
    branches = [_branch(source, names) for source, names in by_source.items()]
    return branches[0] if len(branches) == 1 else {"$or": branches}


def _branch(source: str | None, names: Iterable[str]) -> dict[str, Any]:
    matchers = [{"prefix": name[:-1]} if name.endswith("*") else name for name in names]
    return {**({} if source is None else {"source": [source]}), "detail-type": matchers}


def _checked(app: App, pattern: dict[str, Any]) -> dict[str, Any]:
    length = len(json.dumps(pattern, separators=(",", ":")))
    if length > PATTERN_MAX:
        raise ConfigError(
            f"StepbridgeApp: the rule of app {app.id!r} has a pattern of {length} characters; EventBridge takes"
            f" {PATTERN_MAX}. Mend: wildcards in triggers, narrow_rule=False, or two apps."
        )
    return pattern
