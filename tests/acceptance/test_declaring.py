"""Declarations: what is taken, and every `ConfigError` at import."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from stepbridge import App, ConfigError, Context, ContextSync, Function, cron, event, invoke_only
from stepbridge.testing import Simulation
from tests.acceptance.helpers import declared


async def handler(ctx: Context) -> None:
    """A handler that is fine."""


def sync_handler(ctx: ContextSync) -> None:
    """A handler that is fine, too."""


@pytest.mark.parametrize("app_id", ["a", "shop", "shop-2", "0", "a" * 32, "-"])
def test_an_app_id_is_1_to_32_of_a_to_z_digits_and_hyphen(app_id: str) -> None:
    """Taken as it is."""
    assert App(app_id).id == app_id


@pytest.mark.parametrize("app_id", ["", "a" * 33, "Shop", "my_shop", "shöp", "a b", "a/b", "a\n", None, 5], ids=repr)
def test_any_other_app_id_is_a_config_error(app_id: Any) -> None:
    """It names the id and what may stand there."""
    with pytest.raises(ConfigError) as caught:
        App(app_id)
    assert repr(app_id) in str(caught.value)
    assert "a-z" in str(caught.value)


def test_the_decorated_object_is_a_function() -> None:
    """Of both colours; it knows its id, its name, and stays callable."""
    app = App("shop")
    made = app.function("f", trigger=event("go"), name="Fulfil an order")(handler)
    made_sync = app.function("g", trigger=event("go"))(sync_handler)
    assert isinstance(made, Function)
    assert isinstance(made_sync, Function)
    assert (made.id, made.name, made_sync.id) == ("f", "Fulfil an order", "g")
    assert callable(made)


def test_options_are_keywords_never_positions() -> None:
    """Later capabilities add keywords."""
    with pytest.raises(TypeError):
        App("shop").function("f", event("go"))  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        App("shop").function("f")  # type: ignore[call-arg]


@pytest.mark.parametrize("function_id", ["🚀", "a b", "a/b#c", "x" * 200, "%$^&", "-", "ümlaut", 'quo"te', "new\nline"])
def test_a_function_id_may_hold_any_characters(function_id: str) -> None:
    """It runs, and is found again by it."""
    app = App("shop")

    @app.function(function_id, trigger=event("go"))
    async def f(ctx: Context) -> str:
        await ctx.step.sleep("nap", "1h")
        return ctx.function_id

    with Simulation(app) as sim:
        sim.send("go")
        sim.advance("1h")
        assert sim.run(function_id).output == function_id


def test_a_list_or_a_tuple_of_triggers_is_taken() -> None:
    """Of every kind at once."""
    app = App("shop")
    app.function("f", trigger=[event("a"), cron("0 9 * * *"), invoke_only()])(handler)
    app.function("g", trigger=(event("a", source="aws.s3"), event("b/*")))(handler)
    assert set(app.functions) == {"f", "g"}


def two(ctx: Context, more: int) -> None:
    """Takes more than the context."""


def no_arguments() -> None:
    """Takes no context."""


def keyword_only(*, ctx: Context) -> None:
    """Takes the context by keyword."""


def generator(ctx: Context) -> Iterator[int]:
    """Yields."""
    yield 1


async def async_generator(ctx: Context) -> AsyncIterator[int]:
    """Yields, too."""
    yield 1


def declare(app: App, made: Any = handler, **options: Any) -> object:
    """A declaration of "fulfil-order" with one thing wrong."""
    return app.function("fulfil-order", **{"trigger": event("go"), **options})(made)


WRONG: dict[str, Callable[[App], object]] = {
    "duplicate id": lambda app: (declare(app), declare(app)),
    "handler without arguments": lambda app: declare(app, no_arguments),
    "handler with two arguments": lambda app: declare(app, two),
    "handler with a keyword": lambda app: declare(app, keyword_only),
    "handler that is a generator": lambda app: declare(app, generator),
    "handler that is an async generator": lambda app: declare(app, async_generator),
    "handler that is no function": lambda app: declare(app, 5),
    "on_failure without arguments": lambda app: declare(app, on_failure=no_arguments),
    "on_failure that is no function": lambda app: declare(app, on_failure="log"),
    "retries below 0": lambda app: declare(app, retries=-1),
    "retries above 20": lambda app: declare(app, retries=21),
    "retries as text": lambda app: declare(app, retries="4"),
    "retries as a float": lambda app: declare(app, retries=4.0),
    "retries as a bool": lambda app: declare(app, retries=True),
    "trigger as text": lambda app: declare(app, trigger="order/created"),
    "trigger None": lambda app: declare(app, trigger=None),
    "no trigger": lambda app: declare(app, trigger=[]),
    "trigger list with text": lambda app: declare(app, trigger=[event("a"), "b"]),
    "event without a name": lambda app: declare(app, trigger=event("")),
    "event name too long": lambda app: declare(app, trigger=event("x" * 129)),
    "wildcard alone": lambda app: declare(app, trigger=event("*")),
    "wildcard after a letter": lambda app: declare(app, trigger=event("app*")),
    "wildcard in the middle": lambda app: declare(app, trigger=event("app/*/created")),
    "two wildcards": lambda app: declare(app, trigger=event("app/*.*")),
    "if_exp of bad syntax": lambda app: declare(app, trigger=event("go", if_exp="event.data.x ==")),
    "if_exp empty": lambda app: declare(app, trigger=event("go", if_exp="")),
    "if_exp of an unknown name": lambda app: declare(app, trigger=event("go", if_exp="order.x == 1")),
    "if_exp of async": lambda app: declare(app, trigger=event("go", if_exp="async.data.x == event.data.x")),
    "if_exp of an unknown function": lambda app: declare(app, trigger=event("go", if_exp="nosuch(event.data.x)")),
    "cron of four fields": lambda app: declare(app, trigger=cron("* * * *")),
    "cron of six fields": lambda app: declare(app, trigger=cron("0 0 * * * *")),
    "cron by name": lambda app: declare(app, trigger=cron("@daily")),
    "cron out of range": lambda app: declare(app, trigger=cron("60 * * * *")),
    "cron of no hour": lambda app: declare(app, trigger=cron("0 24 * * *")),
    "cron of words": lambda app: declare(app, trigger=cron("every day at nine o'clock")),
    "cron that AWS cannot say": lambda app: declare(app, trigger=cron("0 9 1 * MON")),
    "cron empty": lambda app: declare(app, trigger=cron("")),
    "cron with an unknown zone": lambda app: declare(app, trigger=cron("0 9 * * *", timezone="Europe/Zurych")),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_declaration_is_a_config_error_that_names_the_function(wrong: str) -> None:
    """At import, by the function's id, with the mend."""
    message = declared(WRONG[wrong])
    assert "fulfil-order" in message
    assert "Mend: " in message


