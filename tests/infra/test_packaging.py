"""The function's asset: what is in it, that it does not change by itself, and that it starts."""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from platform import machine
from shutil import copyfile

import pytest

from stepbridge.cdk.numbers import ASSET_BYTES_BUDGET, MODULES_BUDGET
from stepbridge.cdk.packaging import Package, _check, build, bytes_of
from stepbridge.errors import ConfigError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HANDLER = """\
from stepbridge import App, Context, event

app = App("small")


@app.function("f", trigger=event("a/b"))
async def f(ctx: Context) -> int:
    return {number}
"""


def _project(folder: Path, number: int = 1) -> Path:
    """A user's project: a package with tests and leftovers in it, and a helper beside it; locked as this one is."""
    package = folder / "flows"
    (package / "tests").mkdir(parents=True)
    (package / "__pycache__").mkdir()
    (package / "__init__.py").write_text(HANDLER.format(number=number))
    (package / "tests" / "test_it.py").write_text("")
    (package / "__pycache__" / "old.pyc").write_text("")
    (package / "words.txt").write_text("kept")
    (folder / "helper.py").write_text("")
    for name in ("pyproject.toml", "uv.lock"):
        copyfile(ROOT / name, folder / name)
    return folder


def _requiring(folder: Path, requirements: str) -> Path:
    """The same with other requirements, and no lock file."""
    _project(folder)
    (folder / "uv.lock").unlink()
    (folder / "pyproject.toml").write_text(f'[project]\nname = "p"\nversion = "1"\ndependencies = {requirements}\n')
    return folder


def _built(package: Package, folder: Path) -> Path:
    folder.mkdir()
    build(package, folder)
    return folder


