"""Where a command goes: the local server, or an app in an AWS account; and the options that say so."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol

import typer

from stepbridge.cli.output import Output
from stepbridge.cli.problems import FAILED, REFUSED, USAGE, CommandError
from stepbridge.cli.remote import DEFAULT_URL, Json, Remote

if TYPE_CHECKING:
    from stepbridge.aws.account import Account


class Target(Protocol):
    """What answers as the local server's API does."""

    def get(self, *path: str, **query: object) -> Json:
        """What stands at a path."""

    def post(self, *path: str, body: object = None) -> Json:
        """The answer to `body`."""


_OPTIONS: Final[dict[str, tuple[Any, Any]]] = {
    "url": (
        Annotated[str, typer.Option("--url", envvar="STEPBRIDGE_URL", help="Address of the local server.")],
        DEFAULT_URL,
    ),
    "stack": (
        Annotated[
            str | None,
            typer.Option("--stack", envvar="STEPBRIDGE_STACK", help="A stack on AWS, not the server."),
        ],
        None,
    ),
    "app": (Annotated[str | None, typer.Option("--app", help="Of a stack with several apps, which.")], None),
    "settings": (
        Annotated[Path | None, typer.Option("--settings", help="A file that names an app's resources, as JSON.")],
        None,
    ),
    "profile": (Annotated[str | None, typer.Option("--profile", help="Of the AWS credentials; as the AWS CLI.")], None),
    "region": (Annotated[str | None, typer.Option("--region", help="The AWS region; as the AWS CLI.")], None),
    "as_json": (Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")], False),
}


def targeted(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options above in the place of its first two parameters, `target` and `output`."""
    signature = inspect.signature(command)
    _, _, *own = signature.parameters.values()
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in _OPTIONS.items()
    ]

    @functools.wraps(command)
    def wrapper(*args: Any, as_json: bool, **given: Any) -> None:
        where = {name: given.pop(name) for name in _OPTIONS if name != "as_json"}
        command(target_of(**where), Output(as_json=as_json), *args, **given)

    hints = inspect.get_annotations(command, eval_str=True)
    wrapper.__signature__ = signature.replace(  # type: ignore[attr-defined]  # typer reads it
        parameters=[*(one.replace(annotation=hints[one.name], kind=one.kind) for one in own), *more]
    )
    wrapper.__annotations__ = {one.name: hints[one.name] for one in own} | {
        name: annotation for name, (annotation, _) in _OPTIONS.items()
    }
    return wrapper


def target_of(
    *,
    url: str,
    stack: str | None,
    app: str | None,
    settings: Path | None,
    profile: str | None,
    region: str | None,
) -> Target:
    """The target that the options name.

    Raises:
        CommandError: They contradict each other, or there is no such target.
    """
    if stack is None and settings is None:
        given = {"--app": app, "--profile": profile, "--region": region}
        if wrong := [name for name, value in given.items() if value is not None]:
            raise CommandError(f"{', '.join(wrong)}: of which stack? Mend: --stack NAME.", USAGE)
        return Remote(url)
    if stack is not None and settings is not None:
        raise CommandError("--stack and --settings are two answers to one question. Mend: leave one out.", USAGE)
    from stepbridge.aws.account import Account, clients_of, settings_in

    with explained():
        if settings is not None:
            found = settings_in(settings)
            return OnAws(Account(found, clients_of(profile, region or found.settings.region)))
        return OnAws(Account.of_stack(str(stack), app, clients_of(profile, region)))


@contextmanager
def explained() -> Iterator[None]:
    """What an account answers with meanwhile, as `CommandError`s."""
    from stepbridge.aws.account import AccountError, told
    from stepbridge.engine.operations import UnknownError
    from stepbridge.errors import ConfigError, EncryptionError, LostValueError

    try:
        with told():
            yield
    except AccountError as error:
        raise CommandError(str(error), REFUSED) from error
    except ConfigError as error:
        raise CommandError(str(error), USAGE) from error
    except (UnknownError, LostValueError, EncryptionError) as error:
        raise CommandError(str(error), FAILED) from error


class OnAws:
    """An app in an AWS account, as a target."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def get(self, *path: str, **query: object) -> Json:
        """As `Remote.get`; what AWS does not keep is told so."""
        with explained():
            return self._get(path, {name: value for name, value in query.items() if value is not None})

    def _get(self, path: tuple[str, ...], query: dict[str, Any]) -> Json:
        account = self.account
        match path:
            case ("runs",):
                page = account.operations.list_runs(**{**query, "status": _upper(query.get("status"))})
                return {"runs": [account.row(run) for run in page.runs], "cursor": page.cursor}
            case ("runs", run_id):
                return account.detail(account.operations.get_run(run_id))
            case ("functions",):
                return {"functions": [self._function(name) for name in account.found.function_ids]}
            case ("events", name, event_id, "runs"):
                return {"runs": account.started_by(name, event_id)}
            case _:
                raise CommandError(
                    f"{path[-1]}: a stack keeps none of them. Mend: ask the local server, or the app's log group.",
                    USAGE,
                )

    def _function(self, function_id: str) -> Json:
        return {"app_id": self.account.found.app_id, "function_id": function_id, "triggers": [], "runs": {}}

    def post(self, *path: str, body: object = None) -> Json:
        """As `Remote.post`."""
        with explained():
            return self._post(path, body if isinstance(body, dict) else {})

    def _post(self, path: tuple[str, ...], body: Json) -> Json:
        account = self.account
        match path:
            case ("events",):
                return {"ids": [account.send(body)]}
            case ("functions", function_id, "invoke"):
                return account.invoke(function_id, body.get("data", {}))
            case ("runs", run_id, "rerun"):
                return account.rerun(run_id, body.get("from_step"))
            case ("runs", run_id, ("cancel" | "resume") as what):
                run = account.operations.summary(run_id)
                if what == "cancel" and run.ended_at is not None:
                    raise CommandError(f"run {run_id} has ended already: it is {run.status}", FAILED)
                if what == "resume" and run.status != "PARKED":
                    raise CommandError(f"run {run_id} is {run.status}; only a PARKED run is to be resumed", FAILED)
                (account.operations.cancel if what == "cancel" else account.operations.resume)(run_id)
                return account.detail(account.operations.get_run(run_id))
            case _:
                raise CommandError(f"{path[-1]} is for the local server only: on AWS time is AWS's.", USAGE)


def _upper(status: Any) -> str | None:
    from stepbridge.core.records import Status

    if status is None:
        return None
    try:
        return Status(str(status).upper()).value
    except ValueError as error:
        raise CommandError(f"status={status!r:.80}. Mend: one of {', '.join(Status)}.", USAGE) from error
