"""How the function runs: what the props say, within Lambda's bounds."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from stepbridge.cdk import numbers
from stepbridge.core.limits import VISIBILITY_MARGIN
from stepbridge.errors import ConfigError

THIS_MACHINE: Final = "stepbridge:this-machine"
"""The context key, `cdk deploy -c stepbridge:this-machine=true`, by which the function is packed for the machine
and the Python that synthesise: emulators run it as a process of theirs, whatever its architecture says."""

_NAMES: Final = {"arm64": "aarch64", "x86_64": "x86_64"}
"""As Lambda calls machines, and as uv does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """See `StepbridgeApp` for the reasons of the defaults."""

    architecture: lambda_.Architecture
    runtime: lambda_.Runtime
    memory_mb: int
    timeout: timedelta
    batch_size: int
    max_concurrency: int | None
    snap_start: bool
    log_retention: logs.RetentionDays
    removal_policy: cdk.RemovalPolicy
    platform: str | None
    """As uv names it; None: this machine's."""

    @property
    def python(self) -> str:
        """The runtime's, `"3.14"` say."""
        return self.runtime.name.removeprefix("python")

    @property
    def visibility(self) -> timedelta:
        """How long a message stays hidden that an invocation works on."""
        return self.timeout + VISIBILITY_MARGIN


def platform_of(architecture: lambda_.Architecture) -> str:
    """As uv names it."""
    return _NAMES[architecture.name]


def on_this_machine(scope: Construct, machine: Machine) -> Machine:
    """The same on this machine and its Python, where the context asks for it."""
    if str(scope.node.try_get_context(THIS_MACHINE)).lower() != "true":
        return machine
    is_arm = platform.machine().lower() in {"arm64", "aarch64"}
    return replace(
        machine,
        architecture=lambda_.Architecture.ARM_64 if is_arm else lambda_.Architecture.X86_64,
        runtime=lambda_.Runtime(
            f"python{sys.version_info.major}.{sys.version_info.minor}", lambda_.RuntimeFamily.PYTHON
        ),
        platform=None,
    )


def checked(machine: Machine) -> Machine:
    """The same.

    Raises:
        ConfigError: A prop is out of bounds; says which.
    """
    if not numbers.TIMEOUT_MIN <= machine.timeout <= numbers.TIMEOUT_MAX:
        raise ConfigError(
            f"StepbridgeApp: timeout={machine.timeout}. Mend: {numbers.TIMEOUT_MIN} to {numbers.TIMEOUT_MAX}."
        )
    if not 1 <= machine.batch_size <= numbers.BATCH_MAX:
        raise ConfigError(f"StepbridgeApp: batch_size={machine.batch_size}. Mend: 1 to {numbers.BATCH_MAX}.")
    bounds = numbers.CONCURRENCY_MIN, numbers.CONCURRENCY_MAX
    if machine.max_concurrency is not None and not bounds[0] <= machine.max_concurrency <= bounds[1]:
        raise ConfigError(
            f"StepbridgeApp: max_concurrency={machine.max_concurrency}. Mend: {bounds[0]} to {bounds[1]}."
        )
    return machine
