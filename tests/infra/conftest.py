"""One synthesis a session: two stacks, read as the JSON that CloudFormation gets."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.templates import Template, templates_in


@pytest.fixture(scope="session", autouse=True)
def quick_cdk() -> Iterator[None]:
    """The environment's Node, and no validation of each template by CDK: `test_own_stack` has it on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JSII_NODE", str(Path(sys.prefix, "bin", "node")))
        patch.setenv("CDK_VALIDATION", "false")
        yield


@pytest.fixture(scope="session")
def assembly(quick_cdk: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the templates `Plain` (all defaults, the shop) and `Full` (all props, `project`)."""
    from tests.infra.stacks import synthesise

    return synthesise(tmp_path_factory.mktemp("assembly"))


@pytest.fixture(scope="session")
def templates(assembly: Path) -> dict[str, Template]:
    """By the name of the stack."""
    return templates_in(assembly)


@pytest.fixture(params=["Plain", "Full"])
def template(request: pytest.FixtureRequest, templates: dict[str, Template]) -> Template:
    """One after the other: what a test claims of it holds for both."""
    return templates[request.param]


@pytest.fixture
def plain(templates: dict[str, Template]) -> Template:
    """All defaults."""
    return templates["Plain"]


@pytest.fixture
def full(templates: dict[str, Template]) -> Template:
    """All props."""
    return templates["Full"]
