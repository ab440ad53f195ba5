"""Data keys by KMS, as moto has it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from stepbridge import App, Context, event
from stepbridge.aws.clients import Clients
from stepbridge.aws.failures import Misconfigured, Unavailable
from stepbridge.aws.kms import KmsKeys
from stepbridge.aws.wiring import ports as ports_of
from stepbridge.core.conditions import Key
from stepbridge.engine.sealing import SealedTable
from stepbridge.errors import EncryptionError
from stepbridge.local.moto import MotoWorld
from stepbridge.memory.clock import VirtualClock
from stepbridge.testing import Simulation
from tests.unit.aws_script import Script, error, ok

ARN = "arn:aws:kms:eu-west-1:123456789012:key/8c2d"


@pytest.fixture
def world() -> Iterator[MotoWorld]:
    """An account."""
    with MotoWorld(clock=VirtualClock(datetime(2025, 1, 1, tzinfo=UTC))) as world:
        yield world


def made(clients: Clients) -> str:
    """The ARN of a new key."""
    return clients.kms().create_key()["KeyMetadata"]["Arn"]


def test_a_data_key_comes_back(world: MotoWorld) -> None:
    """Wrapped, it shows nothing of itself."""
    keys = KmsKeys(world.clients.kms, [made(world.clients)])
    plain, wrapped = keys.new()
    assert len(plain) == 32
    assert plain not in wrapped
    assert keys.unwrap(wrapped) == plain


def test_a_key_of_before_still_opens(world: MotoWorld) -> None:
    """For as long as it is listed; without it the mend is named."""
    old, new = made(world.clients), made(world.clients)
    plain, wrapped = KmsKeys(world.clients.kms, [old]).new()
    assert KmsKeys(world.clients.kms, [new, old]).unwrap(wrapped) == plain
    with pytest.raises(EncryptionError, match=rf"wrapped by {old}, which is not among STEPBRIDGE_ENCRYPTION_KEYS"):
        KmsKeys(world.clients.kms, [new]).unwrap(wrapped)


def test_a_data_key_is_bound_to_its_key_and_purpose() -> None:
    """The first key makes it, the one that made it opens it, and both name what it is for."""
    blob = {"Plaintext": "AAE=", "CiphertextBlob": "AAE="}
    script = Script(ok(**blob))
    keys = KmsKeys(script.clients.kms, [ARN, ARN + "-old"])
    _, wrapped = keys.new()
    assert wrapped == ARN.encode() + b"\0\0\1"  # the blob may hold what stands between
    keys.unwrap(wrapped)
    keys.unwrap(ARN.encode() + b"-old\0blob")
    context = {"stepbridge": "data-key"}
    assert [body["EncryptionContext"] for _, body in script.sent] == [context] * 3
    assert [body["KeyId"] for _, body in script.sent] == [ARN, ARN, ARN + "-old"]
    assert script.sent[0][1]["KeySpec"] == "AES_256"
    assert script.sent[1][1]["CiphertextBlob"] == "AAE="


@pytest.mark.parametrize("code", ["NotFoundException", "DisabledException", "AccessDeniedException"])
def test_a_key_that_refuses_is_the_operators_to_mend(code: str) -> None:
    """Gone, disabled, or not allowed: key, permission and mend are named."""
    keys = KmsKeys(Script(error(code)).clients.kms, [ARN])
    with pytest.raises(Misconfigured, match=rf"{ARN}.*kms:GenerateDataKey.*Mend"):
        keys.new()
    with pytest.raises(Misconfigured, match=rf"{ARN}.*kms:Decrypt.*Mend"):
        keys.unwrap(ARN.encode() + b"\0blob")


def test_a_throttle_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody must act."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    with pytest.raises(Unavailable):
        KmsKeys(Script(error("ThrottlingException")).clients.kms, [ARN]).new()


def test_the_environments_keys_seal_what_the_dispatcher_writes(world: MotoWorld) -> None:
    """`STEPBRIDGE_ENCRYPTION_KEYS` is all that it takes; a client with the same settings reads it."""
    stack = world.stack(App("shop"))
    settings = replace(stack.settings, encryption_keys=made(world.clients))
    ours, clients = ports_of(settings, world.clients), ports_of(settings, world.clients)
    ours.table.put({"pk": "R#1", "sk": "S#a", "v": '"secret"', "n": "a"})
    ours.blobs.put("1/b", b'"secret"')
    (item,) = [one for one in stack.table.items() if one["pk"] == "R#1"]
    assert (b"secret" in bytes(item["v"]), item["n"]) == (False, "a")  # type: ignore[arg-type]
    assert b"secret" not in stack.readable.blobs.get("1/b")
    assert clients.table.get(Key("R#1", "S#a")) == {"pk": "R#1", "sk": "S#a", "v": '"secret"', "n": "a"}
    assert clients.blobs.get("1/b") == b'"secret"'


def test_a_key_that_is_not_there_keeps_messages_on_the_queue(caplog: pytest.LogCaptureFixture) -> None:
    """No run begins, none fails; once the setting is right, the event starts its run."""
    with Simulation(_app(), backend="moto") as sim:
        (site,) = sim._sites
        stack, clients = site.stack, site.stack.counted.clients

        def set_key(arn: str) -> None:
            settings = replace(stack.settings, encryption_keys=arn)
            stack.ports = stack.readable = ports_of(settings, clients, sim._clock)
            stack.restart(site.app)

        arn = made(clients)
        set_key(arn[:-12] + "0" * 12)
        sim.send("go", {"card": "4242"})
        assert [item for item in stack.table.items() if item["sk"] == "#"] == []
        assert "kms:GenerateDataKey" in caplog.text
        set_key(arn)
        sim.advance("5m")
        assert isinstance(stack.ports.table, SealedTable)
        assert (sim.run().status, sim.run().output) == ("COMPLETED", "4242")


def _app() -> App:
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> str:
        return await ctx.step.run("a", str, ctx.event.data["card"])

    return app
