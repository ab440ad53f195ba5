"""What `StepbridgeApp` refuses, and that it says why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from stepbridge.cdk.loading import load_app, needs_cel
from stepbridge.errors import ConfigError

pytestmark = pytest.mark.slow

APP = "from stepbridge import App\napp = App('one')\nother = 1\n"


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the single-module app `only`, which imports `beside_it`."""
    (tmp_path / "only.py").write_text(f"import beside_it\n{APP}")
    (tmp_path / "beside_it.py").write_text("")
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("only", "beside_it"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path.resolve()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("only", r"app='only'. Mend: MODULE:ATTRIBUTE"),
        ("absent.flows:app", r"there is no module 'absent' in .*Mend: source= is the folder"),
        ("only:other", r"'other' of 'only' is 1, not a stepbridge.App"),
        ("json:app", r"'json' was imported from .*Mend: give the two packages different names"),
    ],
)
def test_an_app_that_is_not_there_is_named(source: Path, name: str, message: str) -> None:
    """And what to write instead."""
    with pytest.raises(ConfigError, match=message):
        load_app(name, source, include=["beside_it"])


def test_a_module_that_the_asset_would_lack_is_named(source: Path) -> None:
    """Found at synthesis, not at a cold start."""
    with pytest.raises(ConfigError, match=r"imports beside_it of .*Mend: include=\['beside_it'\]"):
        load_app("only:app", source)


def test_with_all_its_modules_it_is_loaded(source: Path) -> None:
    """The app itself."""
    app = load_app("only:app", source, include=["beside_it"])
    assert app.id == "one"
    assert not needs_cel(app)


@pytest.mark.parametrize(
    ("props", "message"),
    [
        ({"timeout": 20}, r"timeout=0:00:20. Mend: 0:00:30 to 0:15:00"),
        ({"timeout": 901}, r"timeout=0:15:01"),
        ({"batch_size": 11}, r"batch_size=11. Mend: 1 to 10"),
        ({"batch_size": 0}, r"batch_size=0"),
        ({"max_concurrency": 1}, r"max_concurrency=1. Mend: 2 to 1000"),
        ({"max_concurrency": 1001}, r"max_concurrency=1001"),
        ({"event_bus": "default"}, r"event_bus is the account's default bus.*Mend: leave it out"),
    ],
)
def test_props_that_cannot_be_are_refused(tmp_path: Path, quick_cdk: None, props: dict[str, Any], message: str) -> None:
    """Before a stack is deployed with them."""
    from tests.infra.stacks import refused

    with pytest.raises(ConfigError, match=message):
        refused(tmp_path, **props)


def test_what_is_to_be_destroyed_can_be_protected_all_the_same(tmp_path: Path, quick_cdk: None) -> None:
    """A given `deletion_protection` counts, whatever the removal policy."""
    from tests.infra.stacks import protected

    assert protected(tmp_path).one("DynamoDB::Table")["DeletionProtectionEnabled"]


def test_a_given_bus_is_shared(tmp_path: Path, quick_cdk: None) -> None:
    """Two apps on one bus: each its own rule, queue, table; ids of outputs do not collide."""
    from tests.infra.stacks import two_on_one_bus

    template = two_on_one_bus(tmp_path)
    assert len(template.all("Events::EventBus")) == 1
    buses = {
        str(rule.get("EventBusName")) for name, rule in template.named("Events::Rule").items() if "Aws" not in name
    }
    assert buses == {str({"Ref": template.id_of("Events::EventBus")})}
    assert len(template.all("DynamoDB::Table")) == len(template.all("Lambda::Function")) == 2
