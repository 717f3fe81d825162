"""Transforms by name: what a plan's file may hold."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, TypeVar

from sparrow.errors import ConfigError, did_you_mean
from sparrow.features.fitting import learned
from sparrow.features.transforms import ids, numbers, pairs, sequences, vocabulary
from sparrow.features.types import Step

T = TypeVar("T", bound=type)

_KNOWN: dict[str, type] = {}


def register_transform(transform: T) -> T:
    """Let plans that use `transform`, a frozen dataclass, be saved and loaded; a decorator. Call it in every process that loads one.

    Its fields must be numbers, strings, truth values, None, or tuples of these. Raises `ConfigError` for a `kind` that is taken.
    """
    kind = getattr(transform, "kind", None)
    if not isinstance(kind, str) or not dataclasses.is_dataclass(transform):
        raise ConfigError(f"{transform!r} is no transform: it must be a frozen dataclass with a `kind`")
    taken = _KNOWN.get(kind)
    if taken is not None and (taken.__module__, taken.__qualname__) != (transform.__module__, transform.__qualname__):
        raise ConfigError(
            f"transform kind {kind!r} is taken by {taken.__module__}.{taken.__qualname__}; give {transform.__qualname__} another"
        )
    _KNOWN[kind] = transform
    return transform


def arguments_of(step: Step) -> dict[str, Any]:
    """Return the fields of a transform as JSON values. Raises `ConfigError` for one that is not registered."""
    if _KNOWN.get(step.kind) is not type(step):
        raise ConfigError(f"transform {step.kind!r} cannot be saved: {type(step).__qualname__} is not registered; see register_transform")
    return {field.name: _to_json(getattr(step, field.name), step.kind) for field in dataclasses.fields(step)}  # type: ignore[arg-type]


def made_from(kind: Any, arguments: Any) -> Step:
    """Return the transform of a kind and its fields. Raises `ConfigError` for what is unknown or does not fit."""
    if kind not in _KNOWN:
        raise ConfigError(f"unknown transform {kind!r}{did_you_mean(str(kind), _KNOWN)}; register_transform makes your own known")
    if not isinstance(arguments, dict):
        raise ConfigError(f"transform {kind!r}: arguments are {arguments!r}, expected names and values")
    names = [field.name for field in dataclasses.fields(_KNOWN[kind])]
    if sorted(arguments) != sorted(names):
        raise ConfigError(f"transform {kind!r}: arguments are {sorted(arguments)}, expected {sorted(names)}")
    made: Step = _KNOWN[kind](**{name: _from_json(value) for name, value in arguments.items()})
    return made


def _to_json(value: Any, kind: str) -> Any:
    if isinstance(value, tuple):
        return [_to_json(one, kind) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}  # JSON has no infinities
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(f"transform {kind!r} cannot be saved: a field holds {value!r}, which is no number, string or tuple of these")


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_from_json(one) for one in value)
    if isinstance(value, dict):
        if set(value) != {"float"} or value["float"] not in ("inf", "-inf", "nan"):
            raise ConfigError(f"{value!r} is no value of a transform's field")
        return float(value["float"])
    return value


for _module in (ids, learned, numbers, pairs, sequences, vocabulary):
    for _member in list(vars(_module).values()):
        if isinstance(_member, type) and _member.__module__ == _module.__name__ and isinstance(getattr(_member, "kind", None), str):
            register_transform(_member)
