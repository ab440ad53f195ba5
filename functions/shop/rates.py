"""A carrier's rate, by HTTP; what to try again and when is for `call_api` to say."""

from functions.shop.app import app
from functions.shop.services import call_api
from stepbridge import Context, StepError, event


@app.function("quote-shipping", trigger=event("shipping/requested"))
async def quote_shipping(ctx: Context) -> dict[str, object]:
    """The rate, or why there is none."""
    try:
        rate = await ctx.step.run("ask-carrier", call_api, "/rates", ctx.event.data)
    except StepError as error:
        return {"problem": error.message}
    return {"cents": rate["cents"]}
