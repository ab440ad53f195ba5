"""The console's pages: read-only, rendered here, complete without a script."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from stepbridge.cli import words
from stepbridge.console import text
from stepbridge.console.search import ROWS, SPANS, Query, find
from stepbridge.console.source import Source
from stepbridge.console.waterfall import waterfall
from stepbridge.core.records import Status
from stepbridge.errors import ConfigError

_FILES: Final = Path(__file__).with_name("static")
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Nothing but the page's own files is loaded, nothing within a page is run, and no other page frames it."""
_GONE: Final = 404
_BARS_MAX: Final = 500
"""Steps on one page of a run; it is sent anew while it is open."""
_NAMED_MAX: Final = 10
"""Steps that wait, and those that have failed, named above the scale; all are on it."""
_STEPS_DIGITS: Final = 6
_ALIVE: Final = frozenset({"QUEUED", "RUNNING", "SLEEPING", "PARKED"})


def page_routes(source: Source) -> list[BaseRoute]:
    """The routes of the pages."""
    pages = _Pages(source)

    def route(path: str, page: Callable[[Request], Response]) -> Route:
        return Route(path, partial(pages.answer, page), methods=["GET"])

    return [
        Route("/", _home, methods=["GET"]),
        route("/runs", pages.runs),
        route("/runs/{run_id:path}", pages.run),
        route("/functions", pages.functions),
        route("/functions/{function_id:path}", pages.function),
        route("/events", pages.events),
        route("/events/{event_id:path}", pages.event),
        route("/{page}", pages.nowhere),
        Mount("/static", StaticFiles(directory=_FILES)),
    ]


def _home(_request: Request) -> Response:
    return RedirectResponse("/runs")


class _Pages:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._templates = Environment(
            loader=PackageLoader("stepbridge.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_shown,
        )
        self._templates.filters.update(
            pretty=text.pretty,
            editable=text.editable,
            brief=text.brief,
            when=text.when,
            until=text.until,
            rate=text.rate,
            setting=text.setting,
            lines=_lines,
        )
        self._templates.globals.update(
            source=source,
            took=text.took,
            alive=_ALIVE,
            statuses=[status.value for status in Status],
            spans=self._spans(),
        )

    def _spans(self) -> dict[str, str]:
        """The choices of time. A stack's list is read a function and day at a time: not all days there may be."""
        return {name: words for name, (words, span) in SPANS.items() if span is not None or self._source.is_local}

    # -- pages -------------------------------------------------------------------------------------
    def runs(self, request: Request) -> Response:
        """The list of runs."""
        query = Query.of(request.query_params, self._source.since_default)
        found = find(self._source, query, self._source.now())
        return self._page(request, "runs.html", query=query, found=found, names=self._source.function_ids())

    def run(self, request: Request) -> Response:
        """One run."""
        run_id = request.path_params["run_id"]
        run = self._source.run(run_id)
        shorten = request.query_params.get("scale") == "short"
        fall = waterfall(run, self._source.now(), shorten=shorten)
        return self._page(
            request,
            "run.html",
            run=run,
            around=self._source.around(run_id),
            fall=fall,
            failed=[place for place, bar in enumerate(fall.bars) if bar.step["status"] == "FAILED"],
            shorten=shorten,
            first=_first(request.query_params.get("from", "0"), len(fall.bars)),
            bars_max=_BARS_MAX,
            named_max=_NAMED_MAX,
        )

    def functions(self, request: Request) -> Response:
        """All functions."""
        return self._page(request, "functions.html", functions=self._source.functions())

    def function(self, request: Request) -> Response:
        """One function, and its last runs."""
        function_id = request.path_params["function_id"]
        row = next((row for row in self._source.functions() if row["function_id"] == function_id), None)
        if row is None:
            raise LookupError(f"there is no function {function_id!r:.80}")
        found = find(self._source, Query(function=function_id, within="7d"), self._source.now(), rows=20)
        return self._page(request, "function.html", function=row, found=found)

    def events(self, request: Request) -> Response:
        """The events of late."""
        cursor = request.query_params.get("cursor") or None
        return self._page(request, "events.html", **self._source.events(limit=ROWS, cursor=cursor))

    def event(self, request: Request) -> Response:
        """One event: its data, the runs it started, the waits it resolved."""
        return self._page(request, "event.html", event=self._source.event(request.path_params["event_id"]))

    def nowhere(self, request: Request) -> Response:
        """Nothing has that address; what is further down is not the pages'."""
        raise LookupError(f"there is nothing at {request.url.path!r:.80}")

    # -- answers -----------------------------------------------------------------------------------
    def answer(self, page: Callable[[Request], Response], request: Request) -> Response:
        """The page, or one that says why there is none."""
        try:
            return page(request)
        except LookupError as error:
            return self._page(request, "problem.html", _GONE, title="Not found", message=str(error))
        except ConfigError as error:
            return self._page(request, "problem.html", 400, title="That cannot be shown", message=str(error))
        except self._source.troubles as error:
            return self._page(request, "problem.html", 502, title="That cannot be read now", message=str(error))

    def _page(self, request: Request, template: str, status: int = 200, **shown: Any) -> Response:
        theme = request.cookies.get("theme")
        html = self._templates.get_template(template).render(
            **shown,
            path=request.url.path,
            here=request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            theme=theme if theme in {"light", "dark"} else "auto",
            now=self._source.now(),
        )
        body = html.encode("utf-8", "backslashreplace")
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {**HEADERS, "ETag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(body, status, headers, "text/html; charset=utf-8")


def _first(given: str, steps: int) -> int:
    """At which step a page begins; of the last page, where there are not so many."""
    if not (given.isascii() and given.isdigit() and len(given) <= _STEPS_DIGITS):
        raise ConfigError(f"from {given!r:.80} is no place among a run's steps. Mend: follow the page's own links.")
    return min(int(given), max(steps - 1, 0)) // _BARS_MAX * _BARS_MAX


def _shown(value: Any) -> Any:
    """What an expression of a template becomes: nothing in a text is invisible, or turns the line around."""
    return words.clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _lines(value: str) -> Markup:
    """Text of several lines."""
    return Markup("{}").format(words.clean_lines(value))