def _hash(folder: Path) -> str:
    found = sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(f"{path.relative_to(folder)}:{sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's own app, from its lock file, without CEL."""
    return _built(Package(app="functions.shop:app", source=ROOT), tmp_path_factory.mktemp("shop") / "asset")


def test_it_stays_within_its_budget(shop: Path) -> None:
    """What is loaded at a cold start is small."""
    assert 5_000_000 < bytes_of(shop) < ASSET_BYTES_BUDGET


def test_it_is_for_the_functions_machine(shop: Path) -> None:
    """Compiled parts are those of the runtime's Python on arm64, whatever machine this is."""
    compiled = [path.name for path in shop.rglob("*.so")]
    assert compiled
    assert [name for name in compiled if not name.endswith(".cpython-314-aarch64-linux-gnu.so")] == []


def test_it_holds_what_runs_and_nothing_else(shop: Path) -> None:
    """No SDK that the runtime has, no bytecode, no tests, no scripts, no tools of developers."""
    names = {path.name for path in shop.iterdir()}
    assert {"functions", "stepbridge", "stepbridge_handler.py", "pydantic"} <= names
    assert not names & {"boto3", "botocore", "s3transfer", "infra", "bin", "moto", "aws_cdk", "urllib3"}
    every = {part for path in shop.rglob("*") for part in path.relative_to(shop).parts}
    assert not every & {"__pycache__", "tests", ".lock", "RECORD"}
    assert not {path.name for path in (shop / "stepbridge").iterdir()} & {"cdk", "cli", "console", "local", "memory"}


def test_the_handler_is_one_line(shop: Path) -> None:
    """As CONTRACT says: nobody writes it."""
    text = (shop / "stepbridge_handler.py").read_text()
    assert text.splitlines()[-1] == "handler = stepbridge.aws.dispatcher(app)"


def test_the_same_sources_make_the_same_asset(tmp_path: Path) -> None:
    """A repeated synthesis deploys nothing; a changed handler does."""
    first = Package(app="flows:app", source=_project(tmp_path / "one"), python="3.13", machine="x86_64")
    hashes = [_hash(_built(first, tmp_path / f"asset{number}")) for number in range(2)]
    changed = Package(app="flows:app", source=_project(tmp_path / "two", 2), python="3.13", machine="x86_64")
    assert len({*hashes, _hash(_built(changed, tmp_path / "asset2"))}) == 2
    assert hashes[0] == hashes[1]


def test_a_project_without_a_lock_gets_what_is_installed_here(tmp_path: Path) -> None:
    """Its requirements, stepbridge's own in the place of stepbridge, in the versions that were tested."""
    source = _requiring(tmp_path / "project", '["stepbridge[cel]>=0.1", "jmespath"]')
    asset = _built(Package(app="flows:app", source=source, with_cel=True), tmp_path / "asset")
    assert (asset / "cel_expr_python").is_dir()
    assert (asset / "flows" / "words.txt").read_text() == "kept"
    assert not (asset / "helper.py").exists()
    pydantic = next(asset.glob("pydantic-*.dist-info")).name
    assert pydantic == next(Path(sys.prefix).rglob("site-packages/pydantic-*.dist-info")).name


@pytest.mark.skipif(sys.platform != "linux", reason="an asset is for Linux")
def test_it_starts_on_what_the_runtime_has(tmp_path: Path) -> None:
    """Imported with nothing but the asset, the standard library and the SDK, and no more of them than is needed."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    source = _project(tmp_path / "project")
    package = Package(app="flows:app", source=source, include=("helper",), python=here, machine=machine())
    asset, runtime = _built(package, tmp_path / "asset"), tmp_path / "runtime"
    assert (asset / "helper.py").exists()
    runtime.mkdir()
    for name in ("boto3", "botocore", "s3transfer", "urllib3", "dateutil", "six"):
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        found = origin.parent if origin.name == "__init__.py" else origin
        (runtime / found.name).symlink_to(found)
    code = (
        f"import sys; sys.path[:0] = [{str(asset)!r}, {str(runtime)!r}]\n"
        "before = set(sys.modules)\n"
        "import stepbridge_handler\n"
        "print(*sorted(set(sys.modules) - before))\n"
        "print(stepbridge_handler.handler({'Records': []}, type('C', (), {'aws_request_id': 'r',"
        " 'get_remaining_time_in_millis': lambda self: 60_000})()))"
    )
    done = subprocess.run(  # noqa: S603 - this Python
        [sys.executable, "-I", "-S", "-c", code],
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    loaded, _, answer = done.stdout.partition("\n")
    assert answer == "{'batchItemFailures': []}\n", done.stderr
    assert 100 < len(loaded.split()) < MODULES_BUDGET
    assert not {"boto3", "s3transfer", "aws_lambda_powertools", "cel_expr_python", "multiprocessing"} & {
        *loaded.split()
    }


def _environment() -> dict[str, str]:
    account = "eu-west-1:123456789012"
    own = {
        "TABLE": "table",
        "QUEUE_URL": "https://q/1",
        "QUEUE_ARN": f"arn:aws:sqs:{account}:q",
        "DLQ_URL": "https://q/2",
        "DLQ_ARN": f"arn:aws:sqs:{account}:d",
        "BUS_ARN": f"arn:aws:events:{account}:event-bus/b",
        "SCHEDULE_GROUP": "group",
        "SCHEDULER_ROLE_ARN": "arn:aws:iam::123456789012:role/r",
        "BLOBS_BUCKET": "bucket",
    }
    return {"AWS_REGION": "eu-west-1", **{f"STEPBRIDGE_{name}": value for name, value in own.items()}}


def test_a_part_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    """Before anything is deployed."""
    package = Package(app="flows:app", source=_project(tmp_path / "project"), include=("helpers",))
    with pytest.raises(ConfigError, match=r"no 'helpers' in .*Mend: correct include="):
        _built(package, tmp_path / "asset")


def test_expressions_without_cel_are_told_of(tmp_path: Path) -> None:
    """The function would fail at its first cold start."""
    package = Package(app="flows:app", source=_project(tmp_path / "project"), with_cel=True)
    with pytest.raises(ConfigError, match=r"would lack CEL. Mend: .*stepbridge\[cel\]"):
        _built(package, tmp_path / "asset")


def test_keys_without_cryptography_are_told_of(tmp_path: Path) -> None:
    """Before anything is deployed whose every import would fail; an asset that holds it passes."""
    package = Package(app="flows:app", source=tmp_path, with_encryption=True)
    with pytest.raises(ConfigError, match=r"would lack cryptography. Mend: .*stepbridge\[encryption\]"):
        _check(package, tmp_path)
    (tmp_path / "cryptography").mkdir()
    _check(package, tmp_path)


def test_what_uv_refuses_is_told_of(tmp_path: Path) -> None:
    """In uv's own words."""
    package = Package(app="flows:app", source=_project(tmp_path / "project"), extras=("no-such",))
    with pytest.raises(ConfigError, match=r"uv export .*no-such"):
        _built(package, tmp_path / "asset")


def test_a_lock_without_stepbridge_is_told_of(tmp_path: Path) -> None:
    """As of a project beside which stepbridge is only installed."""
    source = _requiring(tmp_path / "project", "[]")
    (source / "uv.lock").write_text(
        'version = 1\nrequires-python = ">=3.11"\n[[package]]\nname = "p"\nversion = "1"\nsource = { virtual = "." }\n'
    )
    with pytest.raises(ConfigError, match=r"lacks aws-lambda-powertools, pydantic.*Mend: uv add stepbridge"):
        _built(Package(app="flows:app", source=source), tmp_path / "asset")
