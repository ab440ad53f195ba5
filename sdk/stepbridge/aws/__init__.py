"""The app on AWS. Nothing outside this package and `local` names botocore."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stepbridge.app import App
    from stepbridge.aws.entry import Dispatcher

__all__ = ["dispatcher"]


def dispatcher(app: App) -> Dispatcher:
    """The Lambda handler of an app: `handler = stepbridge.aws.dispatcher(app)`, at the module's top level.

    Args:
        app: Whose events and runs it handles.

    Returns:
        A callable of Lambda's event (SQS messages) and context; it answers with the messages that must
        come back, so the event source mapping needs `ReportBatchItemFailures`.

    Raises:
        ConfigError: The environment lacks a setting, or holds a wrong one; names it and the mend. Lambda
            then reports a failed init, and the messages stay on the queue.
    """
    with _nothing_collected():
        from stepbridge.aws.entry import Dispatcher
        from stepbridge.aws.settings import Settings

        return Dispatcher.of(app, Settings.from_environment())


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """What is made meanwhile lives as long as the process: to look for garbage in it takes a tenth of a start.

    Later collections pass it by, and the app with it.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if was_on:
            gc.enable()
