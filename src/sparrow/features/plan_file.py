"""Features as a file: what training saves and serving loads, so that both compute the same."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparrow.errors import ConfigError
from sparrow.features.expression import Expression, in_order
from sparrow.features.feature import Feature
from sparrow.features.plan import Plan
from sparrow.features.registry import arguments_of, made_from

FORMAT, VERSION = "sparrow-features", 1


def to_json(features: Sequence[Feature]) -> dict[str, Any]:
    """Return features as JSON values.

    `expressions`: columns and transforms, inputs before what uses them, each once. `features`: names, and numbers of expressions. `calls`:
    the operator calls that these versions plan, for people. `checksum`: of the expressions and features. Raises `ConfigError` for a
    transform that is not registered.
    """
    plan = Plan.of(features)
    parts = list(in_order(feature.expression for feature in features if feature.expression is not None))
    number = {part: index for index, part in enumerate(parts)}
    expressions = [_described(part, number) for part in parts]
    named = [{"name": feature.name, "expression": number[feature.expression]} for feature in features if feature.expression is not None]
    calls = [{"depth": node.depth, "kind": node.kind, "makes": [number[unit.result] for unit in node.units]} for node in plan.nodes]
    body = {"format": FORMAT, "version": VERSION, "expressions": expressions, "features": named}
    return {**body, "calls": calls, "checksum": _checksum(body)}


def from_json(data: Any) -> list[Feature]:
    """Return the features that `to_json` described. Raises `ConfigError` naming what is wrong."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ConfigError("holds no features: FeatureEngine.save writes such files")
    if data.get("version") != VERSION:
        raise ConfigError(f"is of version {data.get('version')!r}, this Sparrow reads version {VERSION}; save it anew or update Sparrow")
    body = {key: data.get(key) for key in ("format", "version", "expressions", "features")}
    if data.get("checksum") != _checksum(body):
        raise ConfigError("is damaged or was edited: its checksum is another; save it anew")
    try:
        parts: list[Expression] = []
        for described in data["expressions"]:
            parts.append(_expression(described, parts))
        return [Feature(named["name"], parts[named["expression"]]) for named in data["features"]]
    except (KeyError, IndexError, TypeError) as error:
        raise ConfigError(f"is damaged: {type(error).__name__} at {error}; save it anew") from None


def as_text(features: Sequence[Feature]) -> str:
    """Return what `save` writes."""
    return json.dumps(to_json(features), indent=1, ensure_ascii=False)


def save(features: Sequence[Feature], path: Path) -> None:
    """Write `features` to `path`, whole or not at all."""
    text = as_text(features)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


def load(path: Path) -> list[Feature]:
    """Return the features of a file. Raises `ConfigError` naming it."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: is damaged: {error}; save it anew") from None
    try:
        return from_json(data)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _described(part: Expression, number: dict[Expression, int]) -> dict[str, Any]:
    if part.transform is None:
        return {"column": part.column}
    return {"transform": part.transform.kind, "arguments": arguments_of(part.transform), "inputs": [number[one] for one in part.inputs]}


def _expression(described: dict[str, Any], parts: Sequence[Expression]) -> Expression:
    if "column" in described:
        return Expression(described["column"])
    inputs = tuple(parts[number] for number in described["inputs"])
    transform = made_from(described["transform"], described["arguments"])
    return Expression(transform=transform, inputs=inputs, output=transform.output_type(*(part.output for part in inputs)))


def _checksum(body: dict[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
