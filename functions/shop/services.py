"""The world outside, one plain function an effect. In memory here; a real shop calls its providers."""

import json
import os
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from stepbridge import NonRetriableError, RetryAfterError, current_step


@dataclass(frozen=True)
class Customer:
    """What the shop knows of someone."""

    name: str
    tier: str = "standard"
    zone: str = "UTC"


@dataclass(frozen=True)
class Mail:
    """A mail that was sent."""

    to: str
    subject: str


@dataclass
class World:
    """All that effects read and change. Tests put one of their own in the place of `world`."""

    database: Path = Path(os.getenv("SHOP_DATABASE", f"{tempfile.gettempdir()}/shop.sqlite"))
    api: str = os.getenv("SHOP_API", "127.0.0.1:8099")
    customers: dict[str, Customer] = field(
        default_factory=lambda: {"ada@example.com": Customer("Ada", tier="gold", zone="Europe/London")}
    )
    prices: dict[str, int] = field(default_factory=lambda: {"mug": 900, "poster": 1500})  # cents
    stock: dict[str, int] = field(default_factory=lambda: {"mug": 1000, "poster": 1000})
    ratings: dict[str, float] = field(default_factory=lambda: {"mug": 4.5, "poster": 3.9})
    unsubscribed: set[str] = field(default_factory=set)
    outbox: list[Mail] = field(default_factory=list)
    reserved: dict[str, str] = field(default_factory=dict)  # order: sku
    parcels: dict[str, str] = field(default_factory=dict)  # order: address
    payments: dict[str, int] = field(default_factory=dict)  # payment: cents
    refunded: set[str] = field(default_factory=set)
    points: dict[str, tuple[str, int]] = field(default_factory=dict)  # booking: customer, points


world = World()


def customer(email: str) -> Customer:
    """Looks a customer up."""
    if email not in world.customers:
        raise NonRetriableError(f"no customer {email}")
    return world.customers[email]


def price_of(sku: str) -> int:
    """What a piece costs, in cents."""
    if sku not in world.prices:
        raise NonRetriableError(f"{sku} is not for sale")
    return world.prices[sku]


def send_mail(to: str, subject: str) -> None:
    """Sends a mail."""
    if "@" not in to:
        raise NonRetriableError(f"{to} bounces")
    world.outbox.append(Mail(to, subject))


def reserve(order_id: str, sku: str) -> None:
    """Keeps one piece for an order."""
    if order_id not in world.reserved and list(world.reserved.values()).count(sku) >= world.stock.get(sku, 0):
        raise NonRetriableError(f"{sku} is sold out")
    world.reserved[order_id] = sku


def release(order_id: str) -> None:
    """Gives a reserved piece back."""
    world.reserved.pop(order_id, None)


def ship(order_id: str, address: str) -> str:
    """Sends a parcel; its number."""
    if not address:
        raise NonRetriableError(f"order {order_id} has no address")
    world.parcels[order_id] = address
    return f"parcel-{order_id}"


def charge(card: str, cents: int) -> str:
    """Takes money; the payment's id. The provider counts payments with the same key once."""
    if card == "declined":
        raise NonRetriableError("card declined")
    payment = current_step().effect_key
    world.payments[payment] = cents
    return payment


def refund(payment: str) -> None:
    """Gives a payment back."""
    world.refunded.add(payment)


def call_api(path: str, body: dict[str, Any]) -> Any:
    """Posts JSON to the carrier's API and returns its answer; to be called in a step."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": current_step().effect_key}
    with closing(HTTPConnection(world.api, timeout=10)) as connection:
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        wait = answer.headers.get("Retry-After", "")  # seconds, or a date
        raise RetryAfterError(f"{path}: too many requests", f"{wait}s" if wait.isdigit() else "1m")
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise ConnectionError(f"{path}: {answer.status} {text}")
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise NonRetriableError(f"{path}: {answer.status} {text}")
    return json.loads(text)
