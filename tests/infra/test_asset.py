"""What CDK takes for the function's code: another asset for another app or another handler, else the same."""

from __future__ import annotations

from pathlib import Path
from shutil import copyfile

import pytest

from stepbridge.cdk.packaging import Package
from tests.infra.templates import templates_in

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two apps in one folder, locked as this repository is."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("pyproject.toml", "uv.lock"):
        copyfile(ROOT / name, folder / name)
    for name in ("one", "two"):
        (folder / f"{name}.py").write_text("RELEASE = 1\n")
    return folder


def test_the_assets_name_is_its_content(source: Path, tmp_path: Path, quick_cdk: None) -> None:
    """A repeated synthesis deploys nothing; a changed handler does, and only of the app that it is in."""
    from tests.infra.stacks import assets

    packages = {name: Package(app=f"{name}:app", source=source) for name in ("one", "two")}
    first, again = (assets(tmp_path / folder, packages) for folder in ("first", "again"))
    (source / "two.py").write_text("RELEASE = 2\n")
    changed = assets(tmp_path / "changed", packages)
    assert first == again
    assert len({*first.values(), *changed.values()}) == 3
    assert first["one"] == changed["one"]
    assert set(templates_in(tmp_path / "first")) == set(packages)
