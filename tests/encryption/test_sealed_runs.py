"""Runs whose records are sealed go on as ever, and nothing that users wrote stands in the clear."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepbridge import App, Context, ContextSync, EventMatch, NonRetriableError, StepError, event
from stepbridge.engine.operations import Operations
from stepbridge.errors import EncryptionError
from stepbridge.testing import LocalKeys, Simulation

SECRET = "s3cret-4242"  # pragma: allowlist secret
LARGE = "".join(f"{SECRET}-{number * 7919 % 100_003}-" for number in range(6_000))
"""Beyond 8 KB even when it is compressed: it is a blob."""
KEYS = LocalKeys({"a": b"a" * 32})


def charge(card: str) -> dict[str, str]:
    return {"card": card, "state": SECRET}


def each(item: str) -> str:
    return f"{item}-{SECRET}"


def refuse(_: str) -> None:
    message = f"the card {SECRET} is refused"
    raise NonRetriableError(message)


def shop() -> App:
    """Keeps users' data in every place that there is."""
    app = App("shop")

    @app.function("child", trigger=event("never"))
    async def child(ctx: Context) -> Any:
        return {"told": ctx.event.data["card"]}

    @app.function("f", trigger=event("go"), waits=[EventMatch("paid", match="data.id", lookback="1h")])
    async def f(ctx: Context) -> Any:
        card = ctx.event.data["card"]
        charged = await ctx.step.run("charge", charge, card)
        large = await ctx.step.run("large", str, ctx.event.data["large"])
        items = await ctx.step.map("each", each, [card, "b"], max_concurrency=1)
        told = await ctx.step.invoke("child", function="child", data={"card": card})
        paid = await ctx.step.wait_for_event(
            "paid", event="paid", if_exp="async.data.card == event.data.card && async.data.id == 7", timeout="1h"
        )
        found = await ctx.step.wait_for_event("again", event="paid", match="data.id", timeout="1h", lookback=True)
        try:
            await ctx.step.run("refuse", refuse, card)
        except StepError as error:
            return [charged, len(large), items, told, paid and paid.data, found and found.data, error.message, large]
        return None

    @app.function("sync", trigger=event("go sync"), on_failure=failed)
    def sync(ctx: ContextSync) -> Any:
        ctx.step.run("charge", charge, ctx.event.data["card"])
        ctx.step.sleep("nap", "1h")
        refuse(ctx.event.data["card"])

    return app


async def failed(ctx: Context) -> str:
    return str(ctx.event.data["error"]["message"])


def play(sim: Simulation) -> None:
    """All there is."""
    sim.send("go", {"card": SECRET, "large": LARGE, "id": 7})
    sim.send("paid", {"card": "other", "id": 7})
    sim.send("paid", {"card": SECRET, "id": 7})
    sim.send("go sync", {"card": SECRET})
    sim.run_until_idle()


def stored(sim: Simulation) -> str:
    """All that stands in table and bucket, as text."""
    (site,) = sim._sites
    blobs = site.stack.blobs.dump() if hasattr(site.stack, "blobs") else {}
    return repr(site.stack.table.items()) + repr(blobs)


def test_runs_end_as_without_encryption_and_nothing_is_in_the_clear() -> None:
    """Results, errors, triggers, waits, items and blobs; the same app unsealed shows the secret in each of them."""
    with Simulation(shop(), keys=KEYS) as sim:
        play(sim)
        sealed, runs = stored(sim), sim.runs()
    with Simulation(shop()) as sim:
        play(sim)
        plain, others = stored(sim), sim.runs()
    assert [(run.status, run.output, run.error, run.steps) for run in runs] == [
        (run.status, run.output, run.error, run.steps) for run in others
    ]
    assert runs[0].status == "COMPLETED"
    assert [len(plain.split(SECRET)) > 10, SECRET in sealed] == [True, False]


@pytest.mark.slow
def test_the_aws_adapters_do_the_same() -> None:
    """Attributes of DynamoDB and objects of S3."""
    with Simulation(shop(), keys=KEYS, backend="moto") as sim:
        play(sim)
        (site,) = sim._sites
        s3, bucket = site.stack.counted.clients.s3(), site.stack.settings.blobs_bucket
        objects = [
            s3.get_object(Bucket=bucket, Key=one["Key"]) for one in s3.list_objects_v2(Bucket=bucket)["Contents"]
        ]
        sealed = stored(sim) + repr([one["Body"].read() for one in objects])
        assert {run.status for run in sim.runs("f")} == {"COMPLETED"}
    assert len(objects) > 1
    assert SECRET not in sealed


