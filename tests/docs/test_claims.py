"""What the documentation says in words and numbers holds."""

from __future__ import annotations

import importlib
import re
import shlex
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest
import typer

import stepbridge
import stepbridge.testing
from functions.shop import app as shop
from stepbridge import App, Cancel, Context, NonRetriableError, event
from stepbridge.cli import problems
from stepbridge.cli.commands import app as commands
from stepbridge.core import limits
from stepbridge.memory.requests import Requests
from stepbridge.testing import Simulation
from tests.bench import prices
from tests.counting import DEALS, Price
from tests.docs.pages import GUIDE, PAGES, ROOT, Block, Page

README = GUIDE[0]
ALL_TEXT = "\n".join(page.text for page in GUIDE)


# -- links -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_somewhere(page: Page) -> None:
    """Files are there, and so are the headings that links name."""
    broken = []
    for link in page.links():
        name, _, anchor = link.partition("#")
        target = page.path.parent / name if name else page.path
        is_page = target.suffix == ".md"
        found = link.startswith("https://") or (
            target.is_file() and (not anchor or (is_page and anchor in Page(target).anchors))
        )
        broken += [] if found else [link]
    assert broken == []


def test_every_picture_is_there_and_shown() -> None:
    """None is broken, none is kept for nothing."""
    shown = {(page.path.parent / name).resolve() for page in PAGES for name in page.pictures()}
    assert shown == set((ROOT / "docs" / "images").iterdir())


def test_every_page_of_the_guide_is_in_the_readme() -> None:
    """Nothing is found by chance only."""
    linked = {link.partition("#")[0] for link in README.links()}
    assert {f"docs/{page.path.name}" for page in GUIDE[1:]} <= linked


# -- names -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [*stepbridge.__all__, *stepbridge.testing.__all__])
def test_every_public_name_is_written_about(name: str) -> None:
    """In the README or the guide."""
    assert re.search(rf"\b{name}\b", ALL_TEXT)


def test_every_story_of_the_shop_is_listed() -> None:
    """Each module that declares functions; and none that is gone."""
    page = next(page for page in GUIDE if page.path.name == "shop.md")
    modules = {function.handler.__module__.rpartition(".")[2] for function in shop.functions.values()}
    linked = {Path(link).stem for link in page.links() if link.startswith("../functions")}
    assert linked == {*modules, "app", "services"}
    assert all(row[3].startswith("[") for row in page.rows("The shop"))  # each with the page that says how


# -- commands --------------------------------------------------------------------------------------
def shell_lines(page: Page) -> list[str]:
    """Commands, those of several lines joined."""
    return [line for block in page.blocks("sh") for line in _joined(block).splitlines() if line]


def _joined(block: Block) -> str:
    return re.sub(r"\\\n\s*", "", block.code)


def test_the_two_commands_are_in_the_makefile() -> None:
    """And every other `make` that a page names."""
    named = {found for page in PAGES for found in re.findall(r"(?:^\s*|`)make ([a-z0-9]+)", page.text, re.MULTILINE)}
    targets = set(re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"dev", "test"} <= named <= targets


