"""The public surface is a list: what users may rely on, no more and no less."""

import subprocess
import sys

import pytest

import stepbridge

PUBLIC_NAMES = {
    "App",
    "AsyncClient",
    "Cancel",
    "Client",
    "ConfigError",
    "Context",
    "ContextSync",
    "Event",
    "EventMatch",
    "Function",
    "NestedStepError",
    "NonRetriableError",
    "NondeterminismError",
    "RetryAfterError",
    "StepError",
    "StepInterruptedError",
    "Timeouts",
    "UnserializableOutputError",
    "cron",
    "current_step",
    "event",
    "invoke_only",
}


def test_the_public_names_are_those_of_the_contract() -> None:
    """`__all__` holds the promised names, each once, in order."""
    assert list(stepbridge.__all__) == sorted(PUBLIC_NAMES)


@pytest.mark.parametrize("name", sorted(PUBLIC_NAMES))
def test_every_public_name_is_there(name: str) -> None:
    """A promised name can be imported."""
    assert getattr(stepbridge, name, None) is not None


def test_importing_the_package_loads_nothing_heavy() -> None:
    """`import stepbridge` stays cheap: AWS, CDK, moto and CEL are loaded where they are used."""
    heavy = {"aws_cdk", "boto3", "botocore", "cel_expr_python", "moto"}
    program = "import sys, stepbridge; print(*sys.modules)"
    loaded = subprocess.run(  # noqa: S603 - our own interpreter, a program of our own
        [sys.executable, "-I", "-c", program], capture_output=True, check=True, text=True
    ).stdout.split()
    assert heavy.isdisjoint(loaded)