def test_a_record_opens_at_its_own_place_only() -> None:
    """Moved to another step, to another run, or to another attribute, it is refused and named."""
    with Simulation(shop(), keys=KEYS) as sim:
        play(sim)
        (site,) = sim._sites
        items = [one for one in site.stack.table.items() if one.get("n") == "charge"]
        here, there = items
        other = next(one for one in site.stack.table.items() if one["pk"] == here["pk"] and one.get("n") == "paid")
        table = site.readable.table
        assert table.opened(here)["v"] == json.dumps(charge(SECRET), separators=(",", ":"))
        for moved in ({**here, "sk": other["sk"]}, {**here, "pk": there["pk"]}, {**here, "er": here["v"]}):
            with pytest.raises(EncryptionError, match="was not sealed there"):
                table.opened(moved)


def test_an_altered_record_is_refused() -> None:
    """A bit of the ciphertext, of the nonce or of the tag."""
    with Simulation(shop(), keys=KEYS) as sim:
        play(sim)
        (site,) = sim._sites
        item = next(one for one in site.stack.table.items() if one.get("n") == "charge")
        value = item["v"]
        for at in (15, 30, len(value) - 1):
            altered = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
            with pytest.raises(EncryptionError, match="has been altered"):
                site.readable.table.opened({**item, "v": altered})


def test_a_blob_of_another_step_or_run_is_refused() -> None:
    """The reference is sealed with its record, and the blob under its own name."""
    with Simulation(shop(), keys=KEYS) as sim:
        play(sim)
        (site,) = sim._sites
        item = next(one for one in site.stack.table.items() if one.get("n") == "large")
        assert "vr" in item
        with pytest.raises(EncryptionError, match="was not sealed there"):
            site.readable.table.opened({**item, "sk": "S#other"})
        first, second, *_ = site.stack.blobs.dump().items()
        site.stack.blobs._values[first[0]] = second[1]
        with pytest.raises(EncryptionError, match="was not sealed there"):
            site.readable.blobs.get(first[0])


def test_a_rerun_of_a_sealed_run_is_sealed_anew() -> None:
    """Its copies are bound to the new run."""
    with Simulation(shop(), keys=KEYS) as sim:
        play(sim)
        (site,) = sim._sites
        old = sim.run("f")
        Operations("shop", site.ports, ()).rerun(old.run_id, "r" * 26, from_step="refuse")
        sim.run_until_idle()
        new = sim.run(run_id="r" * 26)
        assert SECRET not in stored(sim)
    assert (new.status, new.output) == (old.status, old.output)


def sleeper() -> App:
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> Any:
        first = await ctx.step.run("first", str, ctx.event.data["card"])
        await ctx.step.sleep("nap", "3h")
        return first

    return app


class Turning:
    """Keys that are changed on the way."""

    def __init__(self, keys: LocalKeys) -> None:
        self.keys = keys

    def new(self) -> tuple[bytes, bytes]:
        """As the keys'."""
        return self.keys.new()

    def unwrap(self, wrapped: bytes) -> bytes:
        """As the keys'."""
        return self.keys.unwrap(wrapped)


