"""Either world, by name; naming it loads no moto."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from stepbridge.local.moto import MotoStack, MotoWorld
    from stepbridge.memory.world import Stack, World

AnyWorld: TypeAlias = "World | MotoWorld"
AnyStack: TypeAlias = "Stack | MotoStack"
