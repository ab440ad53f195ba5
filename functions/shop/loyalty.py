"""Points: each step works with what the steps before it found."""

from functions.shop import services
from functions.shop.app import app
from stepbridge import Context, current_step, event

GOLD = 100


def book_points(email: str, cents: int) -> int:
    """Books a point for each euro; the balance."""
    points = services.world.points
    points[current_step().effect_key] = (email, cents // 100)
    return sum(number for owner, number in points.values() if owner == email)


def level_of(balance: int) -> str:
    """What a balance is worth."""
    return "gold" if balance >= GOLD else "standard"


@app.function("book-points", trigger=event("points/earned"))
async def earn_points(ctx: Context) -> dict[str, object]:
    """The balance and the level."""
    email = ctx.event.data["email"]
    customer = await ctx.step.run("look-up", services.customer, email)
    balance = await ctx.step.run("book", book_points, email, ctx.event.data["cents"])
    level = await ctx.step.run("level", level_of, balance)
    await ctx.step.run("mail", services.send_mail, email, f"{customer.name}, {balance} points: {level}")
    return {"balance": balance, "level": level}