@pytest.mark.parametrize("function_id", ["", None, 5], ids=repr)
def test_a_function_id_is_text_that_is_not_empty(function_id: Any) -> None:
    """Anything else is refused, as it is."""
    message = declared(lambda app: app.function(function_id, trigger=event("go"))(handler))
    assert repr(function_id) in message


def test_the_failure_suffix_is_reserved() -> None:
    """`<id>-failure` is the id of on_failure's runs."""
    message = declared(lambda app: app.function("fulfil-order-failure", trigger=event("go"))(handler))
    assert "fulfil-order-failure" in message
    assert "reserved" in message


def test_a_declaration_that_was_refused_leaves_no_trace() -> None:
    """The id is free for the mended one."""
    app = App("shop")
    with pytest.raises(ConfigError):
        declare(app, no_arguments)
    declare(app)
    assert set(app.functions) == {"fulfil-order"}


@pytest.mark.parametrize("retries", [0, 20])
def test_retries_are_0_to_20(retries: int) -> None:
    """Both ends included."""
    assert isinstance(declare(App("shop"), retries=retries), Function)


@pytest.mark.parametrize(
    "expression",
    [
        "* * * * *",
        "*/5 * * * *",
        "0 9 * * *",
        "0 9 * * 1-5",
        "0 9 * * MON-FRI",
        "0 9 * * mon,wed",
        "0 9 * * 0",
        "0 9 * * 7",
        "0 9 * * SUN",
        "30 2 1 * *",
        "0 0 1 1 *",
        "0 0 1 JAN,JUL *",
        "0 9-17/2 * * *",
        "15,45 8,20 * * *",
        "0 0 31 12 *",
    ],
)
def test_a_unix_cron_expression_is_taken(expression: str) -> None:
    """Five fields, names and steps included."""
    assert isinstance(declare(App("shop"), trigger=cron(expression, timezone="Europe/Zurich")), Function)


def test_a_handler_may_be_any_callable_that_takes_the_context() -> None:
    """A method, a callable object, a handler with a default."""
    app = App("shop")

    class Service:
        async def handle(self, ctx: Context) -> str:
            return await ctx.step.run("a", lambda: "method")

    class Handler:
        def __call__(self, ctx: ContextSync) -> str:
            return ctx.step.run("a", lambda: "object")

    def with_default(ctx: ContextSync, greeting: str = "hello") -> str:
        return ctx.step.run("a", lambda: greeting)

    app.function("method", trigger=event("go"))(Service().handle)
    app.function("object", trigger=event("go"))(Handler())
    app.function("default", trigger=event("go"))(with_default)
    with Simulation(app) as sim:
        sim.send("go")
        assert [sim.run(name).output for name in ("method", "object", "default")] == ["method", "object", "hello"]
