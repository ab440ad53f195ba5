"""Rows of a cold start, of the asset's size, and of memory over many events."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stepbridge.core.limits import MESSAGES_PER_CALL
from tests.bench.aws import bench
from tests.bench.rows import Row, median

SECTION = "cold start and size"
_ROOT = Path(__file__).parents[2]
_SERVICES = ("dynamodb",)
_CLIENTS = "; ".join(f"boto3.client({name!r}, region_name='eu-west-1')" for name in _SERVICES)
_BASE = f"import boto3, pydantic; {_CLIENTS}"
_MODEL = f"{_BASE}\nclass M(pydantic.BaseModel): a: str"
"""`import pydantic` alone loads little of it; the first model loads the rest."""
_DISPATCHER = """
import os
os.environ.update(
    STEPBRIDGE_TABLE="shop", STEPBRIDGE_QUEUE_URL="https://sqs.eu-west-1.amazonaws.com/123456789012/shop",
    STEPBRIDGE_QUEUE_ARN="arn:aws:sqs:eu-west-1:123456789012:shop",
    STEPBRIDGE_DLQ_URL="https://sqs.eu-west-1.amazonaws.com/123456789012/dead",
    STEPBRIDGE_DLQ_ARN="arn:aws:sqs:eu-west-1:123456789012:dead",
    STEPBRIDGE_BUS_ARN="arn:aws:events:eu-west-1:123456789012:event-bus/shop", STEPBRIDGE_SCHEDULE_GROUP="shop",
    STEPBRIDGE_SCHEDULER_ROLE_ARN="arn:aws:iam::123456789012:role/shop", STEPBRIDGE_BLOBS_BUCKET="shop-blobs",
    STEPBRIDGE_REGION="eu-west-1", AWS_DEFAULT_REGION="eu-west-1",
)
from stepbridge import App, event
from stepbridge.aws import dispatcher
app = App("shop")
@app.function("f", trigger=event("go"))
async def f(ctx):
    await ctx.step.run("a", str)
handler = dispatcher(app)
"""
_EACH = (
    ("import pydantic", "import pydantic"),
    ("import boto3", "import boto3"),
    ("import botocore.session", "import botocore.session"),
    ("import stepbridge", "import stepbridge"),
    ("import stepbridge.aws.entry", "import stepbridge.aws.entry"),
)


def rows(scale: int = 1) -> Iterator[Row]:
    """CPU of fresh processes, turn by turn; what an asset weighs."""
    turns = max(9 // scale, 2)
    codes = {"": "", "base": _BASE, "model": _MODEL, "ours": _DISPATCHER, **dict(_EACH)}
    spent: dict[str, list[float]] = {name: [] for name in codes}
    for _ in range(turns):
        for name, code in codes.items():
            spent[name].append(_cpu(code))
    bare = median(spent[""])
    yield _row("boto3, pydantic and a DynamoDB client", (median(spent["base"]) - bare) * 1e3, "ms CPU")
    yield _row("the dispatcher, its client made", (median(spent["ours"]) - bare) * 1e3, "ms CPU")
    ratio = median(a / b for a, b in zip(spent["ours"], spent["base"], strict=True))
    yield _row("… over the former", ratio, "times", 1.25)
    ratio = median(a / b for a, b in zip(spent["ours"], spent["model"], strict=True))
    yield _row("… over the same with one pydantic model", ratio, "times")
    for name, _ in _EACH:
        yield _row(f"  {name}, alone", (median(spent[name]) - bare) * 1e3, "ms CPU")
    yield _row("CEL loaded by a dispatcher without `if_exp`", float(_loads("cel_expr_python")), "modules", 0.0)


def sizes() -> Iterator[Row]:
    """What a function's folder holds, unzipped, as pip would fill it; boto3 from the runtime and in it."""
    for what, extra, leave_out, target in (
        ("asset, boto3 from the runtime", "", True, 20.0),
        ("asset, boto3 in it", "", False, None),
        ("asset with CEL, boto3 from the runtime", "[cel]", True, 75.0),
    ):
        yield _row(what, _size(extra, leave_out_boto=leave_out) / 1e6, "MB", target)


def memory(events: int) -> Iterator[Row]:
    """Resident memory of one dispatcher process, after a warm-up and after so many events more."""
    code = f"from tests.bench.starts import grow; grow({events})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment())  # noqa: S603
    before, after = json.loads(done.stdout)
    yield _row(f"memory before {events:,} events", before / 1e6, "MB")
    yield _row(f"memory after {events:,} events", after / 1e6, "MB", before / 1e6 * 1.05)


def grow(events: int) -> None:
    """In a process of its own: says its memory before and after."""
    seen = []
    with bench() as made:
        for part in (max(events // 5, MESSAGES_PER_CALL), events):
            for _ in range(part // MESSAGES_PER_CALL):
                made.invoke("bench/steps", *({"n": 1} for _ in range(MESSAGES_PER_CALL)))
            seen.append(_resident())
    print(json.dumps(seen))


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _cpu(code: str) -> float:
    """Seconds of CPU of a fresh process, user and system, its files in the page cache.

    Without its orderly end, which takes the interpreter a quarter of the time and which no sandbox ever has.
    """
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", f"{code}\nimport os; os._exit(0)"], _environment())
    _, status, usage = os.wait4(pid, 0)
    assert status == 0, code
    return usage.ru_utime + usage.ru_stime


def _loads(module: str) -> int:
    code = f"{_DISPATCHER}\nimport sys; print(sum(n.split('.')[0] == {module!r} for n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment())  # noqa: S603
    return int(done.stdout)


def _size(extra: str, *, leave_out_boto: bool) -> int:
    with tempfile.TemporaryDirectory() as folder:
        uv = Path(sys.executable).parent / "uv"
        command = [str(uv), "pip", "install", "--quiet", "--target", folder, f"{_ROOT}{extra}"]
        subprocess.run(command, check=True, capture_output=True, env=os.environ)  # noqa: S603
        if leave_out_boto:
            for name in ("boto3", "botocore", "s3transfer"):  # as `stepbridge.cdk` does
                shutil.rmtree(Path(folder) / name, ignore_errors=True)
        return sum(one.stat().st_size for one in Path(folder).rglob("*") if one.is_file())


def _environment() -> dict[str, str]:
    path = f"{_ROOT / 'sdk'}{os.pathsep}{_ROOT}"
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "", "AWS_DEFAULT_REGION": "eu-west-1"}


def _row(what: str, value: float, unit: str, target: float | None = None) -> Row:
    return Row(section=SECTION, what=what, value=value, unit=unit, target=target)
