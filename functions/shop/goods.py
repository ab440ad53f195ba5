"""Goods are booked once, however often the step runs: an upsert under the step's effect key."""

import sqlite3
from contextlib import closing

from functions.shop import services
from functions.shop.app import app
from stepbridge import Context, current_step, event

TABLE = "CREATE TABLE IF NOT EXISTS receipts (key TEXT PRIMARY KEY, sku TEXT NOT NULL, pieces INTEGER NOT NULL)"
UPSERT = "INSERT INTO receipts VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET pieces = excluded.pieces"


def book(sku: str, pieces: int) -> int:
    """Books the goods and tells the carrier, who may be down; all that ever came of this kind."""
    with closing(sqlite3.connect(services.world.database)) as database, database:
        database.execute(TABLE)
        database.execute(UPSERT, (current_step().effect_key, sku, pieces))
        total: int = database.execute("SELECT sum(pieces) FROM receipts WHERE sku = ?", (sku,)).fetchone()[0]
    services.call_api("/receipts", {"sku": sku, "pieces": pieces})
    return total


@app.function("book-goods", trigger=event("goods/received"))
async def book_goods(ctx: Context) -> int:
    """All that ever came of this kind."""
    return await ctx.step.run("book", book, ctx.event.data["sku"], ctx.event.data["pieces"])