def test_a_new_key_seals_and_the_old_one_still_opens() -> None:
    """Both are given, the new one first; what is written from then on needs the new one alone."""
    turning = Turning(LocalKeys({"2025": b"5" * 32}))
    with Simulation(sleeper(), keys=turning) as sim:
        sim.send("go", {"card": SECRET})
        turning.keys = LocalKeys({"2026": b"6" * 32, "2025": b"5" * 32})
        sim.run_until_idle()
        run = sim.run("f")
        (site,) = sim._sites
        wrapped = [one["w"] for one in site.stack.table.items() if "w" in one]
    assert (run.status, run.output) == ("COMPLETED", SECRET)
    assert [one.partition(b"\0")[0] for one in wrapped] == [b"2025", b"2026"]


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (LocalKeys({"other": b"o" * 32}), "wrapped by the key 'a'.* give it again, behind the first"),
        (LocalKeys({"a": b"z" * 32}), "not the one that wrapped"),
    ],
    ids=["missing", "wrong"],
)
def test_without_the_key_the_message_stays_and_the_run_goes_on_once_it_is_back(
    keys: LocalKeys, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing fails, nothing counts as a crash, however often it is tried; the log names the mend."""
    turning = Turning(KEYS)
    with Simulation(sleeper(), keys=turning) as sim:
        sim.send("go", {"card": SECRET})
        turning.keys = keys
        sim.advance("4h")
        (site,) = sim._sites
        assert site.stack.queue.depth() != (0, 0)
        assert {item["st"] for item in site.stack.table.items() if item["sk"] == "#"} == {"RUNNING"}
        turning.keys = KEYS
        sim.run_until_idle()
        run = sim.run("f")
    assert (run.status, run.output) == ("COMPLETED", SECRET)
    assert caplog.text.count("comes back") > 6
    assert why.partition(".*")[0] in caplog.text


def test_an_altered_record_parks_its_run_until_it_is_restored() -> None:
    """No key will ever open it, so the message does not come back for ever."""
    with Simulation(sleeper(), keys=KEYS) as sim:
        sim.send("go", {"card": SECRET})
        (site,) = sim._sites
        item = next(one for one in site.stack.table.items() if one.get("n") == "first")
        site.stack.table.put({**item, "v": item["v"][:-1] + bytes([item["v"][-1] ^ 1])})
        sim.advance("4h")
        assert {one["st"] for one in site.stack.table.items() if one["sk"] == "#"} == {"PARKED"}
        site.stack.table.put(item)
        parked = sim.run("f")
        assert parked.error is not None
        assert (parked.error["name"], SECRET in parked.error["message"]) == ("AlteredError", False)
        assert "has been altered. Mend: restore the record" in parked.error["message"]
        Operations("shop", site.ports, ()).resume(parked.run_id)
        sim.run_until_idle()
        assert (sim.run("f").status, sim.run("f").output) == ("COMPLETED", SECRET)


def test_a_process_without_keys_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """A sealed record is never taken for text."""
    with Simulation(sleeper(), keys=KEYS) as sim:
        sim.send("go", {"card": SECRET})
        (site,) = sim._sites
        kept, site.ports = site.ports, site.stack.ports
        site.restart()
        sim.advance("3h5m")
        assert "this process has no key. Mend: set STEPBRIDGE_ENCRYPTION_KEYS" in caplog.text
        site.ports = kept
        site.restart()
        sim.run_until_idle()
        assert sim.run("f").output == SECRET


def test_records_from_before_encryption_are_read_as_they_are() -> None:
    """An app may turn it on while runs sleep."""
    with Simulation(sleeper(), keys=KEYS) as sim:
        (site,) = sim._sites
        kept, site.ports = site.ports, site.stack.ports
        site.restart()
        sim.send("go", {"card": SECRET})
        assert SECRET in stored(sim)
        site.ports = kept
        site.restart()
        sim.run_until_idle()
        assert (sim.run("f").status, sim.run("f").output) == ("COMPLETED", SECRET)


class Counting(Turning):
    """Counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__(KEYS)
        self.made = self.opened = 0

    def new(self) -> tuple[bytes, bytes]:
        """As the keys'."""
        self.made += 1
        return super().new()

    def unwrap(self, wrapped: bytes) -> bytes:
        """As the keys'."""
        self.opened += 1
        return super().unwrap(wrapped)


def test_a_data_key_is_used_for_an_hour() -> None:
    """A hundred events, one data key; the next hour, the next one."""
    counting = Counting()
    with Simulation(sleeper(), keys=counting) as sim:
        for number in range(100):
            sim.send("go", {"card": f"{number}"})
        assert (counting.made, counting.opened) == (1, 1)
        sim.advance("61m")
        sim.send("go", {"card": "x"})
        assert counting.made == 2


def test_a_data_key_is_used_for_a_million_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not for more."""
    monkeypatch.setattr("stepbridge.engine.sealing.KEY_USES", 10)
    counting = Counting()
    with Simulation(sleeper(), keys=counting) as sim:
        for number in range(10):
            sim.send("go", {"card": f"{number}"})
        assert counting.made > 2
        sim.run_until_idle()
        assert {run.status for run in sim.runs()} == {"COMPLETED"}


def test_the_same_text_is_never_sealed_the_same() -> None:
    """Equal values do not show."""
    with Simulation(sleeper(), keys=KEYS) as sim:
        sim.send("go", {"card": SECRET})
        sim.send("go", {"card": SECRET})
        (site,) = sim._sites
        values = [item["v"] for item in site.stack.table.items() if item.get("n") == "first"]
    assert len(set(values)) == 2


def test_a_lost_data_key_is_named() -> None:
    """The item that holds it is gone."""
    with Simulation(sleeper(), keys=KEYS) as sim, Simulation(sleeper(), keys=KEYS) as other:
        sim.send("go", {"card": SECRET})
        (site,), (elsewhere,) = sim._sites, other._sites
        item = next(one for one in site.stack.table.items() if one.get("n") == "first")
        with pytest.raises(EncryptionError, match="is not in the table"):
            elsewhere.readable.table.opened(item)