def test_every_make_target_is_told_to_those_who_contribute() -> None:
    """What there is to run."""
    page = next(page for page in PAGES if page.path.name == "CONTRIBUTING.md")
    targets = re.findall(r"^([a-z0-9]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(targets) - {"help"} <= set(re.findall(r"make ([a-z0-9]+)", page.text))


COMMANDS = sorted({line for page in GUIDE for line in shell_lines(page) if line.startswith("stepbridge")})


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_line_is_one_that_the_program_takes(line: str) -> None:
    """It is parsed, not carried out."""
    _, *words = shlex.split(line)
    command: Any = typer.main.get_command(commands)
    context = command.make_context("stepbridge", [words[0]], resilient_parsing=False)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    parsed = command.make_context("stepbridge", words, parent=context)
    assert parsed.params


@pytest.mark.parametrize("name", ["local.md", "cli.md", "testing.md"])
def test_every_option_of_the_pages_is_there(name: str) -> None:
    """`--port` and the like."""
    page = next(page for page in GUIDE if page.path.name == name)
    assert set(re.findall(r"`(--[a-z-]+)", page.text)) <= {*_options(typer.main.get_command(commands)), *_PYTESTS}


def test_every_command_speaks_json() -> None:
    """As the page says; and each is in the page's table, or in the row of its group."""
    page = next(page for page in GUIDE if page.path.name == "cli.md")
    silent = [name for name, command in _leaves(typer.main.get_command(commands)) if "--json" not in _options(command)]
    assert silent == []
    told = " ".join(row[0] for row in page.rows("The command line"))
    assert [name for name, _ in _leaves(typer.main.get_command(commands)) if f"{name.split()[-1]}" not in told] == []


def _leaves(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from _leaves(inner, f"{path} {name}") if hasattr(inner, "commands") else [(f"{path} {name}", inner)]


def test_the_exit_codes_are_those_of_the_commands() -> None:
    """Each with its meaning."""
    page = next(page for page in GUIDE if page.path.name == "cli.md")
    told = [int(code) for code, _ in page.rows("For scripts")]
    known = {value for value in vars(problems).values() if isinstance(value, int)}
    assert told == sorted(known)


_PYTESTS = ("--stepbridge-backend",)
"""Of the pytest plugin."""


def _options(command: Any) -> Iterator[str]:
    for option in command.params:
        yield from (*option.opts, *option.secondary_opts, "--help")
    for one in getattr(command, "commands", {}).values():
        yield from _options(one)


def test_the_extras_are_those_of_the_package() -> None:
    """What the installation names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = set(re.findall(r"\[(\w+)\]'", "\n".join(shell_lines(README)))) | {"cdk"}
    assert named == set(project["optional-dependencies"])
    assert all(re.split(r"[>=\[]", name)[0] in README.text for name in project["dependencies"])


# -- numbers ---------------------------------------------------------------------------------------
def shown(value: object, unit: str) -> str:
    """A limit as the pages write it, in this unit."""
    if isinstance(value, timedelta):
        return f"{value / _UNITS[unit]:g} {unit}"
    assert isinstance(value, int | float)
    return f"{value / _SIZES.get(unit, 1):,g} {unit}".strip() if value < 10**6 or unit else f"{value:,}"


_UNITS = {
    "s": timedelta(seconds=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "days": timedelta(days=1),
}
_SIZES = {"KB": 1024, "MB": 1024 * 1024}
WORDS = {3: "three", 5: "five"}
LIMITS = next(page for page in GUIDE if page.path.name == "limits.md")


@pytest.mark.parametrize(("what", "number", "name"), LIMITS.rows("Numbers"), ids=lambda cell: cell[:40])
def test_every_number_is_that_of_the_code(what: str, number: str, name: str) -> None:
    """The table of the limits, row by row."""
    unit = number.partition(" ")[2]
    assert number == shown(getattr(limits, name.strip("`")), unit)


@pytest.mark.parametrize(
    ("page", "phrase"),
    [
        ("steps.md", f"at most {shown(limits.RUN_MAX, 'days')}"),
        ("steps.md", f"up to {limits.QUEUE_DELAY_MAX // timedelta(minutes=1)} minutes are a delayed message"),
        ("waiting.md", f"at most {shown(limits.RUN_MAX, 'days')}"),
        ("errors-and-retries.md", f"{limits.RETRIES_DEFAULT} retries by default"),
        ("errors-and-retries.md", f"From 0 to {limits.RETRIES_MAX}."),
        ("errors-and-retries.md", f"Up to {limits.RETRY_JITTER_SECONDS} s of jitter"),
        (
            "errors-and-retries.md",
            f"between {shown(limits.RETRY_AFTER_MIN, 's')} and {shown(limits.RETRY_AFTER_MAX, 'h')}",
        ),
        ("errors-and-retries.md", f"{limits.INVOCATIONS_MAX:,} invocations of one run"),
        ("events.md", f"at most {limits.EVENT_NAME_MAX} characters"),
        ("events.md", f"expire {shown(limits.RETENTION, 'days')} after its end"),
        ("events.md", f"at most {shown(limits.EVENT_BYTES_MAX, 'MB')}"),
        ("parallel.md", f"up to {limits.BODY_THREADS} sync step functions"),
        ("sync-handlers.md", f"in up to {limits.BRANCH_THREADS} threads"),
        ("fan-out.md", f"up to {limits.MAP_SHARD} items are joined"),
        ("limits.md", f"after {limits.IDLE_HAND_OVERS_MAX} invocations in a row that recorded nothing"),
        ("README.md", f"up to {limits.QUEUE_DELAY_MAX // timedelta(minutes=1)} minutes, or a retry"),
        ("ARCHITECTURE.md", f"ends {shown(limits.LEASE_MARGIN, 's')} after its invocation's deadline"),
        ("ARCHITECTURE.md", f"less than {shown(limits.HAND_OVER_MARGIN, 's')} left no step begins"),
        ("ARCHITECTURE.md", f"get {shown(limits.HAND_OVER_GRACE, 's')} and are cut off"),
        ("ARCHITECTURE.md", f"up to {limits.QUEUE_DELAY_MAX // timedelta(minutes=1)} minutes are a delayed message"),
        ("ARCHITECTURE.md", f"timeouts up to {limits.TIMEOUT_DELAY_MAX // timedelta(minutes=1)} minutes too"),
        ("ARCHITECTURE.md", f"above {shown(limits.INLINE_BYTES, 'KB')} after compression"),
        ("ARCHITECTURE.md", f"received {limits.RESEND_AT_RECEIVE} times"),
        ("ARCHITECTURE.md", f"the same run, {WORDS[limits.CRASH_LIMIT]} times in a row without a record"),
        ("ARCHITECTURE.md", f"{WORDS[limits.IDLE_HAND_OVERS_MAX].capitalize()} such invocations in a row"),
        (
            "errors-and-retries.md",
            f"{WORDS[limits.CRASH_LIMIT].capitalize()} invocations in a row ended without a record",
        ),
    ],
)
def test_a_number_in_prose_is_that_of_the_code(page: str, phrase: str) -> None:
    """The same numbers where the guide says them in a sentence."""
    assert phrase in next(one for one in PAGES if one.path.name == page).prose


def test_the_delays_of_retries_are_those_of_the_code() -> None:
    """The table of the errors page."""
    page = next(page for page in GUIDE if page.path.name == "errors-and-retries.md")
    (_, *delays) = page.rows("When")[0]
    words = [delay.split() for delay in delays]
    assert [int(number) * _UNITS[unit] for number, unit in words] == [
        timedelta(seconds=seconds) for seconds in limits.RETRY_DELAYS_SECONDS
    ]


# -- prices ----------------------------------------------------------------------------------------
COLUMNS = ("writes", "reads", "queue", "invocations")
ROWS = {
    "a run of N steps": ("one step", None),
    "+ a sleep up to 15 minutes, or a retry": ("a delay of a quarter of an hour", "no step"),
    "+ a longer sleep": ("a sleep of two days", "no step"),
    "+ a wait that is matched": ("a wait that is matched", "no step"),
    "+ a wait that times out": ("a wait that times out", "no step"),
    "+ each `Cancel` that is declared": ("a cancel that is declared", "no step"),
    "+ `Timeouts`": ("timeouts", "no step"),
    "an event that nobody wants": ("an event that nobody wants", None),
}
"""Which deals a row of the README's table is the difference of."""


def price(name: str | None) -> Price:
    """A deal's price; None: nothing."""
    free = Price(writes=0, reads=0, queue=0, invocations=0, write_units=0)
    return next((deal.price for deal in DEALS if deal.name == name), free)


def read(cell: str) -> int:
    """`N + 2` for one step; `+ 3`; or nothing."""
    return sum(int(part) for part in cell.replace("N", "1").split("+") if part.strip())


@pytest.mark.parametrize(("row", "deals"), ROWS.items(), ids=ROWS)
def test_the_readmes_prices_are_those_that_are_tested(row: str, deals: tuple[str, str | None]) -> None:
    """Each row is the difference of two entries of the price list."""
    cells = next(cells for cells in README.rows("What it costs") if cells[0] == row)
    whole, base = map(price, deals)
    assert [read(cell) for cell in cells[1:5]] == [getattr(whole, name) - getattr(base, name) for name in COLUMNS]


def test_the_prices_of_an_invoke_and_of_a_retry_are_those_that_are_tested() -> None:
    """The child's own run asks for two writes and three requests of the queue, but reads no signatures."""
    rows = {cells[0]: [read(cell) for cell in cells[1:5]] for cells in README.rows("What it costs")}
    invoke, base, child = price("an invoke, and the child's run"), price("no step"), [2, 0, 3, 1]
    found = [getattr(invoke, name) - getattr(base, name) for name in COLUMNS]
    assert rows["+ an invoke, without the child's own run"] == [a - b for a, b in zip(found, child, strict=True)]
    retried, once = price("a step that is retried once"), price("one step")
    assert rows["+ a sleep up to 15 minutes, or a retry"] == [
        getattr(retried, name) - getattr(once, name) for name in COLUMNS
    ]


def test_no_row_of_the_prices_is_left_untested() -> None:
    """Who adds a row adds its deal."""
    assert {cells[0] for cells in README.rows("What it costs")} == {*ROWS, "+ an invoke, without the child's own run"}


def dollars(amount: float) -> str:
    """In whole cents, a half rounded up."""
    return f"${Decimal(f'{amount:.6f}').quantize(Decimal('0.01'), ROUND_HALF_UP)}"


def test_the_dollars_of_a_million_steps_are_those_of_the_price_list() -> None:
    """One write each; beside what others ask for an operation or a transition."""
    cells = next(cells for cells in README.rows("How it compares") if cells[0] == "a million steps")
    assert cells[1] == dollars(prices.WRITES * 1e6)
    assert cells[2:4] == [f"${price * 1e6:g}" for price in (prices.DURABLE_OPERATIONS, prices.TRANSITIONS)]
    assert f"${prices.WRITES * 1e6:g} per million (on demand" in README.prose


def test_a_run_that_fails_or_is_cancelled_makes_one_more_write_and_puts_one_event() -> None:
    """Beside what a run of no steps, a sleep and a declared `Cancel` ask for."""
    app = App("prices")

    @app.function("fails", trigger=event("fail"))
    async def fails(ctx: Context) -> None:
        raise NonRetriableError("no")

    @app.function("sleeps", trigger=event("sleep"), cancel=[Cancel("stop", match="data.k")])
    async def sleeps(ctx: Context) -> None:
        await ctx.step.sleep("nap", "1h")

    with Simulation(app) as sim:
        sim.send("fail")
        failed = sim.requests
        sim.send("sleep", {"k": 1})
        sim.send("stop", {"k": 1})
        cancelled = sim.requests.since(failed)
    assert (writes(failed), failed["PutEvents"]) == (2 + 1, 1)
    assert cancelled["PutEvents"] == 1


def writes(requests: Requests) -> int:
    """All of them."""
    return sum(requests[name] for name in ("PutItem", "UpdateItem", "DeleteItem"))


def test_the_settings_that_the_readme_names_are_those_of_the_entry() -> None:
    """Environment variables."""
    settings = importlib.import_module("stepbridge.aws.settings")
    named = set(re.findall(r"`(STEPBRIDGE_\w+)`", README.text))
    assert named <= {settings.variable(name) for name in settings.Settings.__dataclass_fields__}
    assert named
