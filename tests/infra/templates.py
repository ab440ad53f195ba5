"""Reading synthesised templates."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Template:
    """A CloudFormation template."""

    body: Json

    @property
    def resources(self) -> Mapping[str, Json]:
        """By logical id."""
        return dict(self.body["Resources"])

    def named(self, kind: str) -> dict[str, Json]:
        """Properties of all resources of a type, by logical id."""
        found = {name: one for name, one in self.resources.items() if one["Type"] == f"AWS::{kind}"}
        return {name: one.get("Properties", {}) for name, one in found.items()}

    def all(self, kind: str) -> list[Json]:
        """Properties of all resources of a type."""
        return list(self.named(kind).values())

    def one(self, kind: str, part: str = "") -> Json:
        """Properties of the one resource of a type whose logical id has `part`."""
        (found,) = [one for name, one in self.named(kind).items() if part in name]
        return found

    def id_of(self, kind: str, part: str = "") -> str:
        """The logical id of the one resource of a type that has `part` in it."""
        (found,) = [name for name in self.named(kind) if part in name]
        return found

    def arn(self, kind: str, part: str = "") -> Json:
        """How the template names that resource's ARN."""
        return {"Fn::GetAtt": [self.id_of(kind, part), "Arn"]}

    def statements(self) -> Iterator[tuple[str, Json]]:
        """Every statement of every policy, with the logical id of its resource."""
        for name, one in self.resources.items():
            for document in _documents(one.get("Properties", {})):
                for statement in document["Statement"]:
                    yield name, statement


def _documents(value: Any) -> Iterator[Json]:
    match value:
        case {"Statement": _, "Version": _}:
            yield value
        case dict():
            for one in value.values():
                yield from _documents(one)
        case list():
            for one in value:
                yield from _documents(one)
        case _:
            pass


def actions_of(statement: Json) -> list[str]:
    """A statement's actions: IAM takes one as a text."""
    return listed(statement["Action"])


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def written(value: Any) -> str:
    """A value with its intrinsic functions, as a text whose end can be read."""
    match value:
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(map(written, parts))
        case str():
            return value
        case _:
            return json.dumps(value)


def templates_in(folder: Path) -> dict[str, Template]:
    """Of an assembly, by the name of the stack."""
    files = folder.glob("*.template.json")
    return {file.name.removesuffix(".template.json"): Template(json.loads(file.read_text())) for file in files}
